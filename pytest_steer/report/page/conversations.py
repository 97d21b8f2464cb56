"""Replies of the base and the steered model side by side, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from ..replies import NAMING, SIDES, agreement_words, counted, judge_name, outcome_words, pair_name, reasons
from .facts import Facts, known

_SHOWN = 420
"""Characters of a reply that are seen before it is unfolded."""
_NEARLY = 140
"""So few further characters are shown with the rest: a fold for a few words hides more than it saves."""


@dataclass(frozen=True)
class Text:
    """A text of somebody's.

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


@dataclass
class RepliesView:
    """All of a claim's replies.

    Attributes:
        counts: a row per outcome: its name, and how many replies of each side came to it.
        total: pairs in the report. pairs: the worst of them, as many as a page of any size has; ``shown`` of them are on this one.
    """

    facts: Facts
    counts: list[list[str]]
    total: int
    pairs: list[Pair]
    rows: list[Markup] = field(default_factory=list)
    shown: int = 0


def replies_view(replies: Mapping[str, Any] | None, most: int) -> RepliesView | None:
    """What the page says of a claim's replies; None where it has none.

    Args:
        most: pairs that are made ready.
    """
    if replies is None:
        return None
    judge = replies["judge"] or {}
    spans = {"answer": "the answer, without thought", "thought": "the thought", "both": "thought and answer"}
    facts = known(
        [
            ("judged" if judge else "looked at", spans[replies["span"]]),
            ("agreement with people", agreement_words(replies)),
            ("judge", judge_name(replies)),
            *((f"judge: {key.replace('_', ' ')}", value) for key, value in judge.items() if key not in NAMING),
            (
                "tokens drawn by",
                {key.replace("_", " "): value for key, value in replies["drawing"].items() if value is not None},
            ),
        ]
    )
    counts = [counted(replies, side) for side in SIDES]
    rows = [[outcome, *(str(own[outcome]) for own in counts)] for outcome in counts[0]]
    why = [reasons(replies, side) for side in SIDES]
    return RepliesView(
        facts,
        [*rows, *([["why not", *why]] if any(why) else [])],
        len(replies["of"]),
        [_pair(replies, pair) for pair in replies["of"][:most]],
    )


def _pair(replies: Mapping[str, Any], pair: Mapping[str, Any]) -> Pair:
    most = replies["max_characters"]
    sides = [(side, pair[side]) for side in SIDES]
    many = max(1, len(pair["prompt"]), *(len(reply["turns"]) for _, reply in sides))
    return Pair(
        pair_name(replies, pair),
        [Reply(side, reply["outcome"] or "", outcome_words(reply), _said(reply["said"], most)) for side, reply in sides],
        [
            (_turn(pair["prompt"], turn, most), [(side, _reply(reply, turn, replies)) for side, reply in sides])
            for turn in range(many)
        ],
    )


def _said(text: str | None, most: int) -> Text | None:
    return None if text is None else _turn([text], 0, most)


def _reply(reply: Mapping[str, Any], turn: int, replies: Mapping[str, Any]) -> Text:
    found = _turn(reply["turns"], turn, replies["max_characters"])
    if turn != len(reply["turns"]) - 1 or not reply["cut"]:
        return found
    return replace(found, notes=(*found.notes, f"cut at {replies['drawing']['max_new_tokens']} tokens"))


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
