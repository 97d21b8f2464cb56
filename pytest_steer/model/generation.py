"""Generation under steering: each prompt at several multipliers, as rows of one batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import numpy as np
import torch

from .. import progress
from ..data import ContrastItem
from ..errors import DataError, MeasurementError, SteerError
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, Positions, SteeringVector, as_intervention, check_positions, first_steered
from .abilities import abilities_of
from .answers import end_tokens
from .arguments import checks_arguments
from .batch import check_texts
from .decoding import CachedRows, GrowingRows, PlainRows, Start
from .fits import check_fits
from .hooks import strengths_of
from .loaded import Model, once_per_model
from .memo import Scores
from .noise import Noise, agree, is_coarse, noise_between
from .state import measured
from .tokens import Ids, tokenize_prompt
from .trial import MISFITS

FinishReason = Literal["stop", "length"]

# Rows times tokens of one batch, on a CPU and elsewhere, bounded by the memory of the cache.
_MAX_TOKENS = (2**15, 2**18)
# A trial decodes a few tokens, so that it covers a cache that has grown.
_TRIAL_TOKENS = 3
# Length of the short rows, and number of copies of a row, that show the noise of the plain way.
_SHORT, _COPIES = 12, 8


@dataclass(frozen=True)
class Generation:
    """What the model wrote for one prompt at one multiplier.

    Attributes:
        prompt: the question as it was given.
        multiplier: strength of the intervention; 0 is the unsteered model.
        tokens: the generated tokens, with the end token if there was one.
        text: the tokens as text, without special tokens.
        finish_reason: ``stop`` (an end token of the model's generation_config) or ``length`` (``max_new_tokens``).
    """

    prompt: str
    multiplier: float
    tokens: tuple[int, ...]
    text: str
    finish_reason: FinishReason


@dataclass(frozen=True)
class _Sampling:
    """How a token is chosen from the logits. ``temperature`` None is greedy."""

    temperature: float | None
    top_p: float
    seed: int

    def stream(self, ids: Ids, multiplier: float) -> np.random.Generator:
        """The random numbers of one row: they depend on seed, prompt and multiplier, not on the rows beside it."""
        content = repr((self.seed, tuple(map(int, ids)), float(multiplier) + 0.0))
        return np.random.default_rng(int.from_bytes(hashlib.sha256(content.encode()).digest()[:16], "big"))

    def choose(self, logits: torch.Tensor, stream: np.random.Generator) -> int:
        """The next token: the likeliest, or by inversion of the distribution function, in float64.

        ``top_p`` keeps the likeliest tokens up to the first at which their summed probability reaches it (nucleus
        sampling, Holtzman et al. 2020, arXiv 1904.09751).
        """
        if self.temperature is None:
            return int(logits.argmax())
        chances = torch.softmax(logits.double() / self.temperature, 0)
        order = torch.arange(len(chances))
        if self.top_p < 1:
            chances, order = chances.sort(descending=True, stable=True)
            kept = int((chances.cumsum(0) - chances < self.top_p).sum())
            chances, order = chances[:kept], order[:kept]
        summed = chances.cumsum(0)
        at = int(torch.searchsorted(summed, stream.random() * float(summed[-1]), right=True))
        return int(order[min(at, int(chances.nonzero()[-1]))])


@checks_arguments
@measured
def generate(
    model: Model,
    prompts: Iterable[str | ContrastItem],
    vector: SteeringVector | Intervention,
    *,
    multipliers: Sequence[float],
    positions: Positions = "after_prompt",
    include_first: bool = False,
    max_new_tokens: int = 64,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    context: Context = AS_GIVEN,
    allow_mismatch: tuple[str, ...] = (),
) -> list[list[Generation]]:
    """Answers of the model to each prompt at each multiplier.

    The tokens before the first steered one are computed once per prompt. Then all multipliers (and prompts) are rows of one
    batch, each with its own strength. The result is that of generating each by itself. Only caches of keys and values are
    repeated (``abilities.py``). Before the first use, the batch is compared with rows by themselves on the model at hand. A
    model whose cache cannot be repeated or padded takes a plainer way.

    Tokens are chosen from the model's own distribution. Settings of its generation_config (penalties, top_k) do not
    count, except for the end tokens.

    Args:
        prompts: questions, or items whose questions are asked; put into the chat template, or the plain form without one.
        vector: a steering vector (added), or any intervention.
        positions: which tokens are steered: ``all``, ``after_prompt`` or ``last``; the generated ones in every scope.
        do_sample: draw each token, at ``temperature`` and within ``top_p``; otherwise the likeliest one is taken.
        seed: of the draws. A row's draws depend on the seed, its prompt and its multiplier alone, so the same prompt
            twice gives the same text twice: take another seed for another sample.
        context: system prompt and option order.

    Returns:
        [prompt][multiplier] -> Generation.

    Raises:
        DataError: no prompts, an empty one, or one that does not fit the model with ``max_new_tokens`` after it.
        VectorError: the intervention does not fit the model, see ``check_fits``.
        SteerError: an argument out of its range, or a ``steered`` block is open on the model.
        MeasurementError: a logit is NaN or infinite.
    """
    scope = check_positions(positions)
    grid = strengths_of(multipliers)
    change = as_intervention(vector)
    check_fits(model, change, allow_mismatch)
    sampling = _sampling(do_sample, temperature, top_p, seed)
    if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise SteerError(f"max_new_tokens is a whole number from 1 on, not {max_new_tokens!r}")
    if isinstance(prompts, (str, ContrastItem)):
        raise DataError("prompts are a list of questions or items; put a single one into a list")
    questions = [_question(prompt, index, context) for index, prompt in enumerate(prompts)]
    if not questions:
        raise DataError("there are no prompts to answer")
    form = model.format.under(None, context.date)
    starts = []
    for index, question in enumerate(questions):
        check_texts(model, (question,), f"prompt {index}")
        # What is generated goes on from the generation prompt; in the plain form the first token brings its own space.
        put = form.prompt(question, context.system, thinking_open=True)
        opening = put.opening if form.render is not None else put.opening.rstrip(" ")
        ids, turn_end = tokenize_prompt(model.tokenizer, put.turn, opening, form.render is None)
        if not ids:
            raise DataError(f"prompt {index}: has no tokens")
        limit = model.max_positions
        if limit is not None and len(ids) + max_new_tokens > limit:
            raise DataError(
                f"prompt {index}: has {len(ids)} tokens, and {model.id} takes at most {limit}; there is no room for "
                f"{max_new_tokens} more"
            )
        start = first_steered(scope, turn_end=turn_end, prompt_end=len(ids), include_first=include_first)
        starts.append(Start(ids, start, min(start, len(ids) - 1), f"prompt {index}"))
    run = _Run(model, change, sampling, max_new_tokens)
    tokens: dict[tuple[str, float], list[int]] = {}
    done = 0
    for batch, shared in run.batches(starts, len(grid)):
        tokens |= run.decode(batch, grid, shared)
        done += len(batch)
        progress.report(f"{done} of {len(starts)} prompts answered")
    return [
        [run.finished(question, multiplier, tokens[start.name, multiplier]) for multiplier in grid]
        for question, start in zip(questions, starts, strict=True)
    ]


def _question(prompt: str | ContrastItem, index: int, context: Context) -> str:
    if isinstance(prompt, ContrastItem):
        return context.put(prompt).question
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f"prompt {index}: expected a question or a ContrastItem, found {prompt!r}")
    return prompt


def _sampling(do_sample: bool, temperature: float, top_p: float, seed: int) -> _Sampling:
    if not (isinstance(temperature, (int, float)) and math.isfinite(temperature) and temperature > 0):
        raise SteerError(
            f"temperature is a finite number above 0, not {temperature!r}; do_sample=False takes the likeliest token"
        )
    if not (isinstance(top_p, (int, float)) and 0 < top_p <= 1):
        raise SteerError(f"top_p is above 0 and at most 1, not {top_p!r}")
    if not do_sample and (temperature != 1 or top_p != 1):
        raise SteerError("temperature and top_p say how tokens are drawn, and nothing is drawn without do_sample=True")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise SteerError(f"seed is a whole number, not {seed!r}")
    return _Sampling(float(temperature) if do_sample else None, float(top_p), seed)


@once_per_model
def ways_tried(model: Model) -> dict[tuple[str, bool], bool]:
    """For each way of generating several rows that was tried (way, with shorter prompts among them or not): is it right?"""
    return {}


class _Run:
    """One call of ``generate``."""

    def __init__(self, model: Model, change: Intervention, sampling: _Sampling, new: int) -> None:
        self.model, self.change, self.sampling, self.new = model, change, sampling, new
        self.ends = end_tokens(model)
        self.budget = _MAX_TOKENS[0 if model.device.type == "cpu" else 1]

    def batches(self, starts: Sequence[Start], multipliers: int) -> Iterator[tuple[list[Start], bool]]:
        """Prompts that can be rows of one batch, and whether their tokens before the first steered one are computed once."""
        # A condition looks at the whole prompt, so that has to pass it in one piece.
        shares = multipliers > 1 and self.change.looks == "position"

        def rest(start: Start) -> int:
            # One or two tokens are not worth a separate forward.
            return len(start.ids) - start.shared if shares and start.shared > 2 else 0

        for length, members in groupby(sorted(starts, key=lambda s: (rest(s), len(s.ids))), key=rest):
            batch: list[Start] = []
            for start in members:
                if batch and (len(batch) + 1) * multipliers * (len(start.ids) + self.new) > self.budget:
                    yield batch, length > 0
                    batch = []
                batch.append(start)
            yield batch, length > 0

    def decode(
        self, starts: Sequence[Start], multipliers: Sequence[float], shared: bool
    ) -> dict[tuple[str, float], list[int]]:
        """The tokens of each prompt at each multiplier."""
        rows = self._rows(starts, multipliers, shared)
        keys = [(start.name, m) for start in starts for m in multipliers]
        streams = [self.sampling.stream(start.ids, m) for start in starts for m in multipliers]
        tokens: list[list[int]] = [[] for _ in keys]
        while True:
            if not torch.isfinite(rows.logits).all():
                bad = int((~torch.isfinite(rows.logits)).any(1).nonzero()[0])
                raise MeasurementError(
                    f"{keys[bad][0]}: the model gives NaN or infinity at multiplier {keys[bad][1]:g}, token {len(tokens[bad])}; "
                    "a smaller multiplier or float32 may help"
                )
            for row, own in enumerate(tokens):
                if not self._is_done(own):
                    own.append(self.sampling.choose(rows.logits[row], streams[row]))
            if all(map(self._is_done, tokens)):
                return dict(zip(keys, tokens, strict=True))
            # A finished row repeats its last token, and what follows is not read.
            rows.feed([own[-1] for own in tokens])

    def finished(self, question: str, multiplier: float, tokens: list[int]) -> Generation:
        text = self.model.tokenizer.decode(tokens, skip_special_tokens=True)
        reason: FinishReason = "stop" if tokens[-1] in self.ends else "length"
        return Generation(question, multiplier, tuple(tokens), str(text), reason)

    def _rows(self, starts: Sequence[Start], multipliers: Sequence[float], shared: bool) -> GrowingRows:
        """The rows in the fastest way that the model's layers allow and that gives what the plain one gives, see ``_works``."""
        apart = [replace(start, shared=0) for start in starts]
        abilities = abilities_of(self.model)
        ways = [("shared prompt", starts)] if shared and abilities.branches else []
        ways += [("one batch", apart)] if abilities.caches else []
        for way, ready in ways:
            if self._works(way, ready, multipliers):
                return CachedRows(self.model, self.change, ready, multipliers)
        return PlainRows(self.model, self.change, starts, multipliers)

    def _works(self, way: str, starts: Sequence[Start], multipliers: Sequence[float]) -> bool:
        """Whether a way is right on this model. It is tried once, with and without shorter prompts beside longer ones."""
        by_length = sorted(starts, key=lambda start: len(start.ids))
        padded = len(by_length[0].ids) != len(by_length[-1].ids)
        known = ways_tried(self.model)
        if (way, padded) not in known:
            trial = [by_length[0], by_length[-1]] if len(starts) > 1 else by_length
            known[way, padded] = self._is_right(trial, sorted(multipliers, key=abs)[-2:])
        return known[way, padded]

    def _is_right(self, trial: Sequence[Start], multipliers: Sequence[float]) -> bool:
        """Whether cached rows give the logits of plain ones for a few tokens."""
        dtype = self.model.dtype
        plain = PlainRows(self.model, self.change, trial, multipliers)
        noise = self._noise(trial, multipliers, plain) if is_coarse(dtype) else Noise()
        try:
            fast = CachedRows(self.model, self.change, trial, multipliers)
            for _ in range(_TRIAL_TOKENS):
                if not agree(dtype, _scores(fast), _scores(plain), noise):
                    return False
                tokens = plain.logits.argmax(1).tolist()
                fast.feed(tokens)
                plain.feed(tokens)
        except MISFITS:
            return False
        return True

    def _noise(self, trial: Sequence[Start], multipliers: Sequence[float], plain: PlainRows) -> Noise:
        """How far plain logits move if a row runs twice in one batch instead of once, on whole prompts and on their last tokens."""
        short = [
            replace(s, ids=s.ids[-_SHORT:], steer_from=max(0, s.steer_from - len(s.ids) + _SHORT), shared=0) for s in trial
        ]
        found = Noise()
        for starts in (trial, short):
            alone = plain if starts is trial else PlainRows(self.model, self.change, starts, multipliers)
            twice = PlainRows(self.model, self.change, starts, multipliers, copies=_COPIES)
            found |= noise_between(_scores(alone), _scores(twice))
        return found

    def _is_done(self, tokens: list[int]) -> bool:
        return len(tokens) == self.new or bool(tokens and tokens[-1] in self.ends)


def _scores(rows: GrowingRows) -> list[Scores]:
    return list(rows.logits.double().numpy())
