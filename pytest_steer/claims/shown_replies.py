"""Replies as evidence keeps them and as a terminal shows them: base above steered, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..columns import current_columns, cut
from ..evidence import Evidence
from ..screen import visible
from .numbers import number
from .over_replies import Side, Written, drawing_record
from .words import WORST

MAX_CHARACTERS = 2000
"""Characters that the evidence keeps of each reply."""

Ruled = Literal["accepted", "rejected", "undetermined", "missing"]
RULED: tuple[Ruled, ...] = ("accepted", "rejected", "undetermined", "missing")
SideName = Literal["base", "steered"]
SIDES: tuple[SideName, ...] = ("base", "steered")


@dataclass(frozen=True)
class Ruling:
    """What became of one reply.

    Attributes:
        outcome: None where no judge was asked and the reply can be judged.
        why: the reason for ``undetermined`` and ``missing``.
        score / said: the judge's number and words, where it gives some.
    """

    outcome: Ruled | None
    why: str | None = None
    score: float | None = None
    said: str | None = None

    @property
    def is_known(self) -> bool:
        return self.outcome in ("accepted", "rejected")


def unjudged(side: Side) -> list[Ruling]:
    """The rulings of a claim without a judge: what is undetermined."""
    return [Ruling("undetermined", one.why) if one.is_undetermined else Ruling(None) for one in side.outcomes]


def replies_record(
    written: Written,
    rulings: Sequence[Sequence[Ruling]],
    worst_first: Sequence[int],
    *,
    judge: Mapping[str, Any] | None = None,
    agreement: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The evidence's ``replies`` record.

    Args:
        written: with two sides, the unsteered and the steered one. rulings: of each side, one per reply.
        worst_first: the replies in the order in which they are shown.
        judge: its own record. agreement: with human labels.
    """
    dialogues, places = written.sample.units, written.ids
    named = dict(zip(SIDES, zip(written.sides[:2], rulings, strict=True), strict=True))
    return {
        "span": written.span,
        "max_characters": MAX_CHARACTERS,
        "drawing": drawing_record(written.drawing),
        "judge": None if judge is None else dict(judge),
        "agreement": None if agreement is None else dict(agreement),
        "counts": {name: _counts(own) for name, (_, own) in named.items()},
        "of": [
            {
                "id": dialogues[places[at][0]].id,
                "prompt": [text[:MAX_CHARACTERS] for text in dialogues[places[at][0]].said],
                "sample": places[at][1],
                **{name: _reply(side, own[at], at) for name, (side, own) in named.items()},
            }
            for at in worst_first
        ],
    }


def _counts(rulings: Sequence[Ruling]) -> dict[str, int]:
    found = Counter(one.outcome for one in rulings)
    return {name: found[name] for name in RULED}


def _reply(side: Side, ruling: Ruling, at: int) -> dict[str, Any]:
    return {
        "turns": [one.text[:MAX_CHARACTERS] for one in side.turns[at]],
        "outcome": ruling.outcome,
        "why": ruling.why,
        "score": ruling.score,
        "said": None if ruling.said is None else ruling.said[:MAX_CHARACTERS],
        "cut": side.outcomes[at].cut,
    }


_CALLED = {"base": "unsteered replies:", "steered": "steered replies:"}


def counts_lines(evidence: Evidence) -> list[str]:
    """How many replies were accepted, and what became of the others, a line each for base and steered."""
    found = evidence.replies
    if found is None:
        return []
    lines = []
    for name in SIDES:
        counts = found["counts"][name]
        known = [f"{counts[one]} {one}" for one in RULED if counts[one]] if found["judge"] is not None else []
        reasons = Counter(_short(one[name]["why"]) for one in found["of"] if one[name]["why"])
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        if known or why:
            lines.append(f"  {_CALLED[name]:18} {', '.join(known)}{f' ({why})' if why and known else why}")
    return lines


def noted_replies(evidence: Evidence) -> list[str]:
    """What the reader of a passing claim about replies wants to know: replies without a ruling, and how far people agree with the judge."""
    found = evidence.replies
    if found is None:
        return []
    unruled = any(one[name]["why"] for one in found["of"] for name in SIDES)
    lines = [" ".join(line.split()) for line in counts_lines(evidence)] if unruled else []
    return lines + ([agreement_words(found)] if agreement_words(found) else [])


def agreement_words(replies: Mapping[str, Any]) -> str:
    """The judge's agreement with human labels; empty without labels."""
    found = replies["agreement"]
    if found is None or found["kappa"] is None:
        return ""
    low, high = map(number, found["interval"])
    return f"Cohen's kappa with {found['n']} human labels {number(found['kappa'])} [{low}, {high}]"


def _short(why: str) -> str:
    """A reason without its details."""
    return why.partition(":")[0]


def worst_replies(evidence: Evidence) -> list[str]:
    """The first replies of the record, base above steered, each in one line of the terminal."""
    found = evidence.replies
    if found is None:
        return []
    lines = ["  worst replies:"]
    for one in found["of"][:WORST]:
        sample = f", sample {one['sample']}" if found["drawing"]["samples"] > 1 else ""
        lines.append(_cut(f"    [{one['id']}{sample}] {' '.join(one['prompt'][-1].split())}"))
        lines += [_cut(f"      {name + ':':8} {_said(one[name])}{one[name]['turns'][-1]!r}") for name in SIDES]
    return lines


def _said(side: Mapping[str, Any]) -> str:
    """The outcome of a reply, in front of its text."""
    score = "" if side["score"] is None else number(side["score"])
    why = "" if side["why"] is None else f"({_short(side['why'])})"
    said = " ".join(part for part in (side["outcome"] or "", score, why) if part)
    return f"{said}  " if said else ""


def _cut(line: str) -> str:
    return cut(visible(line), current_columns())
