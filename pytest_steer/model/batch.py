"""Sequences as one padded batch, none longer than the model takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch

from ..errors import ModelError, TooLongError
from .loaded import Model
from .tokens import Ids

Padding = Literal["left", "right"]
_CUT = 16  # tokens more than there would be, at most, where a cut goes through a word


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

    Of a text of more than 8 characters for each token that the model takes, only so much is tokenised, then 64 and 256 for each. What
    passes is tokenised as a whole, and ``check_sequence`` counts its tokens.

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
