"""Propensity curves: how much the model leans towards the matching answer, item by item, at each multiplier."""

from __future__ import annotations

import numbers
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np

from ..core.errors import DataError, SteerError, warn_caller
from ..data import ItemLike, Items, as_items
from ..model import Model, Probe, check_fits, engine_of
from ..model.arguments import checks_arguments
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, Positions, SteeringVector, as_intervention, check_positions
from .asking import Array, Asked, asked_of, propensities

# The largest number of float32, in which multipliers reach the model.
LARGEST = (2 - 2.0**-23) * 2.0**127

Name = TypeVar("Name", bound=Hashable)
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

# Tan et al. 2024, arXiv 2407.12404.
MULTIPLIERS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)


@dataclass(frozen=True, eq=False)
class PropensityCurve:
    """Propensities of items over multipliers, and what the field reads off them.

    Attributes:
        values: float64 [n_items, n_multipliers]. Propensity of an item: logit of the matching answer minus logit of the
            other at the next token (Tan et al. 2024); for answers of several tokens the difference of their mean token
            log-likelihoods. Several alternative answers on one side count as the log of their summed probability.
        multipliers: float64 [n_multipliers], as they were given.
        items: the items, in order.
        probes: what was asked of the model.
        asked: how each item was asked and read.
        labels: of the matching answers as they were put to the model (options can be swapped or relabelled by a context).
    """

    values: Array
    multipliers: Array
    items: Items
    probes: tuple[Probe, ...] = field(repr=False, default=())
    labels: tuple[str | None, ...] | None = field(repr=False, default=None)
    asked: tuple[Asked, ...] = field(repr=False, default=())

    @cached_property
    def slopes(self) -> Array:
        """[n_items] slope of the least-squares line of each item's propensity over the multipliers (with intercept).

        Raises:
            SteerError: fewer than two distinct multipliers.
        """
        check_slope_grid(self.multipliers)
        centred = self.multipliers - self.multipliers.mean()
        # From each item's first value on, so that a flat curve has a slope of exactly 0 and not of a rounding error.
        rises = self.values - self.values[:, :1]
        slopes: Array = rises @ centred / (centred @ centred)
        return slopes

    @cached_property
    def n_distinct(self) -> int:
        """How many of the items are distinct: repeats of another one (white space aside) are a row of ``values`` and no further evidence."""
        return len({item.form for item in self.items})

    @property
    def steerability(self) -> float:
        """Mean of the items' slopes, which is the slope of the mean curve (Tan et al. 2024)."""
        return float(self.slopes.mean())

    @property
    def mean(self) -> Array:
        """[n_multipliers] the mean propensity at each multiplier."""
        mean: Array = self.values.mean(0)
        return mean

    @property
    def anti_steerable(self) -> Flags:
        """bool [n_items]: slope <= 0 (Tan et al. 2024; a tie counts as anti-steerable)."""
        flags: Flags = self.slopes <= 0
        return flags

    @cached_property
    def curvatures(self) -> Array | None:
        """[n_items] quadratic coefficient c of the least-squares parabola a + b m + c m^2, None below three multipliers.

        A slope cannot see an even response (both signs hurt); this can.
        """
        if len(np.unique(self.multipliers)) < 3:
            return None
        powers = np.vander(self.multipliers, 3)
        coefficients, *_ = np.linalg.lstsq(powers, self.values.T, rcond=None)
        curvatures: Array = coefficients[0]
        return curvatures

    @cached_property
    def monotonicity(self) -> Array:
        """[n_items] Kendall's tau-a between multiplier and propensity: 1 always rising, -1 always falling.

        Raises:
            SteerError: fewer than two distinct multipliers.
        """
        check_slope_grid(self.multipliers)
        first, second = np.triu_indices(len(self.multipliers), k=1)
        steps = np.sign(self.multipliers[second] - self.multipliers[first])
        moves = np.sign(self.values[:, second] - self.values[:, first])
        tau: Array = (moves * steps).sum(1) / np.abs(steps).sum()
        return tau

    def effects(self, multiplier: float) -> Array:
        """[n_items] propensity at a multiplier minus propensity at 0.

        Raises:
            SteerError: one of the two was not measured.
        """
        columns = []
        for wanted in (multiplier, 0.0):
            at = np.flatnonzero(self.multipliers == wanted)
            if not len(at):
                raise SteerError(
                    f"the effect at {multiplier:g} needs the multipliers {multiplier:g} and 0 among {list(self.multipliers)}"
                )
            columns.append(self.values[:, at[0]])
        effect: Array = columns[0] - columns[1]
        return effect


