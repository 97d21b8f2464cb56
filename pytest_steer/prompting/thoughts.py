"""Blocks of thought in text: how templates mark them, and what of a reply is thought and what is answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# How templates mark a block of thought: <think>, [THINK], <|START_THINKING|>.
_MARKER = re.compile(
    r"(?P<left><\|?|\[|◁)(?P<name>[^\s<>\[\]◁▷|]*(?:think|thought|reasoning)[^\s<>\[\]◁▷|]*)(?P<right>\|?>|\]|▷)", re.I
)
_BEGIN = re.compile("start|begin", re.I)
_NOT_BEGIN = re.compile("^/|^no|end", re.I)
_SIDE = re.compile("^/|(?:start|begin|end)(?:_of)?_?|_?(?:start|begin|end)$", re.I)


@dataclass(frozen=True)
class Parts:
    """A reply, split at its markers of thought.

    Attributes:
        thought: what stands in blocks of thought; None if there is no block.
        answer: what stands outside of them; None if the last block is never closed.
    """

    thought: str | None
    answer: str | None


def markers_in(texts: Iterable[str]) -> frozenset[str]:
    """The kinds of blocks of thought that texts mark, such as the source of a chat template and the names of special tokens."""
    return frozenset(_kind(found) for text in texts for found in _MARKER.finditer(text))


def parts_of(text: str, *, begun: bool, kinds: Iterable[str]) -> Parts:
    """Split a reply into thought and answer.

    Args:
        text: the reply with its markers.
        begun: its prompt ends inside a block of thought.
        kinds: of blocks that count (:func:`markers_in`); other texts in brackets are part of what is said.

    What stands before a closing marker without an opening one is thought too: some templates open the block in the prompt.
    """
    known = frozenset(kinds)
    thought: list[str] = []
    answer: list[str] = []
    inside, seen, start = begun, begun, 0
    for found in _MARKER.finditer(text):
        if _kind(found) not in known:
            continue
        closes = _closes(found)
        is_thought = inside or (closes and not seen)
        (thought if is_thought else answer).append(text[start : found.start()])
        inside, seen, start = not closes, True, found.end()
    (thought if inside else answer).append(text[start:])
    return Parts("".join(thought) if seen else None, None if inside else "".join(answer))


def ends_in_thought(prompt: str) -> bool:
    """Whether a prompt ends with the opening of a block of thought."""
    return end_of_open_thought(prompt) is not None


def end_of_open_thought(text: str) -> str | None:
    """The marker that would close the block of thought in which a text ends; None if it ends in none."""
    last = last_thought(text)
    if last is None or _closes(last):
        return None
    name, begins = _BEGIN.subn(lambda begin: "END" if begin[0].isupper() else "end", last["name"])
    return last["left"] + (name if begins else f"/{name}") + last["right"]


def ends_with_closed_thought(text: str) -> bool:
    """Whether a text ends with the marker that closes a block of thought."""
    last = last_thought(text)
    return last is not None and _closes(last)


def last_thought(text: str) -> re.Match[str] | None:
    """The marker of a block of thought at the very end of a text. Others do not count, since system prompts name such markers too."""
    blocks = list(_MARKER.finditer(text))
    return blocks[-1] if blocks and not text[blocks[-1].end() :].strip() else None


def _closes(found: re.Match[str]) -> bool:
    return _NOT_BEGIN.search(found["name"]) is not None


def _kind(found: re.Match[str]) -> str:
    """What both markers of a block share."""
    return found["left"] + _SIDE.sub("", found["name"]).casefold() + found["right"]
