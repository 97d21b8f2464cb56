"""The engine: answers questions to the model in batches, shares work between them and remembers the scores."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load, save

from ..core.errors import DataError, MeasurementError, warn_caller
from ..core.run_context import report_progress
from ..steering import Intervention, Site
from .activations import Doses, Reader, read_outputs
from .forward import Prefix, check_steady, run_batch, run_prefix
from .layout import Budget, Group, Way, batches, group_by_prefix, half_of, halves, in_order, ways_of
from .memo import DiskMemo, Recent, Scores, Tensors, bytes_of
from .model import Model, once_per_model
from .noise import MISFITS, Noise, agree, in_nats, is_coarse, is_out_of_memory, noise_between, shortened, spacing
from .probes import Bundle, Pair, Probe, Row, bundle_up, key_of
from .state import disk_key, is_hooked, measured, state_of, structure_of
from .tokens import Ids, Padding, check_sequence, check_vocabulary
from .writing import Drawing, Writer

_Answers = list[tuple[Row, Scores]]
_One = TypeVar("_One")
# Largest entry on disk, in bytes. Activations of all layers of a large model exceed it and are read again.
_MOST_ON_DISK = 2**26
# How many rows a way is tried on in 16 bits, where one may be right by chance, and how many show the noise by themselves.
_TRIED, _ALONE = 24, 4
# How many probes show the noise of a claim's scores, and how many of their tokens: in 16 bits, and in float32, where it is tiny.
_COARSE, _FINE = (3, 64), (1, 24)


@once_per_model
def engine_of(model: Model) -> Engine:
    """The engine that runs and remembers the forwards of a model."""
    return Engine(model)


class Engine:
    """Answers probes under interventions at several multipliers.

    Scores are remembered for as long as the model lives: a score depends on the intervention, the multiplier, the
    tokens and the scope, and on nothing else, so asking twice costs nothing. With ``disk`` they outlive the run. They are forgotten when
    weights change, or hooks of others come or go; while there are such hooks, nothing is read from disk or written there.

    Attributes:
        padding: side on which shorter rows of a batch are padded.
        sharing: take the faster ways of ``layout.py`` where they pay. The first scores of each are compared with those of the plain
            way on this model. If they differ, the model goes another way.
        disk: keeps scores across runs; None unless the user names a folder for it.
        forwards: how many scores were computed.
        remembered: how many scores were answered from memory.
        doses: how far multipliers move the hidden states; see ``activations.Doses``.
    """

    def __init__(self, model: Model, *, padding: Padding = "right", sharing: bool = True) -> None:
        structure_of(model)  # refuses a model that cannot be steered at all, before others' changes to it are looked at
        self.model = model
        self.padding = padding
        self.sharing = sharing
        self.forwards = self.remembered = 0
        self.disk: DiskMemo | None = None
        self._memo: dict[bytes, Scores] = {}
        self._halved = False
        self._exact: set[tuple[object, ...]] = set()
        self._misfits: set[tuple[Way, bool]] = set()
        self._state = state_of(model)
        self._part: bytes | None = None
        self._taken: dict[str, Counter[str]] = {}
        self._noise = Noise()
        self._steady: set[str] = set()
        self.doses = Doses(model, self.remembered_tensors)
        self._floors: dict[bytes, tuple[float, float]] = {}
        self._recent = Recent()
        self._budget = Budget(1024, 2**25) if model.device.type == "cpu" else Budget(16384, 2**28)

    def run(
        self, probes: Sequence[Probe], intervention: Intervention | None, multipliers: Sequence[float]
    ) -> list[list[Scores]]:
        """Scores of each probe at each multiplier.

        Returns:
            [probe][multiplier] -> float64 array: raw logits of the candidates, log-likelihoods of the scored tokens, or their
            greedy margins, or divergences from the unsteered model.

        Raises:
            SteerError: a ``steered`` block is open on the model, or the dose of a multiplier is lost in rounding.
            DataError: a sequence is longer than the model allows, or would not be steered at all, or a question has no answer.
            MeasurementError: a score is NaN or infinite.
        """
        return self.run_pairs(probes, [(intervention, multiplier) for multiplier in multipliers])

    @measured
    def run_pairs(self, probes: Sequence[Probe], pairs: Sequence[tuple[Intervention | None, float]]) -> list[list[Scores]]:
        """Scores of each probe under each pair of intervention and multiplier; otherwise like :meth:`run`.

        Pairs of different layers share one pass over a prompt, so that a sweep costs little more than one layer.
        """
        asked_pairs = [Pair(intervention, multiplier) for intervention, multiplier in pairs]
        steers = any(pair.intervention is not None for pair in asked_pairs)
        for probe in probes:
            self._check(probe, steers)
        self._look_at_model()
        self.doses.check(probes, asked_pairs)
        asked = [[Row(probe, pair, key_of(probe, pair)) for pair in asked_pairs] for probe in probes]
        wanted = self._unknown(asked)
        done, keys = 0, {row.key for row in wanted}
        for group in group_by_prefix(bundle_up(wanted)) if self.sharing else [Group(tuple(bundle_up(wanted)))]:
            for answers in self._run_group(group):
                self._keep(answers)
                done += sum(row.key in keys for row, _ in answers)
                if done < len(wanted):
                    report_progress(f"{done} of {len(wanted)} scores")
        self.forwards += done
        self._check_applied(wanted)
        return [[self._memo[row.key] for row in rows] for rows in asked]

    def writer(self, intervention: Intervention, drawing: Drawing) -> Writer:
        """What writes the replies that are not remembered."""
        return Writer(self.model, intervention, drawing)

    def path(self, intervention: Intervention) -> str:
        """The ways in which forwards under this intervention were run, in the order of their first use."""
        return "; ".join(self.paths(intervention)) or str(Way("plain"))

    def paths(self, intervention: Intervention) -> dict[str, int]:
        """How many scores under this intervention were computed in which way, in the order of their first use."""
        return dict(self._taken.get(intervention.hash, {}))

    @measured
    def noise_floor(
        self, probes: Sequence[Probe], intervention: Intervention | None, multiplier: float
    ) -> tuple[float, float]:
        """The noise of single scores: (their largest difference between two plain batches, one rounding of a logit).

        Measured on a few of the probes, shortened, unsteered and steered: all in one batch against each by itself. Remembered.

        Raises:
            SteerError: a ``steered`` block is open on the model, or the dose is lost in rounding.
        """
        pairs = dict.fromkeys([Pair(None, 0.0), Pair(intervention, multiplier)])
        self.doses.check(probes, [*pairs])
        count, tokens = _COARSE if is_coarse(self.model.dtype) else _FINE
        few = dict.fromkeys(shortened(probe, tokens) for probe in _spread(probes, count))
        rows = [Row(probe, pair, key_of(probe, pair)) for probe in few for pair in pairs]
        name = hashlib.blake2b(b"".join(row.key for row in rows)).digest()
        if name not in self._floors:
            compute = partial(self._floor_of, rows)
            found = self.remembered_tensors(("noise floor", name), compute, on_disk=all(map(_is_durable, pairs)))
            moved, rounding = found["floor"].tolist()
            self._floors[name] = moved, rounding
        return self._floors[name]

    def _floor_of(self, rows: list[Row]) -> Tensors:
        logits = [Row(_logit_of(row.probe), row.pair, b"logit " + row.key) for row in rows if row.probe.candidates is None]
        together = {row.key: own for row, own in self._plain_answers(bundle_up([*rows, *logits]))}
        alone = [own for row in rows for _, own in self._plain_answers(bundle_up([row]))]
        # Steered far, a shortened question may overflow where the whole one does not.
        finite = [at for at, row in enumerate(rows) if np.isfinite([together[row.key], alone[at]]).all()]
        moved = noise_between([together[rows[at].key] for at in finite], [alone[at] for at in finite]).largest
        rounding = spacing(self.model.dtype, [together[row.key] for row in logits or rows])
        return {"floor": torch.tensor([moved, rounding], dtype=torch.float64)}

    def remembered_tensors(
        self, what: tuple[object, ...], compute: Callable[[], Tensors], *, on_disk: bool = True
    ) -> Tensors:
        """Tensors that the model gives, from memory or from disk if they are there.

        Args:
            what: everything except the model that they depend on; the ``repr`` of each part identifies it.
            on_disk: False for tensors that are large and cheap, or that no ``repr`` identifies.
        """
        self._look_at_model()
        key = hashlib.blake2b(repr(what).encode(), digest_size=20).digest()
        if (known := self._recent.get(key)) is not None:
            return known
        disk = self.disk if on_disk and self._part is not None else None
        place = (self._part or b"") + key
        there = disk.read_bytes([place]) if disk is not None else {}
        found = load(there[place]) if there else compute()
        if disk is not None and not there and sum(tensor.nbytes for tensor in found.values()) <= _MOST_ON_DISK:
            self._write({place: save({name: own.clone().contiguous() for name, own in found.items()})})
        self._recent.keep(key, found)
        return found

    def remembered_values(
        self, keys: Mapping[bytes, bool], compute: Callable[[list[bytes]], Iterable[Mapping[bytes, Scores]]]
    ) -> list[Scores]:
        """Values that the model gives, from memory or from disk if they are there.

        Args:
            keys: hash of everything except the model that a value depends on -> whether the value may be kept on disk.
            compute: yields the missing ones, in parts.
        """
        self._look_at_model()
        known = self._recalled(keys)
        unknown = [key for key in keys if key not in known]
        self.remembered += len(keys) - len(unknown)
        for part in compute(unknown) if unknown else ():
            self._store(part, keys)
            self.forwards += len(part)
        return [self._memo[key] for key in keys]

    def _recalled(self, keys: Mapping[bytes, bool]) -> dict[bytes, Scores]:
        """The memory, with what is on disk of these keys."""
        if self.disk is not None and self._part is not None:
            part = self._part
            wanted = {key: part + key for key, durable in keys.items() if durable and key not in self._memo}
            self._memo |= self.disk.read(wanted) if wanted else {}
        return self._memo

    def _store(self, found: Mapping[bytes, Scores], keys: Mapping[bytes, bool]) -> None:
        """Keep values in memory, and on disk those that may be kept there."""
        self._memo |= found
        if self._part is not None:
            self._write({self._part + key: bytes_of(value) for key, value in found.items() if keys[key]})

    def _write(self, entries: Mapping[bytes, bytes]) -> None:
        assert self.disk is not None
        self.disk.write_bytes(entries)

    def _look_at_model(self) -> None:
        """Forget all scores if anything that they depend on has changed, and see whether the disk can be asked.

        While hooks of others are on the model, what it gives is not kept on disk, and what is kept there is not taken for its own.
        """
        state = state_of(self.model)
        if self._state != state:
            self._memo.clear()
            self._floors.clear()
            self._recent.clear()
            self.doses = Doses(self.model, self.remembered_tensors)
            self._state = state
        self._part = None if self.disk is None or is_hooked(self.model) else disk_key(self.model, state)

    def _unknown(self, asked: list[list[Row]]) -> list[Row]:
        """The rows whose scores are neither in memory nor on disk."""
        found = {row.key: row for rows in asked for row in rows}
        known = self._recalled({key: _is_durable(row.pair) for key, row in found.items()})
        unknown = [row for key, row in found.items() if key not in known]
        self.remembered += sum(map(len, asked)) - len(unknown)
        return unknown

    def _keep(self, answers: _Answers) -> None:
        """Keep the scores of a batch."""
        for row, scores in answers:
            if not np.isfinite(scores).all():
                raise MeasurementError(
                    f"{row.probe.name}: the model gives NaN or infinity at multiplier {row.pair.multiplier:g}; "
                    "a smaller multiplier or float32 may help"
                )
        self._store({row.key: scores for row, scores in answers}, {row.key: _is_durable(row.pair) for row, _ in answers})

    def _check_applied(self, rows: Sequence[Row]) -> None:
        """Refuse a user's own way of steering that does not steer alike whenever it is asked; each is asked thoroughly once."""
        by_change: dict[str, list[Row]] = {}
        for row in rows:
            if row.pair.applied and row.pair.intervention is not None:
                by_change.setdefault(row.pair.intervention.hash, []).append(row)
        for change, own in by_change.items():
            idle = {row.key: key_of(row.probe, Pair(None, 0.0)) for row in own}
            unsteered = {key: self._memo[base] for key, base in idle.items() if base in self._memo}
            check_steady(self.model, own, self._memo, unsteered, thorough=change not in self._steady)
            self._steady.add(change)

    def _run_group(self, group: Group) -> Iterator[_Answers]:
        """Answers of bundles that share a prefix, and what came with them, batch by batch. Where a way does not fit the model, others follow."""
        prefix: Prefix | None = None
        no_room = False  # for the prefix under all of its pairs at once
        for batch, way in batches(self.model, group, self._choose, lambda: self._budget):
            fits = self._fits(way, batch) and not (way.prefix and no_room)  # earlier batches of this group may have shown it
            try:
                if fits and way.prefix and prefix is None:
                    prefix = self._run_prefix(batch[0], group.prefix)
                if fits:
                    answers, taken = self._computed(batch, way, prefix if way.prefix else None), way
                    if way.kind != "plain" and not all(np.isfinite(scores).all() for _, scores in answers):
                        # A branch that overflows spoils the other branches, whatever the way, so each runs by itself.
                        taken = Way("plain")
                        answers = self._computed(batch, taken, None)
                    fits = self._tried(batch, taken, _asked(batch, answers))
            except MISFITS as error:
                fits = False
                if is_out_of_memory(error) and way.prefix and prefix is None:
                    no_room = True
                elif way.kind == "plain" or is_out_of_memory(error):
                    raise
                else:
                    self._misfits.add((way, _branches(batch)))
            if not fits:
                yield from self._run_group(Group(tuple(batch), 0 if no_room else group.prefix))
                continue
            for row, _ in _asked(batch, answers):
                if row.pair.intervention is not None:
                    self._taken.setdefault(row.pair.intervention.hash, Counter())[str(taken)] += 1
            yield answers

    def _run_prefix(self, bundle: Bundle, length: int) -> Prefix:
        return run_prefix(self.model, bundle, length)

    def _choose(self, bundle: Bundle, prefix: int) -> Way:
        """The cheapest of the ways that fit the model."""
        if not self.sharing or any(pair.applied for pair in bundle.pairs):
            return Way("plain")
        costs = ways_of(self.model, bundle, prefix)
        return min((way for way in costs if self._fits(way, [bundle])), key=lambda way: costs[way])

    def _fits(self, way: Way, batch: Sequence[Bundle]) -> bool:
        # A way that fails at one layer is taken at no other: the trial there might just not have shown it.
        return way.kind == "plain" or (way, _branches(batch)) not in self._misfits

    def _tried(self, batch: Sequence[Bundle], way: Way, answers: _Answers) -> bool:
        """Whether a way gives on this model what the plain one gives. It is tried on the first batch that takes it."""
        births = tuple(sorted({(pair.birth, pair.acting.site) for pair in batch[0].pairs if pair.acting is not None}))
        tried = (way, _branches(batch), births)
        if way.kind == "plain" or tried in self._exact:
            return True
        # The last branch of the longest bundle: there a way that is nearly right is farthest off. And of the shortest one, which
        # padding would spoil, the first branch and what took the place of the unsteered model.
        base, later = in_order(batch[0].pairs)
        last, first = (later[-1], later[0]) if later else (base, base)
        longest = {row.key for row in batch[0].rows if row.pair == last}
        shortest = {row.key for row in batch[-1].rows if row.pair == first or (row.pair == base and not base.is_idle)}
        keys = longest | shortest
        if is_coarse(self.model.dtype):
            keys |= {row.key for row in _spread([row for row, _ in answers], _TRIED - len(keys))}
        few = [own for own in (bundle.where(lambda row: row.key in keys) for bundle in batch) if own.rows]
        found = {row.key: scores for row, scores in answers}
        plain = self._plain_answers(few)
        self._noise |= self._noise_of(few, plain)
        both = [(in_nats(row.probe, found[row.key]), in_nats(row.probe, own)) for row, own in plain]
        fits = agree(self.model.dtype, [one for one, _ in both], [other for _, other in both], self._noise)
        if fits:
            self._exact.add(tried)
        else:
            self._misfits.add((way, _branches(batch)))
        return fits

    def _noise_of(self, batch: list[Bundle], together: _Answers) -> Noise:
        """How far plain scores move with the shape of the batch. In float32 it is not needed.

        Rows in a batch are compared with rows by themselves: some of this batch, and the same ones shortened.
        """
        if not is_coarse(self.model.dtype):
            return Noise()
        rows = _spread([row for row, _ in together], _ALONE)
        short = [Row(shortened(row.probe), row.pair, b"short " + row.key) for row in rows]
        found = {row.key: in_nats(row.probe, scores) for row, scores in together}
        others = self._plain_answers(bundle_up([*short, *rows]))
        found |= {row.key: in_nats(row.probe, own) for row, own in others if row in short}
        noise = Noise()
        for part in (rows, short):
            alone = [in_nats(row.probe, own) for row in part for _, own in self._plain_answers(bundle_up([row]))]
            noise |= noise_between([found[row.key] for row in part], alone)
        return noise

    def _plain_answers(self, batch: list[Bundle]) -> _Answers:
        """Scores of the rows of a batch in the plain way, with which others are compared."""
        return _asked(batch, self._computed(batch, Way("plain"), None))

    def _computed(self, batch: list[Bundle], way: Way, prefix: Prefix | None) -> _Answers:
        """Scores of a batch, and those that come with them; if memory runs out, of its halves, and later batches are no larger than those."""
        try:
            return run_batch(self.model, batch, way, self.padding, prefix)
        except RuntimeError as error:
            parts = halves(batch)
            if not is_out_of_memory(error) or not parts:
                raise
        # After the handler, so that nothing of the failed forward is held any more.
        if not self._halved:
            warn_caller("memory ran out: going on with smaller batches")
        self._halved = True
        self._budget = half_of(self.model, batch, prefix.length if prefix else 0, way.kind, self._budget)
        return [answer for half in parts for answer in self._computed(half, way, prefix)]

    def _check(self, probe: Probe, steers: bool) -> None:
        if (probe.margins and probe.candidates is not None) or (
            probe.ends is not None and not (probe.margins and probe.ends)
        ):
            raise DataError(
                f"{probe.name}: margins are those of answer tokens, not of candidates, and ends are some tokens beside margins"
            )
        if probe.diverges and (probe.margins or probe.candidates is not None):
            raise DataError(
                f"{probe.name}: a divergence is over the whole vocabulary, and neither of candidates nor of margins"
            )
        check_sequence(self.model, probe.ids, probe.name)
        check_vocabulary(self.model, (*(probe.candidates or ()), *(probe.ends or ())), probe.name)
        if steers and probe.steer_from >= len(probe.ids):
            raise DataError(
                f"{probe.name}: no token is steered: the scope begins at token {probe.steer_from} of {len(probe.ids)}; "
                "steer 'all', or take the first position in (include_first)"
            )


