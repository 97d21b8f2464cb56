"""Tokens of prompts, answers and texts: how many belong to the user's turn, which end an answer, and sequences as one padded batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from ..core.errors import DataError, ModelError, TokenBoundaryError, TooLongError
from ..data import TaskItem
from ..data.tasks import shots
from ..prompting import RenderedItem
from .model import Model, once_per_model

Ids = tuple[int, ...]
Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class AnswerTokens:
    """A prompt and one answer to it as tokens of one string.

    Attributes:
        ids: the prompt's tokens and then the answer's.
        first: index of the first scored token: the first one that holds a character of the answer. A tokenizer may merge the end of the
            prompt into it (``(A``), so it can be another one for each answer.
        turn_end: how many tokens belong to the user's turn: those that begin before its end. Where the template writes nothing after
            the turn, its last token is what the reply follows, and not counted.
    """

    ids: Ids
    first: int
    turn_end: int

    @property
    def prompt(self) -> Ids:
        """The tokens before the first scored one."""
        return self.ids[: self.first]

    @property
    def scored(self) -> Ids:
        """The tokens whose likelihood is the answer's."""
        return self.ids[self.first :]


@dataclass(frozen=True)
class ItemTokens:
    """An item as tokens.

    Attributes:
        matching / not_matching: the answers of each side, each with its prompt. Labels in brackets end with the first token in which
            the answers differ, which is all that is compared of them.
    """

    matching: tuple[AnswerTokens, ...]
    not_matching: tuple[AnswerTokens, ...]

    @property
    def answers(self) -> tuple[AnswerTokens, ...]:
        return self.matching + self.not_matching

    @property
    def is_single(self) -> bool:
        """Whether every answer is one token after the same prompt, so that one forward of the prompt scores all of them."""
        first = self.answers[0]
        return all(len(a.scored) == 1 and a.prompt == first.prompt for a in self.answers)

    @property
    def prompt(self) -> Ids:
        """Tokens before the first scored one of the first matching answer."""
        return self.matching[0].prompt

    @property
    def turn_end(self) -> int:
        """How many of them belong to the user's turn."""
        return self.matching[0].turn_end


def tokenize_item(tokenizer: Any, item: RenderedItem) -> ItemTokens:
    """Tokens of a rendered item, each answer tokenised together with the prompt.

    Raises:
        TokenBoundaryError: an answer adds no token, or answers of the two sides have the same tokens.
    """
    name = f"item {item.item.id}"
    sides = [
        tuple(tokenize_answer(tokenizer, item.turn, item.opening, answer, item.special_tokens, name) for answer in side)
        for side in (item.matching, item.not_matching)
    ]
    if {a.ids for a in sides[0]} & {a.ids for a in sides[1]}:
        raise TokenBoundaryError(
            f"{name}: the answers {item.matching[0]!r} and {item.not_matching[0]!r} have the same tokens"
        )
    if item.item.is_lettered:
        sides = _to_the_first_difference(*sides)
    if item.bare:
        sides = [tuple(replace(answer, turn_end=max(0, answer.turn_end - 1)) for answer in side) for side in sides]
    return ItemTokens(sides[0], sides[1])


def _to_the_first_difference(
    matching: tuple[AnswerTokens, ...], not_matching: tuple[AnswerTokens, ...]
) -> list[tuple[AnswerTokens, ...]]:
    """Answers cut after the first token in which they differ; as they are, if one token does not tell the two sides apart."""
    answers = matching + not_matching
    shortest = min(len(a.ids) for a in answers)
    at = next((i for i in range(shortest) if len({a.ids[i] for a in answers}) > 1), shortest)
    if at == shortest or {a.ids[at] for a in matching} & {a.ids[at] for a in not_matching}:
        return [matching, not_matching]
    return [tuple(AnswerTokens(a.ids[: at + 1], at, min(a.turn_end, at)) for a in side) for side in (matching, not_matching)]


def tokenize_answer(tokenizer: Any, turn: str, opening: str, answer: str, special_tokens: bool, name: str) -> AnswerTokens:
    """Tokens of a user's turn, the prefill of the reply and an answer, as one string.

    Raises:
        TokenBoundaryError: the answer adds no token, or no token comes before it.
    """
    prompt = turn + opening
    ids, spans = encode(tokenizer, prompt + answer, special_tokens)
    first = next((i for i, (_, end) in enumerate(spans) if end > len(prompt)), len(ids))
    if first == len(ids):
        raise TokenBoundaryError(f"{name}: the answer {answer!r} adds no token to the prompt")
    if first == 0:
        raise TokenBoundaryError(f"{name}: no token stands before the answer {answer!r}, so nothing predicts it")
    return AnswerTokens(ids, first, min(tokens_before(spans, len(turn)), first))


def tokenize_prompt(tokenizer: Any, turn: str, opening: str, special_tokens: bool) -> tuple[Ids, int]:
    """Tokens of a user's turn and the prefill of the reply, and how many of them belong to the turn."""
    ids, spans = encode(tokenizer, turn + opening, special_tokens)
    return ids, tokens_before(spans, len(turn))


def tokens_before(spans: Spans, end: int) -> int:
    """How many tokens begin before a place in the text."""
    # A space alone can have an empty span at its end, and special tokens before the text have one at its start.
    return sum(start < end or stop <= end for start, stop in spans)


def tokenize_task(tokenizer: Any, demonstrations: Sequence[TaskItem], query: TaskItem) -> AnswerTokens:
    """Tokens of the prompt of ``data.tasks.shots`` and of the right output that follows it, tokenised together.

    The user's turn ends before the line of "A:", as in the plain form. What is scored are the tokens that hold a character of the
    output or the space before it.

    Raises:
        TokenBoundaryError: the output adds no token to the prompt.
    """
    text, opening = shots(demonstrations, query.input), "\nA:"
    # What is right is what greedy decoding writes after "A:", the space included.
    answer = f" {query.output.strip()}"
    return tokenize_answer(tokenizer, text.removesuffix(opening), opening, answer, True, f"task item {query.input!r}")


def tokenize_text(tokenizer: Any, text: str, name: str) -> Ids:
    """Tokens of a text, with the tokenizer's own special tokens before it.

    Raises:
        DataError: fewer than two tokens: every token but the first is scored, so there would be nothing.
    """
    ids, _ = encode(tokenizer, text, special_tokens=True)
    if len(ids) < 2:
        raise DataError(f"{name}: has {len(ids)} token(s); every token but the first is scored, so at least two are needed")
    return ids


def encode(tokenizer: Any, text: str, special_tokens: bool) -> tuple[Ids, Spans]:
    """Token ids, and for each the characters of the text (start, end) that it holds; special tokens hold none.

    Special tokens that the tokenizer adds after the text (an end marker) are dropped, since the text continues. A BOS that the
    text already contains is not added again.
    """
    fast = bool(getattr(tokenizer, "is_fast", False))
    encoded = tokenizer(
        text, add_special_tokens=special_tokens, return_offsets_mapping=fast, return_attention_mask=False, verbose=False
    )
    ids = list(encoded["input_ids"])
    start, end = 0, len(ids)
    if special_tokens:
        bare = list(tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"])
        begins = range(len(ids) - len(bare) + 1) if bare else range(0)
        begin = next((at for at in begins if ids[at : at + len(bare)] == bare), None)
        if begin is not None:
            end = begin + len(bare)
            if begin == 1 and ids[0] == bare[0] == getattr(tokenizer, "bos_token_id", None):
                start = 1
    ids = ids[start:end]
    if fast:
        return tuple(ids), tuple((int(a), int(b)) for a, b in encoded["offset_mapping"][start:end])
    return tuple(ids), spans_by_decoding(tokenizer, text, ids)


def spans_by_decoding(tokenizer: Any, text: str, ids: Sequence[int]) -> Spans:
    """The characters of each token, for a tokenizer that does not tell: each is found by its text, after those before it."""
    special = set(getattr(tokenizer, "all_special_ids", ()))
    spans: list[tuple[int, int]] = []
    at = known = 0  # up to where the text, and the tokens, are accounted for
    for index, token in enumerate(ids):
        # What the tokens since then add to those before them; by itself a token may lose the space before it.
        before = ids[max(0, known - 8) : known]
        piece = decoded(tokenizer, [*before, *ids[known : index + 1]])[len(decoded(tokenizer, before)) :]
        bare = piece.strip()
        found = text.find(bare, at) if bare else -1
        if token in special and not (bare and text.startswith(bare, at)):
            spans.append((at, at))
            known = index + 1
        elif found >= 0 and not text[at:found].strip():
            end = found + len(bare)
            for white in piece[len(piece.rstrip()) :]:
                end += text.startswith(white, end)
            spans.append((at, end))
            at, known = end, index + 1
        elif piece and not bare:
            spans.append((at, min(len(text), at + len(piece))))
            at, known = spans[-1][1], index + 1
        else:  # a part of a character, or text that the tokenizer changed
            spans.append((at, at + 1))
    return tuple(spans)


def decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of tokens, special ones included."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def end_tokens(model: Model) -> frozenset[int]:
    """The tokens at which the model's generation_config ends a text."""
    ends = getattr(getattr(model.hf, "generation_config", None), "eos_token_id", None)
    if ends is None:
        return frozenset()
    return frozenset(ends if isinstance(ends, (list, tuple)) else [ends])


def answer_ends(model: Model) -> Ids:
    """The tokens that end an answer of one line, ascending: those that begin with a line break (after spaces or not), the
    tokenizer's end-of-text token, and those of the model's generation_config.

    The tokenizer decodes each of its tokens once per model.
    """
    vocabulary = model.vocabulary
    ends = {*_line_breaks(model), *end_tokens(model), model.tokenizer.eos_token_id}
    return tuple(sorted(token for token in ends if token is not None and 0 <= token < vocabulary))


@once_per_model
def _line_breaks(model: Model) -> Ids:
    """The tokens that begin with a line break, spaces before it or not."""
    tokens = range(min(len(model.tokenizer), model.vocabulary))
    texts = [model.tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in tokens]
    return tuple(token for token, text in enumerate(texts) if text.lstrip(" ").startswith(("\n", "\r")))


Padding = Literal["left", "right"]
_CUT = 16  # most additional tokens that a cut through a word can cause


def padded(sequences: Sequence[Ids], side: Padding = "right") -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask, int64 [rows, longest]; padding has the id 0."""
    length = max(map(len, sequences))
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        start = length - len(sequence) if side == "left" else 0
        own = slice(start, start + len(sequence))
        ids[row, own] = torch.tensor(sequence, dtype=torch.long)
        mask[row, own] = 1
    return ids, mask


def check_sequence(model: Model, ids: Ids, name: str) -> None:
    """Refuse a sequence that the model cannot take.

    Raises:
        TooLongError: it is too long.
        ModelError: it has tokens that the model does not know.
    """
    check_vocabulary(model, ids, name)
    limit = model.max_positions
    if limit is not None and len(ids) > limit:
        raise TooLongError(f"{name}: has {len(ids)} tokens, but {model.id} takes at most {limit}")


def check_texts(model: Model, texts: Iterable[str], name: str) -> None:
    """Refuse a text that is far longer than the model allows, before all of it is rendered and tokenised.

    A text with more than 8 characters per token of the limit is first tokenised up to there, then up to 64 and up to 256 characters
    per token. A text that passes is tokenised as a whole, and ``check_sequence`` counts its tokens.

    Raises:
        TooLongError: one is too long.
    """
    limit = model.max_positions
    if limit is None:
        return
    for text in texts:
        for characters in (8 * limit, 64 * limit, 256 * limit):
            if len(text) <= characters:
                break
            part = model.tokenizer(text[:characters], add_special_tokens=False, return_attention_mask=False, verbose=False)
            count = len(part["input_ids"])
            if count > limit + _CUT:
                raise TooLongError(
                    f"{name}: has {len(text)} characters. The first {characters} alone are {count} tokens, but {model.id} takes at "
                    f"most {limit}"
                )


def check_vocabulary(model: Model, ids: Sequence[int], name: str) -> None:
    """Refuse tokens beyond the model's embedding.

    Raises:
        ModelError: there is one, so the tokenizer is that of another model.
    """
    largest = max(ids, default=0)
    known = getattr(model.hf.get_input_embeddings(), "num_embeddings", model.vocabulary)
    if largest >= known:
        token = model.tokenizer.decode([largest])
        raise ModelError(
            f"{name}: the tokenizer gives it token {largest} ({token!r}), and {model.id} has an embedding for {known} tokens only (0 to "
            f"{known - 1}). The tokenizer belongs to another model: load the model with its own"
        )
