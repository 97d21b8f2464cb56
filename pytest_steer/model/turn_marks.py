"""Find the end of the last user's turn in a conversation of which only the tokens are known, by the chat template's marks."""

from __future__ import annotations

from dataclasses import dataclass

from ..prompting.chat import PromptText, common_prefix
from .loaded import Model
from .tokens import decoded, encode, tokens_before


@dataclass(frozen=True)
class TurnMarks:
    """What the template writes around the end of a user's turn, as the tokenizer decodes it.

    Attributes:
        openings: between the turn and a reply.
        parts: the same without white space at their ends, and what they have in common; less certain.
        closing: between the question and the end of the turn.
        closing_tells: whether that is only written before a reply.
        bare: whether the template writes nothing between the turn and a reply, which then follows the turn's last token.
    """

    openings: tuple[str, ...]
    parts: tuple[str, ...]
    closing: str
    closing_tells: bool
    bare: bool

    def end_in(self, text: str) -> int | None:
        """Where in a text the last user's turn ends; None if it has no mark."""
        closing = text.rfind(self.closing) if self.closing.strip() else -1
        closed = closing + len(self.closing) if closing >= 0 else -1
        # Earlier replies can have another opening than the last one, so the last place of any of them counts.
        found = max([text.rfind(mark) for mark in self.openings], default=-1)
        if self.closing_tells:
            found = max(found, closed)
        if found < 0:
            found = max([text.rfind(mark) for mark in self.parts], default=-1)
        end = found if found >= 0 else closed
        return end if end >= 0 else None


def turn_marks(model: Model) -> TurnMarks:
    """The marks of a model's chat template, read off a conversation of one question."""
    question = "zq"
    prompts = [model.format.prompt(question, thinking_open=thinking) for thinking in (False, True)]
    closing, *openings = [_as_decoded(model, prompts[0])[0], *(_as_decoded(model, prompt)[1] for prompt in prompts)]
    common = openings[0][: common_prefix(*openings)] if prompts[0].turn == prompts[1].turn else ""
    closing = closing[closing.rfind(question) + len(question) :]
    return TurnMarks(
        _telling(openings),
        _telling([*(opening.rstrip() for opening in openings), common.rstrip()]),
        closing,
        closing_tells=not openings[1].strip(),
        bare=all(prompt.is_bare for prompt in prompts),
    )


def _telling(marks: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mark for mark in marks if mark.strip()))


def _as_decoded(model: Model, prompt: PromptText) -> tuple[str, str]:
    """The user's turn and the opening of the reply as the tokenizer decodes them: some put spaces beside special tokens."""
    ids, spans = encode(model.tokenizer, prompt.text, special_tokens=False)
    count = tokens_before(spans, prompt.turn_end)
    if count and spans[count - 1][1] > prompt.turn_end:  # one token holds both ends
        return prompt.turn, prompt.opening
    turn = decoded(model.tokenizer, ids[:count])
    return turn, decoded(model.tokenizer, ids)[len(turn) :]
