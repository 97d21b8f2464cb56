"""The rows that are about to be steered, as a user's own way of steering is told of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class SteeredBatch:
    """The prompts that are about to be steered: the second argument of an ``apply`` that asks for it.

    Attributes:
        input_ids / attention_mask: [rows, tokens] of the first forward in the block.
        prompt_lengths: for each row how many real tokens stand before the scope's mark: the tokens of the whole prompt for
            ``last``, those up to the end of the user's turn otherwise.
        starts: for each row the first steered token, counted over its real tokens.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    prompt_lengths: tuple[int, ...]
    starts: tuple[int, ...]

    @property
    def steered(self) -> torch.Tensor:
        """bool [rows, tokens]: the positions that are to be steered."""
        real = self.attention_mask.bool()
        index = self.attention_mask.long().cumsum(1) - 1
        return real & (index >= torch.tensor(self.starts, device=index.device)[:, None])
