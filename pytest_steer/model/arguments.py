"""Arguments of the wrong kind, refused with the line to write instead. The one place that looks at them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from ..errors import ModelError, SteerError
from ..registry import nearest
from ..steering import Intervention, SteeringVector, as_intervention
from .loaded import Model

P = ParamSpec("P")
R = TypeVar("R")

READERS = {
    "items": "read_items",
    "data": "read_items",
    "texts": "read_texts",
    "positive_texts": "read_texts",
    "negative_texts": "read_texts",
    "tasks": "read_tasks",
    "demonstrations": "read_tasks",
}
_WAS = {"shots": "n_shots", "cost": "budget", "most": "max_multiplier"}
_NUMBERS = ("multiplier", "confidence")


def checks_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function of a model refuse arguments of the wrong kind."""
    signature = inspect.signature(function)
    model = next(iter(signature.parameters))

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{function.__name__}() {_renamed(kwargs, signature) or error}") from None
        check_arguments(function.__name__, given[model], given, order=list(signature.parameters))
        return function(*args, **kwargs)

    return checked


def check_arguments(call: str, model: object, given: Mapping[str, Any], *, order: list[str]) -> None:
    """Refuse a model, a vector, data or a number of the wrong kind.

    Args:
        call: the function that the user called.
        given: its arguments by name.
        order: the names of its parameters in order, for the line to write.

    Raises:
        ModelError, VectorError, SteerError: says what to write instead.
    """
    if not isinstance(model, Model):
        if any(isinstance(value, Model) for value in given.values()):
            positional = ", ".join(order[: 3 if "vector" in order[:3] else 2])
            raise ModelError(f"{call}: the model comes first: write {call}({positional}, ...)")
        raise ModelError(f"{call}: the model is {_kind(model)}, not a Model: {_cure_of(model)}")
    vector = given.get("vector")
    if vector is not None:
        if (
            isinstance(vector, (list, tuple))
            and "items" in given
            and isinstance(given["items"], (SteeringVector, Intervention))
        ):
            raise SteerError(f"{call}: vector and items are swapped: write {call}({', '.join(order[:3])}, ...)")
        as_intervention(vector)
    for name, reader in READERS.items():
        value = given.get(name)
        if isinstance(value, (SteeringVector, Intervention)):
            raise SteerError(f"{call}: {name} is {_kind(value)}: write {call}({', '.join(order[:3])}, ...)")
        if isinstance(value, str):
            raise SteerError(f"{call}: {name} is the text {value[:60]!r}: read a file with {reader}(path), or give a list")
        if value is not None and not hasattr(value, "__iter__"):
            raise SteerError(f"{call}: {name} is {_kind(value)}: give a list, or read a file with {reader}(path)")
    for name in _NUMBERS:
        if name in given and (isinstance(given[name], (bool, str)) or not hasattr(given[name], "__float__")):
            several = f"; {name}s= takes several" if f"{name}s" in order else ""
            raise SteerError(f"{call}: {name} is one number, not {given[name]!r}{several}")


def _kind(value: object) -> str:
    if value is None:
        return "None"
    return f"a{'n' if type(value).__name__[0] in 'AEIOU' else ''} {type(value).__name__}"


def _cure_of(model: object) -> str:
    if hasattr(model, "forward") and hasattr(model, "config"):
        return "wrap it with its tokenizer, wrap_model(model, tokenizer), or load it with load_model(name)"
    if isinstance(model, str):
        return f"load it with load_model({model!r})"
    return "load one with load_model(name)"


def _renamed(given: Mapping[str, Any], signature: inspect.Signature) -> str:
    """What to write in the place of the first keyword that is not known; "" if nothing comes near."""
    known = signature.parameters
    unknown = next((name for name in given if name not in known), "")
    if _WAS.get(unknown) in known:
        return f"{unknown!r} is now called {_WAS[unknown]!r}: write {_WAS[unknown]}={given[unknown]!r}"
    meant = nearest(unknown, known) if unknown else None
    return f"got an unexpected keyword argument {unknown!r}: did you mean {meant!r}?" if meant else ""
