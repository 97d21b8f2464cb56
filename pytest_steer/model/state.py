"""The state of a model. Can it be measured as it is: the one gate of all measures, extraction and steering? And the identity of its numbers.

A model passes if its weights have values, its mode changes nothing, hooks of others change nothing, its blocks give one hidden state per token,
and no token sees later ones. The identity is the key of everything that is remembered of the model, in memory and on disk.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch.nn.modules import module as torch_module
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..core.columns import message_of
from ..core.errors import ModelError, SteerError
from ..core.evidence import SCORING
from .model import Inputs, Model, first_few, identity_of, once_per_model, without_values
from .noise import MISFITS, difference, is_out_of_memory, trial_ids, trial_logits
from .tokens import check_vocabulary, encode

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
    """Refuse a model that would not give its own numbers, as far as this shows before it runs.

    Raises:
        ModelError: weights have no values, or training mode or replaced forwards change what it computes.
    """
    foreign = _of_others(model)
    if foreign and not model.steering_blocks and not _trusting.get():
        check_forwards(model, foreign)


def foreign_hooks(model: Model) -> tuple[str, ...]:
    """Descriptions of the hooks and replaced forwards that are neither this package's nor part of the model."""
    return described(model, _of_others(model))


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
    """Refuse changes by hooks of others in the body of a ``steered`` block, which begins with ``check_state``."""
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
    """Accept the hooks on a model in the body: they are being checked themselves."""
    token = _trusting.set(True)
    try:
        yield
    finally:
        _trusting.reset(token)


_TEXTS = ("One of them is enough.", "It takes two to say so, and seven more.")
_TOKENS = 8
# Share of the largest logit that rounding may move, in 32 bits or more and in fewer. What later tokens do to earlier ones is far
# larger.
_ROUNDING, _COARSE_ROUNDING = 1e-4, 5e-2


@dataclass(frozen=True)
class Structure:
    """Properties of a model's blocks.

    Attributes:
        refused: {layer: why nothing can be read or changed at its output}.
        left_out: layers that do not run on text alone.
        told_positions: whether the model takes the position of each token, counted from 0. RoBERTa and its kin count from the number
            of their padding token and keep doing so.
    """

    refused: dict[int, str]
    left_out: frozenset[int]
    told_positions: bool


@once_per_model
def structure_of(model: Model) -> Structure:
    """The structure of a model's blocks, from a first small forward.

    Raises:
        ModelError: the model does not run on tokens alone, or does not read from left to right.
    """
    hooks = [found for found in check_ready(model) if found.module is not None and found.table in FORWARD_TABLES]
    # Changes by other hooks are checked at each measurement.
    with lifted(hooks):
        return _look_at(model)


def check_layer(model: Model, layer: int) -> None:
    """Refuse a layer whose output is not one hidden state per token.

    Raises:
        ModelError: it is not, with the reason; or see ``structure_of``.
    """
    why = structure_of(model).refused.get(layer)
    if why is not None:
        raise ModelError(f"{model.id}: layer {layer} can be neither read nor steered: {why}")


