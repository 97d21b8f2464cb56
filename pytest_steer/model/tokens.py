"""Tokens of prompts, answers and texts, with the places where steering scopes begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DataError, TokenBoundaryError
from ..prompting import RenderedItem, TaskItem
from ..prompting.tasks import shots

Ids = tuple[int, ...]


@dataclass(frozen=True)
class ItemTokens:
    """An item as tokens.

    Attributes:
        prompt: tokens of everything before the answer.
        turn_end: how many of them belong to the user's turn: those that begin before its end.
        matching / not_matching: tokens of each answer, as they stand in the joint string.
    """

    prompt: Ids
    turn_end: int
    matching: tuple[Ids, ...]
    not_matching: tuple[Ids, ...]

    @property
    def is_single(self) -> bool:
        """Whether every answer is one token, so that one forward of the prompt scores all of them."""
        return all(len(answer) == 1 for answer in self.matching + self.not_matching)


def tokenize_item(tokenizer: Any, item: RenderedItem) -> ItemTokens:
    """Tokens of a rendered item. Answers are tokenised inside the joint string.

    Raises:
        TokenBoundaryError: an answer changes the prompt's tokens or adds none, or both sides have the same tokens.
    """
    prompt, turn_end = tokenize_prompt(tokenizer, item.turn, item.opening, item.special_tokens)
    sides = [
        tuple(_answer(tokenizer, item, prompt, answer) for answer in side) for side in (item.matching, item.not_matching)
    ]
    if set(sides[0]) & set(sides[1]):
        raise TokenBoundaryError(
            f"item {item.item.id}: the answers {item.matching[0]!r} and {item.not_matching[0]!r} have the same tokens"
        )
    return ItemTokens(prompt, turn_end, sides[0], sides[1])


def tokenize_prompt(tokenizer: Any, turn: str, opening: str, special_tokens: bool) -> tuple[Ids, int]:
    """Tokens of a user's turn and the opening of the reply, and how many of them belong to the turn."""
    prompt, starts = encode(tokenizer, turn + opening, special_tokens)
    if starts is not None:
        return prompt, sum(start < len(turn) for start in starts)
    # A tokenizer that does not say where its tokens stand in the text.
    return prompt, min(len(encode(tokenizer, turn, special_tokens)[0]), len(prompt))


def _answer(tokenizer: Any, item: RenderedItem, prompt: Ids, answer: str) -> Ids:
    joint, _ = encode(tokenizer, item.prompt + answer, item.special_tokens)
    if joint[: len(prompt)] != prompt:
        at = next(i for i in range(len(prompt)) if i >= len(joint) or joint[i] != prompt[i])
        now = tokenizer.decode(list(joint[at : at + 1]))
        raise TokenBoundaryError(
            f"item {item.item.id}: with the answer {answer!r} behind it, the prompt's token {at} of {len(prompt)} changes from "
            f"{tokenizer.decode([prompt[at]])!r} to {now!r}: the tokenizer merges the end of the prompt with the answer, "
            "so the answer cannot be scored by itself; use other answer labels or another opening"
        )
    if len(joint) == len(prompt):
        raise TokenBoundaryError(f"item {item.item.id}: the answer {answer!r} adds no token to the prompt")
    return joint[len(prompt) :]


@dataclass(frozen=True)
class TaskTokens:
    """A query of a task behind its demonstrations, as tokens.

    Attributes:
        prompt: tokens up to and with the "A:" that is left open.
        turn_end: how many of them belong to the question, as in the plain form: those that begin before the line of "A:".
        answer: tokens of the right output, with the space before it.
    """

    prompt: Ids
    turn_end: int
    answer: Ids


def tokenize_task(tokenizer: Any, demonstrations: Sequence[TaskItem], query: TaskItem) -> TaskTokens:
    """Tokens of the prompt of ``prompting.tasks.shots`` and of the right output behind it, tokenised together.

    Raises:
        TokenBoundaryError: the output changes the prompt's tokens or adds none.
    """
    text, opening = shots(demonstrations, query.input), "\nA:"
    prompt, turn_end = tokenize_prompt(tokenizer, text.removesuffix(opening), opening, special_tokens=True)
    joint, _ = encode(tokenizer, f"{text} {query.output.strip()}", special_tokens=True)
    if joint[: len(prompt)] != prompt or len(joint) == len(prompt):
        raise TokenBoundaryError(
            f"task item {query.input!r}: its output {query.output!r} changes the tokens of the prompt before it"
        )
    return TaskTokens(prompt, turn_end, joint[len(prompt) :])


def tokenize_text(tokenizer: Any, text: str, name: str) -> Ids:
    """Tokens of a text, with the tokenizer's own special tokens before it.

    Raises:
        DataError: fewer than two tokens: every token but the first is scored, so there would be nothing.
    """
    ids, _ = encode(tokenizer, text, special_tokens=True)
    if len(ids) < 2:
        raise DataError(f"{name}: has {len(ids)} token(s); every token but the first is scored, so at least two are needed")
    return ids


def encode(tokenizer: Any, text: str, special_tokens: bool) -> tuple[Ids, tuple[int, ...] | None]:
    """Token ids, and where in the text each begins (None if the tokenizer cannot say).

    Special tokens that the tokenizer puts behind the text (an end marker) are left out: the text goes on.
    """
    fast = bool(getattr(tokenizer, "is_fast", False))
    encoded = tokenizer(
        text,
        add_special_tokens=special_tokens,
        return_offsets_mapping=fast,
        return_attention_mask=False,
        verbose=False,
    )
    ids = list(encoded["input_ids"])
    if special_tokens:
        bare = list(tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"])
        begins = range(len(ids) - len(bare) + 1) if bare else range(0)
        begin = next((at for at in begins if ids[at : at + len(bare)] == bare), None)
        if begin is not None:
            ids = ids[: begin + len(bare)]
    starts = tuple(start for start, _ in encoded["offset_mapping"][: len(ids)]) if fast else None
    return tuple(ids), starts
