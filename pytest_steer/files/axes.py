"""Contexts in a claim file: faults that a schema cannot see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_steer.errors import DataError
from pytest_steer.files.messages import Fault
from pytest_steer.files.schema import SCHEMA
from pytest_steer.files.source import DataPath
from pytest_steer.prompting import Axis, Context
from pytest_steer.prompting.context_values import READERS
from pytest_steer.registry import nearest
from pytest_steer.validation import shown

_VALUES = SCHEMA["$defs"]["axes"]["properties"]


def contexts_faults(contexts: dict[str, Any], axes: tuple[Axis, ...]) -> Iterator[Fault]:
    """What is wrong with the file's ``contexts``, which are right by the schema."""
    for name, values in contexts.items():
        if name == "own":
            for own, own_values in values.items():
                for index, value in enumerate(own_values):
                    yield from _own_faults(own, value, ("contexts", "own", own), index, axes)
            continue
        for index, value in enumerate(values):
            yield from _value_faults(name, value, ("contexts", name, index))


def context_faults(context: dict[str, Any], axes: tuple[Axis, ...], path: DataPath) -> Iterator[Fault]:
    """What is wrong with one context, which is right by the schema."""
    for name, value in context.items():
        if name == "own":
            for own, own_value in value.items():
                yield from _own_faults(own, own_value, (*path, "own", own), None, axes)
        else:
            yield from _value_faults(name, value, (*path, name))


def uses_examples(context: dict[str, Any]) -> bool:
    """Whether a context has few-shot examples."""
    return context.get("few_shot") not in (None, 0, "as_given")


def _value_faults(name: str, value: Any, path: DataPath) -> Iterator[Fault]:
    try:
        READERS[name](value)
    except DataError as error:
        yield Fault(path, str(error), _VALUES[name]["description"])


def _own_faults(name: str, value: Any, path: DataPath, index: int | None, axes: tuple[Axis, ...]) -> Iterator[Fault]:
    known = {axis.name: axis for axis in axes}
    if name in known:
        try:
            Context(own={known[name]: value})
        except DataError as error:
            yield Fault(path if index is None else (*path, index), str(error), "Give it a number, a text or a list of them.")
        return
    if index:
        return  # said of the first value
    meant = nearest(name, known)
    advice = f"Did you mean {meant!r}? " if meant else ""
    there = f"There are: {', '.join(known)}." if known else "There are none yet."
    yield Fault(
        path,
        f"there is no axis {shown(name)} of your own",
        f"{advice}{there} Give it in a conftest.py: `def pytest_steer_axes(): return [Axis({name!r}, [...], function)]`.",
    )
