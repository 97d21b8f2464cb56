"""What a claim's ``replies`` say, in words that the page and the Markdown share."""

from __future__ import annotations

from collections import Counter

from ..core.numbers import number
from ..core.record import Replies, Reply, ReplyPair

NAMING = ("judge", "function", "pattern", "model")
"""Settings of judges by which people know them; each kind has its name and at most one more."""


def sides_of(pair: ReplyPair) -> dict[str, Reply]:
    """Both replies of a pair by the name of their side."""
    return {"base": pair.base, "steered": pair.steered}


def judge_name(replies: Replies) -> str:
    """The kind of judge, and what it is made of; empty without a judge."""
    judge = replies.judge or {}
    return " ".join(str(judge[key]) for key in NAMING if judge.get(key) is not None)


def agreement_words(replies: Replies) -> str:
    """How far the judge agrees with human labels; empty without a judge."""
    agreement = replies.agreement
    if agreement is None:
        return "no human labels" if replies.judge else ""
    if agreement.kappa is None or agreement.interval is None:
        return f"kappa is not defined on these {agreement.n} labels"
    low, high = agreement.interval
    return f"Cohen's kappa {number(agreement.kappa)} [{number(low)}, {number(high)}] on {agreement.n} labels"


def counted(replies: Replies) -> dict[str, dict[str, int]]:
    """Of each side the number of replies by outcome; without a judge, of undetermined ones alone."""
    known = ("accepted", "rejected", "undetermined", "missing") if replies.judge else ("undetermined",)
    sides = {"base": replies.counts.base, "steered": replies.counts.steered}
    return {side: {outcome: getattr(counts, outcome) for outcome in known} for side, counts in sides.items()}


def reasons(replies: Replies) -> list[str]:
    """Of each side, why replies are undetermined or missing, without details, and how often."""
    said = []
    for side in ([pair.base for pair in replies.of], [pair.steered for pair in replies.of]):
        found = Counter(reply.why.partition(":")[0] for reply in side if reply.why)
        said.append(", ".join(f"{count} {why}" for why, count in found.most_common()))
    return said


def outcome_words(reply: Reply) -> str:
    """The outcome of a reply, with its score and why; empty where nobody judged it."""
    score = "" if reply.score is None else f"score {number(reply.score)}"
    said = ", ".join(filter(None, (reply.outcome, score)))
    return f"{said}{': ' if said else ''}{reply.why}" if reply.why else said


def pair_name(replies: Replies, pair: ReplyPair) -> str:
    """Which prompt, and which of its samples if there are several."""
    return f"{pair.id}, sample {pair.sample}" if replies.drawing.get("samples", 1) > 1 else pair.id
