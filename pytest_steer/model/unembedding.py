"""Logits at a few positions: only those positions, and only the wanted tokens, are computed by the unembedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from .loaded import Model


def logits_at(
    model: Model, inputs: Mapping[str, Any], places: Sequence[tuple[int, int]], only: Sequence[int] | None = None
) -> torch.Tensor:
    """Logits of one forward at some (row, position) pairs.

    What a model does to its logits after the unembedding (softcapping, scaling) is kept.

    Args:
        inputs: arguments of the model's forward.
        only: the tokens whose logits are wanted; None for all.

    Returns:
        [places, vocabulary], or [places, only].
    """
    rows, positions = torch.tensor(places, device=model.device).unbind(1)
    head = model.hf.get_output_embeddings()
    logits: torch.Tensor
    if head is None:
        logits = model.hf(**inputs).logits[rows, positions]
        return logits if only is None else logits[:, only]

    def pick(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][rows, positions][None], *args[1:])

    with ExitStack() as stack:
        stack.enter_context(head.register_forward_pre_hook(pick))
        if only is not None and type(head) is nn.Linear and "forward" not in vars(head):
            stack.enter_context(_computing_only(head, torch.tensor(only, device=model.device)))
            only = None
        logits = model.hf(**inputs).logits[0]
    return logits if only is None else logits[:, only]


@contextmanager
def _computing_only(head: nn.Linear, tokens: torch.Tensor) -> Iterator[None]:
    weight, bias = head.weight[tokens], None if head.bias is None else head.bias[tokens]

    def narrow(hidden: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(hidden, weight, bias)

    head.forward = narrow  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        del head.forward
