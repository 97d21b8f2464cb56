"""Inferences made of others: the least and the largest of several, a relative rise, and the worst of what missing units may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..core.evidence import Direction
from .intervals import Inference, Tails, derived


def least_of(inferences: Sequence[Inference]) -> Inference:
    """The inference of the smallest of several means, shares or ratios of one confidence.

    The lower bound is the least of theirs, so "all are at least x" is proven when each is (intersection-union test, Berger 1982). The
    upper bound is the least of theirs at a level divided by their number (Bonferroni), so "one is below x" is proven at the stated
    confidence, however they depend on each other. n is the least of theirs.

    Raises:
        ValueError: there are none, or their confidences differ.
    """
    return inferences[0] if len(inferences) == 1 else _extreme_of(inferences, len(inferences), is_least=True)


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
    if tests is not None and tests < len(inferences):
        raise ValueError(f"tests were {tests} of {len(inferences)} inferences; expected at least as many.")
    return _extreme_of(inferences, tests or len(inferences), is_least=False)


def _extreme_of(inferences: Sequence[Inference], tests: int, *, is_least: bool) -> Inference:
    if not inferences or len({one.confidence for one in inferences}) > 1:
        raise ValueError("inferences was empty or of several confidences; expected at least one, of one confidence.")
    worst = (min if is_least else max)(inferences, key=lambda one: one.estimate)
    tails = ExtremeTails(tuple(one._tails for one in inferences), tests, is_least)
    return derived(worst, tails, n=min(one.n for one in inferences), standard_deviation=None)


@dataclass(frozen=True, eq=False)
class ExtremeTails:
    """Bounds and p-values of the least or the largest of several numbers.

    That all of them are on one side is proven when each is. That one of them is on the other side is tested at an equal part of alpha.
    """

    each: tuple[Tails, ...]
    tests: int
    is_least: bool

    def low(self, confidence: float) -> float:
        level = confidence if self.is_least else self._shared(confidence)
        return self._extreme(tails.low(level) for tails in self.each)

    def high(self, confidence: float) -> float:
        level = self._shared(confidence) if self.is_least else confidence
        return self._extreme(tails.high(level) for tails in self.each)

    def p_at_least(self, threshold: float) -> float:
        return self._p_value([tails.p_at_least(threshold) for tails in self.each], of_all=self.is_least)

    def p_at_most(self, threshold: float) -> float:
        return self._p_value([tails.p_at_most(threshold) for tails in self.each], of_all=not self.is_least)

    def _extreme(self, bounds: Iterable[float]) -> float:
        return min(bounds) if self.is_least else max(bounds)

    def _shared(self, confidence: float) -> float:
        return 1 - (1 - confidence) / self.tests

    def _p_value(self, each: Sequence[float], of_all: bool) -> float:
        return max(each) if of_all else min(1.0, self.tests * min(each))


def as_rise(inference: Inference) -> Inference:
    """The inference of the relative rise exp(d) - 1 from that of a difference d of logarithms, such as of perplexities."""
    tails = RiseTails(inference._tails)
    return derived(inference, tails, estimate=_rise(inference.estimate), standard_deviation=None)


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


def between_fillings(least: Inference, most: Inference, promised: Direction) -> Inference:
    """The inference of a mean, share or difference whose missing units may be anything (worst-case bounds, Manski 1990).

    The lower bound is that of ``least``, in which every missing unit has its least value, and the upper bound that of ``most``. So "at
    least x" is proven only if no values of the missing units would refute it, and "below x" only if none would save it.

    Args:
        promised: a pass has to be proven in the filling of ``least`` if it is AT_LEAST, and of ``most`` if it is AT_MOST; that filling
            gives the estimate.

    Raises:
        ValueError: the two are of different confidences, or ``least`` is above ``most``.
    """
    if least.confidence != most.confidence or least.estimate > most.estimate:
        raise ValueError("the fillings have to be of one confidence, the least first")
    chosen = least if promised is Direction.AT_LEAST else most
    return derived(chosen, FilledTails(least._tails, most._tails), n=min(least.n, most.n))


@dataclass(frozen=True, eq=False)
class FilledTails:
    """The lower bound of one filling and the upper bound of another."""

    least: Tails
    most: Tails

    def low(self, confidence: float) -> float:
        return self.least.low(confidence)

    def high(self, confidence: float) -> float:
        return self.most.high(confidence)

    def p_at_least(self, threshold: float) -> float:
        return self.least.p_at_least(threshold)

    def p_at_most(self, threshold: float) -> float:
        return self.most.p_at_most(threshold)
