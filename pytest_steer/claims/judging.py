"""From an inference to the verdict in the evidence."""

from __future__ import annotations

from ..evidence import Direction, Evidence
from ..stats import Inference, judge


def give_verdict(evidence: Evidence, inference: Inference, threshold: float) -> None:
    """Set verdict and p-values of evidence from an inference on the scale of ``threshold``."""
    evidence.verdict = judge(inference, threshold, evidence.direction)
    low, high = inference.p_at_least(threshold), inference.p_at_most(threshold)
    evidence.p_pass, evidence.p_fail = (low, high) if evidence.direction is Direction.AT_LEAST else (high, low)
