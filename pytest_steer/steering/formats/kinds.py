"""Formats of vector files: the decorator :func:`vector_format`, :class:`Stored`, what a reader returns, and the layers of its directions.

Values are checked before anything is made of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import torch

from ...core.errors import VectorError
from ...core.evidence import Json
from ...core.file_formats import format_decorator
from ..directions import Directions, check_layers

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


def source(format: str, layers: str, **more: Any) -> Json:
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
Writer = Callable[[Directions, Mapping[str, object], Path], None]


def vector_format(
    name: str, *, suffixes: Sequence[str], recognises: Callable[[bytes], bool] | None = None, write: Writer | None = None
) -> Callable[[Reader], Reader]:
    """Register a function that reads a file as a format of steering vectors.

    The function gets the path and returns what the file says, as :class:`Stored`. Whatever it raises becomes an error with the
    file's name. Its keywords with a ``Param`` are its settings: they are keys next to ``file`` in a claim file, and are keywords of
    ``SteeringVector.load``.

    Args:
        suffixes: those of its files, such as ``[".gguf"]``. One that is longer than that of another format, such as ``.sae.npz``, wins over it.
        recognises: whether the first 512 bytes of a file are those of this format, for files whose suffix says nothing or the wrong thing.
        write: writes directions and metadata to a path, for ``SteeringVector.save``.

    Raises:
        SteerError: the name or a suffix is taken.
    """
    return format_decorator("vector format", name, suffixes, recognises=recognises, write=write)


# --- which decoder block each direction is for: read off names, numbered by rows, chosen by the caller, compared with the model's depth ---
#
# Errors are without the file's name, which the caller adds.

KEYS = "the file's keys, as 0-based decoder blocks whose output is changed"
ROWS = "row i is the output of decoder block i, 0-based (unless `rows` says otherwise)"
UNSAID = "not said by the file"

_LAYER = r"(?:vec_|decoder_)?layers?|blocks?|h"
_NUMBERED = re.compile(rf"(?:(?P<word>{_LAYER}|(?:steering_)?(?:vectors?|vecs?)|directions?|arr)_?)?(?P<number>[0-9]+)")
_LAYER_WORD = re.compile(_LAYER)
_WORD = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
# Names that may follow the number of a direction at a block's output. Any other name may mean another place: the input of
# the block (hook_resid_pre), its MLP, one of its norms.
_TAILS = re.compile(
    "weight|bias|param(eter)?|data|value|activation|output|delta|(mean_)?diff|dir(ection)?|v|(steering_)?vec(tor)?|steer(ing)?|"
    "resid(ual)?|(hook_)?resid_post"
)
_ELSEWHERE = re.compile(
    r"hidden_?states?|inputs?|(?:.*_)?(?:pre|mid)|.*(?:encoder|vision|visual|audio|attn|attention|mlp|norm|proj|embed|lora).*"
)


def by_names(
    tensors: Mapping[Any, Any], format: str, what: str = "key", *, read: Callable[[Any], Any] = lambda value: value
) -> Stored:
    """Directions by the layers that their names say; a single tensor need not say one, and may be a stack.

    Args:
        tensors: name, or number of a layer, to tensor.
        format: for the record, ``.pt`` or ``.npz``.
        what: what the names are called in messages.
        read: gives the tensor for a value of ``tensors``; called once all names are known to be good.

    Raises:
        VectorError: a name that says no layer, a layer twice, or a tensor that is no direction.
    """
    places = {name: _place(name) for name in tensors}
    if len(tensors) == 1:
        ((name, tensor),) = tensors.items()
        said, sure = places[name] or (None, False)
        is_plain = isinstance(name, str) and all(_WORD.fullmatch(part) for part in name.split("."))
        # The first of a list of parameters, or of arrays without names, is no block 0.
        if (said is None and is_plain) or (said == 0 and not sure):
            tensor, named = read(tensor), f"{what} {name!r}"
            return stacked(checked_rows(tensor, named) if hasattr(tensor, "ndim") else [checked(tensor, named)], format)
    layers: dict[int, Any] = {}
    for name, place in places.items():  # before any tensor is read: the file may be a whole model
        if place is None:
            raise VectorError(
                f"has the {what} {repr(name)[:60]}, which is no layer. Expected {{layer: tensor}} with decoder blocks' "
                f"numbers, from 0 on, such as 14, 'layer.14' or 'model.layers.14.vector'; it has "
                f"{', '.join(repr(one)[:60] for one in list(tensors)[:5])}"
            )
        if place[0] in layers:
            raise VectorError(f"has layer {place[0]} twice; the second time it is the {what} {repr(name)[:60]}")
        layers[place[0]] = name
    directions: dict[int | None, Any] = {
        layer: checked(read(tensors[name]), f"layer {layer}") for layer, name in layers.items()
    }
    # Numbers without a word for layers, from 0 on without a gap, may be places in a list.
    listed = not any(place and place[1] for place in places.values()) and set(directions) == set(range(len(directions)))
    if listed:
        return Stored(directions, source(f"{format} {{layer: tensor}}", ROWS), "rows")
    return Stored(directions, source(f"{format} {{layer: tensor}}", KEYS), "keys")


def stacked(rows: list[Any], format: str) -> Stored:
    """One direction whose layer is not said, or a stack of them."""
    if len(rows) == 1:
        return Stored({None: rows[0]}, source(f"{format} tensor", UNSAID))
    return Stored(dict(enumerate(rows)), source(f"{format} [layers, width]", ROWS), "rows")


def _place(name: Any) -> tuple[int, bool] | None:
    """The layer that a name says, and whether it says that the number is a layer's; None if it says none, or several numbers."""
    if isinstance(name, int) and not isinstance(name, bool):
        return (name, True) if name >= 0 else None
    if not isinstance(name, str):
        return None
    parts = name.split(".")
    numbered = [(at, match) for at, part in enumerate(parts) if (match := _NUMBERED.fullmatch(part))]
    if len(numbered) != 1:
        return None
    ((at, match),) = numbered
    before, after = parts[:at], parts[at + 1 :]
    number = layer_number(match["number"])
    if number is None or any(not _TAILS.fullmatch(part) for part in after):
        return None
    if any(not _WORD.fullmatch(part) or _ELSEWHERE.fullmatch(part) for part in before):
        return None
    word = match["word"] or (before[-1] if before else None)
    return number, word is None or _LAYER_WORD.fullmatch(word) is not None


