"""Many claims at once: Holm's adjustment, and how many false verdicts to expect without it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ._arguments import checked_confidence, checked_probability


@dataclass(frozen=True)
class FalseVerdicts:
    """How many wrong verdicts chance alone could give a suite; see :func:`expected_false_verdicts`."""

    claims: int
    passes: float
    fails: float
    chance_of_any: float


def holm(p_values: Iterable[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given.

    With the m p-values sorted, the i-th smallest becomes ``max over j <= i of min(1, (m - j + 1) * p_(j))``. Claims
    with an adjusted p-value of at most alpha are proven together: the probability that any one of them does not hold
    is at most alpha, however the p-values depend on each other.

    Raises:
        ValueError: a p-value outside [0, 1] or NaN (with its index).
    """
    checked = [checked_probability(p, f"p_values[{index}]") for index, p in enumerate(p_values)]
    adjusted = [0.0] * len(checked)
    largest_so_far = 0.0
    for rank, index in enumerate(sorted(range(len(checked)), key=checked.__getitem__)):
        largest_so_far = max(largest_so_far, min(1.0, (len(checked) - rank) * checked[index]))
        adjusted[index] = largest_so_far
    return adjusted


def expected_false_verdicts(confidences: Iterable[float]) -> FalseVerdicts:
    """The false verdicts to expect, at worst, of claims that are each judged at its own confidence.

    With ``alpha_i = 1 - confidence_i`` of claim i:

    - ``passes``: the sum of the alphas. If none of the claims held, the expected number of passes would be at most
      this, whether or not the claims are independent.
    - ``fails``: the sum again. If all of the claims held, the expected number of fails would be at most this.
    - ``chance_of_any``: ``1 - product of (1 - alpha_i)``, the probability of one false verdict or more among
      independent claims, counting one side: false fails if every truth lies exactly on its threshold (where the claim
      holds), or false passes if every truth lies just beyond it. There each verdict has its full alpha of being
      wrong. For truths further from their thresholds it is less. For 40 claims at 0.95 it is 0.87.

    These are not chances about the claims at hand given their verdicts: they say what the procedure does.

    Raises:
        ValueError: a confidence outside [0.5, 1).
    """
    checked = [checked_confidence(confidence) for confidence in confidences]
    expected = len(checked) - math.fsum(checked)
    return FalseVerdicts(claims=len(checked), passes=expected, fails=expected, chance_of_any=1 - math.prod(checked))