@torch.no_grad()
def _look_at(model: Model) -> Structure:
    """Run two short rows that differ in their later half and inspect every block's output; then run them with positions.

    Raises:
        ModelError: the model does not run on tokens alone, or its tokens see those after them.
    """
    length = min(_TOKENS, model.max_positions or _TOKENS)
    half = length // 2
    first = _tokens(model, length)
    check_vocabulary(model, first, "an English sentence")
    second = [*first[:half], *first[half + 1 :], first[half]]
    passes = [0] * model.n_layers
    shapes: dict[int, tuple[int, ...]] = {}

    def keep(layer: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            passes[layer] += 1
            # A named tuple (Reformer) does not count: its first entry is one of several streams.
            hidden = output[0] if type(output) in (tuple, list) else output
            if isinstance(hidden, torch.Tensor):
                shapes[layer] = tuple(hidden.shape)

        return hook

    ids = torch.tensor([first, second], device=model.device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    with ExitStack() as stack:
        for layer, block in enumerate(model.blocks):
            stack.enter_context(block.register_forward_hook(keep(layer)))
        try:
            logits = model.hf(**inputs).logits
        except MISFITS as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(f"{model.id}: it does not run on tokens alone: {message_of(error)}") from error
    _check_causal(model, logits[:, :half].float())
    reasons = {layer: _reason(model, passes[layer], shapes.get(layer), length) for layer in range(model.n_layers)}
    refused = {layer: why for layer, why in reasons.items() if why is not None}
    left_out = frozenset(layer for layer, count in enumerate(passes) if not count)
    return Structure(refused, left_out, _is_told_positions(model, inputs, logits))


def _reason(model: Model, passes: int, shape: tuple[int, ...] | None, length: int) -> str | None:
    """Why a block's output means nothing to a steering vector, or None."""
    if passes == 0:
        return "the model leaves this block out when it reads text alone"
    if passes > 1:
        return f"the model runs this block {passes} times in one forward, so that its output is not one place"
    # Some blocks (OPT) flatten rows and positions.
    if shape in {(2, length, model.width), (2 * length, model.width)}:
        return None
    needed = f"its output is not one hidden state of width {model.width} per token"
    if shape is None:
        return f"{needed} but an object of its own kind"
    several = len(shape) == 4 or (shape[-1] > model.width and shape[-1] % model.width == 0)
    what = "several streams side by side" if several else "something else"
    return f"{needed} but {what} (shape {list(shape)} for 2 rows of {length} tokens), and none of it alone is the residual stream"


def _check_causal(model: Model, early: torch.Tensor) -> None:
    """Raise if rows that begin alike have different logits there."""
    if not early.numel() or not torch.isfinite(early).all():
        return  # a model of one position, or numbers that are not finite, which the measures report
    apart = _apart(early[0], early[1])
    if apart > _room(model, early):
        raise ModelError(
            f"{model.id}: its tokens see those after them (changing later tokens moves earlier logits by {apart:.2g}), so what "
            "it says of an answer depends on the answer itself. Steering claims need a model that reads from left to right"
        )


def _is_told_positions(model: Model, inputs: Inputs, own: torch.Tensor) -> bool:
    if "position_ids" not in inspect.signature(model.hf.forward).parameters:
        return False
    ids = inputs["input_ids"]
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    try:
        told = model.hf(**inputs, position_ids=positions).logits
    except MISFITS:
        return False
    return _apart(own.float(), told.float()) <= _room(model, own)


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().nan_to_num().max())


def _room(model: Model, logits: torch.Tensor) -> float:
    """How far apart rounding may put logits."""
    share = _ROUNDING if model.dtype in ("float32", "float64") else _COARSE_ROUNDING
    return share * max(1.0, float(logits.float().abs().nan_to_num().max()))


def _tokens(model: Model, length: int) -> list[int]:
    """Ordinary tokens, neighbours different."""
    found: list[int] = []
    for text in _TEXTS:
        for token in encode(model.tokenizer, text, special_tokens=False)[0]:
            if token not in found:
                found.append(token)
    if len(found) < 2:
        found = [0, 1]
    return [found[index % len(found)] for index in range(length)]


_RANDOM = re.compile(r"drop|jitter|noise")
_NOT_OF_DECODERS = re.compile(r"^(classifier|summary|seq_classif)")
_alike_in_training: WeakKeyDictionary[Model, tuple[int, ...]] = WeakKeyDictionary()


def check_ready(model: Model) -> list[Found]:
    """All hooks and replaced forwards of a model whose weights have values and whose mode changes nothing.

    Raises:
        ModelError: they have none, or it does.
    """
    training = []
    for module in model.hf.modules():
        held = (*module.__dict__["_parameters"].values(), *module.__dict__["_buffers"].values())
        if any(value is not None and value.is_meta for value in held):
            raise ModelError(without_values(model.id, model.hf))
        if module.training:
            training.append(module)
    if training:
        _check_training(model, training)
    return _hooks(model)


def _check_training(model: Model, training: Sequence[torch.nn.Module]) -> None:
    """Refuse training mode where it changes what the model computes."""
    why = _random_part(model, training)
    key = tuple(map(id, training))
    if why is None and _alike_in_training.get(model) != key:
        why = _differs_from_evaluation(model, training)
    if why is not None:
        raise ModelError(
            f"{model.id}: is in training mode, in which it does not compute what it does in use ({why}). Call model.hf.eval() before you "
            "measure"
        )
    _alike_in_training[model] = key


def _random_part(model: Model, training: Sequence[torch.nn.Module]) -> str | None:
    """A part that is random in training mode by the settings of the modules and the configuration, in words; None without one."""
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
    for name, value in vars(model.config).items():
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
    return difference(now, then)


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

    @property
    def original(self) -> Any:
        """The hook itself, also while it is watched."""
        return self.function.found.function if isinstance(self.function, Watch) else self.function


def hooks_of(module: torch.nn.Module) -> list[Found]:
    """All hooks on one module, and its replaced forward."""
    known = module.__dict__
    own = [Found(module, None, None, known["forward"])] if "forward" in known else []
    return own + [Found(module, table, *entry) for table in HOOK_TABLES for entry in (known.get(table) or {}).items()]


def _hooks(model: Model) -> list[Found]:
    """All hooks on the modules of a model, their replaced forwards, and all hooks that torch runs for every module."""
    found = [one for module in model.hf.modules() for one in hooks_of(module)]
    everywhere = [(table, entry) for table in GLOBAL_TABLES for entry in getattr(torch_module, table, {}).items()]
    return found + [Found(None, table, *entry) for table, entry in everywhere]


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
        while isinstance(function, (functools.partial, MethodType)) and not hasattr(function, "__wrapped__"):
            function = function.func if isinstance(function, functools.partial) else function.__func__
        yield function.func if isinstance(function, functools.partial) else function
        function = getattr(function, "__wrapped__", None) or getattr(function, "_torchdynamo_orig_callable", None)


def _package_of(function: Any, module: torch.nn.Module | None) -> str:
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):
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
        function = one.original.func if isinstance(one.original, functools.partial) else one.original
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
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _table_of(found: Found) -> Any:
    assert found.table is not None
    return getattr(torch_module if found.module is None else found.module, found.table)


