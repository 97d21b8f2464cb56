"""Sequential stopping: items are drawn in rounds, and a claim stops when its anytime-valid bounds have decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core.errors import DataError
from ..core.run_context import Effort
from ..data import Items
from ..measures import Array
from ..stats import Direction, Inference, Verdict, judge, rounds

# Before that many items the bounds of a mean say nothing, see stats/sequential.py.
LEAST_ITEMS = 8


def is_in_rounds(said: bool | None, effort: Effort, items: int, interval: str = "t") -> bool:
    """Whether a claim draws its items in rounds.

    Args:
        said: what the claim says. None: as the run's effort says, if there are items enough and its bounds may be looked at early.
        items: how many there are to be drawn one by one. interval: only the bounds of t may be looked at early.
    """
    return said if said is not None else effort.in_rounds and interval == "t" and items >= LEAST_ITEMS


@dataclass(frozen=True)
class Draw:
    """The items that were drawn in rounds.

    Attributes:
        items: the items that were looked at, in the order drawn.
        looks: after how many items the bounds were looked at.
        available: how many items there were to draw from.
    """

    items: Items
    looks: tuple[int, ...]
    available: int

    def describe(self) -> dict[str, object]:
        """The evidence's ``details.sequential`` record."""
        return {"used": len(self.items), "available": self.available, "looks": list(self.looks)}


def draw_in_rounds(
    items: Items,
    slopes_or_flags: Callable[[Items], Array],
    infer: Callable[[Array], Inference],
    *,
    threshold: float | None,
    direction: Direction,
    seed: int,
    min_n: int | None = None,
) -> Draw:
    """Draw items in random order, round by round, until the bounds decide or no items are left; all of them without a threshold.

    Args:
        slopes_or_flags: measures items: one number (or flag) per item.
        infer: anytime-valid bounds of what was measured so far.
        min_n: items before the first look, if that is more than 8.
        seed: of the order of drawing, which has to be random for the bounds to hold.

    Raises:
        DataError: fewer than 8 items.
    """
    if len(items) < LEAST_ITEMS:
        raise DataError(f"{items.source}: has {len(items)} items; drawing in rounds needs at least {LEAST_ITEMS}")
    order = np.random.default_rng(seed).permutation(len(items))
    shuffled = items.part(map(int, order))
    looks: list[int] = []
    for count in rounds(len(shuffled), first=max(LEAST_ITEMS, min_n or 0)):
        looks.append(count)
        found = infer(slopes_or_flags(shuffled[:count]))
        if threshold is not None and judge(found, threshold, direction) is not Verdict.INCONCLUSIVE:
            break
    return Draw(shuffled[: looks[-1]], tuple(looks), len(items))
