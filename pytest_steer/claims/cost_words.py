"""The words of ``steers_at_cost``: where it was judged and what that costs, the multipliers tried, the effect normalised by perplexity."""

from __future__ import annotations

from ..evidence import Evidence, Verdict
from . import words
from .numbers import number, promise


def headline(evidence: Evidence) -> str:
    """The verdict with its numbers, and why, where the cost is judged too."""
    is_over = evidence.details["over_budget"] and not evidence.details.get("withheld")
    return words.headline(evidence, _over_budget_reason(evidence) if is_over else None)


def remarks(evidence: Evidence) -> list[str]:
    """The multiplier and its cost, whatever the verdict."""
    return [
        *words.not_looked_at(evidence),
        *_cost_line(evidence),
        *words.controls_beside(evidence),
        *_pne_line(evidence),
        *words.texts_chosen(evidence.details["neutral"]),
    ]


def explanation(evidence: Evidence) -> list[str]:
    """Why the claim did not pass."""
    unclear = "not enough evidence that the cost is within the budget: measure more neutral texts"
    return [
        *words.decide(evidence, unclear if evidence.details["over_budget"] else None),
        *words.where(evidence, at=""),
        *words.curve(evidence),
        *_looked_at(evidence),
        *words.worst_items(evidence),
    ]


def _over_budget_reason(evidence: Evidence) -> str:
    """Why an intervention that cannot be brought within the budget got its verdict."""
    details = evidence.details
    low = details["cost_interval"][0]
    if evidence.has_no_threshold and (low is None or low >= details["budget"]):
        return "the cost exceeds the budget"
    if evidence.verdict is Verdict.FAIL:
        return (
            "the cost exceeds the budget" if low is None or low >= details["budget"] else "the interval is on the bad side"
        )
    return "the interval of the cost lies across the budget"


def _cost_line(evidence: Evidence) -> list[str]:
    """Where the claim was judged, and what it costs there."""
    details = evidence.details
    low, high = (number(bound, percent=True) for bound in details["cost_interval"])
    shown = f"[{low}, {high}] at {details['cost_confidence']:.4g} each side, over {details['neutral']['n']} texts"
    return [
        f"  judged at multiplier {number(details['multiplier_at_cost'])}: perplexity {number(details['cost'], percent=True)} {shown}; "
        f"budget {promise(details['budget'], percent=True)}"
    ]


def _pne_line(evidence: Evidence) -> list[str]:
    """The perplexity-normalised effect beside the effect, and what it is made of."""
    details = evidence.details
    if details["pne"] is None:
        return []
    base, steered = (details["matching_probability"][key] for key in ("base", "steered"))
    return [
        f"  PNE {number(details['pne'])}: probability of the matching answer {base:.3f} unsteered, {steered:.3f} steered; mean perplexity "
        f"x {details['mean_perplexity_ratio']:.3g}"
    ]


def _looked_at(evidence: Evidence) -> list[str]:
    """The multipliers with their costs, and the effect found beside that at the deployed multiplier."""
    details = evidence.details
    costs = sorted(details["looked_at"], key=lambda pair: abs(pair[0]))
    rows = [
        ["multiplier", *(f"{multiplier:.4g}" for multiplier, _ in costs)],
        ["perplexity", *("overflow" if cost is None else number(cost, percent=True) for _, cost in costs)],
    ]
    lines = words.table(rows, align="right")
    deployed = details["deployed"]
    dose = details["mean_effect"] / details["sd_unsteered"] if details["sd_unsteered"] else None
    lines.append(
        f"  mean effect {number(details['mean_effect'])} ({number(dose)} standard deviations of the unsteered propensities), "
        f"{'anti-steerable share' if words.effect_sign(evidence) > 0 else 'share that rises'} {details['anti_steerable_share']:.2f}; at the deployed multiplier {number(deployed['multiplier'])} mean effect "
        f"{number(deployed['mean_effect'])}"
    )
    return lines
