"""Run a forward plan whose entries are born at later blocks: the work that they share below is done once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from .layout import Plan
from .model import Model
from .sites import hidden_of, with_hidden


@contextmanager
def growing(model: Model, plan: Plan, shared: int = 0, per_row: tuple[int, ...] = ()) -> Iterator[None]:
    """Let the forward of a plan begin with its first entries only.

    The model is given the whole plan, so whatever it prepares for its blocks (masks, positions, rotary embeddings, ALiBi)
    has the size of the whole. The input of each block is cut down to the entries that live there, and so are the
    prepared arguments, which are known by their size. Register this before the hooks that steer.

    Args:
        shared: length of a prefix whose keys come before those of the row.
        per_row: numbers of attention heads: an argument may hold so many entries for each row.
    """
    axis, full = plan.axis, plan.ids.shape[plan.axis]

    def cut(value: Any, alive: int) -> Any:
        if isinstance(value, torch.Tensor):
            return _cut_rows(value, full, alive, per_row) if axis == 0 else _cut_places(value, full, alive, shared)
        if isinstance(value, (tuple, list)):
            return type(value)(cut(inner, alive) for inner in value)
        if isinstance(value, dict):
            return {key: cut(inner, alive) for key, inner in value.items()}
        return value

    def before(alive: int) -> Callable[[Any, Any, Any], Any]:
        def hook(_module: Any, args: Any, kwargs: Any) -> Any:
            # The hidden states come first. After the first block they have the right size already.
            hidden, rest = (args[0], args[1:]) if args else (kwargs["hidden_states"], ())
            hidden = hidden[:alive] if axis == 0 else hidden[:, :alive]
            rest, named = cut(rest, alive), {k: cut(v, alive) for k, v in kwargs.items() if k != "hidden_states"}
            return ((hidden, *rest), named) if args else ((), {**named, "hidden_states": hidden})

        return hook

    def after(source: torch.Tensor) -> Callable[[Any, Any, Any], Any]:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            hidden = hidden_of(output)
            at = source.to(hidden.device)
            born = hidden.index_select(0, at) if axis == 0 else hidden[torch.arange(len(at), device=at.device)[:, None], at]
            return with_hidden(output, torch.cat([hidden, born], dim=axis))

        return hook

    with ExitStack() as stack:
        for number, block in enumerate(model.blocks):
            if plan.alive(number) < full:
                stack.enter_context(block.register_forward_pre_hook(before(plan.alive(number)), with_kwargs=True))
            if number + 1 in plan.births:
                stack.enter_context(block.register_forward_hook(after(plan.births[number + 1])))
        yield


def _cut_rows(value: torch.Tensor, full: int, alive: int, per_row: tuple[int, ...]) -> torch.Tensor:
    if value.ndim < 2:  # cache positions count tokens, not rows
        return value
    if value.shape[0] == full:
        return value[:alive]
    heads = next((count for count in per_row if value.shape[0] == full * count), 0)
    return value[: alive * heads] if heads else value


def _cut_places(value: torch.Tensor, full: int, alive: int, shared: int) -> torch.Tensor:
    for dimension, size in enumerate(value.shape):
        if size == full:
            value = value.narrow(dimension, 0, alive)
        elif shared and size == shared + full:
            value = value.narrow(dimension, 0, shared + alive)
    return value
