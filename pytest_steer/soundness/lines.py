"""The rows of an example as tokens."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Model, encode
from ..model.tokens import Ids, tokenize_prompt
from .examples import HookExample

_REPLY = " Yes, it is."


@dataclass(frozen=True)
class Line:
    """One row of a batch.

    Attributes:
        prompt: the tokens of the prompt.
        turn_end: how many of them belong to the user's turn and what stands before it.
        after: the tokens of a reply.
    """

    prompt: Ids
    turn_end: int
    after: Ids


def lines_of(model: Model, example: HookExample) -> tuple[Line, ...]:
    """The rows of an example, cut at the start to what the model has positions for."""
    return tuple(_line(model, text, example.bare) for text in example.texts)


def _line(model: Model, text: str, bare: bool) -> Line:
    after, _ = encode(model.tokenizer, _REPLY, special_tokens=False)
    after = after[: 1 if bare else 3]
    if bare:
        ids, _ = encode(model.tokenizer, text, special_tokens=True)
        turn_end = len(ids) - 2
    else:
        put = model.format.prompt(text)
        ids, turn_end = tokenize_prompt(model.tokenizer, put.turn, put.opening + "(", model.format.render is None)
        turn_end = min(turn_end, len(ids) - 1)
    cut = max(0, len(ids) + len(after) - model.max_positions) if model.max_positions else 0
    return Line(ids[cut:], max(1, turn_end - cut), after)
