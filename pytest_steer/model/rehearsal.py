"""A rehearsal of the engine: forwards are planned and counted as the engine would run them, and none is run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Literal, cast

import numpy as np

from ..steering import Intervention
from .engine import Engine, engine_of
from .forward import Prefix, run_prefix, without_divergence
from .layout import Way, cost_of, tokens_of
from .memo import DiskMemo, Scores
from .model import Model
from .probes import Bundle, Row
from .tokens import Ids
from .writing import Asked, Drawing, Writer


@dataclass(frozen=True)
class Pass:
    """One planned forward.

    Attributes:
        batch: the bundles in it. way: the one it takes.
        prefix: how many tokens it takes from the pass of a prefix; of such a pass itself, how many tokens it has.
        what: what it is for: scores, a prefix, or a check: of a way against the plain one, or of the noise of single scores.
    """

    batch: tuple[Bundle, ...]
    way: Way
    prefix: int = 0
    what: Literal["scores", "prefix", "check"] = "scores"

    def tokens(self, model: Model) -> float:
        """Tokens through a block, in the mean over the blocks."""
        if self.what == "prefix":
            return float(self.prefix)
        return tokens_of(model, self.batch, self.prefix, self.way.kind)

    def cost(self, model: Model) -> float:
        """Operations, as a number of plain tokens through one block."""
        if self.what == "prefix":
            return float(self.prefix * model.n_layers)
        return sum(cost_of(model, bundle, self.prefix, self.way.kind) for bundle in self.batch)


class Rehearsal(Engine):
    """Answers with placeholders, and keeps the passes that the engine would run. Scores that are on disk are read; nothing is written there.

    A placeholder depends only on the probe and the multiplier. Measures computed from placeholders mean nothing.

    Attributes:
        passes: the planned forwards, in order.
        moves: how far a multiplier of 1 moves the placeholders: 0 is a vector without effect.
        reply_tokens: the most tokens that would be generated.
        judged_replies: the replies that judges would be asked about.
    """

    def __init__(self, model: Model, *, disk: DiskMemo | None, moves: float) -> None:
        super().__init__(model)
        self.disk, self.moves = disk, moves
        self.passes: list[Pass] = []
        self.reply_tokens = self.judged_replies = 0
        self._checking = False

    def _write(self, entries: Mapping[bytes, bytes]) -> None:
        """Do nothing: a rehearsal has only placeholders."""

    def writer(self, intervention: Intervention, drawing: Drawing) -> Writer:
        return _Placeholders(self, intervention, drawing)

    def _check_applied(self, rows: Sequence[Row]) -> None:
        """Do nothing: placeholders cannot show whether a custom way of steering is steady."""

    def _run_prefix(self, bundle: Bundle, length: int) -> Prefix:
        self.passes.append(Pass((bundle,), Way("shared depth"), length, "prefix"))
        return cast(Prefix, length)  # handed to `_computed` alone

    def _plain_answers(self, batch: list[Bundle]) -> list[tuple[Row, Scores]]:
        self._checking = True
        try:
            return super()._plain_answers(batch)
        finally:
            self._checking = False

    def _computed(self, batch: list[Bundle], way: Way, prefix: Prefix | None) -> list[tuple[Row, Scores]]:
        self.passes.append(Pass(tuple(batch), way, cast(int, prefix or 0), "check" if self._checking else "scores"))
        rows = [(row, row.probe == bundle.probes[0]) for bundle in batch for row in bundle.rows]
        # Log-likelihoods come with divergences.
        compared = [[row for row in bundle.rows if row.probe == probe] for bundle in batch for probe in bundle.compared]
        likelihoods = [one for own in compared for one in without_divergence(own)]
        return [(row, self._placeholder(row, first)) for row, first in (*rows, *((row, True) for row in likelihoods))]

    def _placeholder(self, row: Row, is_first: bool) -> Scores:
        """The first candidate, or answer of a bundle, is the one that steering raises."""
        probe = row.probe
        of_probe, of_row = (_draws(seed) for seed in (repr((probe.ids, probe.question)).encode(), row.key))
        moved = 0.0 if row.pair.is_idle else self.moves * row.pair.multiplier
        if probe.candidates is not None:
            found = of_probe.normal(size=len(probe.candidates)) + 0.05 * of_row.normal(size=len(probe.candidates))
            found[0] += moved
        elif probe.margins:
            found = np.ones(len(probe.reads)) + 0.05 * of_row.normal(size=len(probe.reads)) - abs(moved) / 10
        elif probe.diverges:
            found = abs(moved) / 10 + 0.01 * of_row.random(len(probe.reads))
        else:
            count = len(probe.reads)
            found = -1 - of_probe.random(count) + 0.01 * of_row.normal(size=count) - abs(moved) / 20
            found += 0 if is_first else -moved
        return np.asarray(found, dtype=np.float64)


class _Placeholders(Writer):
    """Writes replies of the greatest length whose tokens mean nothing, and counts them."""

    def __init__(self, engine: Rehearsal, intervention: Intervention, drawing: Drawing) -> None:
        super().__init__(engine.model, intervention, drawing)
        self._engine = engine

    def write(self, asked: Sequence[Asked]) -> Iterator[dict[Asked, Ids]]:
        new, size = self.drawing.max_new_tokens, min(self.model.vocabulary, len(self.model.tokenizer))
        for one in asked:
            draws = _draws(one.key(self.intervention, self.drawing, self.ends))
            yield {one: tuple(draws.integers(size, size=new).tolist())}
        self._engine.reply_tokens += new * len(asked)


def rehearsing(model: Model, *, moves: float, like: Model | None = None) -> tuple[Model, Rehearsal]:
    """The same model with an engine that rehearses.

    Args:
        model: the model that would be measured; its own engine and memory stay as they are.
        moves: see :class:`Rehearsal`.
        like: takes over what an earlier rehearsal learned about the model, such as whether hooks are sound.
    """
    twin = _twin(model, like or model)
    engine = Rehearsal(twin, disk=engine_of(model).disk, moves=moves)
    twin.kept[engine_of] = engine
    return twin, engine


def seconds_per_cost(model: Model, passes: Sequence[Pass], *, times: int = 2) -> dict[Way, float]:
    """Seconds per unit of :meth:`Pass.cost` for each way in which the passes go. Runs one of them for each way, that of the median cost.

    Args:
        times: how often it runs, after once to warm up.
    """
    engine = Engine(_twin(model, model))
    found: dict[Way, float] = {}
    for way in dict.fromkeys(one.way for one in passes if one.what != "prefix"):
        own = sorted((one for one in passes if one.way == way and one.what != "prefix"), key=lambda one: one.cost(model))
        chosen = own[len(own) // 2]
        prefix = run_prefix(engine.model, chosen.batch[0], chosen.prefix) if chosen.prefix else None
        taken = []
        for _ in range(1 + times):
            start = perf_counter()
            engine._computed([*chosen.batch], way, prefix)
            taken.append(perf_counter() - start)
        found[way] = median(taken[1:]) / chosen.cost(model)
    return found


def _twin(model: Model, like: Model) -> Model:
    twin = Model(model.hf, model.tokenizer, model.id, model.unexpected)
    twin.loaded_weights = model.loaded_weights
    twin.kept = {function: known for function, known in like.kept.items() if function is not engine_of}
    return twin


def _draws(seed: bytes) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big"))
