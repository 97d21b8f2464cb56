"""What decides the numbers of a model: the key of everything that is remembered of it, in memory and on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib import metadata
from typing import Any
from weakref import WeakKeyDictionary

import torch

from .foreign import Found, Watch, global_hooks, hooks_of, maker_of
from .loaded import Model, identity_of

# Raised when the same question would be answered with another number than before.
_SCORING = 1
_OF_TORCH = frozenset(vars(torch.nn.Module())) - {"training"}
# Where a model was loaded from and what it has warned about.
_NO_SETTINGS = _OF_TORCH | {"name_or_path", "warnings_issued"}
_PLAIN = (bool, int, float, str, type(None))
_KNOWN: WeakKeyDictionary[Model, tuple[int, bytes]] = WeakKeyDictionary()


def state_of(model: Model) -> int:
    """A number that changes, within a process, with whatever decides what the model computes.

    That is: weights and buffers, also those written through ``.data``; hooks and replaced forwards, on modules and on their classes;
    the configuration; numbers, switches and texts that its modules hold. Code that reads anything else cannot be seen.
    """
    hooks = [
        (id(found.module), found.table, found.key if found.table else None, id(_function_of(found)))
        for found in _hooks(model)
    ]
    kinds: set[Any] = {type(module) for module in model.hf.modules()}
    classes = {(kind, id(kind.forward)) for kind in kinds}
    return hash((model.known_state(), tuple(hooks), frozenset(classes), *_settings(model)))


def is_hooked(model: Model) -> bool:
    """Whether hooks or forwards are on the model that are neither this package's nor part of it."""
    return any(maker_of(found) is None for found in _hooks(model))


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
            model.device.type,
            *(metadata.version(name) for name in ("pytest-steer", "torch", "transformers", "tokenizers")),
            _SCORING,
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
    return json.dumps(identity_of(model.hf.config.to_dict()), sort_keys=True, default=str), repr(held)


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, value.values()))
    return isinstance(value, _PLAIN)
