"""Is a model in a state in which it can be measured? The one gate that all measures, extraction and steering go through."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch

from ..errors import ModelError, SteerError
from .foreign import HOOK_TABLES, OWN, Found, Watch, check_forwards, global_hooks, hooks_of, maker_of, watching
from .trial import apart, trial_ids, trial_logits

if TYPE_CHECKING:
    from .loaded import Model

P = ParamSpec("P")
R = TypeVar("R")

_RANDOM = re.compile(r"drop|jitter|noise")
_NOT_OF_DECODERS = re.compile(r"^(classifier|summary|seq_classif)")
_SHOWN = 3
_STEERED = "{id} is being steered by an open steering(...) block{where}; measure outside of it, and give the vector to the measure instead"
_trusting: ContextVar[bool] = ContextVar("steer_trusting", default=False)
_alike_in_training: WeakKeyDictionary[Model, tuple[int, ...]] = WeakKeyDictionary()


def measured(function: Callable[P, R]) -> Callable[P, R]:
    """A function of a model, or a method of something that has one, run in ``measuring``."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        first: Any = args[0] if args else kwargs["model"]
        model: Model = getattr(first, "model", first)
        with measuring(model):
            return function(*args, **kwargs)

    return run


def check_state(model: Model) -> None:
    """Refuses a model that would not give its own numbers, as far as can be told before it runs.

    Raises:
        ModelError: weights have no values, or training mode or replaced forwards change what it computes.
    """
    foreign = [found for found in check_ready(model) if maker_of(found) is None]
    if foreign and not model.steering_blocks and not _trusting.get():
        check_forwards(model, foreign)


@contextmanager
def measuring(model: Model) -> Iterator[None]:
    """Refuses a model that would not give its own numbers, and hooks of others as soon as they change anything in the body.

    Raises:
        SteerError: a ``steering`` block is open on it.
        ModelError: weights have no values, training mode or others' hooks change what it computes.
    """
    if model.steering_blocks:
        raise SteerError(_STEERED.format(id=model.id, where=""))
    with watched(model, steered=False):
        model.structure()
        yield


@contextmanager
def watched(model: Model, *, steered: bool = True) -> Iterator[None]:
    """The same for the body of a ``steering`` block, which begins with ``check_state``."""
    hooked = check_ready(model)
    trusted = _trusting.get()
    made_by = [(found, maker_of(found)) for found in hooked if not isinstance(found.function, Watch)] if not trusted else []
    if not steered and any(maker == OWN for _, maker in made_by):
        raise SteerError(_STEERED.format(id=model.id, where=" on another Model of the same transformers model"))
    foreign = [found for found, maker in made_by if maker is None]
    if not foreign:
        yield
        return
    if not steered:
        check_forwards(model, foreign)
    with watching(model, foreign):
        yield


@contextmanager
def trusting() -> Iterator[None]:
    """Hooks that stand on a model in the body are meant: they are what is being checked."""
    token = _trusting.set(True)
    try:
        yield
    finally:
        _trusting.reset(token)


def check_ready(model: Model) -> list[Found]:
    """All hooks and replaced forwards of a model whose weights have values and whose mode changes nothing.

    Raises:
        ModelError: they have none, or it does.
    """
    training: list[torch.nn.Module] = []
    hooked: list[Found] = []
    for module in model.hf.modules():
        known = module.__dict__
        for table in ("_parameters", "_buffers"):
            for value in known[table].values():
                if value is not None and value.is_meta:
                    raise ModelError(without_values(model))
        if module.training:
            training.append(module)
        if "forward" in known or any(known.get(table) for table in HOOK_TABLES):
            hooked += hooks_of(module)
    if training:
        _check_training(model, training)
    return hooked + global_hooks()


# --- weights without values ---


def without_values(model: Model) -> str:
    """What to say of a model with weights on ``meta``."""
    tensors = [*model.hf.named_parameters(), *model.hf.named_buffers()]
    names = [name for name, value in tensors if value.is_meta]
    if any(getattr(getattr(module, "_hf_hook", None), "offload", False) for module in model.hf.modules()):
        return (
            f"{model.id}: {len(names)} of its weights are offloaded by accelerate ({_first(names)}): between forwards they have no "
            "values that could be checked. Load it with a device_map that keeps all of it in memory"
        )
    return (
        f"{model.id}: {len(names)} of its weights are on the device 'meta', so they have no values ({_first(names)}). Load them "
        "before you measure: load_model(...), or from_pretrained(...) without torch.device('meta')"
    )


# --- training mode ---


def _check_training(model: Model, training: Sequence[torch.nn.Module]) -> None:
    """Refuses training mode where it changes what the model computes."""
    why = _random_part(model, training)
    if why is None:
        key = tuple(map(id, training))
        if _alike_in_training.get(model) == key:
            return
        why = _differs_from_evaluation(model, training)
        if why is None:
            _alike_in_training[model] = key
            return
    raise ModelError(
        f"{model.id}: is in training mode, in which it does not compute what it does in use ({why}). Call model.hf.eval() before you "
        "measure"
    )


def _random_part(model: Model, training: Sequence[torch.nn.Module]) -> str | None:
    """What is random in training mode, by the settings of the modules and of the configuration."""
    names = {id(module): name for name, module in model.hf.named_modules()}
    for module in training:
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            if module.p > 0:
                return f"{names[id(module)]} is a {type(module).__name__} with p = {module.p:g}"
            continue
        for name, value in vars(module).items():
            if _is_random(name, value):
                return f"{names[id(module)] or type(module).__name__} has {name} = {value:g}"
    if not any(hasattr(module, "config") for module in training):
        return None
    for name, value in vars(model.hf.config.get_text_config(decoder=True)).items():
        if _is_random(name, value):
            return f"its configuration has {name} = {value:g}"
    return None


def _is_random(name: str, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        return False
    return bool(_RANDOM.search(name)) and not _NOT_OF_DECODERS.search(name)


def _differs_from_evaluation(model: Model, training: Sequence[torch.nn.Module]) -> str | None:
    ids = trial_ids(model)
    try:
        now = trial_logits(model, ids)
        for module in training:
            module.training = False
        then = trial_logits(model, ids)
    finally:
        for module in training:
            module.training = True
    return apart(now, then)


def _first(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
