"""Recipes of interventions: a kind, options and tensors. A recipe is the intervention's identity and the content of its file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ..core import registry
from ..core.errors import VectorError
from ..core.evidence import Json
from .vector import SteeringVector

Directions = SteeringVector | Mapping[int, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Recipe:
    """A description from which an intervention can be made again.

    Attributes:
        kind: ``ablate``, ``affine``, ...
        options: plain JSON values.
        tensors: {name: float32 tensor on the CPU}; a tensor for a layer is called ``name.LAYER``.
    """

    kind: str
    options: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of kind, options and tensors."""
        digest = hashlib.sha256(json.dumps([self.kind, self.options], sort_keys=True).encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name}{list(tensor.shape)}".encode() + tensor.numpy().tobytes())
        return digest.hexdigest()

    @property
    def core(self) -> Recipe:
        """The recipe inside all gates."""
        return self.inside("inner").core if "inner" in self.options else self

    def by_name(self) -> dict[str, dict[int, torch.Tensor]]:
        """{name: {layer: tensor}} of the tensors called ``name.LAYER``."""
        found: dict[str, dict[int, torch.Tensor]] = {}
        for full, tensor in self.tensors.items():
            name, _, layer = full.rpartition(".")
            if layer.isascii() and layer.isdigit():
                found.setdefault(name, {})[int(layer)] = tensor
        return found

    def per_layer(self, name: str) -> dict[int, torch.Tensor]:
        """{layer: tensor} of the tensors called ``name.LAYER``."""
        return self.by_name().get(name, {})

    def inside(self, name: str) -> Recipe:
        """The recipe that stands in the option ``name``, its tensors being called ``name.*``."""
        inner = self.options[name]
        prefix = f"{name}."
        own = {full.removeprefix(prefix): tensor for full, tensor in self.tensors.items() if full.startswith(prefix)}
        return Recipe(inner["kind"], inner["options"], own)

    def as_option(self, name: str) -> tuple[Json, dict[str, torch.Tensor]]:
        """The recipe as the option ``name`` of another one, and its tensors as they are called there."""
        return {"kind": self.kind, "options": dict(self.options)}, {f"{name}.{n}": t for n, t in self.tensors.items()}


def operation(recipe: Recipe) -> str:
    """The operation of a recipe in words: ``added``, ``projected out``, ``added, where a condition is met``."""
    known = registry.things("recipe").get(recipe.kind) or registry.things("intervention").get(recipe.kind)
    does = known.does if known is not None else "changed by a custom function"
    return f"{operation(recipe.inside('inner'))}, {does}" if "inner" in recipe.options else does


def by_layer(**named: Mapping[int, torch.Tensor]) -> dict[str, torch.Tensor]:
    """{``name.LAYER``: tensor} of {layer: tensor} by name."""
    return {f"{name}.{layer}": tensor for name, tensors in named.items() for layer, tensor in tensors.items()}


def as_vector(directions: Directions) -> SteeringVector:
    """Directions as a steering vector, which checks them.

    Raises:
        VectorError: see :class:`SteeringVector`.
    """
    if not isinstance(directions, SteeringVector):
        return SteeringVector(directions)
    directions.check_settled()
    return directions


def units(vector: SteeringVector) -> dict[int, torch.Tensor]:
    """{layer: direction of length 1}. What has it to float32 rounding is left to the last bit, so that reading back what was
    written changes nothing."""
    found = zip(vector.norms.items(), vector.directions.values(), strict=True)
    return {layer: d if abs(norm - 1) < 1e-6 else (d.double() / norm).float() for (layer, norm), d in found}


def checked(tensors: Mapping[int, torch.Tensor], shape: tuple[int, ...], what: str) -> dict[int, torch.Tensor]:
    """{layer: float32 tensor on the CPU}, each of one shape and finite.

    Raises:
        VectorError: none, another shape, NaN or infinite.
    """
    clean = {}
    for layer, tensor in sorted(tensors.items()):
        tensor = torch.as_tensor(tensor).detach().to("cpu", torch.float32).clone().contiguous()
        if tuple(tensor.shape) != shape:
            raise VectorError(f"layer {layer}: {what} has shape {list(shape)}, not {list(tensor.shape)}")
        if not torch.isfinite(tensor).all():
            raise VectorError(f"layer {layer}: {what} has NaN or infinite values")
        clean[layer] = tensor
    if not clean:
        raise VectorError(f"{what} is needed for at least one layer")
    return clean


class Placed:
    """Tensors per layer, kept on whatever device and in whatever type they were asked for."""

    def __init__(self, tensors: Mapping[int, torch.Tensor]) -> None:
        self._tensors = tensors
        self._placed: dict[tuple[int, torch.device, torch.dtype], torch.Tensor] = {}

    def at(self, layer: int, like: torch.Tensor) -> torch.Tensor:
        """The tensor of a layer, as ``like`` is placed."""
        key = (layer, like.device, like.dtype)
        if key not in self._placed:
            self._placed[key] = self._tensors[layer].to(like.device, like.dtype)
        return self._placed[key]


def wide(hidden: torch.Tensor) -> torch.Tensor:
    """Half precision as float32: projections and norms are computed in no less."""
    return hidden.float() if hidden.dtype in (torch.bfloat16, torch.float16) else hidden
