"""A claim at equal cost in words: where it was judged, and which multipliers were looked at."""

from __future__ import annotations

from tabulate import tabulate

from ..evidence import Evidence, Verdict
from .numbers import number, promise


def cost_lines(evidence: Evidence) -> list[str]:
    """Where the claim was judged, and what it costs there."""
    details = evidence.details
    low, high = (number(bound, percent=True) for bound in details["cost_interval"])
    shown = f"[{low}, {high}] at {details['cost_confidence']:.4g} each side, over {details['neutral']['n']} texts"
    return [
        f"  judged at multiplier {number(details['multiplier_at_cost'])}: perplexity {number(details['cost'], percent=True)} {shown}; "
        f"allowed {promise(details['budget'], percent=True)}"
    ]


def over_budget_reason(evidence: Evidence) -> str:
    """Why an intervention that cannot be brought within the budget got its verdict."""
    details = evidence.details
    low = details["cost_interval"][0]
    if evidence.verdict is Verdict.FAIL:
        return (
            "it costs more than is allowed" if low is None or low >= details["budget"] else "the interval is on the bad side"
        )
    return "its cost lies across what is allowed"


def looked_at(evidence: Evidence) -> list[str]:
    """The multipliers with their costs, and the effect found beside that at the deployed multiplier."""
    details = evidence.details
    costs = sorted(details["looked_at"], key=lambda pair: abs(pair[0]))
    rows = [
        ["multiplier", *(f"{multiplier:.4g}" for multiplier, _ in costs)],
        ["perplexity", *("overflow" if cost is None else number(cost, percent=True) for _, cost in costs)],
    ]
    table = tabulate(rows, tablefmt="plain", stralign="right", disable_numparse=True)
    lines = [f"    {line}".rstrip() for line in table.splitlines()]
    deployed = details["deployed"]
    dose = details["mean_effect"] / details["sd_unsteered"] if details["sd_unsteered"] else None
    lines.append(
        f"  mean effect {number(details['mean_effect'])} ({number(dose)} standard deviations of the unsteered propensities), anti-steered "
        f"share {details['anti_steered_share']:.2f}; at the deployed multiplier {number(deployed['multiplier'])} mean effect "
        f"{number(deployed['mean_effect'])}"
    )
    return lines
