"""Write replies: how their tokens are chosen, and batches of rows that grow, in the fastest way that is right on the model at hand."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ..core.errors import MeasurementError, SteerError
from ..prompting.chat import common_prefix
from ..steering import Intervention, Rows
from .abilities import abilities_of, inputs_of, traits_of
from .hooks import entered, hooked
from .memo import Scores
from .model import Model, once_per_model
from .noise import MISFITS, Noise, agree, is_coarse, is_out_of_memory, noise_between
from .tokens import Ids, end_tokens, padded

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


class CachedRows:
    """Rows that grow by one token at a time, all in one batch. Tokens that rows share are computed once, and their keys and values are
    copied to each row.

    Shorter prompts are padded on the left, so that distances between tokens stay what they are.

    Attributes:
        logits: float32 [rows, vocabulary], of what follows each row.

    Args:
        rows: to generate from. If any shares tokens, all do, and what follows those has one length. Rows that are the same (samples) are one
            row up to their first generated token.
        room: tokens that are going to be fed.
    """

    def __init__(self, model: Model, intervention: Intervention, rows: Sequence[Growing], room: int) -> None:
        self.model, self.intervention = model, intervention
        self._looked = Rows(None)
        # Layers that keep keys and values of every token get room for more.
        self._cache: Any = DynamicCache(config=model.hf.config)
        self._cache.layers = [_RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in self._cache.layers]
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
        """Add one token to each row and compute ``logits`` of what follows it.

        Args:
            tokens: one for each row.
            live: numbers of the rows that are read from here on, ascending. The others may leave.

        Returns:
            the rows that are left, by their numbers before the call.
        """
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
        has_room = bool(self._cache.layers) and all(type(layer) is _RoomyLayer for layer in self._cache.layers)
        if not saves or not last or self.intervention.looks == "row" or not has_room:
            self._mask = torch.zeros(len(rows), 0, dtype=torch.long)
            self._steer(rows)
            return self._forward([row.ids for row in rows])
        self._mask = torch.zeros(len(numbers), 0, dtype=torch.long)
        self._steer(list(numbers))
        self._forward([start.ids for start in numbers])
        kept = torch.tensor([max(0, len(row.ids) - last) for row in rows])
        chosen = torch.tensor([numbers[start] for start in starts])
        for layer in self._cache.layers:
            layer.shift(chosen.to(layer.device), (common - kept).to(layer.device))
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
        ids, real = padded(sequences, "left")
        if not self._mask.shape[1]:
            self._looked.prompt = real != 0
        self._mask = torch.cat([self._mask, real], 1)
        # The number of each token in its row, padding left out.
        places = (self._mask.cumsum(1) - 1)[:, -ids.shape[1] :]
        inputs = inputs_of(self.model, ids, self._mask, places.clamp(min=0), self._cache)
        if traits_of(self.model).keeps_logits:
            inputs["logits_to_keep"] = 1
        steering: AbstractContextManager[None] = nullcontext()
        steered = (real != 0) & (places >= self._begins) & (self._strength != 0)
        if steered.any():
            dose = self._strength.to(self.model.device), steered.to(self.model.device)
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
        steering = entered(applied, batch, torch.ones_like(batch), row.steer_from, row.multiplier)
    elif row.multiplier != 0:
        dose = torch.full((copies, 1), row.multiplier, device=model.device), at >= row.steer_from
        looked = Rows(at < len(row.ids))
        steering = hooked(model, intervention, lambda: dose, rows=lambda: looked)
    kept = {"logits_to_keep": last} if traits_of(model).keeps_logits else {}
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


# Nucleus sampling sorts this many of the likeliest tokens first: they nearly always hold the nucleus, and sorting the whole vocabulary
# takes longer than the forward.
_LIKELIEST = 256


@dataclass(frozen=True)
class Drawing:
    """How the tokens of a reply are chosen, and how many replies there are.

    Attributes:
        max_new_tokens: the length at which a reply is cut.
        samples: replies to each prompt at each multiplier. More than one need a temperature: the likeliest tokens are always the same.
        temperature: tokens are drawn at it; None takes the likeliest one (greedy).
        top_p: only the likeliest tokens are drawn, up to the first at which their summed probability reaches it (nucleus sampling,
            Holtzman et al. 2020, arXiv 1904.09751).
        seed: of the draws.

    Raises:
        SteerError: a value out of its range, or one that means nothing without a temperature.
    """

    max_new_tokens: int = 64
    samples: int = 1
    temperature: float | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "samples"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SteerError(f"{name} is a whole number from 1 on, not {value!r}")
        if self.temperature is not None and not (_is_number(self.temperature) and self.temperature > 0):
            raise SteerError(
                f"temperature is a finite number above 0, or None for the likeliest token; not {self.temperature!r}"
            )
        if not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise SteerError(f"top_p is above 0 and at most 1, not {self.top_p!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise SteerError(f"seed is a whole number, not {self.seed!r}")
        if self.temperature is None and self.samples > 1:
            raise SteerError(
                f"{self.samples} samples without a temperature would all be the same: give a temperature, such as 0.7"
            )
        if self.temperature is None and self.top_p != 1:
            raise SteerError(
                "top_p says how tokens are drawn, and nothing is drawn without a temperature: give one, such as 0.7"
            )

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken, so that neither seed nor sample matters."""
        return self.temperature is None

    @property
    def identity(self) -> tuple[object, ...]:
        """Everything that the tokens of one sample depend on; a greedy sample does not depend on the seed."""
        if self.temperature is None:
            return (self.max_new_tokens,)
        return (self.max_new_tokens, float(self.temperature), float(self.top_p), self.seed)

    def points(self, ids: Ids, multiplier: float, sample: int) -> np.ndarray:
        """Float64 [max_new_tokens], uniform in [0, 1): the random numbers of one row.

        They depend on the seed, the prompt's tokens, the multiplier and the number of the sample, but not on other rows.
        """
        if self.temperature is None:
            return np.zeros(0)
        content = repr((self.seed, tuple(map(int, ids)), float(multiplier) + 0.0, sample))
        seed = int.from_bytes(hashlib.sha256(content.encode()).digest()[:16], "big")
        return np.random.default_rng(seed).random(self.max_new_tokens)

    def choose(self, logits: torch.Tensor, points: Sequence[float]) -> list[int]:
        """The next token of each row, by inversion of the distribution function, in float64.

        Args:
            logits: [rows, vocabulary].
            points: one number in [0, 1) for each row; none where nothing is drawn.
        """
        if self.temperature is None:
            found: list[int] = logits.argmax(1).tolist()
            return found
        chances = torch.softmax(logits.double() / self.temperature, 1)
        at = torch.tensor(list(points), dtype=torch.float64, device=chances.device)[:, None]
        if self.top_p == 1:
            return _inverted(chances, at)[:, 0].tolist()
        few, order, is_whole = _likeliest(chances, self.top_p)
        found = order.gather(1, _inverted(few, at))[:, 0].tolist()
        for row in (~is_whole).nonzero()[:, 0].tolist():
            own, places = chances[row].sort(descending=True, stable=True)
            own = torch.where(own.cumsum(0) - own < self.top_p, own, 0.0)
            found[row] = int(places[_inverted(own[None], at[row, None])[0, 0]])
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _inverted(chances: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """int64 [rows, 1]: for each row the first index at which the summed chances exceed its point of their total."""
    summed = chances.cumsum(1)
    at = torch.searchsorted(summed, points * summed[:, -1:], right=True)
    # Rounding may leave the point on the total itself.
    last = chances.shape[1] - 1 - (chances.flip(1) > 0).int().argmax(1, keepdim=True)
    return torch.minimum(at, last)


def _likeliest(chances: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The nucleus of each row among its likeliest tokens.

    Returns:
        chances [rows, some], descending and 0 outside of the nucleus; the tokens; bool [rows]: does it hold all of the nucleus? Of equally
        likely tokens the first come first. If the last ones are as likely as tokens that were left out, the nucleus has to end before.
    """
    count = min(_LIKELIEST, chances.shape[1])
    tokens = chances.topk(count, dim=1).indices.sort(1).values
    own, places = chances.gather(1, tokens).sort(descending=True, stable=True)
    kept = own.cumsum(1) - own < top_p
    is_whole = (own[:, -1] < own.gather(1, kept.sum(1, keepdim=True) - 1)[:, 0]) | (count == chances.shape[1])
    return torch.where(kept, own, 0.0), tokens.gather(1, places), is_whole


# Rows times tokens of one batch, on a CPU and elsewhere, bounded by the memory of the cache.
_MAX_TOKENS = (2**15, 2**18)
# A trial decodes a few tokens, so that it covers a cache that has grown.
_TRIAL_TOKENS = 3
# Length of the short rows, and number of copies of a row, that show the noise of the plain way.
_SHORT, _COPIES = 12, 8
# One or two tokens are not worth a separate forward, nor are rows that are too small a part of all.
_FEW, _PART = 2, 0.25


@dataclass(frozen=True)
class Asked:
    """A reply that is asked for.

    Attributes:
        ids: tokens of the prompt.
        multiplier: strength of the intervention; 0 is the unsteered model, whatever the intervention.
        steer_from: index of the first steered token; all from there on are steered, the generated ones too.
        sample: its number among the replies to this prompt at this multiplier.
        name: for messages.
    """

    ids: Ids
    multiplier: float
    steer_from: int
    sample: int = 0
    name: str = "prompt"

    def key(self, intervention: Intervention, drawing: Drawing, ends: frozenset[int]) -> bytes:
        """Hash of everything except the model that the reply depends on."""
        steered = (intervention.hash, self.multiplier, self.steer_from) if self.multiplier != 0 else None
        drawn = None if drawing.is_greedy else self.sample
        content = ("reply", tuple(map(int, self.ids)), steered, drawing.identity, drawn, sorted(ends))
        return hashlib.blake2b(repr(content).encode(), digest_size=20).digest()


class Writer:
    """Writes replies under one intervention."""

    def __init__(self, model: Model, intervention: Intervention, drawing: Drawing) -> None:
        self.model, self.intervention, self.drawing = model, intervention, drawing
        self.ends = end_tokens(model)
        self._budget = _MAX_TOKENS[0 if model.device.type == "cpu" else 1]

    def write(self, asked: Sequence[Asked]) -> Iterator[dict[Asked, Ids]]:
        """The tokens of each reply, batch by batch; with the end token, if there is one.

        Raises:
            MeasurementError: a logit is NaN or infinite.
        """
        for batch, shared in self._batches(asked):
            yield from self._written(batch, shared)

    def _batches(self, asked: Sequence[Asked]) -> Iterator[tuple[list[Asked], bool]]:
        """Replies that are written as rows of one batch, and whether what stands before their first steered token is computed once."""
        rests = Counter(map(self._rest, asked))
        common = {rest for rest, count in rests.items() if rest and count >= _PART * len(asked)}

        def group(one: Asked) -> int:
            rest = self._rest(one)
            return rest if rest in common else 0

        batch: list[Asked] = []
        for one in sorted(asked, key=lambda one: (group(one), len(one.ids), one.ids)):
            most = (len(batch) + 1) * (len(one.ids) + self.drawing.max_new_tokens)
            if batch and (group(one) != group(batch[0]) or most > self._budget):
                yield batch, group(batch[0]) > 0
                batch = []
            batch.append(one)
        if batch:
            yield batch, group(batch[0]) > 0

    def _rest(self, one: Asked) -> int:
        """How many tokens follow those that can be computed once for all multipliers; 0 if that is not worth it."""
        # A condition looks at the whole prompt, so that has to pass it in one piece.
        if self.intervention.looks == "row" or self._shared(one) <= _FEW:
            return 0
        return len(one.ids) - self._shared(one)

    def _shared(self, one: Asked) -> int:
        return min(one.steer_from, len(one.ids) - 1)

    def _written(self, asked: list[Asked], shared: bool) -> Iterator[dict[Asked, Ids]]:
        """The replies of a batch; if memory runs out, of its halves."""
        try:
            yield self._decoded(asked, shared)
            return
        except RuntimeError as error:
            if not is_out_of_memory(error) or len(asked) == 1:
                raise
        middle = len(asked) // 2
        yield from self._written(asked[:middle], shared)
        yield from self._written(asked[middle:], shared)

    def _decoded(self, asked: list[Asked], shared: bool) -> dict[Asked, Ids]:
        """The replies of a batch, in the fastest way that the model's layers allow and that gives what the plain one gives.

        A way is tried on the first batch that takes it, once for prompts of one length and once for prompts of several: its first
        logits are compared with those of whole forwards.
        """
        padded = len({len(one.ids) for one in asked}) > 1
        known = ways_tried(self.model)
        for way, rows in self._ways(asked, shared):
            if known.get((way, padded), True):
                trial = None if (way, padded) in known else _Trial(self, rows)
                try:
                    grown = CachedRows(self.model, self.intervention, rows, self.drawing.max_new_tokens)
                    found = self._grown(asked, grown, trial)
                    if trial is None or trial.is_right():
                        if trial is not None and trial.is_enough:
                            known[way, padded] = True
                        return found
                except (*MISFITS, MeasurementError) as error:
                    if is_out_of_memory(error):
                        raise
                    if trial is None and isinstance(error, MeasurementError):
                        raise
                known[way, padded] = False
        rows = [Growing(one.ids, one.multiplier, one.steer_from) for one in asked]
        return self._grown(asked, PlainRows(self.model, self.intervention, rows), None)

    def _ways(self, asked: Sequence[Asked], shared: bool) -> Iterator[tuple[str, list[Growing]]]:
        """The ways in which one batch can hold the rows, the fastest first."""
        apart = [Growing(one.ids, one.multiplier, one.steer_from) for one in asked]
        if self.intervention.applied is not None and any(row.multiplier != 0 for row in apart):
            return
        abilities = abilities_of(self.model)
        together = [replace(row, shared=self._shared(one)) for row, one in zip(apart, asked, strict=True)]
        saves = len({row.ids[: row.shared] for row in together}) < len(set(together))
        if shared and saves and abilities.branches:
            yield "shared prompt", together
        if abilities.caches:
            yield "one batch", apart

    def _grown(self, asked: Sequence[Asked], grown: CachedRows | PlainRows, trial: _Trial | None) -> dict[Asked, Ids]:
        """The replies whose rows are these."""
        new, ends = self.drawing.max_new_tokens, np.array(sorted(self.ends), dtype=np.int64)
        points = np.stack([self.drawing.points(one.ids, one.multiplier, one.sample) for one in asked])
        tokens = np.zeros((len(asked), new), dtype=np.int64)
        lengths = np.full(len(asked), new)
        # The replies whose rows are in the batch, and the places in it of those that still grow.
        rows = live = np.arange(len(asked))
        for at in range(new):
            if trial is not None:
                trial.see(grown.logits, rows[live], live, tokens[:, :at])
            self._check(grown.logits, asked, rows, live, at)
            chosen = np.array(self.drawing.choose(grown.logits, points[rows, at] if points.size else ()))
            tokens[rows[live], at] = chosen[live]
            is_end = np.isin(chosen[live], ends)
            lengths[rows[live[is_end]]] = at + 1
            live = live[~is_end]
            if not len(live) or at + 1 == new:
                break
            left = np.array(grown.feed(chosen.tolist(), live.tolist()))
            rows, live = rows[left], np.searchsorted(left, live)
        return {one: tuple(own[:length].tolist()) for one, own, length in zip(asked, tokens, lengths, strict=True)}

    def _check(self, logits: torch.Tensor, asked: Sequence[Asked], rows: np.ndarray, live: np.ndarray, at: int) -> None:
        if torch.isfinite(logits.sum(1))[live].all():
            return
        bad = (~torch.isfinite(logits)).any(1)[live].nonzero()[:, 0].tolist()
        if bad:
            one = asked[rows[live[bad[0]]]]
            raise MeasurementError(
                f"{one.name}: the model gives NaN or infinity at multiplier {one.multiplier:g}, token {at}; a smaller multiplier or "
                "float32 may help"
            )


class _Trial:
    """Compares the first logits of a few rows of a batch with those of whole forwards of each row by itself.

    The rows are two of the longest prompt and one of the shortest, those that are steered most.
    """

    def __init__(self, writer: Writer, rows: Sequence[Growing]) -> None:
        self._model, self._intervention = writer.model, writer.intervention
        order = sorted(range(len(rows)), key=lambda row: (len(rows[row].ids), abs(rows[row].multiplier)))
        shortest, longest = ([row for row in order if rows[row].ids == rows[order[end]].ids] for end in (0, -1))
        self._rows = {row: rows[row] for row in (shortest[-1], *longest[-2:])}
        self._seen: dict[int, list[torch.Tensor]] = {row: [] for row in self._rows}
        self._said: dict[int, list[int]] = {row: [] for row in self._rows}

    def see(self, logits: torch.Tensor, rows: np.ndarray, places: np.ndarray, tokens: np.ndarray) -> None:
        """Note the logits of the rows under trial, up to ``_TRIAL_TOKENS`` after the first."""
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            if row in self._rows and len(self._seen[row]) <= _TRIAL_TOKENS:
                self._seen[row].append(logits[place].clone())
                self._said[row] = tokens[row].tolist()

    @property
    def is_enough(self) -> bool:
        """Whether logits were seen that rest on a cache that had grown."""
        return max(map(len, self._seen.values())) > min(2, _TRIAL_TOKENS)

    def is_right(self) -> bool:
        """Whether the logits are those of whole forwards. No position sees a later one, so one forward of a row has all."""
        plain: list[torch.Tensor] = []
        for row, seen in self._seen.items():
            ids = [*self._rows[row].ids, *self._said[row]]
            plain += logits_of(self._model, self._intervention, self._rows[row], ids, last=len(seen))
        cached = [own for seen in self._seen.values() for own in seen]
        noise = self._noise() if is_coarse(self._model.dtype) else Noise()
        return agree(self._model.dtype, _scores(cached), _scores(plain), noise)

    def _noise(self) -> Noise:
        """How far plain logits move if a row runs several times in one batch instead of once, on whole prompts and on their last tokens."""
        trial = list(self._rows.values())
        short = [
            replace(row, ids=row.ids[-_SHORT:], steer_from=max(0, row.steer_from - len(row.ids) + _SHORT), shared=0)
            for row in trial
        ]
        found = Noise()
        for rows in (trial, short):
            alone, several = (
                [logits_of(self._model, self._intervention, row, row.ids, copies=copies)[0] for row in rows]
                for copies in (1, _COPIES)
            )
            found |= noise_between(_scores(alone), _scores(several))
        return found


@once_per_model
def ways_tried(model: Model) -> dict[tuple[str, bool], bool]:
    """For each way of generating several rows that was tried (way, with shorter prompts among them or not): is it right?"""
    return {}


def _scores(logits: Sequence[torch.Tensor]) -> list[Scores]:
    return [own.double().cpu().numpy() for own in logits]
