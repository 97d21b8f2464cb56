"""``.svec`` files of IBM's activation-steering package (CAST).

``{"model_type": text, "directions": {layer: [width numbers]}, "explained_variances": {layer: number}}``, as its
``SteeringVector.save`` writes it (activation_steering/steering_vector.py).

Layers: the direction of layer N was read from ``hidden_states[N + 1]``, the output of decoder block N counted from 0, and
that is our layer N. That package itself adds it before block N (leash_layer.py changes the input of the wrapped block), which is
the output of block N - 1. The number is kept as where the direction was read, and the record says so.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from ...core.errors import VectorError
from ...core.evidence import Json
from .kinds import Stored, checked, layer_number, source, vector_format

LAYERS = (
    "direction N was read at the output of decoder block N, 0-based, and is added there; the activation-steering package itself "
    "adds it to the input of block N, which is layer N - 1 here"
)


@vector_format("svec", suffixes=[".svec"])
def read(file: Path) -> Stored:
    """JSON of the activation-steering package (CAST)."""
    content = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    stored = content.get("directions") if isinstance(content, dict) else None
    if not isinstance(stored, dict) or not stored:
        raise VectorError(
            "a .svec file is a JSON object with directions, "
            '{"model_type": "llama", "directions": {"14": [0.1, ...]}, "explained_variances": {"14": 0.5}}'
        )
    directions: dict[int | None, torch.Tensor] = {}
    for name, values in stored.items():
        layer = layer_number(name)
        if layer is None:
            raise VectorError(f"directions has the key {name!r}; expected a decoder block's number, from 0 on")
        directions[layer] = checked(_tensor(values, layer), f"layer {layer}")
    model_type = content.get("model_type")
    about = {"model_hint": model_type} if isinstance(model_type, str) else {}
    return Stored(directions, source("activation-steering .svec", LAYERS, **about))


def _tensor(values: Any, layer: int) -> torch.Tensor:
    if not isinstance(values, list):
        raise VectorError(f"layer {layer} has to be a list of numbers, one per hidden unit, not {repr(values)[:40]}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise VectorError(f"layer {layer} has to be a list of numbers; it has {repr(value)[:40]}")
    try:
        return torch.tensor([float(value) for value in values], dtype=torch.float64)
    except OverflowError:
        raise VectorError(f"layer {layer} has a number that is too large for a float") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> Json:
    repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if repeated:
        raise ValueError(f"the key {repeated[0]!r} stands twice in one object")
    return dict(pairs)
