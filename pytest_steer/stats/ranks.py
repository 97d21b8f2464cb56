"""Rank correlation: whether two measures put the same units in the same order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from ._arguments import checked_values


def rank_correlation(one: npt.ArrayLike, other: npt.ArrayLike) -> float | None:
    """Spearman's rho: Pearson's correlation of the ranks, equal values sharing their mean rank (Spearman 1904).

    Args:
        one / other: one number per unit, of the same units in the same order.

    Returns:
        None for fewer than three units, and where all values of one side are equal: there is no order then.

    Raises:
        ValueError: a NaN or an infinity (with its index), a wrong shape, or sides of different lengths.
    """
    sides = [np.asarray(side, dtype=float) for side in (one, other)]
    if sides[0].shape != sides[1].shape:
        raise ValueError(
            f"one side had the shape {sides[0].shape} and the other {sides[1].shape}; expected one number of each per unit."
        )
    if sides[0].ndim == 1 and len(sides[0]) < 3:
        return None
    ranks = [stats.rankdata(checked_values(side)) for side in sides]
    if any(rank.min() == rank.max() for rank in ranks):
        return None
    return float(np.corrcoef(ranks)[0, 1])
