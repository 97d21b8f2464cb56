"""Next-token logits of rows that grow: in one batch with a cache, or one by one without a cache."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ..steering import Intervention, Rows, SteeredBatch
from .abilities import keeps_logits, traits_of
from .hooks import hooked
from .model import Model
from .probes import common_prefix
from .tokens import Ids, padded

# Finished rows leave a batch when they make up this share of it. Leaving copies the caches of all rows that stay.
_DONE = 0.125
# A common start runs by itself if at most this share of the tokens is left.
_WORTH = 0.8


@dataclass(frozen=True)
class Growing:
    """A row to generate from.

    Attributes:
        ids: tokens of the prompt.
        multiplier: strength of the intervention; at 0 the row is the unsteered model's.
        steer_from: index of the first steered token; all from there on are steered, the generated ones too.
        shared: how many tokens at the start are computed once for all rows that begin with the same ones; at most ``steer_from``, and
            fewer than all.
    """

    ids: Ids
    multiplier: float
    steer_from: int
    shared: int = 0


class GrowingRows(Protocol):
    """Sequences that grow by one token at a time."""

    logits: torch.Tensor
    """float32 [rows, vocabulary], of what follows each row."""

    def feed(self, tokens: Sequence[int], live: Sequence[int]) -> list[int]:
        """Add one token to each row and compute ``logits`` of what follows it.

        Args:
            tokens: one for each row.
            live: numbers of the rows that are read from here on, ascending. The others may leave.

        Returns:
            the rows that are left, by their numbers before the call.
        """


class CachedRows:
    """All rows in one batch. Tokens that rows share are computed once, and their keys and values are copied to each row.

    Shorter prompts are padded on the left, so that distances between tokens stay what they are.

    Args:
        rows: to generate from. If any shares tokens, all do, and what follows those has one length. Rows that are the same (samples) are one
            row up to their first generated token.
        room: tokens that are going to be fed.
    """

    def __init__(self, model: Model, intervention: Intervention, rows: Sequence[Growing], room: int) -> None:
        self.model, self.intervention = model, intervention
        self._looked = Rows(None)
        self._cache: Any = roomy_cache(model.hf.config, room)
        self._mask = self._strength = self._begins = torch.zeros(0, 0)
        distinct = list(dict.fromkeys(rows))
        prefixes = list(dict.fromkeys(row.ids[: row.shared] for row in distinct))
        if prefixes[0]:
            self._begin([Growing(prefix, 0.0, len(prefix)) for prefix in prefixes])
            places = {prefix: number for number, prefix in enumerate(prefixes)}
            self._choose([places[row.ids[: row.shared]] for row in distinct])
            self._steer(distinct)
            self.logits = self._forward([row.ids[row.shared :] for row in distinct])
        else:
            self.logits = self._begin(distinct)
        self._looked.prompt = None  # a condition on the prompt is decided
        if len(distinct) < len(rows):
            numbers = {row: number for number, row in enumerate(distinct)}
            copies = [numbers[row] for row in rows]
            self._choose(copies)
            self.logits = self.logits[copies]

    def feed(self, tokens: Sequence[int], live: Sequence[int]) -> list[int]:
        left = list(range(len(tokens)))
        if len(tokens) - len(live) > _DONE * len(tokens):
            left = list(live)
            self._choose(left)
        self.logits = self._forward([(tokens[row],) for row in left])
        return left

    def _begin(self, rows: Sequence[Growing]) -> torch.Tensor:
        """Run prompts from their start. What all of them begin with runs once, or once for each multiplier if it is steered.

        The rest runs as the last tokens of each, equally many. Before those stands as much of the common start as the row has, so that all
        padding is on the left.
        """
        common = common_prefix(*(end(row.ids for row in rows) for end in (min, max)))
        last = max(len(row.ids) for row in rows) - common
        starts = [
            Growing(row.ids[:common], row.multiplier, row.steer_from)
            if row.steer_from < common
            else Growing(row.ids[:common], 0.0, common)
            for row in rows
        ]
        numbers = {start: number for number, start in enumerate(dict.fromkeys(starts))}
        saves = len(numbers) * common + len(rows) * last < _WORTH * len(rows) * (common + last)
        if not saves or not last or self.intervention.looks == "row" or not has_room(self._cache):
            self._mask = torch.zeros(len(rows), 0, dtype=torch.long)
            self._steer(rows)
            return self._forward([row.ids for row in rows])
        self._mask = torch.zeros(len(numbers), 0, dtype=torch.long)
        self._steer(list(numbers))
        self._forward([start.ids for start in numbers])
        kept = torch.tensor([max(0, len(row.ids) - last) for row in rows])
        shift(self._cache, torch.tensor([numbers[start] for start in starts]), common - kept)
        self._mask = (torch.arange(common) >= (common - kept)[:, None]).long()
        self._steer(rows)
        return self._forward([row.ids[-last:] for row in rows])

    def _steer(self, rows: Sequence[Growing]) -> None:
        """How strongly each row is steered, and from which of its tokens on."""
        self._strength = torch.tensor([[float(row.multiplier)] for row in rows])
        self._begins = torch.tensor([[row.steer_from] for row in rows])

    def _choose(self, rows: Sequence[int]) -> None:
        """Keep these rows of all that is known of the past, in this order; the same row may come several times."""
        chosen = torch.tensor(rows)
        self._mask, self._strength, self._begins = self._mask[chosen], self._strength[chosen], self._begins[chosen]
        self._cache.reorder_cache(chosen.to(self.model.device))
        for name, decided in self._looked.memory.items():
            self._looked.memory[name] = decided[chosen.to(decided.device)]

    @torch.inference_mode()
    def _forward(self, sequences: Sequence[Ids]) -> torch.Tensor:
        """Run the next tokens of each row, padded on the left; the logits of what follows the last ones."""
        device, traits = self.model.device, traits_of(self.model)
        ids, real = padded(sequences, "left")
        if not self._mask.shape[1]:
            self._looked.prompt = real != 0
        self._mask = torch.cat([self._mask, real], 1)
        # The number of each token in its row, padding left out.
        places = (self._mask.cumsum(1) - 1)[:, -ids.shape[1] :]
        inputs: dict[str, Any] = {
            "input_ids": ids.to(device),
            "attention_mask": self._mask.to(device),
            "use_cache": True,
            traits.cache_name: self._cache,
        }
        if traits.takes_positions:
            # Absolute positions (GPT-2) count real tokens only.
            inputs["position_ids"] = places.clamp(min=0).to(device)
        if keeps_logits(self.model):
            inputs["logits_to_keep"] = 1
        steering: AbstractContextManager[None] = nullcontext()
        steered = (real != 0) & (places >= self._begins) & (self._strength != 0)
        if steered.any():
            dose = self._strength.to(device), steered.to(device)
            steering = hooked(self.model, self.intervention, lambda: dose, rows=lambda: self._looked)
        with steering:
            logits: torch.Tensor = self.model.hf(**inputs).logits
        return logits[:, -1].float()


class PlainRows:
    """Each row by itself, in a batch of one, without padding, without a cache: every token from a whole forward.

    A user's own way of steering is entered around each of these forwards.
    """

    def __init__(self, model: Model, intervention: Intervention, rows: Sequence[Growing]) -> None:
        self.model, self.intervention = model, intervention
        self._rows = [(row, list(row.ids)) for row in rows]
        self._compute()

    def feed(self, tokens: Sequence[int], live: Sequence[int]) -> list[int]:
        for (_, ids), token in zip(self._rows, tokens, strict=True):
            ids.append(token)
        self._rows = [self._rows[row] for row in live]
        self._compute()
        return list(live)

    def _compute(self) -> None:
        known: dict[tuple[Ids, float, int], torch.Tensor] = {}  # samples are the same until they differ
        for row, ids in self._rows:
            key = tuple(ids), row.multiplier, row.steer_from
            if key not in known:
                known[key] = logits_of(self.model, self.intervention, row, ids)[0]
        self.logits = torch.stack([known[tuple(ids), row.multiplier, row.steer_from] for row, ids in self._rows])


@torch.no_grad()  # an inference tensor is more than some libraries' hooks can take
def logits_of(
    model: Model, intervention: Intervention, row: Growing, ids: Sequence[int], *, copies: int = 1, last: int = 1
) -> torch.Tensor:
    """float32 [last, vocabulary]: the logits at the last positions of one row, from a whole forward by itself.

    Args:
        ids: the prompt of the row, and what was generated so far. copies: how many copies of the row make its batch.
    """
    batch = torch.tensor([list(ids)] * copies, device=model.device)
    at = torch.arange(len(ids), device=model.device)[None].repeat(copies, 1)
    steering: AbstractContextManager[Any] = nullcontext()
    applied = intervention.applied
    if row.multiplier != 0 and applied is not None:
        # Where the prompt's mark has to be for the scope to begin there, see ``first_steered``.
        mark = row.steer_from + 1 if applied.positions == "last" else row.steer_from
        told = SteeredBatch(batch, torch.ones_like(batch), (mark,) * copies, (row.steer_from,) * copies)
        steering = applied.enter(told, row.multiplier)
    elif row.multiplier != 0:
        dose = torch.full((copies, 1), row.multiplier, device=model.device), at >= row.steer_from
        looked = Rows(at < len(row.ids))
        steering = hooked(model, intervention, lambda: dose, rows=lambda: looked)
    kept = {"logits_to_keep": last} if keeps_logits(model) else {}
    with steering:
        logits: torch.Tensor = model.hf(input_ids=batch, use_cache=False, **kept).logits
    return logits[0, -last:].float()


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
        """Keep these rows, each shifted to the right by a number of places. Values shifted out are lost; those shifted in are arbitrary."""
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
