"""A target: what steers, and what is declared about it. It is this package's steering, or a user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..measures.subject import Subject
from ..model import Model, steered
from ..model.hooks import hooked
from ..model.sites import hidden_of, with_hidden
from ..steering import Intervention, Rows, SteeredBatch, SteeringVector, first_steered
from .examples import Line

Enter = Callable[[SteeredBatch, float], AbstractContextManager[Any]]
"""(batch, multiplier) -> a context manager in which the model's forwards are steered."""


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
        return steered(
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


def foreign(model: Model, subject: Subject, *, tensors: tuple[torch.Tensor, ...] = ()) -> Target:
    """A user's way of steering, which is declared to do what its intervention says.

    Args:
        tensors: the user's own tensors, which nobody may change.
    """
    change = subject.intervention
    applied = change.applied
    assert applied is not None
    reference = _reference(model, subject, change) if applied.is_declared else None
    return Target(
        change.method, subject, change, applied.enter, reference, own=False, told=applied.takes_batch, tensors=tensors
    )


def _reference(model: Model, subject: Subject, change: Intervention) -> Enter:
    vector = change.applied.vector if change.applied is not None else subject.vector
    directions = vector.directions if isinstance(vector, SteeringVector) else None

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
