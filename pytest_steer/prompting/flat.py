"""Contexts as text that equal contexts share, and the way back, for whoever compares and recombines them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .contexts import Context

Read = Callable[[Mapping[str, Any]], Context]
"""From what ``Context.to_dict`` gives to the context: ``Context.from_dict`` with the axes and the examples that there are."""


def identity(context: Context) -> str:
    """A text that two contexts share if they put items in the same way."""
    return as_text(context.to_dict())


def as_text(value: Any) -> str:
    """A JSON value as a text that equal values share."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
