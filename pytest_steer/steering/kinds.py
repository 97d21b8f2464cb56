"""Kinds of interventions: functions registered by :func:`intervention` and :func:`restores`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, TypeVar, cast

import torch

from ..core import registry
from ..core.errors import SteerError
from ..core.parameters import Schema, keywords_of
from .intervention import Intervention, Site
from .recipe import Recipe, by_layer
from .vector import SteeringVector

SAVED_VECTOR: Schema = {"type": "string", "pattern": r"\S", "x-file": True, "x-vector": True}
"""The schema of a setting that is a vector's file. The function gets the vector, at the layers of the first one."""

Function = TypeVar("Function", bound=Callable[..., Intervention])
Restore = Callable[[Recipe, Mapping[str, object]], Intervention]

# Keys of an ``intervention:`` of any kind.
_TAKEN = (
    "kind", "file", "extract", "site", "condition", "layer", "rows", "positions", "include_first", "allow_mismatch",
    "multiplier", "multipliers",
)  # fmt: skip


@dataclass(frozen=True)
class InterventionKind:
    """One way of applying a vector.

    Attributes:
        name: ``kind`` in a claim file.
        function: takes the vector, and makes the intervention.
        does: what is done with the vector, in the words of a report: ``projected out``.
        restores_norm: whether opposite multipliers move by opposite amounts to first order only, since the norm is restored.
        settings, required, filled: the keywords of the function; see :class:`~pytest_steer.core.parameters.Keywords`. ``site`` and ``layers``
            are filled in: one that takes ``layers`` acts there with a direction from anywhere.
    """

    name: str
    function: Callable[..., Intervention]
    does: str
    restores_norm: bool
    settings: dict[str, Schema]
    required: list[str]
    filled: frozenset[str]

    def make(
        self, vector: SteeringVector, *, layers: tuple[int, ...] | None, site: Site, settings: Mapping[str, object]
    ) -> Intervention:
        """The vector applied in this way.

        Args:
            layers: the blocks that the claim file names, or None for those of the vector.
            settings: those of other kinds are left aside.

        Raises:
            SteerError: the settings do not fit the vector, or what comes out is no intervention.
        """
        known = {**settings, "layers": layers, "site": site}
        return self.function(vector, **{key: known[key] for key in (*self.filled, *self.settings) if key in known})

    def restore(self, recipe: Recipe, metadata: Mapping[str, object]) -> Intervention:
        """The intervention that a recipe describes; settings that are vectors, or one value per layer, are among the tensors."""
        tensors = recipe.by_name()
        vector = SteeringVector(tensors.pop("direction"), metadata)
        given = {
            name: SteeringVector(found) if self.settings.get(name, {}).get("x-vector") else found
            for name, found in tensors.items()
        }
        return self.function(vector, **recipe.options, **given)


@dataclass(frozen=True)
class RecipeKind:
    """An intervention that is more than a vector and settings, and how it is made of its recipe.

    Attributes:
        restore: takes the recipe, and the metadata that the intervention is to have.
        does: what the intervention does, in the words of a report.
    """

    restore: Restore
    does: str

    @property
    def about(self) -> str:
        """The docstring of its function."""
        return self.restore.__doc__ or ""


def intervention(name: str, *, does: str, restores_norm: bool = False) -> Callable[[Function], Function]:
    """Register a function from a vector to an :class:`Intervention` as a ``kind`` of claim files.

    The intervention can be saved: its file holds the vector and the settings, and the function makes it of them again.

    Args:
        does / restores_norm: see :class:`InterventionKind`.

    Raises:
        SteerError: the name is taken, or a keyword has neither a default nor a ``Param``.
    """

    def decorate(function: Function) -> Function:
        @wraps(function)
        def made(*arguments: Any, **given: Any) -> Intervention:
            found = function(*arguments, **given)
            if not isinstance(found, Intervention):
                home = function.__module__
                raise SteerError(f"{home}: the intervention {name!r} gave {type(found).__name__}, not an Intervention")
            if found.recipe is not None:
                return found
            return _with_recipe(found, name, inspect.signature(function).bind(*arguments, **given))

        keywords = keywords_of(function, positional=("vector",), fillable=("site", "layers"), taken=_TAKEN)
        kind = InterventionKind(name, made, does, restores_norm, **keywords._asdict())
        registry.register("intervention", name, kind, home=function.__module__)
        return cast(Function, made)

    return decorate


def _with_recipe(found: Intervention, name: str, given: inspect.BoundArguments) -> Intervention:
    """An intervention with what its kind was given as its recipe, unless a file cannot hold that."""
    given.apply_defaults()
    (_, vector), *others = given.arguments.items()
    tensors: dict[str, torch.Tensor] = {}
    options = {}
    for key, value in [("direction", vector), *others]:
        if isinstance(value, SteeringVector):
            tensors |= by_layer(**{key: value.directions})
        else:
            options[key] = value
    try:
        recipe = Recipe(name, options, tensors)
        return replace(found, recipe=recipe, hash=recipe.hash, metadata=found.metadata or vector.metadata)
    except (TypeError, ValueError):  # an option that is no JSON
        return found


def restores(name: str, *, does: str) -> Callable[[Restore], Restore]:
    """Register a function from a :class:`Recipe` of the kind ``name``, and metadata, to the intervention.

    It is needed for interventions that are more than a vector and settings; those register themselves with :func:`intervention`.

    Args:
        does: see :class:`RecipeKind`.
    """

    def decorate(function: Restore) -> Restore:
        registry.register("recipe", name, RecipeKind(function, does), home=function.__module__)
        return function

    return decorate


def restored(recipe: Recipe, metadata: Mapping[str, object]) -> Intervention:
    """The intervention that a recipe describes.

    Raises:
        SteerError: no kind of that name is registered, or its parts cannot be used.
    """
    known = registry.things("recipe").get(recipe.kind) or intervention_kind(recipe.kind)
    made: Intervention = known.restore(recipe, metadata)
    return made


def intervention_kind(name: str) -> InterventionKind:
    """The kind of that name.

    Raises:
        SteerError: there is none.
    """
    found: InterventionKind = registry.find("intervention", name)
    return found
