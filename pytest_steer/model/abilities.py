"""What the layers of a model can do, told from the kinds of cache layers that one short forward returns.

A configuration does not say it: that of RWKV looks like plain attention, and many hybrids have a mask argument which half of
their layers ignore. What a layer keeps of the past does: keys and values of every token are attended to under a mask, a
recurrent or convolutional state is not.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

if TYPE_CHECKING:
    from .loaded import Model

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
        window: the shortest sliding window of its layers, infinite without one.
    """

    kinds: tuple[LayerKind, ...] | None
    window: float = float("inf")

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

    @classmethod
    def of(cls, model: Model) -> Abilities:
        """Looks at what one forward of a few tokens returns."""
        try:
            returned = _returned(model)
        except Exception:  # any class may refuse a cache in its own way; that only means that nothing is known of it
            return cls(None)
        cache = next((returned[name] for name in _CACHE_NAMES if returned.get(name) is not None), None)
        if any(value is not None for name, value in returned.items() if name not in _NO_STATE | {*_CACHE_NAMES}):
            return cls(None)
        if cache is None:
            return cls(())
        # A class with a cache of its own has a reason for it, and one whose layers are fewer than its blocks keeps something
        # elsewhere, or has layers that read the keys and values of others.
        if type(cache) is not DynamicCache or len(cache.layers) != model.n_layers:
            return cls(None)
        windows = [getattr(layer, "sliding_window", None) for layer in cache.layers]
        return cls(
            tuple(_kind(layer) for layer in cache.layers),
            min((float(window) for window in windows if isinstance(window, int) and window > 0), default=float("inf")),
        )


def _returned(model: Model) -> Mapping[str, Any]:
    vocabulary = int(model.hf.config.get_text_config(decoder=True).vocab_size)
    ids = torch.arange(1, _TOKENS + 1, device=model.device)[None] % vocabulary
    inputs = {"input_ids": ids, "use_cache": True}
    if "return_dict" in inspect.signature(model.hf.forward).parameters:
        inputs["return_dict"] = True
    with torch.inference_mode():
        output = model.hf(**inputs)
    # An output answers to its fields' old names too; its items are the new ones.
    return {name: output[name] for name in output}


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
