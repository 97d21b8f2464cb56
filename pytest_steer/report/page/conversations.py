"""Replies of the base and the steered model side by side, as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...core import record
from ...core.record import Replies, ReplyPair
from ..replies import NAMING, agreement_words, counted, judge_name, outcome_words, pair_name, reasons, sides_of
from .facts import Facts, known

_SHOWN = 420
"""Characters of a reply that are seen before it is unfolded."""
_NEARLY = 140
"""So few further characters are shown with the rest: a fold for a few words hides more than it saves."""
_SPANS = {"answer": "the answer, without thought", "thought": "the thought", "both": "thought and answer"}


@dataclass(frozen=True)
class Text:
    """A text of a user, a model or a judge.

    Attributes:
        start: what is seen at once. rest: what is folded; empty where the text is short.
        notes: why there is no more of it.
    """

    start: str
    rest: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """One side of a pair.

    Attributes:
        outcome: for the style sheet; empty where nobody judged. words: the same with score and reason.
        said: the judge's own words, or None.
    """

    side: str
    outcome: str
    words: str
    said: Text | None


@dataclass(frozen=True)
class Pair:
    """A conversation with both models.

    Attributes:
        turns: what the user says, and both replies to it, the base's first.
    """

    name: str
    replies: list[Reply]
    turns: list[tuple[Text, list[tuple[str, Text]]]]


def replies_facts(replies: Replies) -> Facts:
    """How the replies were drawn and judged."""
    judge = replies.judge or {}
    drawing = {key.replace("_", " "): value for key, value in replies.drawing.items() if value is not None}
    return known(
        {
            "judged" if judge else "looked at": _SPANS[replies.span],
            "agreement with people": agreement_words(replies),
            "judge": judge_name(replies),
            **{f"judge: {key.replace('_', ' ')}": value for key, value in judge.items() if key not in NAMING},
            "tokens drawn by": drawing,
        }
    )


def outcome_rows(replies: Replies) -> list[list[str]]:
    """A row per outcome: its name, and how many replies of each side have it."""
    base, steered = counted(replies).values()
    why = reasons(replies)
    rows = [[outcome, str(count), str(steered[outcome])] for outcome, count in base.items()]
    return [*rows, *([["why not", *why]] if any(why) else [])]


def pair_of(replies: Replies, pair: ReplyPair) -> Pair:
    """A pair of replies, each text folded after a word."""
    most, sides = replies.max_characters, sides_of(pair)
    many = max(1, len(pair.prompt), *(len(reply.turns) for reply in sides.values()))
    return Pair(
        pair_name(replies, pair),
        [
            Reply(side, one.outcome or "", outcome_words(one), None if one.said is None else _turn([one.said], 0, most))
            for side, one in sides.items()
        ],
        [
            (_turn(pair.prompt, turn, most), [(side, _reply(reply, turn, replies)) for side, reply in sides.items()])
            for turn in range(many)
        ],
    )


def _reply(reply: record.Reply, turn: int, replies: Replies) -> Text:
    found = _turn(reply.turns, turn, replies.max_characters)
    if turn != len(reply.turns) - 1 or not reply.cut:
        return found
    return replace(found, notes=(*found.notes, f"cut at {replies.drawing['max_new_tokens']} tokens"))


def _turn(turns: Sequence[str], turn: int, most: int) -> Text:
    """One of the texts, folded after a word.

    Args:
        most: characters that the report keeps of it.
    """
    if turn >= len(turns):
        return Text("", notes=("left out of the report",))
    text = turns[turn]
    notes = ("empty",) if not text else ("the report has no more of it",) if len(text) >= most else ()
    if len(text) <= _SHOWN + _NEARLY:
        return Text(text, "", notes)
    at = max(text.rfind(" ", _SHOWN // 2, _SHOWN), text.rfind("\n", _SHOWN // 2, _SHOWN)) + 1 or _SHOWN
    return Text(text[:at], text[at:], notes)
