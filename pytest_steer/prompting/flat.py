"""Contexts as flat records, one value per axis, for whoever compares and recombines them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .contexts import Context

Read = Callable[[Mapping[str, Any]], Context]
"""From what ``Context.to_dict`` gives to the context: ``Context.from_dict`` with the axes and the examples that there are."""

_OWN = "own."


def identity(context: Context) -> str:
    """A text that two contexts share if they put items in the same way."""
    return as_text(context.to_dict())


def as_text(value: Any) -> str:
    """A JSON value as a text that equal values share."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def axes_of(context: Context) -> dict[str, Any]:
    """The axes that are not as given, those of one's own as ``own.NAME``, with JSON values."""
    values = context.to_dict()
    own = values.pop("own", {})
    return values | {f"{_OWN}{name}": value for name, value in own.items()}


def from_axes(axes: Mapping[str, Any], read: Read) -> Context:
    """The context with these axes; the reverse of :func:`axes_of`.

    Raises:
        DataError: the values make no context.
    """
    own = {name.removeprefix(_OWN): value for name, value in axes.items() if name.startswith(_OWN)}
    values = {name: value for name, value in axes.items() if not name.startswith(_OWN)}
    return read({**values, "own": own} if own else values)
