"""Depth sharing: blocks below the steered one run once, and the batch fans out into one row per multiplier there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .loaded import Model


@contextmanager
def fanned_out(model: Model, layer: int, source: torch.Tensor, batch: int) -> Iterator[None]:
    """Turns a batch of sequences into a batch of rows at the output of one block.

    The block's output is repeated, and so is every batched argument (mask, rotary embeddings, positions) that the later
    blocks get. Register this before the hooks that steer, so that these see one row per multiplier.

    Args:
        layer: the lowest steered block.
        source: [rows], for each row the index of its sequence in the batch.
        batch: number of sequences.
    """

    def widen(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            # One-dimensional arguments (cache positions) count tokens, not sequences.
            if value.ndim >= 2 and value.shape[0] == batch:
                return value.index_select(0, source.to(value.device))
            return value
        if isinstance(value, (tuple, list)):
            return type(value)(widen(inner) for inner in value)
        if isinstance(value, dict):
            return {key: widen(inner) for key, inner in value.items()}
        return value

    def after(_module: Any, _inputs: Any, output: Any) -> Any:
        return widen(output)

    def before(_module: Any, args: Any, kwargs: Any) -> Any:
        # The hidden states come first and are fanned out already.
        if args:
            return (args[0], *widen(args[1:])), widen(kwargs)
        return args, {k: v if k == "hidden_states" else widen(v) for k, v in kwargs.items()}

    handles = []
    try:
        handles.append(model.blocks[layer].register_forward_hook(after))
        for block in model.blocks[layer + 1 :]:
            handles.append(block.register_forward_pre_hook(before, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
