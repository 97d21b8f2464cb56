"""What steers, with what it is declared to do: this package's steering, or a user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..measures.subject import Subject
from ..model import Model, steered
from ..model.hooks import hooked
from ..model.sites import hidden_of, with_hidden
from ..steering import Intervention, Positions, Rows, SteeredBatch, SteeringVector, first_steered


@dataclass(frozen=True, eq=False)
class Target:
    """A way of steering, with what is declared of it.

    Attributes:
        enter: (batch, multiplier) -> the context manager under test.
        reference: (batch, multiplier) -> the same by plain hooks at exactly the declared positions; None if only the
            layers are declared.
        own: it is this package's own steering.
        told: it is told about the batch, so that it can know where the prompt ends.
        tensors: declared tensors, which nobody may change.
    """

    name: str
    layers: tuple[int, ...]
    positions: Positions
    include_first: bool
    strength: str
    multiplier: float
    enter: Callable[[SteeredBatch, float], AbstractContextManager[Any]]
    reference: Callable[[SteeredBatch, float], AbstractContextManager[Any]] | None
    own: bool
    told: bool
    subject: Subject
    tensors: tuple[torch.Tensor, ...] = ()

    def start(self, turn_end: int, prompt_end: int) -> int:
        """The first steered token of a sequence."""
        return first_steered(self.positions, turn_end=turn_end, prompt_end=prompt_end, include_first=self.include_first)


def own(model: Model, subject: Subject, layer: int | None = None) -> Target:
    """This package's own steering by ``subject``; with ``layer`` its one direction is tried at another block."""
    if layer is not None:
        (direction,) = _vector_of(subject).directions.values()
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

    return _target(model, subject, change, enter, own=True, told=True)


def foreign(model: Model, subject: Subject, *, tensors: tuple[torch.Tensor, ...] = ()) -> Target:
    """A user's own way of steering, which is declared to do what its intervention says.

    Args:
        tensors: the user's own tensors, which nobody may change.
    """
    change = subject.intervention
    applied = change.applied
    assert applied is not None
    target = _target(model, subject, change, applied.enter, own=False, told=applied.takes_batch)
    return replace(target, reference=target.reference if applied.is_declared else None, tensors=tensors)


def _target(model: Model, subject: Subject, change: Intervention, enter: Any, *, own: bool, told: bool) -> Target:
    vector = change.applied.vector if change.applied is not None else subject.vector
    directions = vector.directions if isinstance(vector, SteeringVector) else None

    def reference(batch: SteeredBatch, multiplier: float) -> AbstractContextManager[Any]:
        if directions is not None:
            return _added(model, directions, multiplier, batch)
        strength = torch.full((len(batch.starts), 1), multiplier)
        rows = Rows(batch.attention_mask.bool())
        return hooked(model, change, lambda: (strength, batch.steered), rows=lambda: rows)

    return Target(
        name=change.method,
        layers=change.changes,
        positions=subject.positions,
        include_first=subject.include_first,
        strength=change.strength,
        multiplier=subject.multiplier,
        enter=enter,
        reference=reference,
        own=own,
        told=told,
        subject=subject,
    )


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

    handles = []
    try:
        for layer, direction in directions.items():
            handles.append(model.blocks[layer].register_forward_hook(hook_for(direction)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _vector_of(subject: Subject) -> SteeringVector:
    assert isinstance(subject.vector, SteeringVector)
    return subject.vector
