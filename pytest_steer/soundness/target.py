"""What steers, and what it says that it does: our own steering, or any way of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..errors import SteerError
from ..measures.subject import Subject
from ..model import Model, steered
from ..model.hooks import hooked
from ..model.sites import hidden_of, with_hidden
from ..steering import Intervention, Positions, Rows, SteeringVector, first_steered

Apply = Callable[..., AbstractContextManager[Any]]


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


def foreign(
    model: Model, subject: Subject, apply: Apply, *, name: str, declared: bool, tensors: tuple[torch.Tensor, ...] = ()
) -> Target:
    """A way of the user's that says it does what ``subject`` does.

    Args:
        apply: ``apply(multiplier)`` or ``apply(multiplier, batch)``; gives a context manager that steers the model's forwards
            in its body. ``batch`` is a :class:`SteeredBatch`.
        declared: ``subject`` says what is done to the hidden states, not only where.
        tensors: the user's own tensors, which nobody may change.

    Raises:
        SteerError: ``apply`` cannot be called like that.
    """
    told = _takes_batch(apply)

    def enter(batch: SteeredBatch, multiplier: float) -> AbstractContextManager[Any]:
        manager = apply(multiplier, batch) if told else apply(multiplier)
        if not hasattr(manager, "__enter__") or not hasattr(manager, "__exit__"):
            raise SteerError(
                f"apply has to return a context manager that steers the model in its body; {name} returned "
                f"{type(manager).__name__}"
            )
        return manager

    change = subject.intervention
    target = _target(model, subject, change, enter, own=False, told=told)
    return replace(target, name=name, reference=target.reference if declared else None, tensors=tensors)


def _target(model: Model, subject: Subject, change: Intervention, enter: Any, *, own: bool, told: bool) -> Target:
    directions = subject.vector.directions if isinstance(subject.vector, SteeringVector) else None

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


def _takes_batch(apply: Apply) -> bool:
    if not callable(apply):
        raise SteerError(f"apply is a function of the multiplier that gives a context manager, not {type(apply).__name__}")
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
