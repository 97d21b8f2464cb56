"""``matrix:`` of a claim file: every claim for every combination of vectors, methods, layers, models and behaviours."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_steer.files.files import missing_file
from pytest_steer.files.messages import Fault
from pytest_steer.files.source import DataPath

AXES = ("vector", "method", "layer", "model", "behaviour")
STRENGTHS = ("multiplier", "multipliers")
"""What a method of the matrix says of its own strength, beside the keys of an ``intervention:``."""


@dataclass(frozen=True)
class Combination:
    """One choice from every axis.

    Attributes:
        choice: axis to the choice as it stands in an item's name, in the order of the file; empty if the file has no matrix.
        vector: name of the vector under ``matrix.vector``, or None: the claim's own or the file's.
        method: replaces ``vector.extract.method`` or, with settings, is the name of these.
        settings: what ``matrix.method`` says under that name; None if that is a list of methods.
        layer: replaces ``vector.layer``.
        model: replaces ``model``, as written.
        behaviour: name of the behaviour under ``matrix.behaviour``.
        files: the files under that name: ``train`` replaces ``extract.data``, the others those of ``data``.
        columns: what their columns are called; replaces ``data.columns``.
    """

    choice: dict[str, str] = field(default_factory=dict)
    vector: str | None = None
    method: str | None = None
    settings: dict[str, Any] | None = None
    layer: int | list[int] | None = None
    model: str | None = None
    behaviour: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] | None = None

    @property
    def label(self) -> str:
        """The choices as they stand in an item's name, ``icv-14``."""
        return "-".join(self.choice.values())

    def named(self, claim: str) -> str:
        """The item's name: ``steers[icv-14]``."""
        return f"{claim}[{self.label}]" if self.choice else claim

    @property
    def strengths(self) -> dict[str, Any]:
        """The method's own ``multiplier`` and ``multipliers``."""
        return {key: value for key, value in (self.settings or {}).items() if key in STRENGTHS}


def combinations(data: dict[str, Any]) -> tuple[Combination, ...]:
    """All combinations of a valid file, the last axis as written running fastest; one empty one without a matrix."""
    matrix = data.get("matrix")
    if not matrix:
        return (Combination(),)
    axes = [axis for axis in matrix if axis in AXES]
    found = []
    for values in itertools.product(*(list(matrix[axis]) for axis in axes)):
        given: dict[str, Any] = dict(zip(axes, values, strict=True))
        if isinstance(matrix.get("method"), dict):
            given["settings"] = matrix["method"][given["method"]]
        if "behaviour" in given:
            behaviour = matrix["behaviour"][given["behaviour"]]
            given["files"] = {key: text for key, text in behaviour.items() if key != "columns"}
            given["columns"] = behaviour.get("columns")
        found.append(Combination({axis: _label(given[axis]) for axis in axes}, **given))
    return tuple(found)


def completed(data: Any) -> Any:
    """``data`` with anything in the place of what its vectors leave to the matrix, so that the schema sees whole vectors.

    What is extracted needs a method, and data; ``matrix.method`` and ``matrix.behaviour`` can be what gives them.
    """
    matrix = data.get("matrix") if isinstance(data, dict) else None
    methods = matrix.get("method") if isinstance(matrix, dict) else None
    by_name = isinstance(methods, dict) and bool(methods)
    gives_method = by_name or (isinstance(methods, list) and bool(methods))
    # A method with settings can have data of its own; that something gives them is seen to where the two are put together.
    gives_data = by_name or (isinstance(matrix, dict) and isinstance(matrix.get("behaviour"), dict))
    if not (gives_method or gives_data):
        return data
    data = copy.deepcopy(data)
    claims, named = data.get("claims"), data["matrix"].get("vector")
    bodies = (
        [body for claim in claims if isinstance(claim, dict) for body in claim.values()] if isinstance(claims, list) else []
    )
    entries = [
        holder.get(key) for holder in (data, *bodies) if isinstance(holder, dict) for key in ("vector", "intervention")
    ]
    entries += list(named.values()) if isinstance(named, dict) else []
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        if gives_method and gives_data and "file" not in entry:
            entry.setdefault("extract", {})
        if isinstance(entry.get("extract"), dict):
            if gives_method:
                entry["extract"].setdefault("method", "caa")
            if gives_data:
                entry["extract"].setdefault("data", "train.json")
    return data


def matrix_faults(made: tuple[Combination, ...]) -> list[Fault]:
    """What a schema cannot see of the matrix itself."""
    repeated = [label for label, count in Counter(one.label for one in made).items() if count > 1]
    if not repeated:
        return []
    return [
        Fault(
            ("matrix",),
            f"two combinations have the name {repeated[0]!r}",
            "The choices of a combination are joined with '-': give a vector another name.",
        )
    ]


def behaviour_faults(body: dict[str, Any], made: Combination, folder: Path) -> Iterator[Fault]:
    """What stands against the data of a behaviour for one claim."""
    if made.behaviour is None:
        return
    path: DataPath = ("matrix", "behaviour", made.behaviour)
    for key, text in made.files.items():
        if key in body.get("data", {}):
            hint = f"Delete one of the two. A claim with data of its own belongs into a file without `matrix.behaviour`{'' if key == 'test' else f', or without `{key}` in it'}."
            yield Fault((*path, key), f"gives the claims 'data.{key}', and this claim has its own", hint)
        fault = missing_file(text, folder, (*path, key))
        if fault is not None:
            yield fault


def _label(choice: Any) -> str:
    if isinstance(choice, list):
        return "+".join(map(_label, choice))
    return str(int(choice) if isinstance(choice, float) else choice)  # to a schema, 14.0 is a whole number too