def _branches(batch: Sequence[Bundle]) -> bool:
    """Whether the sequences of a bundle are branches of one; all bundles of a batch are alike in this."""
    return len(batch[0].probes) > 1


def _asked(batch: Sequence[Bundle], answers: _Answers) -> _Answers:
    """The answers to the rows of a batch alone."""
    keys = {row.key for bundle in batch for row in bundle.rows}
    return [(row, scores) for row, scores in answers if row.key in keys]


def _spread(those: Sequence[_One], count: int) -> list[_One]:
    """At most ``count`` of them, evenly spread."""
    step = max(1, -(-len(those) // max(1, count)))
    return list(those[::step][: max(0, count)])


def _logit_of(probe: Probe) -> Probe:
    """The question for the raw logit of a first score. A log-likelihood is rounded as its logit is, however small it is itself."""
    if probe.candidates is not None:
        return probe
    at = probe.reads.start + 1
    target = probe.ids[at] if at < len(probe.ids) else (probe.ends or probe.ids)[0]
    return Probe(probe.ids[:at], min(probe.steer_from, at - 1), (target,), name=probe.name)


def _is_durable(pair: Pair) -> bool:
    return pair.intervention is None or pair.intervention.durable


def block_outputs(
    model: Model,
    sequences: Sequence[Ids],
    layers: Sequence[int],
    read: Reader | Mapping[int, Reader],
    site: Site = "block",
    reading: tuple[object, ...] | None = None,
    on_disk: bool = True,
) -> dict[int, list[torch.Tensor]]:
    """Values read from the outputs of decoder blocks (or from a site inside of them), for each sequence by itself.

    Args:
        read: (index of the sequence, float32 hidden states [tokens, width] without padding) -> what is kept of them; one for all layers, or
            one for each.
        reading: identifies ``read`` and everything it depends on. Its values are then remembered, with ``on_disk`` also in the folder of
            scores, if there is one.

    Returns:
        {layer: [what was kept, one per sequence]} on the CPU. The last block is read before the final norm.

    Raises:
        SteerError: a ``steered`` block is open on the model.
        DataError: a sequence is longer than the model allows.
        MeasurementError: an activation is NaN or infinite.
    """
    if reading is None:
        return read_outputs(model, sequences, layers, read, site)

    def named() -> dict[str, torch.Tensor]:
        kept = read_outputs(model, sequences, layers, read, site)
        return {f"{layer} {index}": own for layer, rows in kept.items() for index, own in enumerate(rows)}

    what = ("outputs", tuple(sequences), tuple(layers), site, reading)
    found = engine_of(model).remembered_tensors(what, named, on_disk=on_disk)
    return {layer: [found[f"{layer} {index}"] for index in range(len(sequences))] for layer in layers}