@checks_arguments
def propensity_curve(
    model: Model,
    items: Iterable[ItemLike],
    vector: SteeringVector | Intervention | None,
    *,
    multipliers: Sequence[float] = MULTIPLIERS,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    context: Context = AS_GIVEN,
    allow_mismatch: tuple[str, ...] = (),
) -> PropensityCurve:
    """Measure the propensity of every item at every multiplier.

    Args:
        vector: a steering vector (added), or any intervention; None for the unsteered model.
        multipliers: strengths; 0 is the unsteered model.
        positions: ``all``, ``after_prompt`` or ``last``; answers of several tokens are steered in every scope.
        include_first: steer the first position too where the scope reaches it.
        allow_mismatch: ``("model",)`` and / or ``("template",)``: accept a vector that was made elsewhere.

    Raises:
        DataError: no items, an item that cannot be tokenised, or one that would not be steered.
        VectorError: the intervention does not fit the model, see ``check_fits``.
        MeasurementError: a score is NaN or infinite.

    Warns:
        SteerWarning: items that repeat another one. Each has its row in ``values``; an interval over the rows would be too narrow.
    """
    return propensity_curves(
        model,
        items,
        {0: vector},
        multipliers=multipliers,
        positions=positions,
        include_first=include_first,
        context=context,
        allow_mismatch=allow_mismatch,
    )[0]


@checks_arguments
def propensity_curves(
    model: Model,
    items: Iterable[ItemLike],
    vectors: Mapping[Name, SteeringVector | Intervention | None],
    *,
    multipliers: Sequence[float] = MULTIPLIERS,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    context: Context = AS_GIVEN,
    allow_mismatch: tuple[str, ...] = (),
) -> dict[Name, PropensityCurve]:
    """The propensity curves of several interventions, each by itself, such as one vector at each of its layers.

    They share one pass over the prompts, so this costs far less than one curve after the other. Arguments and errors are
    those of :func:`propensity_curve`.

    Returns:
        {name: curve}, in the order of ``vectors``.
    """
    changes = [None if vector is None else as_intervention(vector) for vector in vectors.values()]
    (curves,) = _curves(model, items, changes, [context], False, multipliers, positions, include_first, allow_mismatch)
    return dict(zip(vectors, curves, strict=True))


@checks_arguments
def curves_in_contexts(
    model: Model,
    items: Iterable[ItemLike],
    vector: SteeringVector | Intervention,
    *,
    contexts: Sequence[Context],
    multipliers: Sequence[float] = MULTIPLIERS,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
) -> list[PropensityCurve]:
    """The same items' curves in each of several contexts, all asked of the model at once.

    Arguments and what is raised are those of :func:`propensity_curve`; an error in a context other than as given names it.
    """
    changes = [as_intervention(vector)]
    found = _curves(model, items, changes, contexts, True, multipliers, positions, include_first, allow_mismatch)
    return [curve for (curve,) in found]


def _curves(
    model: Model,
    items: Iterable[ItemLike],
    changes: Sequence[Intervention | None],
    contexts: Sequence[Context],
    name_contexts: bool,
    multipliers: Sequence[float],
    positions: Positions,
    include_first: bool,
    allow_mismatch: tuple[str, ...],
) -> list[list[PropensityCurve]]:
    """[context][intervention], all asked of the model in one run; an error names its context, or the caller knows which it is."""
    scope, grid, data = check_positions(positions), check_multipliers(multipliers), as_items(items)
    if not data:
        raise DataError(f"{data.source}: there are no items to measure")
    for change in changes:
        if change is not None:
            check_fits(model, change, allow_mismatch)
            check_dose(change, grid, "multipliers")
    asked = [_asked_in(context, model, data, scope, include_first, name_contexts) for context in contexts]
    probes = [tuple(probe for item in in_context for probe in item.probes) for in_context in asked]
    pairs = [pair for change in changes for pair in pairs_of(change, grid)]
    everything = [probe for own in probes for probe in own]
    scores = iter(engine_of(model).run_pairs(everything, pairs))
    for change in changes:
        if change is not None and change.strength == "linear" and min(grid) < max(grid):
            width = max(grid) - min(grid)
            engine_of(model).doses.check_one(everything, change, width, f"multipliers no more than {width:.2g} apart")
    curves = []
    for in_context, own in zip(asked, probes, strict=True):
        parts = np.split(propensities(in_context, scores, len(pairs)), len(changes), axis=1) if changes else []
        labels = tuple(item.label for item in in_context)
        curves.append([PropensityCurve(part, np.array(grid), data, own, labels, tuple(in_context)) for part in parts])
    warn_of_repeats([item.form for item in data], "items")
    return curves


