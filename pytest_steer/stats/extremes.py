"""The largest of several numbers, each with its own inference: all have to be small for a pass, one large is a fail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .intervals import Inference, Tails, infer


def largest_of(inferences: Sequence[Inference], *, tests: int | None = None) -> Inference:
    """The inference of the largest of several means, shares or rises of one confidence.

    The upper bound is the largest of theirs, so "all are at most x" is proven when each is (intersection-union test, Berger 1982). The
    lower bound is the largest of theirs at a level divided by their number (Bonferroni), so "one is above x" is proven at the stated
    confidence. n is the least of theirs.

    Args:
        tests: how many tests share alpha on the side of the lower bound, if others than these do.

    Raises:
        ValueError: there are none, their confidences differ, or the tests are fewer.
    """
    if not inferences or len({one.confidence for one in inferences}) > 1:
        raise ValueError("inferences was empty or of several confidences; expected at least one, of one confidence.")
    if tests is not None and tests < len(inferences):
        raise ValueError(f"tests were {tests} of {len(inferences)} inferences; expected at least as many.")
    worst = max(inferences, key=lambda one: one.estimate)
    return infer(
        LargestTails(tuple(one._tails for one in inferences), tests or len(inferences)),
        worst.confidence,
        estimate=worst.estimate,
        method=worst.method,
        n=min(one.n for one in inferences),
        is_exact=worst.is_exact,
    )


def as_rise(inference: Inference) -> Inference:
    """The inference of the relative rise exp(d) - 1 from that of a difference d of logarithms, such as of perplexities."""
    return infer(
        RiseTails(inference._tails),
        inference.confidence,
        estimate=_rise(inference.estimate),
        method=inference.method,
        n=inference.n,
        is_exact=inference.is_exact,
    )


@dataclass(frozen=True, eq=False)
class LargestTails:
    """Bounds and p-values of the largest of several numbers, each of which is held against an equal part of alpha."""

    each: tuple[Tails, ...]
    tests: int

    def low(self, confidence: float) -> float:
        adjusted = 1 - (1 - confidence) / self.tests
        return max(tails.low(adjusted) for tails in self.each)

    def high(self, confidence: float) -> float:
        return max(tails.high(confidence) for tails in self.each)

    def p_at_least(self, threshold: float) -> float:
        return min(1.0, self.tests * min(tails.p_at_least(threshold) for tails in self.each))

    def p_at_most(self, threshold: float) -> float:
        return max(tails.p_at_most(threshold) for tails in self.each)


@dataclass(frozen=True, eq=False)
class RiseTails:
    """Bounds and p-values of exp(d) - 1, by those of d."""

    of: Tails

    def low(self, confidence: float) -> float:
        return _rise(self.of.low(confidence))

    def high(self, confidence: float) -> float:
        return _rise(self.of.high(confidence))

    def p_at_least(self, threshold: float) -> float:
        return 0.0 if threshold <= -1 else self.of.p_at_least(math.log1p(threshold))

    def p_at_most(self, threshold: float) -> float:
        return 1.0 if threshold <= -1 else self.of.p_at_most(math.log1p(threshold))


def _rise(difference: float) -> float:
    try:
        return math.expm1(difference)
    except OverflowError:
        return math.inf


def least_of(inferences: Sequence[Inference]) -> Inference:
    """The inference of the smallest of several means, shares or ratios of one confidence.

    The lower bound is the least of theirs, so "all are at least x" is proven when each is (intersection-union test, Berger 1982). The
    upper bound is the least of theirs at a level divided by their number (Bonferroni), so "one is below x" is proven at the stated
    confidence. n is the least of theirs.

    Raises:
        ValueError: there are none, or their confidences differ.
    """
    if not inferences or len({one.confidence for one in inferences}) > 1:
        raise ValueError("inferences was empty or of several confidences; expected at least one, of one confidence.")
    if len(inferences) == 1:
        return inferences[0]
    worst = min(inferences, key=lambda one: one.estimate)
    return infer(
        LeastTails(tuple(one._tails for one in inferences)),
        worst.confidence,
        estimate=worst.estimate,
        method=worst.method,
        n=min(one.n for one in inferences),
        is_exact=worst.is_exact,
    )


@dataclass(frozen=True, eq=False)
class LeastTails:
    """Bounds and p-values of the smallest of several numbers."""

    each: tuple[Tails, ...]

    def low(self, confidence: float) -> float:
        return min(tails.low(confidence) for tails in self.each)

    def high(self, confidence: float) -> float:
        adjusted = 1 - (1 - confidence) / len(self.each)
        return min(tails.high(adjusted) for tails in self.each)

    def p_at_least(self, threshold: float) -> float:
        return max(tails.p_at_least(threshold) for tails in self.each)

    def p_at_most(self, threshold: float) -> float:
        return min(1.0, len(self.each) * min(tails.p_at_most(threshold) for tails in self.each))
