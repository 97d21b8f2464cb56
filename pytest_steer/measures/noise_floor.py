"""The noise floor of scores: what a model's numbers cannot tell apart, and what that does to an item's or a text's measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..model import Model, Probe, engine_of
from ..model.noise import is_coarse
from ..steering import Intervention


@dataclass(frozen=True)
class NoiseFloor:
    """How well a single score is known.

    Attributes:
        between_batches: the largest difference of a score between a plain batch and its rows by themselves.
        rounding: the distance between neighbouring numbers of the model's type at the size of its logits.
        unit: ``logits`` (of single tokens) or ``nats`` (log-likelihoods of tokens).
        tokens: how many scores are averaged for one answer or text, in the mean.
        coarse: whether the model computes in 16 bits or fewer.
    """

    between_batches: float
    rounding: float
    unit: Literal["logits", "nats"]
    tokens: float
    coarse: bool

    @property
    def score(self) -> float:
        """The floor: the larger of the two."""
        return max(self.between_batches, self.rounding)

    @property
    def answer(self) -> float:
        """The same of an answer or a text, the mean over its tokens, whose roundings are independent."""
        return self.score / math.sqrt(self.tokens)

    @property
    def effect(self) -> float:
        """What it moves a difference of two propensities by, each a difference of two answers."""
        return 2 * self.answer

    def slope(self, multipliers: Sequence[float]) -> float:
        """What it moves an item's slope over these multipliers by."""
        centred = np.asarray(multipliers, dtype=float) - np.mean(multipliers)
        return math.sqrt(2) * self.answer / float(np.sqrt(centred @ centred))


def noise_floor(model: Model, probes: Sequence[Probe], intervention: Intervention, multiplier: float) -> NoiseFloor:
    """The noise floor of scores such as these, measured on a few of them; remembered with the model.

    Raises:
        SteerError: a ``steered`` block is open on the model.
    """
    between, rounding = engine_of(model).noise_floor(probes, intervention, multiplier)
    raw = all(probe.candidates is not None or probe.margins for probe in probes)
    tokens = 1.0 if raw else float(np.mean([len(probe.reads) for probe in probes]))
    return NoiseFloor(between, rounding, "logits" if raw else "nats", tokens, is_coarse(model.dtype))