def warn_of_repeats(forms: Sequence[Hashable], unit: str) -> None:
    """Warn the caller of a measure that keeps a row for each unit, also for one that repeats another."""
    if (left := len(forms) - len(set(forms))) > 0:
        warn_caller(
            f"{left} of these {len(forms)} {unit} repeat another one (white space aside): each has its row, and {len(forms) - left} are distinct, "
            "so an interval over all rows is too narrow"
        )


def pairs_of(change: Intervention | None, grid: Sequence[float]) -> list[tuple[Intervention | None, float]]:
    """What each point of a curve is. An intervention that ignores its strength acts at every multiplier, but 0 is the
    unsteered model on every curve."""
    ignored = change is not None and change.strength == "ignored"
    return [(None if multiplier == 0 and ignored else change, multiplier) for multiplier in grid]


def _asked_in(
    context: Context, model: Model, items: Items, scope: Positions, include_first: bool, name_context: bool
) -> list[Asked]:
    try:
        return [asked_of(model, item, scope, include_first, context) for item in items]
    except DataError as error:
        if context == AS_GIVEN or not name_context:
            raise
        raise type(error)(f"in {context!r}: {error}") from None


def check_multipliers(multipliers: Sequence[float]) -> list[float]:
    """The multipliers as floats.

    Raises:
        SteerError: none, or one that is not a finite number.
    """
    try:
        grid = [float(m) for m in multipliers]
    except (TypeError, ValueError):
        raise SteerError(f"multipliers are a list of numbers, not {multipliers!r}") from None
    if not grid or not (np.abs(grid) <= LARGEST).all():
        raise SteerError(f"multipliers are a list of finite numbers that float32 can hold, not {grid}")
    return grid


def check_deployed(multiplier: float) -> None:
    """Refuse a deployed multiplier that steers nothing.

    Raises:
        SteerError: it is no number, 0, not finite or too large for float32.
    """
    if not isinstance(multiplier, numbers.Real) or not (multiplier and abs(multiplier) <= LARGEST):
        raise SteerError(
            f"the deployed multiplier has to be a finite number other than 0 that float32 can hold, not {multiplier}"
        )


_LARGEST_DOSE = 1e18


def check_dose(change: Intervention, multipliers: Sequence[float], key: str) -> None:
    """Refuse multipliers at which the change overflows float32, whatever the model makes of it: norms are roots of sums of squares.

    Args:
        key: ``multiplier`` or ``multipliers``, where they were given.

    Raises:
        SteerError: names the multiplier and the key.
    """
    norm = max(change.vector.norms.values()) if change.vector is not None else 1.0
    for multiplier in multipliers:
        if abs(multiplier) * norm > _LARGEST_DOSE:
            size = f"by {abs(multiplier) * norm:.2g}" if change.vector is not None else f"as far as {multiplier:g} says"
            of = " (of multipliers)" if key == "multipliers" else ""
            error = SteerError(
                f"multiplier {multiplier:g}{of} moves the hidden states {size}, and the square of more than {_LARGEST_DOSE:g} overflows float32, so "
                "nothing of the model would be measured. Use a multiplier at which the model still works, such as 1"
            )
            error.key = key
            raise error


def check_slope_grid(multipliers: Sequence[float] | Array) -> None:
    """Refuse multipliers that cannot give a slope.

    Raises:
        SteerError: fewer than two distinct ones, or so close that the square of their distance is 0.
    """
    grid = np.asarray(multipliers, dtype=float)
    if len(np.unique(grid)) < 2 or not (grid - grid.mean()) @ (grid - grid.mean()) > 0:
        raise SteerError(
            f"the multipliers {grid.tolist()} cannot give a slope: at least two different ones are needed"
            + (", further apart than these" if len(np.unique(grid)) > 1 else "")
        )
