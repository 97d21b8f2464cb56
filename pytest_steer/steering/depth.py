"""Whether the layers of somebody's file are the blocks of the model at hand, which only the model's depth can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import VectorError


def check_depth(metadata: Mapping[str, Any], n_layers: int, model: str) -> None:
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
