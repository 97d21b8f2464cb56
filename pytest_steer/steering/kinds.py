"""Kinds of interventions that a claim file can name: what the decorator :func:`intervention` makes of a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from .. import registry
from ..errors import SteerError
from ..parameters import Schema, filled_of, properties_of, required_of
from .intervention import Intervention, Site
from .vector import SteeringVector

SAVED_VECTOR: Schema = {"type": "string", "pattern": r"\S", "x-file": True, "x-vector": True}
"""The schema of a setting that is a vector's file. The function gets the vector, at the layers of the first one."""

Function = TypeVar("Function", bound=Callable[..., Intervention])

# What an ``intervention:`` says whatever its kind.
_TAKEN = (
    "kind", "file", "extract", "site", "condition", "layer", "rows", "positions", "include_first", "allow_mismatch",
    "multiplier", "multipliers",
)  # fmt: skip
_FILLED = ("site", "layers")


@dataclass(frozen=True)
class InterventionKind:
    """One way of applying a vector.

    Attributes:
        name: ``kind`` in a claim file.
        function: takes the vector, and makes the intervention. Its keywords with a ``Param`` are the settings; ``site`` and
            ``layers`` are filled in if it has them.
        does: what is done with the vector, in the words of a report: ``projected out``.
        restores_norm: whether opposite multipliers move by opposite amounts to first order only, since the norm is restored.
    """

    name: str
    function: Callable[..., Intervention]
    does: str
    restores_norm: bool = False

    @cached_property
    def settings(self) -> dict[str, Schema]:
        """The JSON Schema of each setting."""
        return properties_of(self.function)

    @cached_property
    def required(self) -> list[str]:
        """The settings without a default."""
        return required_of(self.function)

    @cached_property
    def filled(self) -> frozenset[str]:
        """Which of ``site`` and ``layers`` it takes. One that takes ``layers`` acts there with a direction from anywhere."""
        return filled_of(self.function, _FILLED, positional=1)

    def make(
        self, vector: SteeringVector, *, layers: tuple[int, ...] | None, site: Site, settings: Mapping[str, Any]
    ) -> Intervention:
        """The vector applied in this way.

        Args:
            layers: the blocks that the claim file names, or None for those of the vector.
            settings: those of other kinds are left aside.

        Raises:
            SteerError: the settings do not fit the vector, or what comes out is no intervention.
        """
        filled = {name: value for name, value in (("layers", layers), ("site", site)) if name in self.filled}
        made = self.function(vector, **filled, **{key: settings[key] for key in self.settings if key in settings})
        if not isinstance(made, Intervention):
            home = registry.home_of("intervention", self.name)
            raise SteerError(f"{home}: the intervention {self.name!r} gave {type(made).__name__}, not an Intervention")
        return made


def intervention(name: str, *, does: str, restores_norm: bool = False) -> Callable[[Function], Function]:
    """Register a function from a vector to an :class:`Intervention` as a ``kind`` of claim files.

    Args:
        does / restores_norm: see :class:`InterventionKind`.

    Raises:
        SteerError: the name is taken, or a keyword has neither a default nor a ``Param``.
    """

    def decorate(function: Function) -> Function:
        kind = InterventionKind(name, function, does, restores_norm)
        for setting in kind.settings.keys() & set(_TAKEN):
            raise SteerError(f"{function.__module__}: {setting!r} is a key of every intervention, so no setting of {name!r}")
        filled_of(function, _FILLED, positional=1)
        registry.register("intervention", name, kind, home=function.__module__)
        return function

    return decorate


def intervention_kind(name: str) -> InterventionKind:
    """The kind of that name.

    Raises:
        SteerError: there is none.
    """
    found: InterventionKind = registry.find("intervention", name)
    return found
