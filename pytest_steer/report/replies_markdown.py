"""Replies of the base and the steered model as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .markdown import cell, code, folded, prose, table
from .replies import SIDES, agreement_words, counts_words, judge_name, outcome_words, pair_name

_ASKED, _REPLY, _WHY = 160, 300, 160
"""Characters of a turn of the user, of a reply, and of why it is judged as it is."""
_TURNS = 3


def worst_pairs(replies: Mapping[str, Any] | None, most: int, indent: str = "") -> str:
    """The worst pairs side by side, folded; empty where there are none. Of long conversations, the last turns.

    Args:
        indent: before each line, as of a table in a list.
    """
    pairs = [] if replies is None else replies["of"]
    kept = pairs[:most]
    if replies is None or not kept:
        return ""
    rows = [row for pair in kept for row in _rows(replies, pair)]
    body = "\n".join(f"{indent}{line}" for line in table(["asked", *SIDES], rows).split("\n"))
    return folded(f"Replies, the worst first ({len(kept)} of {len(pairs)})", body, indent)


def _rows(replies: Mapping[str, Any], pair: Mapping[str, Any]) -> list[list[str]]:
    """How both sides are judged, and of each turn what is asked and both replies."""
    sides = [pair[side] for side in SIDES]
    many = max(len(pair["prompt"]), *(len(reply["turns"]) for reply in sides))
    first = max(0, many - _TURNS)
    rows = [[f"**{code(pair_name(replies, pair), 80, in_table=True)}**", *(_outcome(reply) for reply in sides)]]
    rows += [[f"*{first} earlier turns*", "", ""]] if first else []
    for turn in range(first, many):
        rows.append([_turn(pair["prompt"], turn, _ASKED), *(_turn(reply["turns"], turn, _REPLY) for reply in sides)])
    return rows


def _outcome(reply: Mapping[str, Any]) -> str:
    said = prose(outcome_words(reply), _WHY)
    return f"**{said}**" if said else ""


def _turn(turns: Sequence[str], turn: int, longest: int) -> str:
    return "" if turn >= len(turns) else cell(turns[turn], longest) or "*(empty)*"


def replies_table(claims: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Of each claim with replies, who judged, what the replies came to, and how far the judge agrees with people.

    Args:
        claims: the name of each, as Markdown, and its replies.
    """
    rows = [
        [
            name,
            prose(judge_name(replies), 160) or "-",
            *(counts_words(replies, side) for side in SIDES),
            prose(agreement_words(replies), 160) or "-",
        ]
        for name, replies in claims
    ]
    return table(["claim", "judge", *SIDES, "agreement with people"], rows)
