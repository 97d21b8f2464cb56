"""From what a file holds to the layers that are asked for. Errors are without the file's name, which the caller adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

from ...errors import VectorError
from .stored import Stored

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
    for one in wanted:
        if isinstance(one, bool) or not isinstance(one, int) or one < 0:
            raise VectorError(f"a layer is a decoder block's number, from 0 on; not {one!r}")
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
    """``found`` with its numbers as blocks, and with what is needed to hold them against a model's depth (``steering.depth``).

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
