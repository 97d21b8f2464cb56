"""What one small forward shows of a model's blocks: can their outputs be steered?"""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ModelError
from ..screen import message_of
from .batch import check_vocabulary
from .foreign import FORWARD_TABLES, lifted
from .loaded import Model, once_per_model
from .ready import check_ready
from .tokens import encode
from .trial import MISFITS, is_out_of_memory

_TEXTS = ("One of them is enough.", "It takes two to say so, and seven more.")
_TOKENS = 8
# Share of the largest logit that rounding may move, in 32 bits or more and in fewer. What later tokens do to earlier ones is far
# larger.
_ROUNDING, _COARSE_ROUNDING = 1e-4, 5e-2


@dataclass(frozen=True)
class Structure:
    """What is known about a model's blocks.

    Attributes:
        refused: {layer: why nothing can be read or changed at its output}.
        left_out: layers that do not run on text alone.
        told_positions: whether the model can be told the position of each token, counted from 0. RoBERTa and its kin count from
            the number of their padding token on, and are left to do so.
    """

    refused: dict[int, str]
    left_out: frozenset[int]
    told_positions: bool


@once_per_model
def structure_of(model: Model) -> Structure:
    """What a first small forward shows of the blocks.

    Raises:
        ModelError: the model does not run on tokens alone, or does not read from left to right.
    """
    hooks = [found for found in check_ready(model) if found.module is not None and found.table in FORWARD_TABLES]
    # What hooks of others change is checked where something is measured.
    with lifted(hooks):
        return _look_at(model)


def check_layer(model: Model, layer: int) -> None:
    """Refuse a layer whose output is not one hidden state per token.

    Raises:
        ModelError: it is not, with the reason; or see ``structure_of``.
    """
    why = structure_of(model).refused.get(layer)
    if why is not None:
        raise ModelError(f"{model.id}: layer {layer} can be neither read nor steered: {why}")


@torch.no_grad()
def _look_at(model: Model) -> Structure:
    """Run two short rows that differ in their later half and inspect every block's output; then run them with positions.

    Raises:
        ModelError: the model does not run on tokens alone, or its tokens see those after them.
    """
    length = min(_TOKENS, model.max_positions or _TOKENS)
    half = length // 2
    first = _tokens(model, length)
    check_vocabulary(model, first, "an English sentence")
    second = [*first[:half], *first[half + 1 :], first[half]]
    passes = [0] * model.n_layers
    shapes: dict[int, tuple[int, ...]] = {}

    def keep(layer: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            passes[layer] += 1
            # A named tuple (Reformer) does not count: its first entry is one of several streams.
            hidden = output[0] if type(output) in (tuple, list) else output
            if isinstance(hidden, torch.Tensor):
                shapes[layer] = tuple(hidden.shape)

        return hook

    ids = torch.tensor([first, second], device=model.device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    with ExitStack() as stack:
        for layer, block in enumerate(model.blocks):
            stack.enter_context(block.register_forward_hook(keep(layer)))
        try:
            logits = model.hf(**inputs).logits
        except MISFITS as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(f"{model.id}: it does not run on tokens alone: {message_of(error)}") from error
    _check_causal(model, logits[:, :half].float())
    reasons = {layer: _reason(model, passes[layer], shapes.get(layer), length) for layer in range(model.n_layers)}
    refused = {layer: why for layer, why in reasons.items() if why is not None}
    left_out = frozenset(layer for layer, count in enumerate(passes) if not count)
    return Structure(refused, left_out, _is_told_positions(model, inputs, logits))


def _reason(model: Model, passes: int, shape: tuple[int, ...] | None, length: int) -> str | None:
    """Why a block's output means nothing to a steering vector, or None."""
    if passes == 0:
        return "the model leaves this block out when it reads text alone"
    if passes > 1:
        return f"the model runs this block {passes} times in one forward, so that its output is not one place"
    # Some blocks (OPT) flatten rows and positions.
    if shape in {(2, length, model.width), (2 * length, model.width)}:
        return None
    needed = f"its output is not one hidden state of width {model.width} per token"
    if shape is None:
        return f"{needed} but an object of its own kind"
    several = len(shape) == 4 or (shape[-1] > model.width and shape[-1] % model.width == 0)
    what = "several streams side by side" if several else "something else"
    return f"{needed} but {what} (shape {list(shape)} for 2 rows of {length} tokens), and none of it alone is the residual stream"


def _check_causal(model: Model, early: torch.Tensor) -> None:
    """Raise if rows that begin alike have different logits there."""
    if not early.numel() or not torch.isfinite(early).all():
        return  # a model of one position, or numbers that are not finite, which the measures report
    apart = _apart(early[0], early[1])
    if apart > _room(model, early):
        raise ModelError(
            f"{model.id}: its tokens see those after them (changing later tokens moves earlier logits by {apart:.2g}), so what "
            "it says of an answer depends on the answer itself. Steering claims need a model that reads from left to right"
        )


def _is_told_positions(model: Model, inputs: dict[str, Any], own: torch.Tensor) -> bool:
    if "position_ids" not in inspect.signature(model.hf.forward).parameters:
        return False
    ids = inputs["input_ids"]
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    try:
        told = model.hf(**inputs, position_ids=positions).logits
    except MISFITS:
        return False
    return _apart(own.float(), told.float()) <= _room(model, own)


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().nan_to_num().max())


def _room(model: Model, logits: torch.Tensor) -> float:
    """How far apart rounding may put logits."""
    share = _ROUNDING if model.dtype in ("float32", "float64") else _COARSE_ROUNDING
    return share * max(1.0, float(logits.float().abs().nan_to_num().max()))


def _tokens(model: Model, length: int) -> list[int]:
    """Ordinary tokens, neighbours different."""
    found: list[int] = []
    for text in _TEXTS:
        for token in encode(model.tokenizer, text, special_tokens=False)[0]:
            if token not in found:
                found.append(token)
    if len(found) < 2:
        found = [0, 1]
    return [found[index % len(found)] for index in range(length)]
