"""The file of lm-eval's ``steered`` model: ``{hookpoint: {steering_vector, steering_coefficient, action, bias}}`` as ``.pt``.

Source, as read: lm_eval/models/hf_steered.py of EleutherAI's lm-evaluation-harness. A hookpoint is the name of a module of
``model.base_model`` (``layers.14``, ``h.14``), and its hook changes that module's output at every position, the first one included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...core.errors import VectorError
from .kinds import Stored, source
from .layers import by_names

LAYERS = "hookpoint N is the output of decoder block N, 0-based (lm-eval)"
LATE_BINDING = (
    "lm-eval adds the last vector of such a file at every one of its layers (its hooks share one variable, as of the code that was "
    "read): convert one layer, --layers 14"
)
_KEYS = {"steering_vector", "steering_coefficient", "action", "bias"}


def write_steered(directions: Mapping[int, torch.Tensor], file: Path, *, multiplier: float, blocks: str) -> None:
    """Write vectors that are added.

    Args:
        blocks: the name of the list of decoder blocks below ``model.base_model``: ``layers``, of GPT-2 ``h``.

    Raises:
        VectorError: another suffix, or the file cannot be written.
    """
    if file.suffix.lower() not in (".pt", ".pth"):
        raise VectorError(f"{file}: lm-eval takes .pt or .pth: give it that suffix")
    content = {
        f"{blocks}.{layer}": {
            "steering_vector": direction.clone(),
            "steering_coefficient": float(multiplier),
            "action": "add",
            "bias": None,
        }
        for layer, direction in directions.items()
    }
    try:
        torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise VectorError(f"{file}: cannot be written: {error}") from None


def is_steered(content: Any) -> bool:
    """Whether what a ``.pt`` file holds is such a file."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(entry, dict) and "steering_vector" in entry for entry in content.values())
    )


def from_steered(content: Mapping[str, Mapping[str, Any]]) -> Stored:
    """The vectors times their coefficients, as lm-eval adds them at multiplier 1.

    Raises:
        VectorError: an entry does something else than add, or its hookpoint is no decoder block.
    """
    vectors = {}
    for hookpoint, entry in content.items():
        action = entry.get("action", "add")
        if action != "add":
            raise VectorError(f"the hookpoint {hookpoint!r} has the action {action!r}; a vector here is added")
        unknown = entry.keys() - _KEYS
        if unknown or isinstance(entry.get("head_index"), int):
            raise VectorError(f"the hookpoint {hookpoint!r} has {', '.join(sorted(map(repr, unknown)))}, which is not known")
        coefficient = entry.get("steering_coefficient", 1.0)
        if isinstance(coefficient, bool) or not isinstance(coefficient, (int, float)):
            raise VectorError(f"the steering_coefficient of {hookpoint!r} is {coefficient!r}, no number")
        if not isinstance(entry["steering_vector"], torch.Tensor):
            raise VectorError(f"the steering_vector of {hookpoint!r} is no tensor")
        vectors[str(hookpoint)] = entry["steering_vector"] * float(coefficient)
    found = by_names(vectors, "lm-eval", "hookpoint")
    if None in found.directions:
        raise VectorError(f"the hookpoint {next(iter(vectors))!r} names no decoder block, such as layers.14")
    about = source("lm-eval steered", LAYERS, norm="times its steering_coefficient")
    return Stored(found.directions, about)
