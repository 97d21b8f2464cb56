"""The table of claims at the end of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from ..checks.explain import number
from ..stats import expected_false_verdicts


def claim_table(claims: Sequence[dict[str, Any]]) -> str:
    """One row per claim: estimate, interval, threshold, n and verdict."""
    rows = []
    for claim in claims:
        percent = claim["check"] == "ppl_delta_below"
        low, high = (number(bound, percent) for bound in claim["interval"])
        sign = ">=" if claim["direction"] == "at_least" else "<="
        measured = claim["estimate"] is not None
        # An assertion is known by its test, a claim by its name; both are what stands behind the file in the id.
        name = claim["id"].partition("::")[2] or claim["name"]
        if claim["check"] not in ("", name):
            name += f" ({claim['check']})"
        rows.append(
            [
                f"{claim['suite']}: {name}",
                claim["statistic"],
                number(claim["estimate"], percent) if measured else "-",
                f"[{low}, {high}]" if measured else "-",
                f"{sign} {number(claim['threshold'], percent)}" if measured else "-",
                claim["n"] or "-",
                verdict_words(claim),
            ]
        )
    headers = ["claim", "statistic", "estimate", "interval", "promised", "n", "verdict"]
    table: str = tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True)
    return table


def verdict_words(claim: dict[str, Any]) -> str:
    """The verdict, and whether it was expected."""
    known = claim["xfail"] is not None and claim["verdict"] in ("fail", "inconclusive")
    return f"{claim['verdict']} (known)" if known else str(claim["verdict"])


def verdict_counts(claims: Sequence[dict[str, Any]]) -> str:
    """How many claims came to each verdict, passes first."""
    counts = Counter(verdict_words(claim) for claim in claims)
    order = ("pass", "fail (known)", "inconclusive (known)", "inconclusive", "fail", "error")
    return ", ".join(f"{counts[words]} {words}" for words in order if counts[words])


def expected_false(claims: Sequence[dict[str, Any]]) -> str:
    """How many false passes and false fails the run is to be expected to hold, at the confidences used."""
    judged = [claim["confidence"] for claim in claims if claim["estimate"] is not None]
    if not judged:
        return "no claim was judged"
    found = expected_false_verdicts(judged)
    return (
        f"{found.claims} judged: if none of these claims held, at most {found.passes:.2g} false passes are to be expected;\n"
        f"if all held, at most {found.fails:.2g} false fails (chance of any: at most {found.chance_of_any:.0%} if independent)"
    )
