"""Formats of vector files: the decorator :func:`vector_format`, and :class:`Stored`, what a reader returns.

Values are checked before anything is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from ...core.errors import VectorError
from ...core.file_formats import format_decorator
from ..directions import Directions

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Numbering = Literal["said", "rows", "keys"]


@dataclass(frozen=True)
class Stored:
    """Directions as a file gives them.

    Attributes:
        directions: {layer: tensor [width]}. The key None stands for a layer that the file does not say; it is then the only key.
        metadata: the record of a file of ours; otherwise ``source``, see :func:`source`.
        numbering: where the layers come from. ``said``: the format defines them. ``rows``: places in a stack, which may have been
            made with the embedding as row 0. ``keys``: numbers in names, whose origin is the user's.
    """

    directions: Mapping[int | None, torch.Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    numbering: Numbering = "said"


def source(format: str, layers: str, **more: Any) -> dict[str, Any]:
    """The metadata of a vector that another program wrote.

    Args:
        format: name of the format.
        layers: how its numbers of layers were taken.
        more: what else the file says of itself.
    """
    return {"source": {"format": format, "layers": layers, "norm": "as stored, not rescaled", **more}}


def checked(value: Any, what: str) -> torch.Tensor:
    """``value`` as float32 if it is one direction: a dense floating-point tensor of shape [width], or [1, width] taken as that.

    Raises:
        VectorError: it is something else; NaN, infinity and zeros are left to SteeringVector.
    """
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        raise VectorError(f"{what} is a {type(value).__name__}, not a tensor of shape [width]")
    tensor: torch.Tensor = value.detach()
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        kind = "quantized" if tensor.is_quantized else f"{tensor.layout} on {tensor.device}"
        raise VectorError(f"{what} is {kind}; save it as a dense tensor of floats on the cpu")
    if tensor.dtype not in _FLOATS:
        raise VectorError(
            f"{what} has dtype {tensor.dtype}; a direction is float32 (or float16, bfloat16, float64). If it is the right tensor, "
            "convert it: tensor.float()"
        )
    shape = list(tensor.shape)
    while tensor.ndim > 1 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 1:
        raise VectorError(
            f"{what}: a direction has shape [width], not {shape}. Save the one that you mean, such as tensor[position, layer]"
        )
    if tensor.numel() == 0:
        raise VectorError(f"{what} is empty")
    _check_size(tensor, what, str(tensor.numel()))
    return tensor.to(torch.float32)


def checked_rows(tensor: torch.Tensor, what: str = "the tensor") -> list[torch.Tensor]:
    """A tensor [width] as one direction, a tensor [layers, width] (or [layers, 1, width]) as one per row.

    Raises:
        VectorError: another shape or type of values, empty, or it claims more than the file stores.
    """
    if tensor.layout is torch.strided and tensor.ndim == 3 and 1 in tensor.shape[:2]:
        tensor = tensor.squeeze(0 if tensor.shape[0] == 1 else 1)
    if tensor.ndim != 2 or tensor.layout is not torch.strided:
        return [checked(tensor, what)]
    if 0 in tensor.shape:
        raise VectorError(f"{what} of shape {list(tensor.shape)} is empty")
    _check_size(tensor, what, str(list(tensor.shape)))
    return [checked(row, f"row {index}") for index, row in enumerate(tensor.detach().unbind(0))]


def _check_size(tensor: torch.Tensor, what: str, size: str) -> None:
    """Refuse a tensor that claims any size for one stored value, by a stride of 0."""
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise VectorError(f"{what} claims {size} values, more than the file stores for it")


def layer_number(text: str) -> int | None:
    """The layer that decimal digits stand for, written as numbers are: no sign, no leading zeros; or None."""
    if text.isascii() and text.isdigit() and len(text) <= 6 and str(int(text)) == text:
        return int(text)
    return None


Reader = TypeVar("Reader", bound=Callable[..., Stored])
Writer = Callable[[Directions, Mapping[str, Any], Path], None]


def vector_format(
    name: str,
    *,
    suffixes: Sequence[str],
    recognises: Callable[[bytes], bool] | None = None,
    write: Writer | None = None,
) -> Callable[[Reader], Reader]:
    """Register a function that reads a file as a format of steering vectors.

    The function gets the path and returns what the file says, as :class:`Stored`. Whatever it raises becomes an error with the
    file's name. Its keywords with a ``Param`` are its settings: they stand beside ``file`` in a claim file, and are keywords of
    ``SteeringVector.load``.

    Args:
        suffixes: those of its files, such as ``[".gguf"]``. One that is longer than that of another format, such as ``.sae.npz``, wins over it.
        recognises: whether the first 512 bytes of a file are those of this format, for files whose suffix says nothing or the wrong thing.
        write: writes directions and metadata to a path, for ``SteeringVector.save``.

    Raises:
        SteerError: the name or a suffix is taken.
    """
    return format_decorator("vector format", name, suffixes, recognises=recognises, write=write)
