"""A cache of keys and values with room for tokens to come, so that a new token costs no copy of all before it."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class _RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of every token, as a view of larger tensors: what ``DynamicLayer`` holds, to the last bit."""

    _layer_type = None  # transformers registers no layer of that type

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room = room
        self._held: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        before = self.get_seq_length()
        length = before + key_states.shape[-2]
        if self._held is None or self._held[0].shape[-2] < length:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            assert self.keys is not None
            assert self.values is not None
            self._held = self._grown(self.keys, key_states, before), self._grown(self.values, value_states, before)
        for held, new in zip(self._held, (key_states, value_states), strict=True):
            held[:, :, before:length] = new
        self.keys, self.values = (held[:, :, :length] for held in self._held)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        super().reorder_cache(beam_idx)  # type: ignore[arg-type]
        self._held = None

    def shift(self, rows: torch.Tensor, by: torch.Tensor) -> None:
        """Take these rows, each shifted so many places to the right: what leaves there is lost, and what comes in means nothing."""
        assert self.keys is not None
        assert self.values is not None
        length = self.keys.shape[-2]
        places = (torch.arange(length, device=by.device) - by[:, None]).clamp(min=0)
        self.keys, self.values = (
            held[rows[:, None], :, places].transpose(1, 2).contiguous() for held in (self.keys, self.values)
        )
        self._held = None

    def _grown(self, old: torch.Tensor, new: torch.Tensor, before: int) -> torch.Tensor:
        rows, heads, more, width = new.shape
        held = new.new_empty(rows, heads, before + more + self._room, width)
        if before:
            held[:, :, :before] = old
        return held


def roomy_cache(config: Any, room: int) -> DynamicCache:
    """An empty cache for a model. Layers that keep keys and values of every token get room for more.

    Args:
        room: how many tokens are going to follow those of each forward.
    """
    cache = DynamicCache(config=config)
    for number, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[number] = _RoomyLayer(room)
    return cache


def has_room(cache: DynamicCache) -> bool:
    """Whether every layer of a cache is one that keeps all tokens, with room for more."""
    return bool(cache.layers) and all(type(layer) is _RoomyLayer for layer in cache.layers)


def shift(cache: DynamicCache, rows: torch.Tensor, by: torch.Tensor) -> None:
    """Take rows of a cache that has room, each shifted to the right by a number of places.

    Args:
        rows: int64 [new rows], the number of the old row that each is. by: int64 [new rows].
    """
    for layer in cache.layers:
        assert isinstance(layer, _RoomyLayer)
        layer.shift(rows.to(layer.device), by.to(layer.device))
