"""Write replies: rows of one batch that share what they can, in the fastest way that is right on the model at hand."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..core.errors import MeasurementError
from ..steering import Intervention
from .abilities import abilities_of
from .decoding import CachedRows, Growing, GrowingRows, PlainRows, logits_of
from .drawing import Drawing
from .memo import Scores
from .model import Model, once_per_model
from .noise import MISFITS, Noise, agree, is_coarse, is_out_of_memory, noise_between
from .tokens import Ids, end_tokens

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

    def _grown(self, asked: Sequence[Asked], grown: GrowingRows, trial: _Trial | None) -> dict[Asked, Ids]:
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
