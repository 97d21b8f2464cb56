"""The words and figures of ``kl_below``: how the divergences are spread, over the multipliers, the worst texts and positions."""

from __future__ import annotations

from typing import Any

from ..evidence import Evidence
from . import words
from .figures import Curves, Distribution, Figure, Line, deployed_mark, promised_in
from .numbers import number


def remarks(evidence: Evidence) -> list[str]:
    """How the divergences are spread, over the positions and over the multipliers, whatever the verdict."""
    details = evidence.details
    each = details["quantiles"]
    within = details["within_limit"]
    kept = "" if within is None else f" {within / details['positions']:.1%} are within the limit"
    where = "positions" if details["on"] == "texts" else "answers"
    return [
        f"  of {details['positions']} {where}{kept}: mean {number(details['mean'])}, median {number(each['0.5'])}, "
        f"worst decile from {number(each['0.9'])}, largest {number(each['1'])} nats",
        *(["  at each multiplier: " + _line_of(details["curve"])] if details["curve"] else []),
        *_controls_line(evidence),
        *words.not_looked_at(evidence),
    ]


def explanation(evidence: Evidence) -> list[str]:
    """Why the claim did not pass."""
    details = evidence.details
    unit = details["on"]
    worst = sorted(details[unit], key=lambda one: -one["kl"])[: words.WORST]
    return [
        *words.decide(evidence),
        *words.where(evidence),
        f"  worst {unit} (nats, mean over positions and largest):",
        *(
            f"    [{one['id']}] {number(one['kl'])}, {number(one['largest'])}  {words.shorten(one['text'], 90)}"
            for one in worst
        ),
        "  worst positions (nats, and the token that is predicted there):",
        *(f"    [{one['id']}] {number(one['kl'])}  {one['text']}" for one in details["worst_positions"]),
    ]


def figures(record: dict[str, Any]) -> list[Figure]:
    """The divergence of each text or item, and over the multipliers where it was measured there."""
    details = record["details"]
    unit = details["on"]
    each = Distribution(
        title="Divergence by text" if unit == "texts" else "Divergence by item",
        about=f"Mean KL divergence over the positions of each of {len(details[unit])} {unit}.",
        values=[one["kl"] for one in details[unit]],
        x="KL divergence, nats",
        unit=unit,
    )
    if not details["curve"]:
        return [each]
    points = sorted([(0.0, 0.0), *((multiplier, kl) for multiplier, kl in details["curve"])])
    curve = Curves(
        title="Divergence over the multiplier",
        about="The unsteered model, at 0, diverges by 0.",
        lines=[Line("KL divergence", points)],
        y="mean KL divergence, nats",
        marked=deployed_mark(record),
        promised=[] if "quantile" in record["statistic"] else promised_in(record),
    )
    return [curve, each]


def _controls_line(evidence: Evidence) -> list[str]:
    found = evidence.details.get("controls")
    if found is None:
        return []
    unit = evidence.details["on"]
    return [
        f"  controls: {found['count']} random directions of equal norm, on {found['n']} {unit}, have a divergence of {number(min(found['kl']))} to "
        f"{number(max(found['kl']))} nats"
    ]


def _line_of(curve: list[list[float]]) -> str:
    return ", ".join(f"{multiplier:g}: {number(kl)}" for multiplier, kl in sorted(curve))
