"""What makes the verdict of a mean doubtful: single items, skewness, no spread; and the share of items that keep the promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..evidence import Direction, Evidence, Verdict
from ..measures import Array
from ..stats import Inference, error_rate_of_t, is_clearly_skewed, judge, one_per_cluster, skewness_of
from .judged import share_of

Bounds = Callable[[Array, "Sequence[int] | None"], Inference]

_SEVERAL = 3  # more units than that, each of which decides, are a close verdict and no single weight
_MOST_REFITS = 300
_DOUBTFUL = 1.5  # times the stated error rate


def look_closer(
    evidence: Evidence, values: Array, bounds: Bounds, at: float | None, clusters: Sequence[int] | None, names: Sequence[str]
) -> None:
    """Put into the evidence of a mean the share of items on the promised side, and warnings where the verdict is doubtful.

    Args:
        values: [n_items] what the statistic is the mean of. bounds: its inference of values and their clusters.
        at: the threshold on the scale of the values; without one there is nothing to doubt. names: of the items, for the warnings.
    """
    if at is None:
        return
    is_least = evidence.direction is Direction.AT_LEAST
    if is_least and at == 0:
        at = math.ulp(0.0)  # as it is judged
    keeps = values >= at if is_least else values <= at
    share = share_of(keeps.astype(float), confidence=evidence.confidence, clusters=clusters)
    evidence.details["on_promised_side"] = {
        "items": int(keeps.sum()),
        "of": len(values),
        "share": share.estimate,
        "interval": [share.low, share.high],
    }
    if evidence.verdict not in (Verdict.PASS, Verdict.FAIL):
        return
    if equal := equal_values(evidence, values):
        evidence.warnings += equal
        return
    if "sequential" not in evidence.details:
        evidence.warnings += _of_single_units(evidence, values, bounds, at, clusters, names)
    evidence.warnings += _of_skewness(evidence, one_per_cluster(values, clusters), is_least)


def equal_values(evidence: Evidence, values: Array) -> list[str]:
    """The warning of a verdict on values that are all equal, whose interval has no width; none otherwise."""
    if evidence.verdict not in (Verdict.PASS, Verdict.FAIL) or values.min() < values.max():
        return []
    most = 1 - (1 - evidence.confidence) ** (1 / evidence.n)
    return [
        f"all {len(values)} values are equal, so the interval has no width; up to {most:.0%} of all {evidence.unit} could be others and "
        "be missed"
    ]


def _of_single_units(
    evidence: Evidence, values: Array, bounds: Bounds, at: float, clusters: Sequence[int] | None, names: Sequence[str]
) -> list[str]:
    """The units without which the verdict is another one."""
    of_item = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    units = np.unique(of_item)
    if len(units) < 3:
        return []
    if len(units) > _MOST_REFITS or "bootstrap" in evidence.interval_method:
        own = one_per_cluster(values, of_item.tolist())
        units = units[[int(own.argmin()), int(own.argmax())]]
    decisive = []
    for unit in units:
        rest = of_item != unit
        without = bounds(values[rest], None if clusters is None else of_item[rest].tolist())
        if judge(without, at, evidence.direction) is not evidence.verdict:
            decisive.append(int(unit))
    if not decisive:
        return []
    other = f"it would not {evidence.verdict}"
    if len(decisive) > _SEVERAL:
        return [f"the verdict is close: without any one of {len(decisive)} of the {evidence.n} {evidence.unit}, {other}"]
    one = (
        evidence.unit.removesuffix("s")
        if clusters is None
        else f"the cluster of {evidence.details.get('clusters', {}).get('unit', 'items').removesuffix('s')}"
    )
    found = [names[int(np.flatnonzero(of_item == unit)[0])] for unit in decisive]
    return [f"one of them decides: without {one} {' or '.join(found)}, {other}"]


def _of_skewness(evidence: Evidence, values: Array, is_least: bool) -> list[str]:
    """The error rate of t, where skewness makes it clearly larger than stated on the side that gave the verdict."""
    if evidence.interval_method not in ("t", "clustered t", "sequential t", "fieller", "clustered fieller"):
        return []
    skewness, n = skewness_of(values - values.mean()), len(values)
    lower = is_least == (evidence.verdict is Verdict.PASS)
    rate = error_rate_of_t(skewness if lower else -skewness, n, evidence.confidence)
    stated = 1 - evidence.confidence
    if not is_clearly_skewed(skewness, n) or rate <= _DOUBTFUL * stated:
        return []
    return [
        f"the values are skewed ({skewness:+.1f}): with n = {n}, a {evidence.verdict} that should be wrong in {stated:.2g} of cases is wrong "
        f"in about {rate:.2g}; measure more, or set interval: transformed_t"
    ]
