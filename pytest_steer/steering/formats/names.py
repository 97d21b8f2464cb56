"""From the names of tensors to layers: ``layer.14``, ``14``, ``model.layers.14.steering_vector``, as other programs save them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import VectorError
from .stored import Stored, checked, checked_rows, layer_number, source

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
