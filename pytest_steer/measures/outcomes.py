"""Replies before they are judged: the span that is judged, and whether there is one at all."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..model import Model
from ..model.model import once_per_model
from ..model.replies import Reply
from ..prompting.chat import Parts, ends_in_thought, markers_in, parts_of

Span = Literal["answer", "thought", "both"]
FinishReason = Literal["stop", "length"]

# A loop: at least this many copies of one n-gram at the end of a reply, which make up at least this share and number of its tokens.
_COPIES, _PART, _TOKENS = 3, 0.25, 8

EMPTY = "empty"
STALLS = "stalls: nothing but white space and punctuation"
LOOPS = "loops"
NEVER_ANSWERS = "never leaves its block of thought"
CUT_INSIDE = "cut inside its block of thought"
NO_THOUGHT = "has no block of thought"
ENDED = "the conversation ends before it"


@dataclass(frozen=True)
class Outcome:
    """A reply as it is judged.

    Attributes:
        text: the judged span, without white space around it.
        why: why it can be neither accepted nor rejected; None if it can.
        cut: it ends at ``max_new_tokens``.
    """

    text: str
    why: str | None = None
    cut: bool = False

    @property
    def is_undetermined(self) -> bool:
        return self.why is not None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that could be read."""
        return self.why in (EMPTY, STALLS)


def outcome_of(parts: Parts, tokens: Sequence[int], finish_reason: FinishReason, span: Span) -> Outcome:
    """The judged span of a reply, and why there is none to judge.

    Args:
        parts: the reply, split into thought and answer. tokens: all tokens of the reply.
        finish_reason: ``length`` if it ends at ``max_new_tokens``.
        span: ``answer``, ``thought`` or ``both``.

    The first of these that is true makes a reply undetermined: there is no text in it; it loops (``looped``) at the limit of tokens; its
    block of thought is not closed, whatever the span; ``thought`` is asked for and there is none; the span is empty; the span
    holds nothing but white space and punctuation. A reply that is only cut at the limit is a reply.
    """
    cut = finish_reason == "length"
    thought, answer = (parts.thought or "").strip(), (parts.answer or "").strip()
    text = {"answer": answer, "thought": thought, "both": f"{thought}\n\n{answer}".strip()}[span]
    copies = looped(tokens) if cut else None

    def why() -> str | None:
        if not thought and not answer:
            return EMPTY
        if copies is not None:
            return f"{LOOPS}: its last {copies} tokens repeat one text up to the limit"
        if parts.answer is None:
            return CUT_INSIDE if cut else NEVER_ANSWERS
        if span == "thought" and parts.thought is None:
            return NO_THOUGHT
        if not text:
            return EMPTY
        return None if _says_something(text) else STALLS

    return Outcome(text, why(), cut)


def looped(tokens: Sequence[int]) -> int | None:
    """How many tokens at the end of a reply are copies of one n-gram; None without a loop.

    A loop is at least three copies of an n-gram of any length, the last of which may be cut. Together they make at least eight tokens, or
    all of a shorter reply, and at least a quarter of the reply.
    """
    count = len(tokens)
    least = max(min(_TOKENS, count), _PART * count)
    for period in range(1, count // _COPIES + 1):
        same = 0
        while same + period < count and tokens[count - 1 - same] == tokens[count - 1 - same - period]:
            same += 1
        length = same + period
        if length >= _COPIES * period and length >= least:
            return length
    return None


def _says_something(text: str) -> bool:
    """Whether a text holds a letter, a number or a sign such as an emoji; what stands for bytes that are no text does not count."""
    categories = (unicodedata.category(character) for character in text if character != "\ufffd")
    return any(one[0] in "LN" or one == "So" for one in categories)


def read_reply(model: Model, reply: Reply, span: Span) -> Outcome:
    """The outcome of one turn's reply."""
    return outcome_of(split(model, reply), reply.tokens, reply.finish_reason, span)


def split(model: Model, reply: Reply) -> Parts:
    """The thought and the answer of one turn's reply.

    They are read with the tokenizer's own parsing of responses where it has one. Else the markers count that the chat template or the
    tokenizer's tokens name.
    """
    parsed = _parsed(model, reply)
    return parsed or parts_of(reply.text, begun=ends_in_thought(reply.prompt), kinds=_kinds(model))


@once_per_model
def _kinds(model: Model) -> frozenset[str]:
    return markers_in([model.format.template or "", *model.format.markers])


def _parsed(model: Model, reply: Reply) -> Parts | None:
    """What the tokenizer's own parsing says; None where it has none or refuses the text, as it may where a reply is cut."""
    tokenizer = model.tokenizer
    if not getattr(tokenizer, "response_template", None):
        return None
    try:
        message = tokenizer.parse_response(reply.raw, prefix=reply.prompt)
    except Exception:  # of a parser of the tokenizer's own: whatever it raises
        return None
    if not isinstance(message, dict):
        return None
    thought = next((message[key] for key in ("thinking", "reasoning_content", "reasoning") if message.get(key)), None)
    answer = message.get("content")
    if message.get("tool_calls") and not answer:
        answer = reply.text  # a call of a tool is an answer
    return Parts(thought, None if thought and not answer else answer or "")
