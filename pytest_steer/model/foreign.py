"""Hooks and forwards of other packages on a model: find them, name them, refuse those that change something."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules import module as torch_module

from ..core.columns import message_of
from ..core.errors import ModelError
from .model import Model
from .noise import difference, trial_ids, trial_logits
from .weights import first_few

HOOK_TABLES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where a module keeps its hooks."""

GLOBAL_TABLES = ("_global_forward_hooks", "_global_forward_pre_hooks")
"""Where torch keeps hooks of all modules."""

FORWARD_TABLES = HOOK_TABLES[:2]
"""Where a module keeps the hooks of its forward."""

OWN = "pytest_steer"
# Packages whose hooks are part of the model or of how it runs: dispatch to devices, adapters, quantised layers, kernels,
# weights that are computed from others (pruning, weight norm), outputs that were asked for.
PART_OF_MODELS = {
    "torch", "transformers", "transformers_modules", "accelerate", "peft", "bitsandbytes", "torchao", "optimum", "auto_gptq",
    "gptqmodel", "awq", "hqq", "aqlm", "compressed_tensors", "kernels", "liger_kernel", "deepspeed", "unsloth", "unsloth_zoo",
}  # fmt: skip
_WATCHED = (*FORWARD_TABLES, *GLOBAL_TABLES)


@dataclass(frozen=True, eq=False)
class Found:
    """A hook, or a forward that replaces that of the module's class (``table`` is None)."""

    module: torch.nn.Module | None
    table: str | None
    key: Any
    function: Any


def hooks_of(module: torch.nn.Module) -> list[Found]:
    """All hooks on one module, and its replaced forward."""
    known = module.__dict__
    own = [Found(module, None, None, known["forward"])] if "forward" in known else []
    return own + [Found(module, table, *entry) for table in HOOK_TABLES for entry in (known.get(table) or {}).items()]


def global_hooks() -> list[Found]:
    """All hooks that torch runs for every module."""
    return [Found(None, table, *entry) for table in GLOBAL_TABLES for entry in getattr(torch_module, table, {}).items()]


def hooks_warning(name: str, described: Sequence[str]) -> str:
    """The warning that other hooks were on the model during a measurement."""
    return (
        f"{name} has hooks of others on it ({first_few(described)}). They changed no hidden states or outputs while it was measured; "
        "what else they do was not looked at"
    )


# --- their makers ---


def maker_of(found: Found) -> str | None:
    """The maker of a hook: this package, ``model`` if it is part of the model, or None for anybody else."""
    if isinstance(found.function, Watch):
        return None
    makers = {_package_of(function, found.module) for function in _chain(found.function)}
    if found.table is None and found.module is not None:
        makers |= {type(hook).__module__.split(".")[0] for hook in _dispatching(found.module)}
    if makers == {OWN}:
        return OWN
    return "model" if makers <= PART_OF_MODELS | {OWN} else None


def _chain(function: Any) -> Iterator[Any]:
    """A function and every function that it wraps. A wrapper reports the name of what it wraps, so each has to be checked."""
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
    # What a module's own class puts on it, as in-house models do.
    classes = type(module).__mro__ if module is not None else ()
    if any(name == own.__module__ and function.__code__.co_qualname.startswith(f"{own.__qualname__}.") for own in classes):
        return "torch"
    return name.split(".")[0]


def _dispatching(module: torch.nn.Module) -> Iterator[Any]:
    """The accelerate hooks that a module's replaced forward calls."""
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        yield from getattr(hook, "hooks", (hook,))


def described(model: Model, found: Sequence[Found]) -> tuple[str, ...]:
    """Where each hook is and what its function is called, as in ``model.layers.0: forward hook look``."""
    names = {id(module): name or "the model" for name, module in model.hf.named_modules()} if found else {}
    lines = []
    for one in found:
        where = "every module" if one.module is None else names.get(id(one.module), "a module")
        what = "replaced forward" if one.table is None else one.table.strip("_").replace("_", " ").removesuffix("s")
        function = one.function.found.function if isinstance(one.function, Watch) else one.function
        function = function.func if isinstance(function, functools.partial) else function
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        lines.append(f"{where}: {what.removeprefix('global ')} {name}")
    return tuple(lines)


# --- their effects ---


def check_forwards(model: Model, foreign: Sequence[Found]) -> None:
    """Refuse replaced forwards that compute something else than the module's own."""
    replaced = [found for found in foreign if found.table is None]
    if not replaced:
        return
    ids = trial_ids(model)
    what = "raise"
    # Others' hooks are not run in a trial: they may count forwards or keep what they see.
    with lifted([found for found in foreign if found.table is not None]):
        try:
            there = trial_logits(model, ids)
            what = "cannot be left out:"
            with lifted(replaced):
                gone = trial_logits(model, ids)
        except Exception as error:  # a stranger's code, which may raise anything
            raise ModelError(_refused(model, replaced, f"{what} {message_of(error)}")) from error
    why = difference(there, gone)
    if why is not None:
        raise ModelError(_refused(model, replaced, f"change its outputs {why}"))


def _refused(model: Model, foreign: Sequence[Found], what: str) -> str:
    noun = "forwards" if foreign[0].table is None else "hooks"
    return (
        f"{model.id}: {noun} of others {what}, so another model would be measured: {first_few(described(model, foreign))}. Take them off "
        "first; to check your own way of steering, give it to assert_hooks_are_sound(..., apply=...)"
    )


@contextmanager
def lifted(foreign: Sequence[Found]) -> Iterator[None]:
    """Take some hooks off a model in the body; they are put back in their old order."""
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


@contextmanager
def watching(model: Model, foreign: Sequence[Found]) -> Iterator[None]:
    """Let hooks of others run in the body, and refuse them as soon as they change what they see."""
    watches = []
    try:
        for found in (found for found in foreign if found.table in _WATCHED):
            watch = Watch(model, found)
            watches.append((_table_of(found), found.key, watch))
            _table_of(found)[found.key] = watch
        yield
    finally:
        for table, key, watch in watches:
            if table.get(key) is watch:  # it may have been taken off in the body
                table[key] = watch.found.function


class Watch:
    """Wraps a hook of somebody else and raises if it changes anything.

    This shows what a trial forward could not: hooks that act on some positions, or later. And the hook runs as often as it would
    anyway.
    """

    def __init__(self, model: Model, found: Found) -> None:
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


def _table_of(found: Found) -> Any:
    assert found.table is not None
    return getattr(torch_module if found.module is None else found.module, found.table)
