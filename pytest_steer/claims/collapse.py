"""Where text collapses: the search for the strength at which a rise exceeds a budget. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# After the strength lies between two of which one is within the budget, their distance is halved so many times.
HALVINGS = 3
# The smallest multiplier tried is the deployed one divided by this.
SMALLEST = 64


@dataclass(frozen=True)
class Collapse:
    """Between which multipliers text collapses.

    Attributes:
        within: the largest multiplier looked at below the first one above the budget; None if the smallest one is above it.
        above: the smallest multiplier above the budget; None if none is.
    """

    within: float | None
    above: float | None


def collapse(is_within: Callable[[float], bool], known: dict[float, bool], cap: float) -> Collapse:
    """Search along the sign of the deployed multiplier: by doubling up to ``cap``, or by halving, then between the two.

    A rise need not grow with the multiplier: one that exceeds the budget and comes back between two multipliers that are looked at is not
    seen.

    Args:
        is_within: whether text at a multiplier is within the budget.
        known: the multipliers that were judged, of one sign, with that.
        cap: the largest multiplier that is tried; one of smaller size than those known allows none above them.
    """
    sizes = sorted(known, key=abs)
    above = next((one for one in sizes if not known[one]), None)
    within = max((one for one in sizes if known[one] and (above is None or abs(one) < abs(above))), key=abs, default=None)
    while above is None and within is not None and abs(within) < abs(cap):
        tried = min(2 * within, cap, key=abs)
        within, above = (tried, None) if is_within(tried) else (within, tried)
    smallest = abs(sizes[0]) / SMALLEST
    while within is None and above is not None and abs(above) / 2 >= smallest:
        tried = above / 2
        within, above = (tried, above) if is_within(tried) else (None, tried)
    for _ in range(HALVINGS if within is not None and above is not None else 0):
        assert within is not None
        assert above is not None
        tried = (within + above) / 2
        within, above = (tried, above) if is_within(tried) else (within, tried)
    return Collapse(within, above)
