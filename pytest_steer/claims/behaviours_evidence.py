"""What the evidence of ``leaves_alone`` holds beside its verdict: units of all behaviours, doubts about the furthest one, the comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.clusters import clusters_of
from ..evidence import Evidence, Verdict
from ..measures import Array
from ..stats import Inference
from .behaviours import Behaviour
from .doubts import look_closer
from .judged import share_of
from .units import units_record

Mean = Callable[[Array, "Sequence[int] | None", float], Inference]


def behaviours_units(measured: Sequence[Behaviour], multiplier: float, by_effect: bool, grid: list[float]) -> dict[str, Any]:
    """The evidence's ``units`` record: the items of each behaviour, turned so that its mean is its size.

    Args:
        by_effect: the effects at the deployed multiplier, per unit of it, decide in the place of slopes.
    """
    parts = [one.at_deployed.effects(multiplier) / multiplier if by_effect else one.values for one in measured]
    items = [item for one in measured for item in one.sample.units]
    numbers = [*range(len(measured))]
    labels = [(at, own) for at in numbers for own in measured[at].sample.clusters or range(len(parts[at]))]
    put = {one.name: {"context": one.context.to_dict()} for one in measured}
    return units_record(
        [item.form for item in items],
        [item.id for item in items],
        np.concatenate([own if own.mean() >= 0 else -own for own in parts]),
        unit="items",
        clusters=clusters_of(labels),
        parts=[one.name for one in measured for _ in one.values] if len(measured) > 1 else None,
        how={"put": put} if by_effect else {"put": put, "multipliers": grid},
    )


def look_closer_at(
    evidence: Evidence, furthest: Behaviour, band: float, tests: int, multiplier: float, at_deployed: bool, mean: Mean
) -> None:
    """Put into the evidence what makes its verdict doubtful, and the share of the furthest behaviour's items that are inside.

    Args:
        tests: how many were made, by which the level of a fail is divided. at_deployed: the effects at the deployed multiplier decide.
        mean: the inference of values, their clusters and a confidence.
    """
    kept = 1 - evidence.confidence
    level = 1 - (kept if evidence.verdict is Verdict.PASS else kept / tests)
    values = furthest.values
    if at_deployed and furthest.deployed_size is not None:
        values = furthest.at_deployed.effects(multiplier) / multiplier
    look_closer(
        evidence,
        values if values.mean() >= 0 else -values,
        lambda values, clusters: mean(values, clusters, level),
        band,
        furthest.sample.clusters,
        [item.id for item in furthest.sample.units],
    )
    inside = abs(values) <= band
    share = share_of(inside.astype(float), confidence=evidence.confidence, clusters=furthest.sample.clusters)
    evidence.details["on_promised_side"] = {
        "items": int(inside.sum()),
        "of": len(inside),
        "share": share.estimate,
        "interval": [share.low, share.high],
    }


def behaviours_compared(evidence: Evidence) -> dict[str, Any]:
    """What it says in a comparison of methods."""
    kept = ("name", "estimate", "interval", "effect", "verdict")
    details = evidence.details
    return {
        "by": details["by"],
        "band": evidence.threshold,
        "behaviours": [{key: one[key] for key in kept} for one in details["behaviours"]],
        "own": {key: details["own"][key] for key in kept[1:4]} if "own" in details else None,
        "entanglement": details["entanglement"],
    }
