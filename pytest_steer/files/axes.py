"""Contexts in a claim file: faults that a schema cannot see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_steer.errors import DataError
from pytest_steer.files.messages import Fault
from pytest_steer.files.source import DataPath
from pytest_steer.prompting import known_axes
from pytest_steer.prompting.kinds import OWN_IS_GONE
from pytest_steer.validation import flow


def contexts_faults(contexts: dict[str, Any]) -> Iterator[Fault]:
    """What is wrong with the file's ``contexts``, which are right by the schema."""
    for name, values in contexts.items():
        if name == "own":
            yield _own_fault(values, ("contexts", name))
            continue
        for index, value in enumerate(values):
            yield from value_faults(name, value, ("contexts", name, index))


def context_faults(context: dict[str, Any], path: DataPath) -> Iterator[Fault]:
    """What is wrong with one context, which is right by the schema."""
    for name, value in context.items():
        if name == "own":
            yield _own_fault(value, (*path, name))
        else:
            yield from value_faults(name, value, (*path, name))


def value_faults(name: str, value: Any, path: DataPath) -> Iterator[Fault]:
    """What is wrong with a value of an axis, which is right by the schema."""
    axis = known_axes()[name]
    try:
        axis.checked(value)
    except DataError as error:
        yield Fault(path, str(error), axis.value_schema["description"])


def drawing(context: dict[str, Any]) -> str | None:
    """The axis for which a context draws few-shot examples, or None if it draws none."""
    axes = known_axes()
    drawn = (n for n, value in context.items() if axes[n].draws_examples and axes[n].checked(value) != axes[n].as_given)
    return next(drawn, None)


def _own_fault(value: Any, path: DataPath) -> Fault:
    line = flow(value)[1:-1] if isinstance(value, dict) and value else "tone: ..."
    return Fault(path, OWN_IS_GONE, f"Write `{line}` instead of `{flow({'own': value})[1:-1]}`.")
