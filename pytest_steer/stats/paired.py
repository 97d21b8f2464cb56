"""The difference of two shares that were seen on the same units: exact bounds, whatever share of the units the two differ on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special, stats

from ._arguments import FloatArray, checked_confidence, checked_count
from .intervals import Inference, infer

# The chance that the share of discordant units is outside of where the largest p-value is looked for; it is added to the p-value.
_OUTSIDE = 1e-4
_POINTS = 49
_NEGLIGIBLE = 1e-13


def paired_share_difference(losses: int, gains: int, n: int, *, confidence: float = 0.95) -> Inference:
    """Bounds of the share lost minus the share gained, of units that are each seen twice (right or wrong before and after).

    Args:
        losses: units that were right before and are wrong after. gains: the other way round. n: all units.
        confidence: of each bound by itself.

    The bounds invert an exact unconditional test: for a difference d, a unit is lost with probability q + d and gained with q, and the
    p-value is the largest chance, over all q, of counts that are at least as far from d as those that were seen. Counts are ordered by
    Tango's score statistic (1998, Statistics in Medicine 17:891)::

        z = (losses - gains - n d) / sqrt(n (2 q + d (1 - d))),    q its maximum likelihood estimate given d

    as Hsueh, Liu and Chen (2001, Biometrics 57:478) do, and q is looked for where q + (q + d), the share of units that change, is
    plausible, with the level of that (0.0001) added to the p-value (Berger and Boos 1994, JASA 89:1012). So a bound is wrong with a
    probability of at most ``1 - confidence`` for any n and any share of units that change, up to the steps of the search for q (49
    points, then 49 around the best of them).

    Raises:
        ValueError: counts that are negative or together more than n, n below 1, or a confidence out of range.
    """
    losses, gains = checked_count(losses, "losses", least=0), checked_count(gains, "gains", least=0)
    if n < 1 or losses + gains > n:
        raise ValueError(f"losses ({losses}) and gains ({gains}) are at most n = {n}, which is at least 1")
    tails = PairedTails(losses, gains, n)
    return infer(
        tails, checked_confidence(confidence), estimate=(losses - gains) / n, method="paired exact", n=n, is_exact=True
    )  # fmt: skip


@dataclass(frozen=True)
class PairedTails:
    """Bounds at any confidence of losses minus gains, as a share of n units, and the p-values that they invert."""

    losses: int
    gains: int
    n: int

    @cached_property
    def _turned(self) -> PairedTails:
        return PairedTails(self.gains, self.losses, self.n)

    @cached_property
    def _changing(self) -> tuple[float, float]:
        """Bounds of the share of units that change, both right with a probability of at least 1 - _OUTSIDE (Clopper-Pearson)."""
        k, n, tail = self.losses + self.gains, self.n, _OUTSIDE / 2
        low = stats.beta.ppf(tail, k, n - k + 1) if k else 0.0
        return float(low), float(stats.beta.isf(tail, k + 1, n - k)) if k < n else 1.0

    def low(self, confidence: float) -> float:
        return -self._turned.high(confidence)

    def high(self, confidence: float) -> float:
        estimate, alpha = (self.losses - self.gains) / self.n, 1 - confidence
        if estimate >= 1 or self.p_at_most(1 - 1e-9) > alpha:
            return 1.0
        # Of several crossings the one furthest out is looked for first, by steps, so that the bound errs to the safe side.
        steps = np.linspace(1 - 1e-9, estimate, 33)
        at = next((one for one in range(1, len(steps)) if self.p_at_most(steps[one]) > alpha), None)
        if at is None:
            return float(estimate)
        outer, inner = float(steps[at - 1]), float(steps[at])
        while outer - inner > 1e-7:
            middle = (outer + inner) / 2
            outer, inner = (middle, inner) if self.p_at_most(middle) <= alpha else (outer, middle)
        return outer

    def p_at_least(self, threshold: float) -> float:
        return self._turned.p_at_most(-threshold)

    def p_at_most(self, threshold: float) -> float:
        """The largest chance of counts whose score is at most the one seen, if the difference is ``threshold``."""
        if threshold >= 1:
            return 0.0
        if threshold <= -1:
            return 1.0
        least, most = self._changing
        least, most = max(least, abs(threshold)), min(most, 1.0)
        if least > most:
            # No share of changing units that is plausible has this difference.
            return _OUTSIDE if threshold > (self.losses - self.gains) / self.n else 1.0
        seen = float(_score(np.array([self.losses]), np.array([self.gains]), self.n, threshold)[0])
        largest = 0.0
        for _ in range(2):  # the whole range, then around the best of it
            grid = np.linspace(least, most, _POINTS)
            found = self._chances(threshold, grid, seen)
            best = int(np.argmax(found))
            largest = max(largest, float(found[best]))
            least, most = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _POINTS - 1)])
        return min(1.0, largest + _OUTSIDE)

    def _chances(self, threshold: float, changing: FloatArray, seen: float) -> FloatArray:
        """P(score <= seen) for a difference and each of these shares of units that change, shape (shares,)."""
        lost, gained = np.maximum(changing + threshold, 0) / 2, np.maximum(changing - threshold, 0) / 2
        first = int(stats.binom.ppf(_NEGLIGIBLE, self.n, gained.min())) if gained.min() > 0 else 0
        last = int(stats.binom.isf(_NEGLIGIBLE, self.n, gained.max())) if gained.max() > 0 else 0
        gains = np.arange(max(first, 0.0), min(last, self.n) + 1)
        limit = _largest_losses(gains, self.n, threshold, seen)
        weight = stats.binom.pmf(gains, self.n, gained[:, None])
        # Of the units that are not gained, so many are lost.
        share = np.minimum(1.0, lost / np.maximum(1 - gained, 1e-300))[:, None]
        below = np.where(limit >= 0, special.bdtr(np.maximum(limit, 0), self.n - gains, share), 0.0)
        chances: FloatArray = (weight * below).sum(axis=1)
        return chances


def _score(losses: FloatArray, gains: FloatArray, n: int, difference: float) -> FloatArray:
    """Tango's score statistic."""
    d = difference
    b = -losses - gains + (2 * n - losses + gains) * d
    c = -gains * d * (1 - d)
    q = (np.sqrt(np.maximum(b * b - 8 * n * c, 0)) - b) / (4 * n)
    variance = n * np.maximum(2 * q + d * (1 - d), 0)
    away = losses - gains - n * d
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(variance > 1e-12, away / np.sqrt(variance), np.sign(away) * np.inf)
    return np.where(np.abs(away) < 1e-9, 0.0, found)


def _largest_losses(gains: FloatArray, n: int, difference: float, seen: float) -> FloatArray:
    """For each count of gains, the largest count of losses whose score is at most ``seen``; -1 for none. Scores rise with losses."""
    low, high = np.full(len(gains), -1), n - gains
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = _score(middle, gains, n, difference) <= seen + 1e-9
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    return low
