"""From an interval to a verdict: the interval lies on the good side of the threshold, on the bad side, or across it."""

from ..core.evidence import Direction, Verdict
from ._arguments import checked_threshold
from .intervals import Inference


def judge(inference: Inference, threshold: float, direction: Direction) -> Verdict:
    """Judge the claim that the truth is at least, or at most, the threshold.

    ========  ====================  ====================  ==============
    claim     pass                  fail                  inconclusive
    ========  ====================  ====================  ==============
    at least  ``low >= threshold``  ``high < threshold``  otherwise
    at most   ``high <= threshold`` ``low > threshold``   otherwise
    ========  ====================  ====================  ==============

    Both sides need proof: a claim that does not hold passes with a probability of at most ``1 - confidence``, and a
    claim that holds fails with at most the same probability.

    Raises:
        ValueError: the threshold is NaN, or the direction is unknown.
    """
    threshold = checked_threshold(threshold)
    if Direction(direction) is Direction.AT_LEAST:
        proven, refuted = inference.low >= threshold, inference.high < threshold
    else:
        proven, refuted = inference.high <= threshold, inference.low > threshold
    if proven:
        return Verdict.PASS
    return Verdict.FAIL if refuted else Verdict.INCONCLUSIVE
