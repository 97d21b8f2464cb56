"""``matrix:`` of a claim file: every claim for every combination of vectors, methods, layers and models."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pytest_steer.suites.messages import Fault, nearest
from pytest_steer.suites.source import DataPath

AXES = ("vector", "method", "layer", "model")


@dataclass(frozen=True)
class Combination:
    """One choice from every axis.

    Attributes:
        label: the choices as they stand in an item's name, ``icv-14``; empty if the file has no matrix.
        vector: name of the vector under ``matrix.vector``, or None: the claim's own or the file's.
        method: replaces ``vector.extract.method``.
        layer: replaces ``vector.layer``.
        model: replaces ``model``, as written.
    """

    label: str = ""
    vector: str | None = None
    method: str | None = None
    layer: int | list[int] | None = None
    model: str | None = None

    def named(self, claim: str) -> str:
        """The item's name: ``steers[icv-14]``."""
        return f"{claim}[{self.label}]" if self.label else claim

    def applied(self, vector: dict[str, Any]) -> dict[str, Any]:
        """``vector`` with this method and this layer."""
        changed = dict(vector)
        if self.method is not None:
            changed["extract"] = {**vector["extract"], "method": self.method}
        if self.layer is not None:
            changed["layer"] = self.layer
        return changed


def combinations(data: dict[str, Any]) -> tuple[Combination, ...]:
    """All combinations of a valid file, the last axis as written running fastest; one empty one without a matrix."""
    matrix = data.get("matrix")
    if not matrix:
        return (Combination(),)
    axes = [axis for axis in matrix if axis in AXES]
    return tuple(
        Combination("-".join(map(_label, choice)), **dict(zip(axes, choice, strict=True)))
        for choice in itertools.product(*(list(matrix[axis]) for axis in axes))
    )


def completed(data: Any) -> Any:
    """``data`` with a method and a layer from the matrix where its vectors leave them to it.

    A vector that is extracted needs a layer and a method; ``matrix`` can be what gives them. The schema then sees whole vectors.
    """
    matrix = data.get("matrix") if isinstance(data, dict) else None
    if not isinstance(matrix, dict):
        return data
    given = {axis: matrix[axis][0] for axis in ("method", "layer") if isinstance(matrix.get(axis), list) and matrix[axis]}
    if not given:
        return data
    data = copy.deepcopy(data)
    claims = data.get("claims")
    bodies = (
        [body for claim in claims if isinstance(claim, dict) for body in claim.values()] if isinstance(claims, list) else []
    )
    named = data["matrix"].get("vector")
    vectors = [holder.get("vector") for holder in (data, *bodies) if isinstance(holder, dict)]
    vectors += list(named.values()) if isinstance(named, dict) else []
    for vector in vectors:
        if isinstance(vector, dict) and isinstance(vector.get("extract"), dict):
            if "layer" in given:
                vector.setdefault("layer", given["layer"])
            if "method" in given:
                vector["extract"].setdefault("method", given["method"])
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


def vector_faults(body: dict[str, Any], vector: dict[str, Any] | None, made: Combination) -> list[Fault]:
    """What stands against ``made`` for one claim; ``vector`` is its vector before method and layer are put in."""
    if made.vector is not None and "vector" in body:
        hint = "Delete one of the two. A claim with a vector of its own belongs into a file without `matrix.vector`."
        return [Fault(("matrix", "vector"), "names vectors, and this claim has its own", hint)]
    if made.method is not None and vector is not None and "file" in vector:
        hint = (
            "A saved vector has no method to choose: give the vector as `extract: {data: train.json}`, or delete the axis."
        )
        return [Fault(("matrix", "method"), f"names methods, and the vector is the file {vector['file']!r}", hint)]
    return []


def xfail_of(given: Any, made: Combination) -> str | None:
    """The reason why this combination is known to fail: a text is for all of them, a mapping goes by their names."""
    if isinstance(given, dict):
        return given.get(made.label)
    return given if isinstance(given, str) else None


def xfail_faults(given: Any, made: tuple[Combination, ...], path: DataPath) -> list[Fault]:
    """Names under ``xfail`` that no combination has."""
    if not isinstance(given, dict):
        return []
    labels = [one.label for one in made if one.label]
    if not labels:
        return [Fault(path, "names combinations, and the file has no matrix", "Write the reason as text.")]
    faults = []
    for name in given:
        if name not in labels:
            meant = nearest(name, labels)
            advice = f"Did you mean {meant!r}? " if meant else ""
            faults.append(
                Fault((*path, name), f"there is no combination {name!r}", f"{advice}There are: {', '.join(labels)}.")
            )
    return faults


def _label(choice: Any) -> str:
    if isinstance(choice, list):
        return "+".join(map(_label, choice))
    return str(int(choice) if isinstance(choice, float) else choice)  # to a schema, 14.0 is a whole number too
