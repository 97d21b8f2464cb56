"""Is a model in a state in which it can be measured? The one gate that all measures, extraction and steering go through."""

from __future__ import annotations

import functools
import re
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch.nn.modules import module as torch_module

from ..errors import ModelError, SteerError, SteerWarning

if TYPE_CHECKING:
    from .loaded import Model

HOOK_TABLES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where a module keeps its hooks."""

GLOBAL_TABLES = ("_global_forward_hooks", "_global_forward_pre_hooks")
"""Where torch keeps hooks of all modules."""

P = ParamSpec("P")
R = TypeVar("R")

_OWN = "pytest_steer"
# What these put on a model is how it is run or part of it: dispatch to devices, adapters, quantised layers, kernels,
# weights that are computed from others (pruning, weight norm), outputs that were asked for.
_PART_OF_MODELS = {
    "torch", "transformers", "transformers_modules", "accelerate", "peft", "bitsandbytes", "torchao", "optimum", "auto_gptq",
    "gptqmodel", "awq", "hqq", "aqlm", "compressed_tensors", "kernels", "liger_kernel", "deepspeed", "unsloth", "unsloth_zoo",
}  # fmt: skip
_RANDOM = re.compile(r"drop|jitter|noise")
_NOT_OF_DECODERS = re.compile(r"^(classifier|summary|seq_classif)")
_TEXT = (
    "The first snow fell early that year, and nobody in the village had expected it. Children ran out to see it before it melted; "
    "their parents looked for the shovels."
)
_MOST_TOKENS = 48
_SHOWN = 3
_WATCHED = ("_forward_hooks", "_forward_pre_hooks", *GLOBAL_TABLES)
_STEERED = "{id} is being steered by an open steering(...) block{where}; measure outside of it, and give the vector to the measure instead"
_trusting: ContextVar[bool] = ContextVar("steer_trusting", default=False)
_alike_in_training: WeakKeyDictionary[Model, tuple[int, ...]] = WeakKeyDictionary()
_warned: WeakKeyDictionary[Model, set[tuple[str, ...]]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class _Found:
    """A hook, or a forward that stands in for that of the module's class (``table`` is None)."""

    module: torch.nn.Module | None
    table: str | None
    key: Any
    function: Any


def measured(function: Callable[P, R]) -> Callable[P, R]:
    """A function of a model, or a method of something that has one, run in ``measuring``."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        model: Any = getattr(args[0], "model", args[0])
        with measuring(model):
            return function(*args, **kwargs)

    return run


def check_state(model: Model) -> None:
    """Refuses a model that would not give its own numbers, as far as can be told before it runs.

    Raises:
        ModelError: weights have no values, or training mode or replaced forwards change what it computes.
    """
    foreign = [found for found in _checked(model) if _maker(found) is None]
    if foreign and not model.steering_blocks and not _trusting.get():
        _check_forwards(model, foreign)


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
        yield


@contextmanager
def watched(model: Model, *, steered: bool = True) -> Iterator[None]:
    """The same for the body of a ``steering`` block, which begins with ``check_state``."""
    hooked = _checked(model)
    trusted = _trusting.get()
    made_by = [(found, _maker(found)) for found in hooked if not isinstance(found.function, _Watch)] if not trusted else []
    if not steered and any(maker == _OWN for _, maker in made_by):
        raise SteerError(_STEERED.format(id=model.id, where=" on another Model of the same transformers model"))
    foreign = [found for found, maker in made_by if maker is None]
    if not foreign:
        yield
        return
    if not steered:
        _check_forwards(model, foreign)
        _warn(model, _described(model, foreign))
    with _watching(model, [found for found in foreign if found.table in _WATCHED]):
        yield


@contextmanager
def trusting() -> Iterator[None]:
    """Hooks that stand on a model in the body are meant: they are what is being checked."""
    token = _trusting.set(True)
    try:
        yield
    finally:
        _trusting.reset(token)


def foreign_hooks(model: Model) -> tuple[str, ...]:
    """Descriptions of the hooks and replaced forwards that are neither this package's nor part of the model."""
    found = [one for module in model.hf.modules() for one in _hooks_of(module)] + _global_hooks()
    return _described(model, [one for one in found if _maker(one) is None])


def _hooks_of(module: torch.nn.Module) -> list[_Found]:
    known = module.__dict__
    own = [_Found(module, None, None, known["forward"])] if "forward" in known else []
    return own + [_Found(module, table, *entry) for table in HOOK_TABLES for entry in (known.get(table) or {}).items()]


def _global_hooks() -> list[_Found]:
    return [_Found(None, table, *entry) for table in GLOBAL_TABLES for entry in getattr(torch_module, table, {}).items()]


