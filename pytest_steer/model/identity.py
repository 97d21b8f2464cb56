"""The identity of a model's numbers: the key of everything that is remembered of it, in memory and on disk."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..core.evidence import SCORING
from .foreign import PART_OF_MODELS, Found, Watch, global_hooks, hooks_of, maker_of
from .model import Model, identity_of

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
    hooks = [
        (id(found.module), found.table, found.key if found.table else None, id(_function_of(found)))
        for found in _hooks(model)
    ]
    code = frozenset((place, id(function)) for place, function in _code_of(model))
    return hash((model.known_state(), tuple(hooks), code, *_settings(model)))


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


def _hooks(model: Model) -> Iterator[Found]:
    for module in model.hf.modules():
        yield from hooks_of(module)
    yield from global_hooks()


def _function_of(found: Found) -> Any:
    """The hook itself, also while it is watched."""
    return found.function.found.function if isinstance(found.function, Watch) else found.function


def _settings(model: Model) -> tuple[str, str]:
    """The configuration, and the plain values that modules hold: scales, switches of adapters, ..."""
    held = [
        (number, name, value)
        for number, module in enumerate(model.hf.modules())
        for name, value in module.__dict__.items()
        if name not in _NO_SETTINGS and _is_plain(value)
    ]
    held += [
        (
            number,
            name,
            hashlib.blake2b(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest(),
        )
        for number, module in enumerate(model.hf.modules())
        for name, value in module.__dict__.items()
        if isinstance(value, torch.Tensor) and value.numel()
    ]
    return json.dumps(identity_of(model.hf.config.to_dict()), sort_keys=True, default=str), repr(held)


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, value.values()))
    return isinstance(value, _PLAIN)
