"""What the layers and the forward of a model can do, read off one short forward, its signature and its configuration.

The configuration alone does not tell: that of RWKV looks like plain attention, and many hybrids have a mask argument that half of their
layers ignore. The cache does: keys and values of every token are attended to under a mask, a recurrent or convolutional state is
not.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from .model import Inputs, Model, once_per_model
from .state import structure_of

LayerKind = Literal["attention", "window", "recurrent", "keeps nothing", "unknown"]

_TOKENS = 6
_CACHE_NAMES = ("past_key_values", "cache")
# Fields of an output without state. Any other field may be state of the class's own invention.
_NO_STATE = frozenset(
    {"loss", "logits", "hidden_states", "attentions", "aux_loss", "router_logits", "rope_deltas", "image_hidden_states"}
)
# By name, since older versions of transformers have no such classes.
_RECURRENT, _EMPTY = "LinearAttentionCacheLayerMixin", "DummyLayer"


@dataclass(frozen=True)
class Abilities:
    """Which forwards a model can run, apart from whole sequences with one row each.

    Attributes:
        kinds: what each layer keeps of the past; empty if the model keeps no cache, None if that cannot be told.
        reach: how far back every layer sees: the narrowest window or chunk of its cache layers and of its configuration, infinite
            without one. A tree mask would replace a shorter mask of the model's own.
    """

    kinds: tuple[LayerKind, ...] | None
    reach: float = float("inf")

    @property
    def shares_depth(self) -> bool:
        """Whether rows may be copied between blocks: in every causal model, but not where the layers are unknown."""
        return self.kinds is not None and "unknown" not in self.kinds

    @property
    def branches(self) -> bool:
        """Whether a sequence may branch under a tree mask, and the keys and values of a prefix may be put before rows.

        Only where every layer keeps keys and values of each token, and so heeds the mask.
        """
        return bool(self.kinds) and set(self.kinds or ()) <= {"attention", "window"}

    @property
    def caches(self) -> bool:
        """Whether generation may use the cache at all."""
        return bool(self.kinds) and self.shares_depth


@once_per_model
def abilities_of(model: Model) -> Abilities:
    """Which forwards a model can run, read off one forward of a few tokens."""
    reach = _configured_reach(model)
    try:
        returned = _returned(model)
    except Exception:  # any class may refuse a cache in its own way; then nothing is known of it
        return Abilities(None, reach)
    cache = next((returned[name] for name in _CACHE_NAMES if returned.get(name) is not None), None)
    if any(value is not None for name, value in returned.items() if name not in _NO_STATE | {*_CACHE_NAMES}):
        return Abilities(None, reach)
    if cache is None:
        return Abilities((), reach)
    # A class with a custom cache has a reason for it. One with fewer layers than blocks keeps something elsewhere, or has
    # layers that read the keys and values of others.
    if type(cache) is not DynamicCache or len(cache.layers) != model.n_layers:
        return Abilities(None, reach)
    windows = [getattr(layer, "sliding_window", None) for layer in cache.layers]
    return Abilities(tuple(_kind(layer) for layer in cache.layers), _least([reach, *windows]))


def _returned(model: Model) -> Inputs:
    ids = torch.arange(1, _TOKENS + 1, device=model.device)[None] % model.vocabulary
    inputs = {"input_ids": ids, "use_cache": True}
    if "return_dict" in inspect.signature(model.hf.forward).parameters:
        inputs["return_dict"] = True
    with torch.inference_mode():
        output = model.hf(**inputs)
    # An output answers to its fields' old names too; its items are the new ones.
    return {name: output[name] for name in output}


def _configured_reach(model: Model) -> float:
    """The narrowest window or chunk that the configuration names: GPT-Neo's local layers keep all keys and look at few."""
    names = ("sliding_window", "attention_window_size", "attention_chunk_size", "window_size")
    return _least([size for name in names for size in numbers_of(model.config, name)])


def _least(sizes: Sequence[object]) -> float:
    numbers = [float(size) for size in sizes if isinstance(size, (int, float)) and not isinstance(size, bool) and size > 0]
    return min(numbers, default=float("inf"))


