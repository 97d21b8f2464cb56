"""``overrides:`` of a claim file: what differs for some combinations of its matrix. Later entries win."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_steer.errors import Fault
from pytest_steer.files.matrix import Combination, label_of, labels_of
from pytest_steer.files.source import DataPath
from pytest_steer.registry import did_you_mean

_FIXED = {
    "name": "All combinations of a claim share its name.",
    "overrides": "Write it as the next entry of the list.",
    "vector": "Make it a choice of `matrix.vector`, or of `matrix.method` with settings.",
    "intervention": "Make it a choice of `matrix.method` with settings.",
}
"""Keys of a claim that no override can change, and what to do instead."""


def changes(overrides: list[dict[str, Any]], made: Combination, path: DataPath) -> Iterator[tuple[str, Any, DataPath]]:
    """What the entries that match a combination change, in order: key, value and where it is written."""
    for index, entry in enumerate(overrides):
        if _matches(entry.get("match", {}), made):
            yield from ((key, value, (*path, index, key)) for key, value in entry.items() if key != "match")


def override_faults(overrides: list[dict[str, Any]], made: tuple[Combination, ...], path: DataPath) -> Iterator[Fault]:
    """What is wrong with the entries of a list whose form is right."""
    axes: dict[str, list[str]] = {
        axis: list(dict.fromkeys(one[axis].label for one in made)) for axis in (made[0] if made else ())
    }
    for index, entry in enumerate(overrides):
        here: DataPath = (*path, index)
        for key in entry.keys() & _FIXED.keys():
            yield Fault((*here, key), f"{key!r} cannot differ between combinations", _FIXED[key])
        match = entry.get("match", {})
        wrong = list(_match_faults(match, axes, (*here, "match")))
        yield from wrong
        if not wrong and not any(_matches(match, one) for one in made):
            yield Fault((*here, "match"), "matches no combination", f"Combinations: {', '.join(map(labels_of, made))}.")


def _matches(match: dict[str, Any], made: Combination) -> bool:
    return all(axis in made and made[axis].label in _labels(wanted) for axis, wanted in match.items())


def _labels(wanted: Any) -> list[str]:
    """The choices that a value of ``match`` names: a list names several, a list within it is one of several layers."""
    return [label_of(one) for one in wanted] if isinstance(wanted, list) else [label_of(wanted)]


def _match_faults(match: dict[str, Any], axes: dict[str, list[str]], path: DataPath) -> Iterator[Fault]:
    for axis, wanted in match.items():
        if not axes:
            yield Fault((*path, axis), "names an axis, and the file has no matrix", "Delete `match`, or add a `matrix`.")
            return
        if axis not in axes:
            yield Fault((*path, axis), f"the matrix has no axis {axis!r}", _sentence(did_you_mean(axis, axes)))
            continue
        for label in _labels(wanted):
            if label not in axes[axis]:
                reason = f"the axis {axis!r} has no choice {label!r}"
                yield Fault((*path, axis), reason, _sentence(did_you_mean(label, axes[axis])))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
