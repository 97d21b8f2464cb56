"""Check that a model can be measured as it is: the one gate of all measures, extraction and steering.

Its weights have values, its mode changes nothing, hooks of others change nothing, its blocks give one hidden state per token, and no token sees later ones.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch

from ..core.columns import message_of
from ..core.errors import ModelError, SteerError
from .foreign import (
    FORWARD_TABLES,
    OWN,
    Found,
    Watch,
    check_forwards,
    described,
    global_hooks,
    hooks_of,
    lifted,
    maker_of,
    watching,
)
from .model import Model, once_per_model
from .noise import MISFITS, difference, is_out_of_memory, trial_ids, trial_logits
from .tokens import check_vocabulary, encode
from .weights import without_values

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


def _is_told_positions(model: Model, inputs: dict[str, Any], own: torch.Tensor) -> bool:
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
