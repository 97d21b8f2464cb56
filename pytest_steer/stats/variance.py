"""Variance decomposition: how much of the variance of values the labels of their cells explain.

A cell is one unit (an item) under one condition (a context), with one value (a slope) and one label per factor (the letter of the
matching answer, its position, the context). The values are fitted by least squares on indicators of the labels, with an intercept.
Tan et al. 2024 (arXiv 2407.12404, section 5) regress slopes on the letter and on Yes / No in the same way. For each factor:

* ``alone``: R squared of that factor by itself (eta squared);
* ``unique``: what R squared of all factors loses without it.

The two differ where factors go together: what several of them explain between them is in each ``alone`` and in no ``unique``.

R squared exceeds 0 by chance, the more so the fewer the units, so the estimate is the jackknife's (Quenouille 1956; Miller 1974): with
``R_-i`` computed without unit i, over u units, ``u R - (u - 1) mean(R_-i)``, cut to [0, 1]. All cells of a unit leave together, so that a
unit may have many cells. The standard error is ``sqrt((u - 1) / u sum((R_-i - mean)^2))``. A share is skewed near 0, so each bound
is the more careful of two, with Student's t on u - 1 degrees of freedom: the upper one is taken on the scale ``arcsin sqrt R`` from the
uncorrected R squared, and the lower one is the smaller of those on both scales, from the estimate. Simulated error rates are in
docs/comparing-models.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ._arguments import FloatArray, checked_clusters, checked_confidence, checked_values

FEWEST_UNITS = 8  # below that the jackknife's standard error is worth little


@dataclass(frozen=True)
class VarianceShare:
    """A share of the variance, with one-sided bounds, all in [0, 1]."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Decomposition:
    """What the factors explain of the variance.

    Attributes:
        alone / unique: by factor; see the module. A factor with one label has neither.
        together: what all factors explain.
        inseparable: pairs of factors whose labels determine each other, so that the data cannot tell them apart.
        n / units: how many cells and units.
    """

    alone: Mapping[str, VarianceShare]
    unique: Mapping[str, VarianceShare]
    together: VarianceShare
    inseparable: tuple[tuple[str, str], ...]
    n: int
    units: int
    confidence: float


def variance_shares(
    values: npt.ArrayLike,
    factors: Mapping[str, Sequence[Hashable]],
    units: Sequence[Hashable],
    *,
    confidence: float = 0.95,
) -> Decomposition | None:
    """Decompose the variance of values by the labels of their cells.

    Args:
        values: [cells] finite numbers.
        factors: for each factor the label of every cell.
        units: the unit of every cell; cells of one unit are not independent.
        confidence: of each one-sided bound.

    Returns:
        None if there are fewer than ``FEWEST_UNITS`` units, if the values do not vary, or if no factor has two labels.

    Raises:
        ValueError: a NaN or an infinity, or labels or units of another length.
    """
    level = checked_confidence(confidence)
    numbers = checked_values(values)
    if len(set(units)) < FEWEST_UNITS:
        return None
    unit, count = checked_clusters(units, len(numbers))
    codes = {name: codes_of(labels, len(numbers), name) for name, labels in factors.items()}
    codes = {name: code for name, code in codes.items() if code.max() > 0}
    if not codes or np.ptp(numbers) == 0:
        return None
    designs = {name: np.eye(code.max() + 1)[code][:, 1:] for name, code in codes.items()}
    choices = (
        [[name] for name in designs] + [[other for other in designs if other != name] for name in designs] + [[*designs]]
    )
    parts = _Parts(numbers, designs, unit, count)
    whole = parts.explained(None, choices)
    without = np.array([parts.explained(index, choices) for index in range(count)])
    if not np.isfinite(without).all():  # the values vary only because of one unit
        return None
    k = len(designs)
    shares = {
        name: (
            _share(whole[index], without[:, index], level),
            _share(whole[-1] - whole[k + index], without[:, -1] - without[:, k + index], level),
        )
        for index, name in enumerate(designs)
    }
    return Decomposition(
        alone={name: one for name, (one, _) in shares.items()},
        unique={name: one for name, (_, one) in shares.items()},
        together=_share(whole[-1], without[:, -1], level),
        inseparable=_inseparable(codes),
        n=len(numbers),
        units=count,
        confidence=level,
    )


