"""Interventions: a change of hidden states that depends on a strength. A steering vector that is added is one."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch

from ..errors import VectorError
from .vector import SteeringVector

StrengthMeaning = Literal["linear", "interpolated", "angle", "ignored"]
_made = itertools.count()

Transform = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Intervention:
    """A change of the output of one or several decoder blocks.

    Attributes:
        layers: the blocks whose output is changed, ascending.
        transform: (hidden [rows, positions, width], strength [rows, positions or 1, 1], layer) -> changed hidden of the
            same shape. It acts on each position by itself; which positions are steered is decided by the scope, not by it.
        strength: what the multiplier means: ``linear`` (the change is proportional to it), ``interpolated`` (0 is
            off, 1 is fully on), ``angle``, or ``ignored``. Only ``linear`` has a slope.
        hash: identity of the intervention, for the memo and the report.
        durable: whether the hash says all about what it does, so that scores may be kept across runs.
        width: hidden width that it needs, or None for any.
        vector: the steering vector that is added, if that is what it does.
    """

    layers: tuple[int, ...]
    transform: Transform
    strength: StrengthMeaning
    hash: str
    method: str
    durable: bool = False
    width: int | None = None
    vector: SteeringVector | None = field(default=None, repr=False)

    def apply(self, hidden: torch.Tensor, strength: torch.Tensor, steered: torch.Tensor, layer: int) -> torch.Tensor:
        """Hidden states with the steered positions changed and every other bit as it was.

        Args:
            hidden: [rows, positions, width].
            strength: [rows, positions] or [rows, 1], the multiplier of each row or of each position.
            steered: bool [rows, positions].
        """
        if self.strength != "ignored":
            # At strength 0 the model is unsteered to the last bit, whatever the function does there.
            steered = steered & (strength != 0)
        try:
            changed = self.transform(hidden, strength.to(hidden.dtype)[:, :, None], layer)
        except (TypeError, AttributeError, ValueError, LookupError) as error:
            raise VectorError(
                f"the function of the intervention {self.method!r} failed at layer {layer}: {type(error).__name__}: {error}. It "
                "is called with (hidden [rows, positions, width], strength [rows, positions or 1, 1], layer)"
            ) from error
        if not isinstance(changed, torch.Tensor) or changed.shape != hidden.shape:
            shape = list(changed.shape) if isinstance(changed, torch.Tensor) else type(changed).__name__
            raise VectorError(
                f"the function of the intervention {self.method!r} at layer {layer} returned shape {shape} for hidden states of shape "
                f"{list(hidden.shape)}"
            )
        return torch.where(steered[:, :, None], changed.to(hidden.dtype), hidden)


def add(vector: SteeringVector) -> Intervention:
    """h -> h + multiplier * v at each of the vector's layers."""
    placed: dict[tuple[int, torch.device, torch.dtype], torch.Tensor] = {}

    def transform(hidden: torch.Tensor, strength: torch.Tensor, layer: int) -> torch.Tensor:
        key = (layer, hidden.device, hidden.dtype)
        if key not in placed:
            placed[key] = vector.directions[layer].to(hidden.device, hidden.dtype)
        return hidden + strength * placed[key]

    return Intervention(
        layers=vector.layers,
        transform=transform,
        strength="linear",
        hash=vector.hash,
        method=str(vector.metadata.get("method", "add")),
        durable=True,
        width=vector.width,
        vector=vector,
    )


def custom(transform: Transform, *, layers: int | Iterable[int], strength: StrengthMeaning, name: str) -> Intervention:
    """An intervention from any function of (hidden, strength, layer); see :class:`Intervention` for the shapes.

    Args:
        name: what the function does, for messages and the report. Every call makes an intervention of its own: the
            memo of scores never takes two functions for the same.

    Raises:
        VectorError: no layers, a negative one, or an unknown meaning of the strength.
    """
    blocks = tuple(sorted({layers} if isinstance(layers, int) else set(layers)))
    if not blocks:
        raise VectorError("an intervention needs at least one layer")
    if blocks[0] < 0:
        raise VectorError(f"a layer is a decoder block's number, from 0 on; not {blocks[0]}")
    if strength not in ("linear", "interpolated", "angle", "ignored"):
        raise VectorError(f"strength is linear, interpolated, angle or ignored; not {strength!r}")
    identity = hashlib.sha256(f"custom:{name}:{blocks}:{strength}:{next(_made)}".encode()).hexdigest()
    return Intervention(layers=blocks, transform=transform, strength=strength, hash=identity, method=name)


def as_intervention(steering: SteeringVector | Intervention) -> Intervention:
    """A steering vector is added, also one of the steering-vectors package; an intervention is itself.

    Raises:
        VectorError: it is neither.
    """
    if isinstance(steering, Intervention):
        return steering
    if isinstance(steering, SteeringVector):
        return add(steering)
    if hasattr(steering, "layer_activations") and hasattr(steering, "layer_type"):
        return add(SteeringVector.from_steering_vectors(steering))
    raise VectorError(
        f"expected a SteeringVector or an Intervention, not {type(steering).__name__}; "
        "wrap a tensor as SteeringVector({layer: tensor}), a function with interventions.custom(...)"
    )
