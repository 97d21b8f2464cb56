"""The table of claims at the end of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from ..claims.numbers import low_confidence, number, promise, promised_side
from ..stats import expected_false_verdicts

_NAMED = 3
# What error rates rest on: docs/verdicts.md.
_CONDITIONS = ", if items are independent, no\n  rare large value is missing from them and no threshold was set from them"

_SIGNS = {"at most": "<=", "at least": ">=", "more than": ">"}


def claim_table(claims: Sequence[dict[str, Any]]) -> str:
    """One row per claim: estimate, interval, threshold, n and verdict."""
    rows = []
    for claim in claims:
        percent = claim["percent"]
        low, high = (number(bound, percent) for bound in claim["interval"])
        sign = _SIGNS[promised_side(claim)]
        measured = claim["estimate"] is not None
        # An assertion is known by its test, a claim by its name; both follow the file in the id.
        name = claim["id"].partition("::")[2] or claim["name"]
        if claim["check"] not in ("", name):
            name += f" ({claim['check']})"
        rows.append(
            [
                f"{claim['suite']}: {name}",
                claim["statistic"],
                number(claim["estimate"], percent) if measured else "-",
                f"[{low}, {high}]" if measured and claim["interval"] != [None, None] else "-",
                f"{sign} {promise(claim['threshold'], percent)}" if measured else "-",
                claim["n"] or "-",
                verdict_words(claim)
                + (low_confidence(claim["confidence"]) if claim["verdict"] in ("pass", "fail") else "")
                + (", within rounding" if (claim.get("noise") or {}).get("interval_is_narrower") else ""),
            ]
        )
    headers = ["claim", "statistic", "estimate", "interval", "promised", "n", "verdict"]
    table: str = tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True)
    return table


def verdict_words(claim: dict[str, Any]) -> str:
    """The verdict, and whether it was expected."""
    if claim["xfail"] is None or claim["verdict"] == "error":
        return str(claim["verdict"])
    return "pass (not expected)" if claim["verdict"] == "pass" else f"{claim['verdict']} (known)"


def verdict_counts(claims: Sequence[dict[str, Any]]) -> str:
    """How many claims came to each verdict, passes first."""
    counts = Counter(verdict_words(claim) for claim in claims)
    order = ("pass", "pass (not expected)", "fail (known)", "inconclusive (known)", "inconclusive", "fail", "error")
    return ", ".join(f"{counts[words]} {words}" for words in order if counts[words])


def expected_false(claims: Sequence[dict[str, Any]]) -> str:
    """How many wrong verdicts to expect of the run, at the confidences used."""
    # A claim without an interval is not judged by one: nothing in it is left to chance.
    measured = [claim for claim in claims if claim["estimate"] is not None and claim["interval"] != [None, None]]
    adjusted = [claim for claim in measured if claim["holm"] is not None]
    judged = [claim["confidence"] for claim in measured if claim["holm"] is None]
    if not measured:
        judged_exactly = any(claim["estimate"] is not None for claim in claims)
        return "no claim was judged by an interval" if judged_exactly else "no claim was judged"
    if adjusted:
        level = 1 - min(claim["confidence"] for claim in adjusted)
        words = f"{len(adjusted)} judged with Holm's adjustment: in each file any false pass has a chance of at most {level:.2g}, so has any false fail"
        return f"{words}\n{_expected(judged)}{_CONDITIONS}" if judged else f"{words}{_CONDITIONS}"
    return f"{_expected(judged)}{_CONDITIONS}"


def deployed_moves(claims: Sequence[dict[str, Any]]) -> list[str]:
    """Which way the deployed models of claims about items move; those that do not move up are named."""
    moving: dict[str, list[str]] = {}
    for claim in claims:
        at = claim["details"].get("deployed")
        if isinstance(at, dict) and at.get("moves"):
            moving.setdefault(at["moves"], []).append(f"{claim['suite']}: {claim['name']} at {at['multiplier']:g}")
    if not moving:
        return []
    parts = []
    for way, words in (("up", "moves up"), ("down", "moves down"), ("neither way", "is not proven to move")):
        if way in moving:
            named = "" if way == "up" else f" ({_first(moving[way])})"
            parts.append(f"{words} in {_claims(len(moving[way]))}{named}")
    return [f"as deployed, the model {', '.join(parts)}"]


def control_ranks(claims: Sequence[dict[str, Any]]) -> list[str]:
    """Where vectors rank among random directions of equal norm, for the claims that measured some, which may have passed."""
    ranked: dict[tuple[int, float], list[str]] = {}
    for claim in claims:
        found = claim["details"].get("controls")
        if isinstance(found, dict) and "p" in found:
            ranked.setdefault((found["count"], found["p"]), []).append(f"{claim['suite']}: {claim['name']}")
    return [
        f"controls: of the vector and {count} random directions of equal norm, the vector ranks number {round(p * (count + 1))} "
        f"(p = {p:.3g}) in {len(names)} ({_first(names)})"
        for (count, p), names in ranked.items()
    ]


def texts_left_out(claims: Sequence[dict[str, Any]]) -> list[str]:
    """Which texts were left out by which rule, for the claims that leave out some, which may have passed."""
    about: dict[str, list[str]] = {}
    for claim in claims:
        for data in (claim["data"], claim["details"].get("neutral")):
            for one in (data or {}).get("left_out", ()):
                line = f"{one['n']} of {one['of']}, {one['rule']}"
                about.setdefault(line, []).append(f"{claim['suite']}: {claim['name']}")
    return [f"texts left out: {line} ({_first(names)})" for line, names in about.items()]


def claim_warnings(claims: Sequence[dict[str, Any]]) -> list[str]:
    """What the readers of the table have to know, also of claims that passed; each text once, with the claims it is about."""
    about: dict[str, dict[str, list[str]]] = {}
    for claim in claims:
        for warning in claim["warnings"]:
            about.setdefault(warning, {}).setdefault(claim["suite"], []).append(claim["name"])
    return [
        f"warning: {'; '.join(f'{suite}: ' + ', '.join(dict.fromkeys(names)) for suite, names in suites.items())}: {text}"
        for text, suites in about.items()
    ]


def _claims(count: int) -> str:
    return f"{count} claim{'s' if count > 1 else ''}"


def _first(names: list[str]) -> str:
    return ", ".join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])


def _expected(judged: list[float]) -> str:
    found = expected_false_verdicts(judged)
    levels = " and ".join(f"{100 * level:g}" for level in sorted(set(judged)))
    verdicts = "1 verdict" if found.claims == 1 else f"{found.claims} verdicts"
    return f"{verdicts} at {levels} %: expect at most {found.passes:.2g} wrong ones"
