"""What is found out about a model once, and kept as long as the model lives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from .loaded import Model

R = TypeVar("R")


def once_per_model(function: Callable[[Model], R]) -> Callable[[Model], R]:
    """A function of a model that runs once for each model. What it returns is in ``model.kept``, under the function."""

    @functools.wraps(function)
    def kept(model: Model) -> R:
        # In the model and not in a table of models: an engine holds its model, which such a table would keep for good.
        if kept not in model.kept:
            model.kept[kept] = function(model)
        result: R = model.kept[kept]
        return result

    return kept
