"""Bounds of a number over units some of which have no outcome: each bound is taken from the filling that is worse for it."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.evidence import Direction
from .intervals import Inference, Tails, infer


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
    return infer(
        FilledTails(least._tails, most._tails),
        least.confidence,
        estimate=chosen.estimate,
        method=chosen.method,
        n=min(least.n, most.n),
        standard_deviation=chosen.standard_deviation,
        is_exact=chosen.is_exact,
    )


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