# --- weights without values --------------------------------------------------------------------------------------------------


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


# --- training mode ---------------------------------------------------------------------------------------------------------------


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
    ids = _trial_ids(model)
    try:
        now = _logits(model, ids)
        for module in training:
            module.training = False
        then = _logits(model, ids)
    finally:
        for module in training:
            module.training = True
    return _apart(now, then)


# --- hooks -----------------------------------------------------------------------------------------------------------------------


def _checked(model: Model) -> list[_Found]:
    """All hooks and replaced forwards of a model whose weights have values and whose mode changes nothing.

    Raises:
        ModelError: they have none, or it does.
    """
    training: list[torch.nn.Module] = []
    hooked: list[_Found] = []
    for module in model.hf.modules():
        known = module.__dict__
        for table in ("_parameters", "_buffers"):
            for value in known[table].values():
                if value is not None and value.is_meta:
                    raise ModelError(without_values(model))
        if module.training:
            training.append(module)
        if "forward" in known or any(known.get(table) for table in HOOK_TABLES):
            hooked += _hooks_of(module)
    if training:
        _check_training(model, training)
    return hooked + _global_hooks()


def _check_forwards(model: Model, foreign: Sequence[_Found]) -> None:
    """Refuses forwards of others that stand in for a module's own and compute something else."""
    replaced = [found for found in foreign if found.table is None]
    if not replaced:
        return
    ids = _trial_ids(model)
    # Others' hooks are not run in a trial: they may count forwards or keep what they see.
    with _lifted([found for found in foreign if found.table is not None]):
        try:
            there = _logits(model, ids)
        except Exception as error:  # a stranger's code, which may raise anything
            raise ModelError(_refused(model, replaced, f"raise {type(error).__name__}: {error}")) from error
        with _lifted(replaced):
            try:
                gone = _logits(model, ids)
            except Exception as error:
                raise ModelError(
                    _refused(model, replaced, f"cannot be left out: {type(error).__name__}: {error}")
                ) from error
    why = _apart(there, gone)
    if why is not None:
        raise ModelError(_refused(model, replaced, f"change its outputs {why}"))


def _refused(model: Model, foreign: Sequence[_Found], what: str) -> str:
    noun = "forwards" if foreign[0].table is None else "hooks"
    return (
        f"{model.id}: {noun} of others {what}, so another model would be measured: {_first(_described(model, foreign))}. Take them off "
        "first; to check a way of steering of your own, give it to assert_hooks_are_sound(..., apply=...)"
    )


@contextmanager
def _watching(model: Model, foreign: Sequence[_Found]) -> Iterator[None]:
    """Hooks of others run as they are, and are refused as soon as they change what they see."""
    watches = []
    try:
        for found in foreign:
            watch = _Watch(model, found)
            watches.append((_table_of(found), found.key, watch))
            _table_of(found)[found.key] = watch
        yield
    finally:
        for table, key, watch in watches:
            if table.get(key) is watch:  # it may have been taken off in the body
                table[key] = watch.found.function


class _Watch:
    """A hook of somebody else's, held to changing nothing.

    Watching it where it runs shows what a trial forward could not: hooks that act on some positions, or later. And it is run
    as often as it would be anyway.
    """

    def __init__(self, model: Model, found: _Found) -> None:
        self.model, self.found = model, found

    def __call__(self, module: Any, *given: Any) -> Any:
        # A forward hook may replace the output, which comes last; one before it the arguments.
        after = self.found.table in ("_forward_hooks", "_global_forward_hooks")
        before = [(tensor, tensor.detach().clone()) for tensor in _tensors(given)]
        result = self.found.function(module, *given)
        now = _tensors(given)
        changed = len(now) != len(before) or any(
            tensor is not one or not _equal(tensor, copy) for tensor, (one, copy) in zip(now, before, strict=True)
        )
        if result is not None:
            old = given[-1] if after else given if len(given) > 1 else given[0]
            if not after and not isinstance(result, tuple):
                result = (result,)
            was, becomes = _tensors(old), _tensors(result)
            changed |= len(was) != len(becomes) or not all(map(_equal, was, becomes))
        if changed:
            raise ModelError(_refused(self.model, [self.found], "change what it computes"))
        return result


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [tensor for inner in value for tensor in _tensors(inner)]


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one is other:
        return True
    return (
        one.shape == other.shape and one.dtype == other.dtype and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    )


def _table_of(found: _Found) -> Any:
    assert found.table is not None
    return getattr(torch_module if found.module is None else found.module, found.table)