_OF_TORCH = frozenset(vars(torch.nn.Module())) - {"training"}
# A model's origin and its past warnings.
_NO_SETTINGS = _OF_TORCH | {"name_or_path", "warnings_issued"}
# Packages whose versions are part of the key, and what classes are made of anyway.
_VERSIONED = {"torch", "transformers", "builtins", "typing", "abc"}
_PLAIN = (bool, int, float, str, type(None))
_STANDARD = os.path.dirname(os.__file__)
_KNOWN: WeakKeyDictionary[Model, tuple[int, bytes]] = WeakKeyDictionary()


def state_of(model: Model) -> int:
    """A number that changes, within a process, with whatever decides what the model computes.

    That is: weights and buffers, also those written through ``.data``; hooks and replaced forwards, on modules and on their classes;
    functions that its code calls by name; the configuration; numbers, switches, texts and tensors that its modules hold. Code that reads
    anything else cannot be seen.
    """
    hooks = tuple((id(one.module), one.table, one.key if one.table else None, id(one.original)) for one in _hooks(model))
    code = frozenset((place, id(function)) for place, function in _code_of(model))
    return hash((model.known_state(), hooks, code, *_settings(model)))


def is_hooked(model: Model) -> bool:
    """Whether hooks, forwards or functions that its code calls are neither this package's nor part of the model."""
    return any(maker_of(found) is None for found in _hooks(model)) or bool(replaced_code(model))


def replaced_code(model: Model) -> tuple[str, ...]:
    """The parts of the model's code that were written elsewhere, as in ``modeling_llama.LlamaMLP: mine.forward``."""
    found = {
        f"{place.removeprefix('transformers.models.')}: {function.__module__}.{function.__qualname__}"
        for place, function in _code_of(model)
        if not _is_at_home(place, function)
    }
    return tuple(sorted(found))


