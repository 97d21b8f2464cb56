"""What a claim's ``replies`` say, in words that the page and the Markdown share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..core.numbers import number

Replies = Mapping[str, Any]

SIDES = ("base", "steered")
NAMING = ("judge", "function", "pattern", "model")
"""Settings of judges by which people know them; each kind has its name and at most one more."""
OUTCOMES = ("accepted", "rejected", "undetermined", "missing")


def judge_name(replies: Replies) -> str:
    """The kind of judge, and what it is made of; empty without a judge."""
    judge = replies["judge"] or {}
    return " ".join(str(judge[key]) for key in NAMING if judge.get(key) is not None)


def agreement_words(replies: Replies) -> str:
    """How far the judge agrees with human labels; empty without a judge."""
    agreement = replies["agreement"]
    if agreement is None:
        return "no human labels" if replies["judge"] else ""
    if agreement["kappa"] is None:
        return f"kappa is not defined on these {agreement['n']} labels"
    low, high = agreement["interval"]
    return f"Cohen's kappa {number(agreement['kappa'])} [{number(low)}, {number(high)}] on {agreement['n']} labels"


def counted(replies: Replies, side: str) -> dict[str, int]:
    """How many replies of a side came to each of ``OUTCOMES``; without a judge, how many are undetermined."""
    known = OUTCOMES if replies["judge"] else ("undetermined",)
    return {outcome: replies["counts"][side][outcome] for outcome in known}


def counts_words(replies: Replies, side: str) -> str:
    """The same in words."""
    return ", ".join(f"{count} {outcome}" for outcome, count in counted(replies, side).items())


def reasons(replies: Replies, side: str) -> str:
    """Why replies of a side are undetermined or missing, without details, and how often."""
    found = Counter(one[side]["why"].partition(":")[0] for one in replies["of"] if one[side]["why"])
    return ", ".join(f"{count} {why}" for why, count in found.most_common())


def outcome_words(reply: Mapping[str, Any]) -> str:
    """What a reply came to, with its score and why; empty where nobody judged it."""
    parts = [] if reply["outcome"] is None else [str(reply["outcome"])]
    parts += [] if reply["score"] is None else [f"score {number(reply['score'])}"]
    said = ", ".join(parts)
    return f"{said}{': ' if said else ''}{reply['why']}" if reply["why"] else said


def pair_name(replies: Replies, pair: Mapping[str, Any]) -> str:
    """Which prompt, and which of its samples if there are several."""
    return f"{pair['id']}, sample {pair['sample']}" if replies["drawing"].get("samples", 1) > 1 else str(pair["id"])
