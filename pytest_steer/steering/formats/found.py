"""What a file says, and what it leaves to the caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ...errors import VectorError

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Found:
    """Directions as a file gives them.

    Attributes:
        directions: {layer: tensor [width]}. The key None stands for a layer that the file does not say; it is then the only key.
        metadata: the record of a file of ours; otherwise ``source``, see :func:`source`.
    """

    directions: Mapping[int | None, torch.Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def source(format: str, layers: str, **more: Any) -> dict[str, Any]:
    """The metadata of a vector that another program wrote.

    Args:
        format: name of the format.
        layers: how its numbers of layers were taken.
        more: what else the file says of itself.
    """
    return {"source": {"format": format, "layers": layers, "norm": "as stored, not rescaled", **more}}


def place(found: Found, wanted: tuple[int, ...] | None, file: Path) -> Found:
    """``found`` at the layers that are wanted, or at all that it has.

    Raises:
        VectorError: the file does not say the layer and ``wanted`` is not one, or it has nothing for one of ``wanted``.
    """
    if None in found.directions:
        if wanted is None or len(wanted) != 1:
            given = "" if wanted is None else f", not {len(wanted)}"
            raise VectorError(
                f"{file}: holds one direction and does not say for which layer. Give layer: the one decoder block, counted from "
                f"0, whose output it is added to{given}"
            )
        metadata = dict(found.metadata)
        metadata["source"] = {
            **metadata["source"],
            "layers": f"the file does not say; placed at layer {wanted[0]} on request",
        }
        return Found({wanted[0]: found.directions[None]}, metadata)
    if wanted is None:
        return found
    check_has(wanted, found.directions, file)
    return replace(found, directions={layer: found.directions[layer] for layer in wanted})


def check_has(wanted: Iterable[int], layers: Iterable[int | None], file: Path) -> None:
    """Raises:
    VectorError: one of ``wanted`` is not among ``layers``.
    """
    there = sorted(layer for layer in layers if layer is not None)
    missing = [layer for layer in wanted if layer not in there]
    if missing:
        raise VectorError(
            f"{file}: has no direction for layer {missing[0]}; it has {there}. A direction is moved to another layer by hand: "
            "SteeringVector({layer: tensor})"
        )


def checked(value: Any, file: Path, what: str) -> torch.Tensor:
    """``value`` as float32 if it is one direction: a dense floating-point tensor of shape [width].

    Raises:
        VectorError: it is something else; NaN, infinity and zeros are left to SteeringVector.
    """
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        raise VectorError(f"{file}: {what} is a {type(value).__name__}, not a tensor of shape [width]")
    tensor: torch.Tensor = value.detach()
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise VectorError(
            f"{file}: {what} is {'quantized' if tensor.is_quantized else f'{tensor.layout} on {tensor.device}'}; save it as a "
            "dense tensor of floats on the cpu"
        )
    if tensor.dtype not in _FLOATS:
        raise VectorError(
            f"{file}: {what} has dtype {tensor.dtype}; a direction is float32 (or float16, bfloat16, float64). If it is the "
            "right tensor, convert it: tensor.float()"
        )
    if tensor.ndim != 1:
        raise VectorError(f"{file}: {what}: a direction has shape [width], not {list(tensor.shape)}")
    if tensor.numel() == 0:
        raise VectorError(f"{file}: {what} is empty")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        # A stride of 0 claims any size for one stored value.
        raise VectorError(f"{file}: {what} claims {tensor.numel()} values, more than the file stores for it")
    return tensor.to(torch.float32)


def layer_number(text: str) -> int | None:
    """The layer that decimal digits stand for, written as numbers are: no sign, no leading zeros; or None."""
    if text.isascii() and text.isdigit() and len(text) <= 6 and str(int(text)) == text:
        return int(text)
    return None