def disk_key(model: Model, state: int) -> bytes:
    """Everything but the question that a score on disk depends on: the model's bytes, its tokenizer, this package and its libraries.

    Args:
        state: that of the model now; while it stays the same, nothing is hashed again.
    """
    if model not in _KNOWN or _KNOWN[model][0] != state:
        parts = (
            model.bytes_hash,
            *_settings(model),
            tokenizer_hash(model.tokenizer),
            sorted((place, function.__module__, function.__qualname__) for place, function in _code_of(model)),
            _own_sources(model),
            model.device.type,
            *(metadata.version(name) for name in ("pytest-steer", "torch", "transformers", "tokenizers")),
            SCORING,
        )
        _KNOWN[model] = state, hashlib.blake2b(repr(parts).encode(), digest_size=20).digest()
    return _KNOWN[model][1]


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer: vocabulary, merges, special tokens, and how it cuts and joins text.

    Of a fast tokenizer that is what it writes to ``tokenizer.json``, of another one its vocabulary and settings.
    """
    fast = getattr(tokenizer, "backend_tokenizer", None)
    parts = [type(tokenizer).__name__, fast.to_str() if fast is not None else sorted(tokenizer.get_vocab().items())]
    parts += [sorted(tokenizer.get_added_vocab().items()), getattr(tokenizer, "chat_template", None)]
    parts += [repr(getattr(tokenizer, name, None)) for name in ("special_tokens_map", "init_kwargs")] if fast is None else []
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def _code_of(model: Model) -> list[tuple[str, Any]]:
    """The code that a model runs, as (where it stands, function): the forward of each class, the functions that the modules of these
    classes hold by name, and the attention that the configuration names."""
    kinds = {type(module) for module in model.hf.modules()}
    owners = {next(base for base in kind.__mro__ if "forward" in vars(base)) for kind in kinds}
    found = [(f"{owner.__module__}.{owner.__qualname__}", vars(owner)["forward"]) for owner in owners]
    for name in {owner.__module__ for owner in owners if owner.__module__.startswith("transformers.")}:
        held = vars(sys.modules[name]).items()
        found += [(f"{name}.{key}", value) for key, value in held if isinstance(value, FunctionType)]
    attention = ALL_ATTENTION_FUNCTIONS.get(getattr(model.hf.config, "_attn_implementation", None) or "")
    return [*found, ("transformers.attention", attention)] if isinstance(attention, FunctionType) else found


def _own_sources(model: Model) -> list[tuple[str, str]]:
    """The source files of the model's classes that no library of a known version brings, with a hash of what each held when it was
    asked: code that came with a checkpoint, or that of the user's own package."""
    names = {base.__module__ for module in model.hf.modules() for base in type(module).__mro__}
    own = sorted(name for name in names if name.partition(".")[0] not in _VERSIONED)
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in own}
    return [(name, hashlib.sha256(Path(file).read_bytes()).hexdigest()) for name, file in files.items() if file]


def _is_at_home(place: str, function: Any) -> bool:
    """Whether a function was written in the package in which it stands, or in a library: one put into another's place is not."""
    code = getattr(function, "__code__", None)
    if code is None or ("site-packages" not in code.co_filename and code.co_filename.startswith(_STANDARD)):
        return True
    homes = {place.partition(".")[0], "safetensors", *PART_OF_MODELS}
    files = [getattr(sys.modules.get(home), "__file__", None) or "" for home in homes]
    return any(file and code.co_filename.startswith(os.path.dirname(file) + os.sep) for file in files)


def _settings(model: Model) -> tuple[str, str]:
    """The configuration, and the plain values that modules hold: scales, switches of adapters, ..."""
    values = [(at, *own) for at, module in enumerate(model.hf.modules()) for own in module.__dict__.items()]
    held = [(at, name, value) for at, name, value in values if name not in _NO_SETTINGS and _is_plain(value)]
    for at, name, value in values:
        if isinstance(value, torch.Tensor) and value.numel():
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            held.append((at, name, hashlib.blake2b(raw).hexdigest()))
    return json.dumps(identity_of(model.hf.config.to_dict()), sort_keys=True, default=str), repr(held)


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, value.values()))
    return isinstance(value, _PLAIN)