def codes_of(labels: Sequence[Hashable], n: int, name: str) -> npt.NDArray[np.intp]:
    """[n] the number of each label, from 0 on in the order of their first use.

    Raises:
        ValueError: another number of labels.
    """
    if len(labels) != n:
        raise ValueError(f"the factor {name!r} had {len(labels)} labels for {n} values; expected one label per value.")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.intp)


class _Parts:
    """Sums of squares and products of each unit: leaving one out is a subtraction."""

    def __init__(
        self, values: FloatArray, designs: Mapping[str, FloatArray], unit: npt.NDArray[np.intp], count: int
    ) -> None:
        centred = values - values.mean()  # R squared is the same, and large common parts cannot swamp it
        table = np.column_stack([np.ones(len(values)), *designs.values(), centred])
        self._each = np.zeros((count, table.shape[1], table.shape[1]))
        for index in range(count):
            rows = table[unit == index]
            self._each[index] = rows.T @ rows
        self._all = self._each.sum(0)
        ends = np.cumsum([1, *(design.shape[1] for design in designs.values())])
        self._columns = {name: np.arange(ends[i], ends[i + 1]) for i, name in enumerate(designs)}

    def explained(self, left_out: int | None, choices: Sequence[Sequence[str]]) -> FloatArray:
        """[choices] R squared of each choice of factors; NaN if the values do not vary."""
        moments = self._all if left_out is None else self._all - self._each[left_out]
        total = moments[-1, -1] - moments[0, -1] ** 2 / moments[0, 0]
        if total <= 1e-12 * max(moments[-1, -1], 1e-300):
            return np.full(len(choices), np.nan)
        found = []
        for names in choices:
            at = np.concatenate([[0], *(self._columns[name] for name in names)]).astype(int)
            against = moments[at, -1]
            # The pseudo-inverse: labels may determine each other, and leaving a unit out may empty one of them.
            fitted = against @ np.linalg.pinv(moments[np.ix_(at, at)], rcond=1e-10, hermitian=True) @ against
            found.append((fitted - moments[0, -1] ** 2 / moments[0, 0]) / total)
        shares: FloatArray = np.clip(np.array(found), 0.0, 1.0)
        return shares


def _share(whole: float, without: FloatArray, confidence: float) -> VarianceShare:
    count = len(without)
    whole, without = float(np.clip(whole, 0, 1)), np.clip(without, 0, 1)
    estimate = float(np.clip(count * whole - (count - 1) * without.mean(), 0, 1))
    quantile = float(stats.t.ppf(confidence, count - 1))
    turned = np.arcsin(np.sqrt(without))
    plain, careful = quantile * _jackknife_error(without), quantile * _jackknife_error(turned)

    def back(angle: float) -> float:
        return float(np.sin(np.clip(angle, 0, np.pi / 2)) ** 2)

    low = min(estimate - plain, back(np.arcsin(np.sqrt(estimate)) - careful))
    high = back(np.arcsin(np.sqrt(max(whole, estimate))) + careful)
    return VarianceShare(estimate, max(low, 0.0), min(max(high, estimate), 1.0))


def _jackknife_error(without: FloatArray) -> float:
    count = len(without)
    return float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))


def _inseparable(codes: Mapping[str, npt.NDArray[np.intp]]) -> tuple[tuple[str, str], ...]:
    names = list(codes)
    return tuple(
        (one, other)
        for index, one in enumerate(names)
        for other in names[index + 1 :]
        if len({*zip(codes[one], codes[other], strict=True)}) == len({*codes[one]}) == len({*codes[other]})
    )
