"""The smallest of several numbers, each with its own inference: all have to hold for a pass, one refuted is a fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .intervals import Inference, Tails, infer


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