Layer = int | Iterable[int] | Literal["all"] | None
Rows = Literal["blocks", "hidden_states"]

HIDDEN_STATES = "row k + 1 is the output of decoder block k and row 0 the embedding, as `rows: hidden_states` says"
BLOCKS = "row k is the output of decoder block k, as `rows: blocks` says"


def wanted_layers(layer: Layer) -> tuple[int, ...] | None:
    """The layers that are asked for; None for all that the file has.

    Raises:
        VectorError: no layer, or something that is none.
    """
    if layer is None or layer == "all":
        return None
    if isinstance(layer, str):
        raise VectorError(f"layer is a decoder block's number, a list of them, or 'all'; not {layer!r}")
    wanted: tuple[int, ...] = (layer,) if isinstance(layer, int) else tuple(layer)
    if not wanted:
        raise VectorError("layer is a decoder block's number or several of them, and this is none")
    check_layers(wanted)
    return wanted


def check_rows(rows: str | None) -> Rows | None:
    """``rows`` itself, if it is one of those there are.

    Raises:
        VectorError: it is not.
    """
    if rows is not None and rows not in get_args(Rows):
        raise VectorError(f"rows is blocks or hidden_states; not {rows!r}")
    return rows  # type: ignore[return-value]


def numbered(found: Stored, rows: Rows | None) -> Stored:
    """``found`` with its numbers as blocks, and with what :func:`check_depth` needs.

    Raises:
        VectorError: ``rows`` of a file that has none.
    """
    if found.numbering == "said" or None in found.directions:
        if rows is not None:
            held = "one direction" if len(found.directions) == 1 else "directions whose layers the format defines"
            raise VectorError(f"`rows` says what the rows of a stack are, and this file holds {held}. Delete `rows`")
        return found
    about = dict(found.metadata.get("source", {}))
    numbers = [layer for layer in found.directions if layer is not None]
    if found.numbering == "rows":
        about.setdefault("rows", len(numbers))
    elif len(numbers) > 1:
        about.setdefault("highest", max(numbers))
    directions: Mapping[int | None, Any] = found.directions
    if rows is not None:
        about |= {"rows_are": rows, "layers": BLOCKS if rows == "blocks" else HIDDEN_STATES}
    if rows == "hidden_states":
        directions = {layer - 1: found.directions[layer] for layer in numbers if layer > 0}
        if not directions:
            raise VectorError("holds row 0 alone, and with `rows: hidden_states` that is the embedding, no block")
    return replace(found, directions=directions, metadata={**found.metadata, "source": about})


