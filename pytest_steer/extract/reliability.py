"""Before a vector is used: do the pairs that it was made from agree with it, and does it tell the two sides apart?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from ..errors import SteerWarning
from ..steering import SteeringVector
from .contrast import Contrast

# No paper gives thresholds: Braun et al. report that both predict how reliably a vector steers (rank correlations over
# behaviours of about .76 with steerability). These bounds are ours: differences that lie on average more than 78 degrees off
# the vector, and two sides of which the projection sorts fewer than 76 % of random pairs (d' = 1).
LOW_AGREEMENT = 0.2
LOW_D_PRIME = 1.0


def reliability(contrast: Contrast, directions: Mapping[int, torch.Tensor]) -> dict[str, dict[str, float | None]]:
    """Directional agreement and d' of a vector on the data that it was made from (Braun et al. 2025, arXiv 2505.22637).

    ``agreement``: mean cosine of the pairs' differences with the vector; None for data without pairs. It is measured on the
    pairs themselves, so n unrelated differences agree with their own mean by about 1 / sqrt(n). ``d_prime``: distance
    of the two sides' means along the vector over the root of their mean variance; None if that is 0 or a side has one row.

    Returns:
        {layer as text: {"agreement": ..., "d_prime": ...}}, ready for metadata.
    """
    found: dict[str, dict[str, float | None]] = {}
    for layer, direction in directions.items():
        unit = direction.double() / direction.double().norm()
        positive, negative = contrast.positive[layer], contrast.negative[layer]
        agreement = None
        if contrast.paired:
            agreement = float(torch.cosine_similarity(positive - negative, unit[None], dim=1).mean())
        d_prime = None
        if min(len(positive), len(negative)) > 1:
            one, other = positive @ unit, negative @ unit
            spread = float(((one.var() + other.var()) / 2).sqrt())
            d_prime = float(one.mean() - other.mean()) / spread if spread > 0 else None
        found[str(layer)] = {"agreement": agreement, "d_prime": d_prime}
    return found


def unreliable(record: Mapping[str, Any]) -> str | None:
    """The words of the warning about a vector that its own data do not support, or None.

    Args:
        record: metadata of a vector, of which ``reliability`` counts.
    """
    low = []
    for layer, found in (record.get("reliability") or {}).items():
        agreement, d_prime = found.get("agreement"), found.get("d_prime")
        # The spread of paired sides is mostly that of their questions, so there d' is shown and agreement decides.
        if agreement < LOW_AGREEMENT if agreement is not None else d_prime is not None and d_prime < LOW_D_PRIME:
            numbers = [
                f"{name} {value:.2f} (low under {bound:g})"
                for name, value, bound in (
                    ("directional agreement", agreement, LOW_AGREEMENT), ("d'", d_prime, LOW_D_PRIME)
                )
                if value is not None
            ]  # fmt: skip
            low.append(f"layer {layer}: {', '.join(numbers)}")
    if not low:
        return None
    more = f" (and {len(low) - 3} further layers)" if len(low) > 3 else ""
    return (
        f"the vector's own training data support it weakly: {'; '.join(low[:3])}{more}. Both numbers predict how reliably a "
        "vector steers (Braun et al. 2025); the bounds are this package's own: use more or clearer pairs, or another layer"
    )


def with_reliability(contrast: Contrast, vector: SteeringVector, *, stacklevel: int = 3) -> SteeringVector:
    """The vector with its reliability in its metadata; warn if that is low.

    Warns:
        SteerWarning: see :func:`unreliable`.
    """
    numbers = reliability(contrast, vector.directions)
    assert all(v is None or math.isfinite(v) for found in numbers.values() for v in found.values())
    made = SteeringVector(vector.directions, {**vector.metadata, "reliability": numbers})
    words = unreliable(made.metadata)
    if words:
        warnings.warn(SteerWarning(words), stacklevel=stacklevel)
    return made


def record_with_reliability(contrast: Contrast, method: str, **more: Any) -> dict[str, Any]:
    """The metadata of a map that ``method`` makes of a contrast, with the numbers of the mean difference.

    Args:
        more: the method's settings.
    """
    differences = {at: contrast.mean_difference(at) for at in contrast.layers}
    numbers = reliability(contrast, {at: d for at, d in differences.items() if d.any()})
    return {"method": method, **more, **contrast.record, "reliability": numbers}
