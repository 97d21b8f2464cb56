"""Earlier turns of the conversation."""

from __future__ import annotations

from typing import Any

from ...core.errors import DataError
from ...data import ContrastItem, Items
from ..chat import Turn
from ..kinds import axis

_EXAMPLE = [["Hello.", "Hello! How can I help?"]]


def _read(value: Any) -> tuple[Turn, ...]:
    try:
        turns = tuple((user, reply) for user, reply in value)
    except (TypeError, ValueError):
        turns = None
    if turns is None or not all(isinstance(text, str) and text.strip() for turn in turns for text in turn):
        raise DataError(f"history is a list of earlier turns, [[user, reply], ...], each of two texts, not {value!r}")
    return turns


@axis(
    "history",
    about='Earlier turns, each a user\'s and a reply: [["Hello.", "Hello! How can I help?"]].',
    title="Earlier turns",
    listed='A list of different histories, each a list of turns: `[[], [["Hello.", "Hello! How can I help?"]]]`.',
    example=_EXAMPLE,
    schema={
        "type": "array",
        "items": {
            "description": 'One earlier turn: a user\'s text and the reply, ["Hello.", "Hello! How can I help?"].',
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "items": {"description": "The text of a turn.", "type": "string", "pattern": r"\S"},
        },
    },
    read=_read,
    as_given=(),
    size=len,
    on="turns",
    place=80,
)
def history(item: ContrastItem, value: tuple[Turn, ...], examples: Items | None) -> tuple[Turn, ...]:
    return value