def _warn(model: Model, described: tuple[str, ...]) -> None:
    if described not in _warned.setdefault(model, set()):
        _warned[model].add(described)
        warnings.warn(SteerWarning(hooks_warning(model.id, described)), stacklevel=5)


def hooks_warning(name: str, described: Sequence[str]) -> str:
    """What the reader of a number has to know of hooks of others that were on the model."""
    return (
        f"{name} has hooks of others on it ({_first(described)}). They changed no hidden states or outputs while it was measured; "
        "what else they do was not looked at"
    )


def _maker(found: _Found) -> str | None:
    """Who made a hook: this package, ``model`` for what is part of it, or None for anybody else."""
    if isinstance(found.function, _Watch):
        return None
    makers = {_package_of(function, found.module) for function in _chain(found.function)}
    if found.table is None and found.module is not None:
        makers |= {type(hook).__module__.split(".")[0] for hook in _dispatching(found.module)}
    if makers == {_OWN}:
        return _OWN
    return "model" if makers <= _PART_OF_MODELS | {_OWN} else None


def _chain(function: Any) -> Iterator[Any]:
    """A function and those that it wraps; what a wrapper says of its own name is that of the wrapped one, so each is looked at."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        while isinstance(function, (functools.partial, types.MethodType)) and not hasattr(function, "__wrapped__"):
            function = function.func if isinstance(function, functools.partial) else function.__func__
        yield function.func if isinstance(function, functools.partial) else function
        function = getattr(function, "__wrapped__", None) or getattr(function, "_torchdynamo_orig_callable", None)


def _package_of(function: Any, module: torch.nn.Module | None) -> str:
    function = getattr(function, "__func__", function)
    if not isinstance(function, types.FunctionType):
        return str(type(function).__module__).split(".")[0]
    name = str(function.__globals__.get("__name__"))
    # What a module's own class puts on it, as models of in-house make do.
    classes = type(module).__mro__ if module is not None else ()
    if any(name == own.__module__ and function.__code__.co_qualname.startswith(f"{own.__qualname__}.") for own in classes):
        return "torch"
    return name.split(".")[0]


def _dispatching(module: torch.nn.Module) -> Iterator[Any]:
    """accelerate's hooks of a module, which stand behind its replaced forward."""
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        yield from getattr(hook, "hooks", (hook,))


def _described(model: Model, found: Sequence[_Found]) -> tuple[str, ...]:
    names = {id(module): name or "the model" for name, module in model.hf.named_modules()} if found else {}
    lines = []
    for one in found:
        where = "every module" if one.module is None else names.get(id(one.module), "a module")
        what = "replaced forward" if one.table is None else one.table.strip("_").replace("_", " ").removesuffix("s")
        function = one.function.found.function if isinstance(one.function, _Watch) else one.function
        function = function.func if isinstance(function, functools.partial) else function
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        lines.append(f"{where}: {what.removeprefix('global ')} {name}")
    return tuple(lines)


@contextmanager
def _lifted(foreign: Sequence[_Found]) -> Iterator[None]:
    """The model without some hooks; they are put back in their old order."""
    tables: list[tuple[Any, Any]] = []
    forwards: list[tuple[Any, Any]] = []
    try:
        for found in foreign:
            if found.table is None:
                forwards.append((found.module, found.module.__dict__.pop("forward")))
                continue
            table = _table_of(found)
            if not any(table is known for known, _ in tables):
                tables.append((table, dict(table)))
            table.pop(found.key, None)
        yield
    finally:
        for table, before in tables:
            table.clear()
            table.update(before)
        for module, forward in forwards:
            module.__dict__["forward"] = forward


# --- trial forwards --------------------------------------------------------------------------------------------------------------


def _trial_ids(model: Model) -> torch.Tensor:
    from .tokens import encode

    ids, _ = encode(model.tokenizer, _TEXT, special_tokens=False)
    return torch.tensor([ids[: min(_MOST_TOKENS, model.max_positions or _MOST_TOKENS)]], device=model.device)


@torch.no_grad()
def _logits(model: Model, ids: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model.hf(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return logits.float()


def _apart(one: torch.Tensor, other: torch.Tensor) -> str | None:
    """By how much two outputs differ, or None if that is no more than rounding (other kernels for the same sum)."""
    if one.shape != other.shape:
        return f"logits of the shape {list(one.shape)}, not {list(other.shape)}"
    room = 64 * torch.finfo(torch.float32).eps * max(1.0, float(other.nan_to_num(0, 0, 0).abs().max()))
    if torch.allclose(one, other, rtol=0, atol=room, equal_nan=True):
        return None
    return f"by up to {float((one - other).abs().nan_to_num(float('inf')).max()):.3g} in a logit"


def _first(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