def restored(found: Stored) -> Stored:
    """A file of ours that was made from somebody's stack, or numbered tensors, before anybody said what its numbers are."""
    about = found.metadata.get("source")
    if not isinstance(about, dict) or "rows_are" in about:
        return found
    if type(about.get("rows")) is int:
        return replace(found, numbering="rows")
    return replace(found, numbering="keys") if type(about.get("highest")) is int else found


def check_has(wanted: Iterable[int], layers: Iterable[int | None]) -> None:
    """Refuse to take layers that are not there.

    Raises:
        VectorError: one of ``wanted`` is not among ``layers``.
    """
    there = sorted(layer for layer in layers if layer is not None)
    missing = [layer for layer in wanted if layer not in there]
    if missing:
        raise VectorError(
            f"has no direction for layer {missing[0]}; it has {there}. Move a direction to another layer by hand: "
            "SteeringVector({layer: tensor})"
        )


def place(found: Stored, wanted: tuple[int, ...] | None) -> Stored:
    """``found`` at the layers that are wanted, or at all that it has.

    Raises:
        VectorError: the file does not say the layer and ``wanted`` is not one, or it has nothing for one of ``wanted``.
    """
    if None in found.directions:
        if wanted is None or len(wanted) != 1:
            given = "" if wanted is None else f", not {len(wanted)}"
            raise VectorError(
                "holds one direction and does not say for which layer. Give layer: the one decoder block, counted from "
                f"0, whose output it is added to{given}"
            )
        layers = f"the file does not say; placed at layer {wanted[0]} on request"
        about = {**found.metadata.get("source", {}), "layers": layers}
        return Stored({wanted[0]: found.directions[None]}, {**found.metadata, "source": about})
    if wanted is None:
        return found
    check_has(wanted, found.directions)
    return replace(found, directions={layer: found.directions[layer] for layer in wanted})


def check_depth(metadata: Mapping[str, object], n_layers: int, model: str) -> None:
    """Refuses a vector out of a stack, or of numbered tensors, that does not fit the model's depth.

    transformers' ``hidden_states`` have n_layers + 1 entries, the embedding first. A stack of these that is taken as the blocks'
    outputs steers one block too late, and nothing else would show it.

    Args:
        metadata: of the vector. ``source`` has ``rows``, how many rows the stack had, or ``highest``, the largest number among the
            names, and with ``rows_are`` what the user said of them.
        n_layers: how many decoder blocks the model has.
        model: its name, for messages.

    Raises:
        VectorError: the numbers cannot be those of the model's blocks, or may be those of hidden states and nobody said so.
    """
    about = metadata.get("source")
    if not isinstance(about, Mapping):
        return
    rows, highest, said = about.get("rows"), about.get("highest"), about.get("rows_are")
    if type(rows) is int:
        _check_rows(rows, said, n_layers, model)
    elif type(highest) is int and highest - (said == "hidden_states") >= n_layers:
        if said is None and highest == n_layers:
            raise VectorError(
                f"the file numbers its directions up to {highest}, and {model} has {n_layers} decoder blocks, 0 to {n_layers - 1}: "
                f"these look like the numbers of hidden_states, with the embedding as 0. {_SAY}"
            )
        raise VectorError(
            f"the file numbers its directions up to {highest}, and {model} has {n_layers} decoder blocks, 0 to {n_layers - 1}: the "
            f"numbers are not those of this model's blocks. {_BY_HAND}"
        )


_SAY = (
    "If so, write `rows: hidden_states` beside `file` (in Python SteeringVector.load(file, rows='hidden_states')): row k + 1 is then the "
    "output of block k"
)
_BY_HAND = "Save the directions that you mean under their blocks: SteeringVector({layer: tensor}).save('vector.safetensors')"


def _check_rows(rows: int, said: Any, n_layers: int, model: str) -> None:
    if rows == n_layers + (said == "hidden_states"):
        return
    stack = f"the file is a stack of {rows} rows, and {model} has {n_layers} decoder blocks"
    if rows == n_layers + 1 and said is None:
        raise VectorError(f"{stack}: with one row more, row 0 looks like the embedding, as in hidden_states. {_SAY}")
    if rows == n_layers + 1:
        raise VectorError(
            f"{stack}: `rows: blocks` needs as many rows as blocks. Row 0 looks like the embedding: write `rows: hidden_states`"
        )
    if rows == n_layers:
        raise VectorError(
            f"{stack}: `rows: hidden_states` needs one row more, the embedding. Delete it, or write `rows: blocks`"
        )
    raise VectorError(
        f"{stack}: with neither {n_layers} nor {n_layers + 1} rows nothing says which block a row is of. {_BY_HAND}"
    )