def _kind(layer: Any) -> LayerKind:
    names = [base.__name__ for base in type(layer).__mro__]
    if _RECURRENT in names:
        return "recurrent"
    if names[0] == _EMPTY:
        return "keeps nothing"
    if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) or not _keeps_every_token(layer):
        return "unknown"
    return "window" if type(layer) is DynamicSlidingWindowLayer else "attention"


def _keeps_every_token(layer: Any) -> bool:
    """Whether a layer has keys and values of all tokens, or of as many as fit into its window."""
    window = getattr(layer, "sliding_window", None)
    tokens = {_TOKENS, min(_TOKENS, max(window - 1, 0))} if isinstance(window, int) else {_TOKENS}
    states = (layer.keys, layer.values)
    return all(isinstance(s, torch.Tensor) and s.ndim == 4 and s.shape[0] == 1 and s.shape[-2] in tokens for s in states)


@dataclass(frozen=True)
class Traits:
    """Traits of a model's class that forwards depend on.

    Attributes:
        cache_name: the argument that takes keys and values of earlier tokens.
        heads: numbers of attention heads.
        sizes: all numbers of its configuration. Arguments of blocks are told apart by size, so the number of entries of a plan
            must be none of them.
        keeps_logits: whether it can be asked for the logits of its last positions alone.
    """

    cache_name: str
    heads: tuple[int, ...]
    sizes: frozenset[int]
    keeps_logits: bool


@once_per_model
def traits_of(model: Model) -> Traits:
    """Traits of a model's class that forwards depend on, read off its signature and its configuration."""
    arguments = inspect.signature(model.hf.forward).parameters
    config = model.config
    names = ("num_attention_heads", "num_key_value_heads", "num_kv_heads", "n_head")
    heads = tuple(dict.fromkeys(count for name in names for count in numbers_of(config, name)))
    numbers = {value for value in config.to_dict().values() if isinstance(value, int)}
    numbers |= {model.width // count for count in heads if count}
    # transformers 5.24 renamed the argument; both names may be there.
    cache_name = "past_key_values" if "past_key_values" in arguments else "cache"
    return Traits(cache_name, heads, frozenset(numbers), keeps_logits="logits_to_keep" in arguments)


def inputs_of(model: Model, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Cache | None) -> Inputs:
    """Arguments of the model's forward.

    Args:
        positions: the number of each token in its row. Absolute positions (GPT-2) count real tokens only, on whichever side the padding
            is.
        cache: keys and values of earlier tokens; filled by the forward.
    """
    inputs: Inputs = {
        "input_ids": ids.to(model.device),
        "attention_mask": mask.to(model.device),
        "use_cache": cache is not None,
    }
    if cache is not None:
        inputs[traits_of(model).cache_name] = cache
    if structure_of(model).told_positions:
        inputs["position_ids"] = positions.to(model.device)
    return inputs


def additive(model: Model, seen: torch.Tensor) -> torch.Tensor:
    """The attention mask [rows, 1, tokens, keys] of bool [rows, tokens, keys]: which token sees which."""
    kind = next(model.hf.parameters()).dtype
    return torch.zeros(seen.shape, dtype=kind).masked_fill_(~seen, torch.finfo(kind).min)[:, None]


def numbers_of(config: Any, name: str) -> tuple[int, ...]:
    """The whole numbers that a setting has, distinct: none, one, or several where layers differ."""
    depth = getattr(config, "num_hidden_layers", None)
    layers = range(depth) if isinstance(depth, int) and depth else [None]
    values = [setting_at(config, layer, name) for layer in layers]
    return tuple(dict.fromkeys(value for value in values if isinstance(value, int) and not isinstance(value, bool)))


def setting_at(config: Any, layer: int | None, name: str) -> Any:
    """A setting as it is at one layer; None if it is not known."""
    try:
        return getattr(config, name, None)
    except RuntimeError:  # transformers refuses to read one value where layers differ
        return None if layer is None else getattr(config.per_layer_config[layer], name, None)
