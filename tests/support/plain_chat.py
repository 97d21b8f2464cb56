"""Propensities over a chat template's own rendering of the whole conversation, the plain way.

Written from the definitions: transformers renders the conversation with each real answer in it, on a day of the test's choice;
what is scored and what is steered is found among the characters of that text; every forward is one sequence with one hook.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any

import plain
from chat_templates import Case
from transformers.utils import chat_template_utils


class Day(datetime.datetime):
    """The first of January 2025, the date that templates are told by default."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls(2025, 1, 1)


def fix_the_day(monkeypatch: Any) -> None:
    monkeypatch.setattr(chat_template_utils, "datetime", Day)


@dataclass(frozen=True)
class Reply:
    """A conversation up to the end of its reply: the text, and where in it the reply and the opening before it begin."""

    text: str
    start: int
    turn_end: int
    special: bool = False
    bare: bool = False


def conversation(tokenizer: Any, case: Case, question: str, answer: str, system: str | None = None) -> Reply:
    if case.source is None:
        turn = (f"{system}\n\n" if system else "") + f"Question: {question}"
        start = len(turn + case.opening)
        return Reply(turn + case.opening + answer, start, len(turn), special=True)
    lost = system if case.system == "last" else None
    said = case.messages(question, None if lost else system, answer)
    whole = tokenizer.apply_chat_template(said, tokenize=False, **case.settings)
    asked = whole.rindex(question) + len(question)
    start = whole.index(answer, asked)
    prompt = whole[:start]
    if lost:  # what stands before the reply is as it is without a system prompt, what stands before the question as it is without a reply
        before = tokenizer.apply_chat_template(case.messages(question, lost), tokenize=False, add_generation_prompt=True)
        prompt = before[: before.rindex(question)] + prompt[asked - len(question) :]
    if case.closes:
        prompt = prompt.rstrip() + case.closes
    turn_end = prompt.rindex(question) + len(question) + len(case.closing)
    assert prompt[turn_end - len(case.closing) :] == case.closing + case.opening
    return Reply(prompt + answer, len(prompt), turn_end, bare=not prompt[turn_end:].strip(" "))


@dataclass(frozen=True)
class Scored:
    """Tokens up to the end of an answer, the first scored one, and how many begin before the user's turn ends."""

    ids: list[int]
    first: int
    turn: int


def scored(tokenizer: Any, reply: Reply, skip: int = 0) -> Scored:
    """``skip`` characters of the answer belong to the prompt: the bracket before a letter."""
    found = tokenizer(reply.text, add_special_tokens=reply.special, return_offsets_mapping=True)
    ids, spans = list(found["input_ids"]), list(found["offset_mapping"])
    if reply.special and tuple(spans[-1]) == (0, 0):  # an end token that the tokenizer adds
        ids, spans = ids[:-1], spans[:-1]
    first = next(i for i, (_, end) in enumerate(spans) if end > reply.start + skip)
    # Where the template writes nothing after the turn (CAA on Llama 2), steering begins with the turn's last token.
    turn = sum(start < reply.turn_end for start, _ in spans) - reply.bare
    return Scored(ids, first, turn)


def answers(tokenizer: Any, case: Case, item: Any, system: str | None = None) -> tuple[list[list[Scored]], bool]:
    """Both sides' answers as tokens, and whether all are one token after the same prompt."""
    lettered = all(answer.strip()[0] == "(" for answer in [*item.matching, *item.not_matching])
    sides = [
        [
            # Of a label, the bracket and the letter: the closing bracket is not scored.
            scored(
                tokenizer,
                _cut(conversation(tokenizer, case, item.question, answer.strip(), system), lettered),
                skip=lettered,
            )
            for answer in side
        ]
        for side in (item.matching, item.not_matching)
    ]
    every = [answer for side in sides for answer in side]
    if lettered:
        differ = next(i for i in range(min(len(a.ids) for a in every)) if len({a.ids[i] for a in every}) > 1)
        sides = [[Scored(a.ids[: differ + 1], differ, a.turn) for a in side] for side in sides]
        every = [answer for side in sides for answer in side]
    single = all(a.first == len(a.ids) - 1 and a.ids[: a.first] == every[0].ids[: every[0].first] for a in every)
    return sides, single


def _cut(reply: Reply, lettered: bool) -> Reply:
    return replace(reply, text=reply.text[:-1]) if lettered else reply


def start_of(scope: str, answer: Scored) -> int:
    """DESIGN: every position but the first; the first token after the user's turn, or the turn's last if nothing stands after it; the
    position that predicts the first scored token."""
    return {"all": 1, "after_prompt": max(1, min(answer.turn, answer.first - 1)), "last": max(1, answer.first - 1)}[scope]


def propensity(
    hf: Any,
    sides: list[list[Scored]],
    single: bool,
    directions: Any,
    m: float,
    scope: str,
    summed: bool = False,
    late: bool = False,
) -> float:
    """``late``: steer from the first scored token on, one position too late, which no scope should."""
    totals = []
    for side in sides:
        values = []
        for answer in side:
            start = answer.first if late else start_of(scope, answer)
            asked = answer.ids[: answer.first + 1] if single else answer.ids
            keep = len(asked) - answer.first + 1
            rows = plain.logits(hf, asked, directions, m, start, keep=keep)
            if single:
                values.append(float(rows[0][asked[-1]]))
            else:
                mean = plain.mean_loglikelihood(rows, asked[-keep:], 1)
                values.append(mean * (keep - 1) if summed else mean)
        totals.append(plain.log_sum_exp(values))
    return totals[0] - totals[1]
