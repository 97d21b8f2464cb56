"""Check that a model can be measured as it is: the one gate of all measures, extraction and steering."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from ..errors import SteerError
from .foreign import OWN, Found, Watch, check_forwards, described, maker_of, watching
from .loaded import Model
from .ready import check_ready
from .structure import structure_of

P = ParamSpec("P")
R = TypeVar("R")

_STEERED = "{id} is being steered by an open steering block{where}; measure outside of it, and give the vector to the measure instead"
_trusting: ContextVar[bool] = ContextVar("steer_trusting", default=False)


def measured(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function of a model, or a method of something that has one, to run in ``measuring``."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        first: Any = args[0] if args else kwargs["model"]
        model: Model = getattr(first, "model", first)
        with measuring(model):
            return function(*args, **kwargs)

    return run


def check_state(model: Model) -> None:
    """Refuse a model that would not give its own numbers, as far as can be told before it runs.

    Raises:
        ModelError: weights have no values, or training mode or replaced forwards change what it computes.
    """
    foreign = _of_others(model)
    if foreign and not model.steering_blocks and not _trusting.get():
        check_forwards(model, foreign)


def foreign_hooks(model: Model) -> tuple[str, ...]:
    """Descriptions of the hooks and replaced forwards that are neither this package's nor part of the model."""
    return described(model, _of_others(model))


def foreign_functions(model: Model) -> tuple[Any, ...]:
    """The functions of those hooks and forwards. Scores belong to the model with all of them on it."""
    found = (one.function for one in _of_others(model))
    return tuple(function.found.function if isinstance(function, Watch) else function for function in found)


def _of_others(model: Model) -> list[Found]:
    return [found for found in check_ready(model) if maker_of(found) is None]


@contextmanager
def measuring(model: Model) -> Iterator[None]:
    """Refuse a model that would not give its own numbers, and hooks of others as soon as they change anything in the body.

    Raises:
        SteerError: a ``steered`` block is open on it.
        ModelError: weights have no values, training mode or others' hooks change what it computes.
    """
    if model.steering_blocks:
        raise SteerError(_STEERED.format(id=model.id, where=""))
    with watched(model, steered=False):
        structure_of(model)
        yield


@contextmanager
def watched(model: Model, *, steered: bool = True) -> Iterator[None]:
    """The same for the body of a ``steered`` block, which begins with ``check_state``."""
    hooks = check_ready(model)
    if _trusting.get():
        yield
        return
    made_by = [(found, maker_of(found)) for found in hooks if not isinstance(found.function, Watch)]
    if not steered and any(maker == OWN for _, maker in made_by):
        raise SteerError(_STEERED.format(id=model.id, where=" on another Model of the same transformers model"))
    foreign = [found for found, maker in made_by if maker is None]
    if not steered and foreign:
        check_forwards(model, foreign)
    with watching(model, foreign):
        yield


@contextmanager
def trusting() -> Iterator[None]:
    """Accept the hooks that are on a model in the body: they are what is being checked."""
    token = _trusting.set(True)
    try:
        yield
    finally:
        _trusting.reset(token)
