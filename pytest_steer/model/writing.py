"""Write replies: rows of one batch that share what they can, in the fastest way that is right on the model at hand."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import MeasurementError
from ..steering import Intervention
from .abilities import abilities_of
from .answers import end_tokens
from .decoding import CachedRows, Growing, GrowingRows, PlainRows, logits_of
from .drawing import Drawing
from .loaded import Model, once_per_model
from .memo import Scores
from .noise import Noise, agree, is_coarse, noise_between
from .tokens import Ids
from .trial import MISFITS, is_out_of_memory

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
        """What identifies the reply: all that it depends on beside the model."""
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
        new, ends = self.drawing.max_new_tokens, np.array(sorted(self.ends), dtype=np.int64)
        points = np.stack([self.drawing.points(one.ids, one.multiplier, one.sample) for one in asked])
        tokens = np.zeros((len(asked), new), dtype=np.int64)
        lengths = np.full(len(asked), new)
        grown = self._rows(asked, shared)
        # The replies whose rows are in the batch, and the places in it of those that still grow.
        rows = live = np.arange(len(asked))
        for at in range(new):
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

    def _rows(self, asked: Sequence[Asked], shared: bool) -> GrowingRows:
        """The rows in the fastest way that the model's layers allow and that gives what the plain one gives, see ``_works``."""
        apart = [Growing(one.ids, one.multiplier, one.steer_from) for one in asked]
        abilities = abilities_of(self.model)
        ways: list[tuple[str, list[Growing]]] = []
        if self.intervention.applied is None or all(row.multiplier == 0 for row in apart):
            together = [replace(row, shared=self._shared(one)) for row, one in zip(apart, asked, strict=True)]
            saves = len({row.ids[: row.shared] for row in together}) < len(set(together))
            if shared and saves and abilities.branches:
                ways.append(("shared prompt", together))
            if abilities.caches:
                ways.append(("one batch", apart))
        for way, rows in ways:
            if self._works(way, rows):
                return CachedRows(self.model, self.intervention, rows, self.drawing.max_new_tokens)
        return PlainRows(self.model, self.intervention, apart)

    def _works(self, way: str, rows: Sequence[Growing]) -> bool:
        """Whether a way is right on this model. It is tried once, with and without shorter prompts beside longer ones."""
        by_length = sorted(rows, key=lambda row: (len(row.ids), abs(row.multiplier)))
        padded = len(by_length[0].ids) != len(by_length[-1].ids)
        known = ways_tried(self.model)
        if (way, padded) not in known:
            # Two rows of the longest prompt and one of the shortest, those that are steered most.
            shortest, longest = ([row for row in by_length if row.ids == by_length[end].ids] for end in (0, -1))
            known[way, padded] = self._is_right(list(dict.fromkeys([shortest[-1], *longest[-2:]])))
        return known[way, padded]

    def _is_right(self, trial: Sequence[Growing]) -> bool:
        """Whether cached rows give the logits of plain ones for a few tokens. No position sees a later one, so one whole forward has all."""
        said: list[list[int]] = [list(row.ids) for row in trial]
        cached: list[torch.Tensor] = []
        try:
            fast = CachedRows(self.model, self.intervention, trial, _TRIAL_TOKENS)
            for _ in range(_TRIAL_TOKENS):
                cached.append(fast.logits)
                tokens = fast.logits.argmax(1).tolist()
                for ids, token in zip(said, tokens, strict=True):
                    ids.append(token)
                fast.feed(tokens, range(len(trial)))
        except MISFITS:
            return False
        cached.append(fast.logits)
        noise = self._noise(trial) if is_coarse(self.model.dtype) else Noise()
        both = []
        for number, (row, ids) in enumerate(zip(trial, said, strict=True)):
            whole = logits_of(self.model, self.intervention, row, ids, last=len(cached))
            both += [(own[number], at) for own, at in zip(cached, whole, strict=True)]
        return agree(self.model.dtype, _scores([one for one, _ in both]), _scores([other for _, other in both]), noise)

    def _noise(self, trial: Sequence[Growing]) -> Noise:
        """How far plain logits move if a row runs twice in one batch instead of once, on whole prompts and on their last tokens."""
        short = [
            replace(row, ids=row.ids[-_SHORT:], steer_from=max(0, row.steer_from - len(row.ids) + _SHORT), shared=0)
            for row in trial
        ]
        found = Noise()
        for rows in (trial, short):
            alone, several = (
                [logits_of(self.model, self.intervention, row, row.ids, copies=copies)[0] for row in rows]
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
