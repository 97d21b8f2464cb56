"""What the checks over contrast items share: measuring the curve and recording it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..errors import DataError, SteerError
from ..extract import letter_imbalance
from ..metrics import PropensityCurve, check_multipliers, check_slope_grid, propensity_curve, steering_receipt, strata
from ..model import Model
from ..prompting import Context, Items
from ..stats import Direction, Verdict
from .evidence import Evidence
from .subject import Subject, describe_model, describe_receipt


def measure_items(
    model: Model,
    subject: Subject,
    items: Items,
    multipliers: Sequence[float],
    *,
    check: str,
    name: str,
    statistic: str,
    direction: Direction,
    threshold: float,
    confidence: float,
    context: Context,
) -> tuple[PropensityCurve, Evidence]:
    """The propensity curve, and evidence with everything but estimate, interval and verdict.

    Raises:
        DataError: fewer than two items.
        SteerError: multipliers without a slope, or an intervention whose strength has none.
        VectorError, MeasurementError: see ``propensity_curve`` and ``Model.check_fits``.
    """
    started = time.perf_counter()
    if len(items) < 2:
        raise DataError(f"{items.source}: has {len(items)} item(s); an interval needs at least two")
    grid = check_multipliers(multipliers)
    check_slope_grid(grid)
    change = subject.intervention
    if change.strength != "linear":
        raise SteerError(
            f"the strength of {change.method!r} is {change.strength}, so a slope over multipliers has no meaning for it"
        )
    curve = propensity_curve(
        model,
        items,
        change,
        multipliers=grid,
        positions=subject.positions,
        include_first=subject.include_first,
        context=context,
        allow_mismatch=subject.allow_mismatch,
    )
    receipt = steering_receipt(model, curve.probes, change, subject.multiplier)
    evidence = Evidence(
        check=check,
        name=name,
        verdict=Verdict.ERROR,
        statistic=statistic,
        confidence=confidence,
        threshold=threshold,
        direction=direction,
        n=len(items),
        multiplier=subject.multiplier,
        model=describe_model(model),
        vector=subject.describe(receipt),
        data={"hash": items.hash, "n": len(items), "source": items.source},
        multipliers=[float(m) for m in grid],
        curve=[float(p) for p in curve.mean],
        items=[_record(curve, index) for index in range(len(items))],
        strata=[vars(stratum) for stratum in strata(curve)],
        receipt=describe_receipt(receipt),
        details=_details(curve),
        seconds=time.perf_counter() - started,
    )
    evidence.warnings += _warnings(subject, items)
    return curve, evidence


def _warnings(subject: Subject, items: Items) -> list[str]:
    vector = subject.intervention.vector
    record = vector.metadata if vector is not None else {}
    found = []
    seen = set(record.get("item_hashes") or ()) & set(items.item_hashes)
    if seen:
        found.append(
            f"{len(seen)} of these {len(items)} items were used to extract the vector: test it on items that it did not see"
        )
    letters = letter_imbalance(record.get("label_balance") or {})
    if letters:
        found.append(letters)
    return found


def _record(curve: PropensityCurve, index: int) -> dict[str, Any]:
    item = curve.items[index]
    return {
        "id": item.id,
        "propensity": [float(p) for p in curve.values[index]],
        "slope": float(curve.slopes[index]),
        "label": item.label,
        "question": item.question,
        "matching": list(item.matching),
        "not_matching": list(item.not_matching),
    }


def _details(curve: PropensityCurve) -> dict[str, Any]:
    return {
        "steerability": curve.steerability,
        "anti_steerable_share": float(curve.anti_steerable.mean()),
        "curvature": float(curve.curvatures.mean()) if curve.curvatures is not None else None,
        "monotonicity": float(curve.monotonicity.mean()),
    }
