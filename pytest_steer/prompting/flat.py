"""Contexts as text that is the same for equal contexts, to compare and recombine them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .contexts import Context

Read = Callable[[Mapping[str, Any]], Context]
"""From what ``Context.to_dict`` returns to the context: ``Context.from_dict`` with its axes and examples filled in."""


def identity(context: Context) -> str:
    """A text that is the same for two contexts if they put items in the same way."""
    return as_text(context.to_dict())


def as_text(value: Any) -> str:
    """A JSON value as a text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
