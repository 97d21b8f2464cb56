"""Logits at a few positions: only those positions, and only the wanted tokens, are computed by the unembedding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from .model import Model, once_per_model
from .noise import MISFITS, eps_of, trial_ids


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


def reading(
    model: Model,
    inputs: Mapping[str, Any],
    places: Sequence[tuple[int, int]],
    only: Sequence[int] | None = None,
    *,
    apart: bool = False,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """One forward, and a function that gives its float32 logits at some of the places, by their numbers.

    Args:
        apart: keep the hidden states instead of all logits, and unembed those that are asked for, see :func:`can_unembed_apart`.
    """
    if apart:
        hidden = _hidden_at(model, inputs, places)
        return lambda asked: unembedded(model, hidden[asked.to(hidden.device)])
    logits = logits_at(model, inputs, places, only).float()
    return lambda asked: logits[asked.to(logits.device)]


def unembedded(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """Float32 logits [places, vocabulary] of hidden states [places, width] as the unembedding takes them.

    The model runs on one token, with the hidden states in the place of that token's. So whatever it does to logits is done to these.
    """
    head = model.hf.get_output_embeddings()
    one = torch.zeros(1, 1, dtype=torch.long, device=model.device)

    def put(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden[None], *args[1:])

    with head.register_forward_pre_hook(put):
        logits: torch.Tensor = model.hf(input_ids=one, attention_mask=one + 1, use_cache=False).logits
    return logits[0].float()


@once_per_model
def can_unembed_apart(model: Model) -> bool:
    """Whether the logits of a forward can be had from the hidden states alone; tried on a short text."""
    if model.hf.get_output_embeddings() is None:
        return False
    ids = trial_ids(model)
    places = [(0, at) for at in range(ids.shape[1])]
    try:
        with torch.inference_mode():
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
            found = unembedded(model, _hidden_at(model, inputs, places))
            whole = logits_at(model, inputs, places).float()
    except MISFITS:
        return False
    # In 16 bits another shape of the batch may round otherwise.
    room = 4 * max(torch.finfo(torch.float32).eps * 64, eps_of(model.dtype)) * max(1.0, float(whole.abs().max()))
    return found.shape == whole.shape and bool(torch.allclose(found, whole, rtol=0, atol=room, equal_nan=True))


def _hidden_at(model: Model, inputs: Mapping[str, Any], places: Sequence[tuple[int, int]]) -> torch.Tensor:
    """[places, width] what the unembedding would take; one position of it keeps the forward cheap."""
    rows, positions = torch.tensor(places, device=model.device).unbind(1)
    found: list[torch.Tensor] = []

    def keep(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        found.append(args[0][rows, positions])
        return (args[0][:1, :1], *args[1:])

    with model.hf.get_output_embeddings().register_forward_pre_hook(keep):
        model.hf(**inputs)
    (hidden,) = found
    return hidden


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
