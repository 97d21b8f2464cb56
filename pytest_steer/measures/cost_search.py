"""The search for the multiplier whose cost is a budget: which multiplier is looked at next. Knows nothing of models."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from ..steering.intervention import StrengthMeaning

Reached = Literal["cost", "most", "fixed", "least"]

# The search ends once it knows the multiplier to 1/256 of the distance between one within the budget and one above it.
STEPS = 256
# How many rounds more than halving needs may be spent on that.
SPARE = 3
# A multiplier a thousand times smaller than the deployed one is the smallest that is looked at.
LEAST = 2.0**-10
# The largest number of float32, in which multipliers reach the model.
LARGEST = (2 - 2.0**-23) * 2.0**127


@dataclass
class CostSearch:
    """Search for the largest multiplier within a budget, along the sign of the deployed one. Measure the cost of :attr:`next` and
    report it with :meth:`saw`, until ``next`` is None.

    It starts at the deployed multiplier, doubles while the cost is within the budget and halves while it is above. Between the
    two that it then has, it goes on where a power law through both would meet the budget, or in the middle once that is three
    rounds slower than halving; so it ends within twelve further rounds, and mostly within two. All multipliers lie on a grid that the costs do not move, so that two searches of one intervention share
    their scores.

    Attributes:
        deployed: the deployed multiplier, not 0.
        strength: what the multiplier means. Only a linear strength is tried above the deployed multiplier; an ignored one only at
            the deployed multiplier.
        budget: the cost that is looked for. max_multiplier: the largest, in deployed ones. tolerance: a cost of at least (1 - tolerance) times the
            budget, and not above it, ends the search.
        looked_at: multipliers in the order in which they were looked at, with their costs.
    """

    deployed: float
    strength: StrengthMeaning
    budget: float
    max_multiplier: float
    tolerance: float
    looked_at: dict[float, float] = field(default_factory=dict)
    # Sizes of multipliers, without the sign. Within: the largest below the first crossing. Beyond: the smallest above it.
    _within: float | None = None
    _above: float | None = None
    # Once both are known: where they were then, and on which of the steps between them they are now.
    _bracket: tuple[float, float] | None = None
    _low: int = 0
    _high: int = STEPS
    _rounds: int = 0

    @property
    def next(self) -> float | None:
        """The multiplier to look at; None if the search has ended."""
        size = self._next_size()
        return None if size is None else math.copysign(size, self.deployed)

    @property
    def most(self) -> int:
        """How many multipliers are looked at, at most."""
        if self.strength == "ignored":
            return 1
        up = math.ceil(math.log2(self.max_multiplier)) if self.strength == "linear" else 0
        down = round(-math.log2(LEAST))
        return 1 + max(up, down) + round(math.log2(STEPS)) + SPARE + 1

    def saw(self, multiplier: float, cost: float) -> None:
        """Tells it what a multiplier costs; infinity if the model cannot be steered with it."""
        size = abs(multiplier)
        self.looked_at[multiplier] = cost
        if self._bracket is not None:
            step = self._step()
            if cost <= self.budget:
                self._low = step
            else:
                self._high = step
            self._rounds += 1
        if cost <= self.budget:
            self._within = size
        else:
            self._above = size
        if self._bracket is None and self._within is not None and self._above is not None:
            self._bracket = (self._within, self._above)

    @property
    def found(self) -> tuple[float, float, Reached]:
        """Multiplier, its cost, and what ended the search, which has ended."""
        if self.strength == "ignored":
            return self.deployed, self.looked_at[self.deployed], "fixed"
        if self._within is None:
            assert self._above is not None
            least = math.copysign(self._above, self.deployed)
            return least, self.looked_at[least], "least"
        multiplier = math.copysign(self._within, self.deployed)
        cost = self.looked_at[multiplier]
        reached: Reached = "cost" if self._above is not None or self._is_near(cost) else "most"
        return multiplier, cost, reached

    def _next_size(self) -> float | None:
        start = abs(self.deployed)
        if not self.looked_at:
            return start
        if self.strength == "ignored":
            return None
        if self._within is None:
            assert self._above is not None
            return self._above / 2 if self._above > start * LEAST else None
        if self._is_near(self._cost_of(self._within)):
            return None
        if self._above is None:
            most = start * self.max_multiplier if self.strength == "linear" else start
            most = min(most, LARGEST)
            return min(2 * self._within, most) if self._within < most else None
        return self._size_at(self._step()) if self._high - self._low > 1 else None

    def _step(self) -> int:
        """The next step to try, between those known to be within the budget and above it."""
        middle = (self._low + self._high) // 2
        costs = [self._cost_of(self._size_at(step)) for step in (self._low, self._high)]
        too_slow = self._high - self._low > STEPS >> max(0, self._rounds - SPARE)
        if too_slow or costs[0] <= 0 or not math.isfinite(costs[1]):
            return middle
        # cost = a * size ** power through both, met at the middle of what ends the search.
        low, high = self._size_at(self._low), self._size_at(self._high)
        power = math.log(costs[1] / costs[0]) / math.log(high / low)
        size = low * math.exp(math.log(self.budget * (1 - self.tolerance / 2) / costs[0]) / power)
        first, last = self._bracket or (low, high)
        return min(max(round((size - first) / (last - first) * STEPS), self._low + 1), self._high - 1)

    def _size_at(self, step: int) -> float:
        assert self._bracket is not None
        first, last = self._bracket
        return last if step == STEPS else first + (last - first) * step / STEPS

    def _cost_of(self, size: float) -> float:
        return self.looked_at[math.copysign(size, self.deployed)]

    def _is_near(self, cost: float) -> bool:
        return (1 - self.tolerance) * self.budget <= cost <= self.budget
