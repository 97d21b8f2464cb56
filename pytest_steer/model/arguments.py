"""Refuse arguments of the wrong kind, with the line to write instead. No other place checks their kinds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from ..core.errors import DataError, ModelError, SteerError, VectorError
from ..core.registry import nearest
from ..data import Completion
from ..prompting import Context
from ..steering import Intervention, SteeringVector, as_intervention
from .model import Model

P = ParamSpec("P")
R = TypeVar("R")

READERS = {
    "items": "read_items",
    "beside": "read_items",
    "data": "read_items",
    "texts": "read_texts",
    "positive_texts": "read_texts",
    "negative_texts": "read_texts",
    "tasks": "read_tasks",
    "questions": "read_questions",
    "demonstrations": "read_tasks",
}
_PLACED = ("model", "vector", "intervention", "deployed", "at", "prompts")


def checks_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function, whose first argument is a model, refuse arguments of the wrong kind."""
    signature = inspect.signature(function)
    parameters = signature.parameters
    numbers = tuple(name for name, one in parameters.items() if one.annotation == "float")

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        misspelt = _misspelt(kwargs, parameters)
        if misspelt:
            raise TypeError(f"{function.__name__}() {misspelt}")
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            given = None
        if given is None:
            if args and isinstance(args[0], (SteeringVector, Intervention)):
                raise ModelError(
                    f"{function.__name__}: the model comes first: {_line_of(function.__name__, list(parameters))}"
                )
            return function(*args, **kwargs)  # whose own words name it
        said = {name: value for name, value in given.items() if value is not None or parameters[name].default is not None}
        check_arguments(function.__name__, said, order=list(parameters), numbers=numbers)
        return function(*args, **kwargs)

    return checked


def check_arguments(
    call: str, given: Mapping[str, Any], *, order: Sequence[str], numbers: Collection[str] = ("multiplier", "confidence")
) -> None:
    """Refuse a model, a vector, data or a number of the wrong kind.

    Args:
        call: the function that the user called.
        given: its arguments by name; one that may be None and is None is left out.
        order: the names of its parameters in order, for the line to write.
        numbers: which of them are single numbers.

    Raises:
        SteerError: says what to write instead.
    """
    write = _line_of(call, order)
    model = given["model"]
    if not isinstance(model, Model):
        if any(isinstance(value, Model) for value in given.values()):
            raise ModelError(f"{call}: the model comes first: {write}")
        raise ModelError(f"{call}: the model is {_kind(model)}, not a Model: {_cure_of(model)}")
    for name in READERS.keys() & given.keys():
        if isinstance(given[name], (SteeringVector, Intervention)):
            raise SteerError(f"{call}: {name} is {_kind(given[name])}: {write}")
        _check_data(call, name, given[name])
    for name in {"vector", "intervention"} & given.keys():
        if given[name] is not None:
            as_intervention(given[name])
    for name in {"context", "base"} & given.keys():
        if not isinstance(given[name], Context):
            raise SteerError(f"{call}: {name} is {_kind(given[name])}: write {name}=Context(option_order='swapped')")
    for name in {*numbers} & given.keys():
        if isinstance(given[name], (bool, str)) or not hasattr(given[name], "__float__"):
            several = f"; {name}s= takes several" if f"{name}s" in order else ""
            raise SteerError(f"{call}: {name} is one number, not {given[name]!r}{several}")
    if not isinstance(given.get("include_first", False), bool):
        raise SteerError(f"{call}: include_first is True or False, not {given['include_first']!r}")
    accepted = given.get("allow_mismatch", ())
    if not isinstance(accepted, (tuple, list)) or not {*accepted} <= {"model", "template"}:
        raise SteerError(f"{call}: allow_mismatch is ('model',), ('template',) or both, not {accepted!r}")
    layers = given.get("layer", 0)
    if not isinstance(layers, int) and not (isinstance(layers, Sequence) and all(isinstance(one, int) for one in layers)):
        raise VectorError(f"{call}: layer is the number of a decoder block, from 0 on, or a list of them, not {layers!r}")


def _line_of(call: str, order: Sequence[str]) -> str:
    shown = [name for name in order[:3] if name in (*_PLACED, *READERS)]
    return f"write {call}({', '.join(shown)}, ...)"


def _check_data(call: str, name: str, value: object) -> None:
    reader = READERS[name]
    if isinstance(value, str):
        raise DataError(f"{call}: {name} is the text {value[:60]!r}: read a file with {reader}(path), or give a list")
    if not hasattr(value, "__iter__"):
        raise DataError(f"{call}: {name} is {_kind(value)}: read a file with {reader}(path), or give a list")
    known = (str, Completion) if name == "texts" else (str,)
    if reader == "read_texts" and isinstance(value, (list, tuple)) and not all(isinstance(one, known) for one in value):
        wrong = next(one for one in value if not isinstance(one, known))
        raise DataError(f"{call}: {name} is a list of texts, and {_kind(wrong)} is in it")


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _cure_of(model: object) -> str:
    if hasattr(model, "forward") and hasattr(model, "config"):
        return "wrap it with its tokenizer, wrap_model(model, tokenizer), or load it with load_model(name)"
    if isinstance(model, str):
        return f"load it with load_model({model!r})"
    return "load one with load_model(name)"


def _misspelt(given: Mapping[str, object], known: Collection[str]) -> str:
    """The keyword that was probably meant by the first unknown one; "" if none is similar."""
    unknown = next((name for name in given if name not in known), "")
    meant = nearest(unknown, known) if unknown else None
    return f"got an unexpected keyword argument {unknown!r}: did you mean {meant!r}?" if meant else ""
