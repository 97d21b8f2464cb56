"""``matrix:`` of a claim file: the combinations that every claim is measured for."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pytest_steer.errors import Fault
from pytest_steer.files.source import DataPath


@dataclass(frozen=True)
class Choice:
    """What a combination has chosen from one axis.

    Attributes:
        label: the choice as it stands in an item's name.
        value: an entry of a list, or what stands under a name.
        path: where it is written.
    """

    label: str
    value: Any
    path: DataPath

    @property
    def settings(self) -> dict[str, Any] | None:
        """What a method's name stands for; None if the axis is a list of methods."""
        return self.value if isinstance(self.value, dict) else None


Combination = dict[str, Choice]
"""Axis to choice, in the order of the file; empty if the file has no matrix."""


def combinations(data: dict[str, Any]) -> tuple[Combination, ...]:
    """All combinations of a file whose ``matrix`` is right; the last axis runs fastest."""
    axes = [[(axis, choice) for choice in _choices(axis, listed)] for axis, listed in data.get("matrix", {}).items()]
    return tuple(dict(chosen) for chosen in itertools.product(*axes))


def label_of(choice: Any) -> str:
    """A choice as it stands in an item's name: ``14``, ``13+14`` for a list."""
    if isinstance(choice, list):
        return "+".join(map(label_of, choice))
    return str(int(choice) if isinstance(choice, float) else choice)  # to a schema, 14.0 is a whole number too


def labels_of(made: Combination) -> str:
    """A combination as it stands in an item's name: ``icv-14``."""
    return "-".join(choice.label for choice in made.values())


def repeated_labels(made: tuple[Combination, ...]) -> list[Fault]:
    """Two combinations that would give their items the same name."""
    repeated = [label for label, count in Counter(map(labels_of, made)).items() if count > 1]
    reason = f"two combinations have the name {repeated[0]!r}" if repeated else ""
    hint = "An item's name joins its choices with '-': give one of the choices another name."
    return [Fault(("matrix",), reason, hint)] if repeated else []


def _choices(axis: str, listed: Any) -> list[Choice]:
    if isinstance(listed, dict):
        return [Choice(name, value, ("matrix", axis, name)) for name, value in listed.items()]
    return [Choice(label_of(value), value, ("matrix", axis, index)) for index, value in enumerate(listed)]
