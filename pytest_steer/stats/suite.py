"""Many claims at once: Holm's adjustment, and the number of false verdicts to expect without it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ._arguments import checked_confidence, checked_probability


@dataclass(frozen=True)
class FalseVerdicts:
    """The number of wrong verdicts that chance alone could give a suite; see :func:`expected_false_verdicts`."""

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
      this, even for dependent claims.
    - ``fails``: the same sum. If all of the claims held, the expected number of fails would be at most this.
    - ``chance_of_any``: ``1 - product of (1 - alpha_i)``, the probability of at least one false verdict among
      independent claims. It counts one side: false fails if every truth lies exactly on its threshold (where the claim
      holds), or false passes if every truth lies just past it. There each verdict is wrong with its full alpha. For
      truths further from their thresholds the chance is smaller. For 40 claims at 0.95 it is 0.87.

    They describe the procedure, and not the claims at hand given their verdicts.

    Raises:
        ValueError: a confidence outside [0.5, 1).
    """
    checked = [checked_confidence(confidence) for confidence in confidences]
    expected = len(checked) - math.fsum(checked)
    return FalseVerdicts(claims=len(checked), passes=expected, fails=expected, chance_of_any=1 - math.prod(checked))
