"""What the layers of a model can do, told from the kinds of cache layers that one short forward returns.

A configuration does not say it: that of RWKV looks like plain attention, and many hybrids have a mask argument which half of
their layers ignore. What a layer keeps of the past does: keys and values of every token are attended to under a mask, a
recurrent or convolutional state is not.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from .loaded import Model
from .once import once_per_model

LayerKind = Literal["attention", "window", "recurrent", "keeps nothing", "unknown"]

_TOKENS = 6
_CACHE_NAMES = ("past_key_values", "cache")
# What an output holds besides a cache; anything else may be a state of the class's own making.
_NO_STATE = frozenset(
    {"loss", "logits", "hidden_states", "attentions", "aux_loss", "router_logits", "rope_deltas", "image_hidden_states"}
)
# By name, since older versions of transformers have no such classes.
_RECURRENT, _EMPTY = "LinearAttentionCacheLayerMixin", "DummyLayer"


@dataclass(frozen=True)
class Abilities:
    """What may be asked of a model's forwards beyond whole sequences, each in a row of its own.

    Attributes:
        kinds: what each layer keeps of the past; empty if the model keeps no cache, None if that cannot be told.
        reach: how far back every layer sees: the narrowest window or chunk of its cache layers and of its configuration, infinite
            without one. A tree mask would stand in for a shorter mask of the model's own.
    """

    kinds: tuple[LayerKind, ...] | None
    reach: float = float("inf")

    @property
    def shares_depth(self) -> bool:
        """Whether rows may be copied between blocks. In every causal model they are independent; where nothing is known
        of the layers, not even that is taken for granted."""
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
    """What may be asked of a model, told from what one forward of a few tokens returns."""
    reach = _configured_reach(model)
    try:
        returned = _returned(model)
    except Exception:  # any class may refuse a cache in its own way; that only means that nothing is known of it
        return Abilities(None, reach)
    cache = next((returned[name] for name in _CACHE_NAMES if returned.get(name) is not None), None)
    if any(value is not None for name, value in returned.items() if name not in _NO_STATE | {*_CACHE_NAMES}):
        return Abilities(None, reach)
    if cache is None:
        return Abilities((), reach)
    # A class with a cache of its own has a reason for it, and one whose layers are fewer than its blocks keeps something
    # elsewhere, or has layers that read the keys and values of others.
    if type(cache) is not DynamicCache or len(cache.layers) != model.n_layers:
        return Abilities(None, reach)
    windows = [getattr(layer, "sliding_window", None) for layer in cache.layers]
    return Abilities(tuple(_kind(layer) for layer in cache.layers), _least([reach, *windows]))


def _returned(model: Model) -> Mapping[str, Any]:
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
    config = model.hf.config.get_text_config(decoder=True)
    found = []
    for name in ("sliding_window", "attention_window_size", "attention_chunk_size", "window_size"):
        try:
            found.append(getattr(config, name, None))
        except (
            Exception
        ):  # layers that differ in it: then the configuration has no one number, and the cache layers have theirs
            continue
    return _least(found)


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
    """Whether there are keys and values of all the tokens, or of as many as fit into the layer's window."""
    window = getattr(layer, "sliding_window", None)
    tokens = {_TOKENS, min(_TOKENS, max(window - 1, 0))} if isinstance(window, int) else {_TOKENS}
    states = (layer.keys, layer.values)
    return all(isinstance(s, torch.Tensor) and s.ndim == 4 and s.shape[0] == 1 and s.shape[-2] in tokens for s in states)
