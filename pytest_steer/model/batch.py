"""Sequences as one padded batch, none longer than the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from ..errors import DataError
from .loaded import Model
from .tokens import Ids

Padding = Literal["left", "right"]


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


def check_length(model: Model, ids: Ids, name: str) -> None:
    """Refuse a sequence that is longer than the model allows.

    Raises:
        DataError: it is too long.
    """
    limit = model.max_positions
    if limit is not None and len(ids) > limit:
        raise DataError(f"{name}: has {len(ids)} tokens, but {model.id} takes at most {limit}")
