"""Check that a model is ready to run: its weights have values, and its mode changes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch

from ..errors import ModelError
from .foreign import Found, global_hooks, hooks_of
from .loaded import Model
from .trial import difference, trial_ids, trial_logits
from .weights import without_values

_RANDOM = re.compile(r"drop|jitter|noise")
_NOT_OF_DECODERS = re.compile(r"^(classifier|summary|seq_classif)")
_alike_in_training: WeakKeyDictionary[Model, tuple[int, ...]] = WeakKeyDictionary()


def check_ready(model: Model) -> list[Found]:
    """All hooks and replaced forwards of a model whose weights have values and whose mode changes nothing.

    Raises:
        ModelError: they have none, or it does.
    """
    training: list[torch.nn.Module] = []
    hooked: list[Found] = []
    for module in model.hf.modules():
        for table in ("_parameters", "_buffers"):
            for value in module.__dict__[table].values():
                if value is not None and value.is_meta:
                    raise ModelError(without_values(model.id, model.hf))
        if module.training:
            training.append(module)
        hooked += hooks_of(module)
    if training:
        _check_training(model, training)
    return hooked + global_hooks()


def _check_training(model: Model, training: Sequence[torch.nn.Module]) -> None:
    """Refuse training mode where it changes what the model computes."""
    why = _random_part(model, training)
    key = tuple(map(id, training))
    if why is None and _alike_in_training.get(model) != key:
        why = _differs_from_evaluation(model, training)
        if why is None:
            _alike_in_training[model] = key
    if why is None:
        return
    raise ModelError(
        f"{model.id}: is in training mode, in which it does not compute what it does in use ({why}). Call model.hf.eval() before you "
        "measure"
    )


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
