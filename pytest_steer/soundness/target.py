"""A target: a way of steering and what is declared about it. It is this package's own steering, or any way of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..errors import SteerError
from ..measures.subject import Subject
from ..model import Model, steering
from ..model.hooks import hooked
from ..model.sites import hidden_of, with_hidden
from ..steering import Intervention, Rows, SteeringVector, first_steered
from .lines import Line

Apply = Callable[..., AbstractContextManager[Any]]
Enter = Callable[["SteeredBatch", float], AbstractContextManager[Any]]
"""(batch, multiplier) -> a context manager in which the model's forwards are steered."""


@dataclass(frozen=True, eq=False)
class SteeredBatch:
    """The prompts that are about to be steered: the second argument of an ``apply`` that asks for it.

    Attributes:
        input_ids / attention_mask: [rows, tokens] of the first forward in the block.
        prompt_lengths: for each row the number of real tokens up to where the scope starts counting: the whole prompt for
            ``last``, otherwise the end of the user's turn.
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


@dataclass(frozen=True, eq=False)
class Target:
    """A way of steering, with what is declared about it.

    Attributes:
        name: its name in messages and reports.
        subject: what it is declared to do, at which positions and strength.
        change: the subject's intervention.
        enter: the context manager under test.
        reference: the same by plain hooks at exactly the declared positions; None if only the layers are declared.
        own: it is this package's own steering.
        told: it gets the batch, so it can know where the prompt ends.
        tensors: declared tensors, which nobody may change.
    """

    name: str
    subject: Subject
    change: Intervention
    enter: Enter
    reference: Enter | None
    own: bool
    told: bool
    tensors: tuple[torch.Tensor, ...] = ()

    @property
    def layers(self) -> tuple[int, ...]:
        """The blocks whose output is changed."""
        return self.change.changes

    def start(self, line: Line) -> int:
        """The first steered token of a row."""
        return first_steered(
            self.subject.positions,
            turn_end=line.turn_end,
            prompt_end=len(line.prompt),
            include_first=self.subject.include_first,
        )


def own(model: Model, subject: Subject, layer: int | None = None) -> Target:
    """This package's own steering by ``subject``; with ``layer`` its one direction is tried at another block."""
    if layer is not None:
        assert isinstance(subject.vector, SteeringVector)
        (direction,) = subject.vector.directions.values()
        subject = replace(subject, vector=SteeringVector({layer: direction}))
    change = subject.intervention

    def enter(batch: SteeredBatch, multiplier: float) -> AbstractContextManager[Any]:
        return steering(
            model,
            change,
            multiplier,
            positions=subject.positions,
            include_first=subject.include_first,
            prompt_lengths=batch.prompt_lengths,
            allow_mismatch=("model", "template"),  # a mismatch is a property of its own
        )

    reference = _reference(model, subject, change)
    return Target(change.method, subject, change, enter, reference, own=True, told=True)


def foreign(
    model: Model, subject: Subject, apply: Apply, *, declared: bool, tensors: tuple[torch.Tensor, ...] = ()
) -> Target:
    """A user's way of steering, which is declared to do what ``subject`` does.

    Args:
        apply: ``apply(multiplier)`` or ``apply(multiplier, batch)``. It returns a context manager that steers the model's
            forwards in its body. ``batch`` is a :class:`SteeredBatch`.
        declared: ``subject`` says what is done to the hidden states, and not only where.
        tensors: the user's own tensors, which nobody may change.

    Raises:
        SteerError: ``apply`` cannot be called like that.
    """
    name = getattr(apply, "__name__", type(apply).__name__)
    told = _takes_batch(apply)
    change = subject.intervention

    def enter(batch: SteeredBatch, multiplier: float) -> AbstractContextManager[Any]:
        manager = apply(multiplier, batch) if told else apply(multiplier)
        if not isinstance(manager, AbstractContextManager):
            raise SteerError(
                f"apply has to return a context manager that steers the model in its body; {name} returned "
                f"{type(manager).__name__}"
            )
        return manager

    reference = _reference(model, subject, change) if declared else None
    return Target(name, subject, change, enter, reference, own=False, told=told, tensors=tensors)


def _reference(model: Model, subject: Subject, change: Intervention) -> Enter:
    directions = subject.vector.directions if isinstance(subject.vector, SteeringVector) else None

    def reference(batch: SteeredBatch, multiplier: float) -> AbstractContextManager[Any]:
        if directions is not None:
            return _added(model, directions, multiplier, batch)
        strength = torch.full((len(batch.starts), 1), multiplier)
        rows = Rows(batch.attention_mask.bool())
        return hooked(model, change, lambda: (strength, batch.steered), rows=lambda: rows)

    return reference


@contextmanager
def _added(model: Model, directions: Mapping[int, torch.Tensor], multiplier: float, batch: SteeredBatch) -> Iterator[None]:
    """h + multiplier * v at the steered positions, by hooks that share no code with those under test."""

    def hook_for(direction: torch.Tensor) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            hidden = hidden_of(output)
            dose = (multiplier * direction.double()).to(hidden.device, hidden.dtype)
            changed = hidden.clone()
            steered = batch.steered.to(hidden.device)
            changed[steered] = hidden[steered] + dose
            return with_hidden(output, changed)

        return hook

    with ExitStack() as hooks:
        for layer, direction in directions.items():
            hooks.enter_context(model.blocks[layer].register_forward_hook(hook_for(direction)))
        yield


def _takes_batch(apply: Apply) -> bool:
    if not callable(apply):
        raise SteerError(f"apply is a function of the multiplier that returns a context manager, not {type(apply).__name__}")
    try:
        signature = inspect.signature(apply)
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in signature.parameters.values() if p.kind in kinds and p.default is inspect.Parameter.empty]
    try:
        signature.bind(*[None] * max(1, len(needed)))
        fits = len(needed) <= 2
    except TypeError:
        fits = False
    if not fits:
        raise SteerError(
            f"apply is called as apply(multiplier) or apply(multiplier, batch), which {signature} does not allow"
        )
    return len(needed) == 2
