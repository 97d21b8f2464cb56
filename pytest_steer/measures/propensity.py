"""Propensity curves: how much the model leans towards the matching answer, item by item, at each multiplier.

Also what is read off them: strata (the same items split by the label of their matching answer), and the likelihoods of both answers, each
side by itself (Pres et al. 2024, arXiv 2410.17245).
"""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np

from ..core.errors import DataError, SteerError, warn_caller
from ..core.record import Stratum
from ..data import ContrastItem, ItemLike, Items
from ..model import Model, check_fits, engine_of
from ..model.arguments import checks_arguments
from ..prompting import AS_GIVEN, Context
from ..prompting.options import find_options
from ..steering import Intervention, Positions, SteeringVector, as_intervention
from .asking import AFTER_PROMPT, Array, Asked, OfAsked, Scope, asked_of, finite, items_to_measure, propensities, sides_of

# The largest number of float32, in which multipliers reach the model.
LARGEST = (2 - 2.0**-23) * 2.0**127

Name = TypeVar("Name", bound=Hashable)
Vector = SteeringVector | Intervention | None
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

# Tan et al. 2024, arXiv 2407.12404.
MULTIPLIERS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)


@dataclass(frozen=True, eq=False)
class PropensityCurve(OfAsked):
    """Propensities of items over multipliers, and what the field reads off them.

    Attributes:
        values: float64 [n_items, n_multipliers]. Propensity of an item: logit of the matching answer minus logit of the
            other at the next token (Tan et al. 2024); for answers of several tokens the difference of their mean token
            log-likelihoods. Several alternative answers on one side count as the log of their summed probability.
        multipliers: float64 [n_multipliers], as they were given.
        items: the items, in order.
        asked: how each item was asked and read.
    """

    values: Array
    multipliers: Array
    items: Items
    asked: tuple[Asked, ...] = field(repr=False, default=())

    @property
    def labels(self) -> tuple[str | None, ...]:
        """Labels of the matching answers as they were put to the model (options can be swapped or relabelled by a context)."""
        return tuple(one.label for one in self.asked or self.items)

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
        if not {multiplier, 0.0} <= {*self.multipliers.tolist()}:
            raise SteerError(
                f"the effect at {multiplier:g} needs the multipliers {multiplier:g} and 0 among {list(self.multipliers)}"
            )
        effect: Array = self.values[:, self.column(multiplier)] - self.values[:, self.column(0.0)]
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
    scope = Scope(positions, include_first, allow_mismatch)
    return propensity_curves(model, items, {0: vector}, scope, multipliers=multipliers, context=context)[0]


@checks_arguments
def propensity_curves(
    model: Model,
    items: Iterable[ItemLike],
    vectors: Mapping[Name, Vector],
    scope: Scope = AFTER_PROMPT,
    *,
    multipliers: Sequence[float] = MULTIPLIERS,
    context: Context = AS_GIVEN,
) -> dict[Name, PropensityCurve]:
    """The propensity curves of several interventions, each by itself, such as one vector at each of its layers.

    They share one pass over the prompts, so this costs far less than one curve after the other. Arguments and errors are
    those of :func:`propensity_curve`.

    Returns:
        {name: curve}, in the order of ``vectors``.
    """
    (curves,) = _curves(model, items, [*vectors.values()], scope, multipliers, [context])
    return dict(zip(vectors, curves, strict=True))


@checks_arguments
def curves_in_contexts(
    model: Model,
    items: Iterable[ItemLike],
    vector: SteeringVector | Intervention,
    scope: Scope = AFTER_PROMPT,
    *,
    contexts: Sequence[Context],
    multipliers: Sequence[float] = MULTIPLIERS,
) -> list[PropensityCurve]:
    """The same items' curves in each of several contexts, all asked of the model at once.

    Arguments and errors are those of :func:`propensity_curve`; an error in a context other than as given names it.
    """
    return [curve for (curve,) in _curves(model, items, [vector], scope, multipliers, contexts, name_contexts=True)]


def _curves(
    model: Model,
    items: Iterable[ItemLike],
    vectors: Sequence[Vector],
    scope: Scope,
    multipliers: Sequence[float],
    contexts: Sequence[Context],
    *,
    name_contexts: bool = False,
) -> list[list[PropensityCurve]]:
    """[context][intervention], all asked of the model in one run."""
    grid, data = check_multipliers(multipliers), items_to_measure(items)
    changes = [fitting(model, vector, scope, grid, "multipliers") for vector in vectors]
    asked = [_asked_in(context, model, data, scope, name_contexts) for context in contexts]
    pairs = [pair for change in changes for pair in pairs_of(change, grid)]
    probes = [probe for in_context in asked for item in in_context for probe in item.probes]
    scores = iter(engine_of(model).run_pairs(probes, pairs))
    for change in changes:
        if change is not None and change.strength == "linear" and min(grid) < max(grid):
            width = max(grid) - min(grid)
            engine_of(model).doses.check_one(probes, change, width, f"multipliers no more than {width:.2g} apart")
    curves = []
    for in_context in asked:
        parts = np.split(propensities(in_context, scores, len(pairs)), len(changes), axis=1) if changes else []
        curves.append([PropensityCurve(part, np.array(grid), data, in_context) for part in parts])
    warn_of_repeats([item.form for item in data], "items")
    return curves


def fitting(model: Model, vector: Vector, scope: Scope, grid: Sequence[float], key: str) -> Intervention | None:
    """A vector as an intervention that fits the model; None for the unsteered model.

    Args:
        grid: multipliers whose dose is checked too. key: see :func:`check_dose`.

    Raises:
        VectorError: see ``check_fits``. SteerError: see :func:`check_dose`.
    """
    if vector is None:
        return None
    change = as_intervention(vector)
    check_fits(model, change, scope.allow_mismatch)
    check_dose(change, grid, key)
    return change


def warn_of_repeats(forms: Sequence[Hashable], unit: str) -> None:
    """Warn the caller of a measure that keeps a row for each unit, also for one that repeats another."""
    if (left := len(forms) - len(set(forms))) > 0:
        warn_caller(
            f"{left} of these {len(forms)} {unit} repeat another one (white space aside): each has its row, and {len(forms) - left} are distinct, "
            "so an interval over all rows is too narrow"
        )


def pairs_of(change: Intervention | None, grid: Sequence[float]) -> list[tuple[Intervention | None, float]]:
    """The (intervention, multiplier) of each point of a curve. An intervention that ignores its strength acts at every multiplier, but 0 is the
    unsteered model on every curve."""
    ignored = change is not None and change.strength == "ignored"
    return [(None if multiplier == 0 and ignored else change, multiplier) for multiplier in grid]


def _asked_in(context: Context, model: Model, items: Items, scope: Scope, name_context: bool) -> tuple[Asked, ...]:
    try:
        return tuple(asked_of(model, item, scope, context) for item in items)
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


def strata(curve: PropensityCurve, sign: int = 1) -> tuple[Stratum, ...]:
    """One stratum per label of the matching answer; none for free-text items.

    Args:
        sign: -1 if propensity is meant to fall with the multiplier.

    Where options in brackets are called Yes and No, "(A) Yes", there are strata by letter, by Yes / No, and by both. A vector that
    moves a letter rather than the behaviour shows as a rise in one stratum and a fall in the other (Tan et al. 2024 regress the slopes
    on both; with one label against another that is the difference of the means).
    """
    found = []
    for label, own in with_label(curve):
        slopes, wrong_way = curve.slopes[own], float((sign * curve.slopes[own] <= 0).mean())
        found.append(Stratum(label=label, n=len(slopes), steerability=float(slopes.mean()), anti_steerable_share=wrong_way))
    return tuple(found)


def with_label(curve: PropensityCurve) -> list[tuple[str, Flags]]:
    """Each stratum's label, and [n_items] which items are in it."""
    return [
        (label, np.array([own == label for own in labels]))
        for labels in factors_of(curve).values()
        for label in sorted({label for label in labels if label is not None})
    ]


def explained(curve: PropensityCurve) -> dict[str, float]:
    """The share of the slopes' variance that each of the labels explains: eta squared, the sum of squares between the strata over the
    total one. Over the items that have the label; labels with fewer than two strata, or slopes that do not vary, explain nothing.

    A stratum of one item explains that item whatever it is, so those are left out. By chance alone, K strata of n items explain about
    (K - 1) / (n - 1), which then is less than a half.

    Returns:
        {"letter": ..., "yes_no": ..., "both": ...}, each where there are such strata. Of both it is at least that of either.
    """
    found = {}
    for name, labels in factors_of(curve).items():
        sizes = Counter(labels)
        has = np.array([label is not None and sizes[label] > 1 for label in labels])
        slopes, own = curve.slopes[has], [label for label in labels if label is not None and sizes[label] > 1]
        if len(set(own)) < 2:
            continue
        total = float(((slopes - slopes.mean()) ** 2).sum())
        groups = [slopes[np.array([one == label for one in own])] for label in set(own)]
        between = sum(len(group) * float(group.mean() - slopes.mean()) ** 2 for group in groups)
        found[name] = between / total if total > 0 else 0.0
    return found


def factors_of(curve: PropensityCurve) -> dict[str, Sequence[str | None]]:
    """For each kind of label (``letter``, ``yes_no``, ``both``) that of every item, None where it has none; the letter is the one that was shown."""
    items = curve.items  # a context can move or rename the letters, but not the text of the matching option
    behind = [_behind(item) for item in items]
    if not any(behind):
        lettered = any(item.is_lettered for item in items)
        return {"letter" if lettered else "yes_no": curve.labels}
    letters = [label if item.is_lettered else None for item, label in zip(items, curve.labels, strict=True)]
    words = [
        own or (None if item.is_lettered else label) for item, own, label in zip(items, behind, curve.labels, strict=True)
    ]
    both = [f"{letter}, {word}" if letter and word else None for letter, word in zip(letters, words, strict=True)]
    return {"letter": letters, "yes_no": words, "both": both}


def _behind(item: ContrastItem) -> str | None:
    """Yes or No, if the option of the matching letter says so and the other option the opposite."""
    if not item.is_lettered:
        return None
    texts = {option["label"]: option["text"].strip().rstrip(".!").capitalize() for option in find_options(item.question)}
    word, other = (texts.get(answers[0].strip()[1]) for answers in (item.matching, item.not_matching))
    return word if {word, other} == {"Yes", "No"} else None


QUARTILES = ("lowest", "second", "third", "highest")


@dataclass(frozen=True, eq=False)
class AnswerLikelihoods(OfAsked):
    """Log-likelihoods of the matching and of the not matching answers of items over multipliers.

    Attributes:
        matching / not_matching: float64 [n_items, n_multipliers], in nats per token: the mean log-likelihood of the answer's own
            tokens, which are those that hold a character of it; of a label in brackets, its first token that differs from the other's.
            Several alternative answers of one side count as the log of the sum of the exponentials of their means, as in propensity.
            With ``answers: sum`` the tokens' log-likelihoods are added up.
        multipliers: float64 [n_multipliers], as they were given.
        items: the items, in order.
        asked: how each item was asked and read.
    """

    matching: Array
    not_matching: Array
    multipliers: Array
    items: Items
    asked: tuple[Asked, ...] = field(repr=False, default=())

    @cached_property
    def curve(self) -> PropensityCurve:
        """The propensity curve of the same scores: matching minus not matching."""
        return PropensityCurve(self.matching - self.not_matching, self.multipliers, self.items, self.asked)

    def changes(self, multiplier: float) -> tuple[Array, Array]:
        """([n_items], [n_items]) what steering at a multiplier changes the matching and the not matching answers by, against 0.

        Raises:
            SteerError: one of the two multipliers was not measured.
        """
        steered, base = self.column(multiplier), self.column(0.0)
        return self.matching[:, steered] - self.matching[:, base], self.not_matching[:, steered] - self.not_matching[:, base]


@checks_arguments
def answer_likelihoods(
    model: Model,
    items: Iterable[ItemLike],
    vector: SteeringVector | Intervention | None,
    *,
    multipliers: Sequence[float] = MULTIPLIERS,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    context: Context = AS_GIVEN,
    allow_mismatch: tuple[str, ...] = (),
) -> AnswerLikelihoods:
    """Measure the mean token log-likelihood of both answers of every item at every multiplier.

    All answers and multipliers are asked of the model at once. Prompts, tokens and scope are those of :func:`propensity_curve`, whose
    arguments these are. Answers of several tokens share their scores with it.

    Raises:
        DataError: no items, an item that cannot be tokenised, or one that would not be steered.
        VectorError: the intervention does not fit the model, see ``check_fits``.
        MeasurementError: a score is NaN or infinite.
    """
    scope = Scope(positions, include_first, allow_mismatch)
    grid, data = check_multipliers(multipliers), items_to_measure(items)
    change = fitting(model, vector, scope, (), "multipliers")
    asked = tuple(asked_of(model, item, scope, context, likelihoods=True) for item in data)
    scores = engine_of(model).run_pairs([probe for item in asked for probe in item.probes], pairs_of(change, grid))
    matching, other = (finite(side, "a log-likelihood") for side in sides_of(asked, scores, len(grid)))
    return AnswerLikelihoods(matching, other, np.array(grid), data, asked)


@dataclass(frozen=True)
class Quartile:
    """A quarter of the items, by the unsteered log-likelihood of one of their answers.

    Attributes:
        name: ``lowest`` to ``highest``. n: items. base: mean unsteered log-likelihood of that answer.
        matching_change / not_matching_change: mean change of each side.
    """

    name: str
    n: int
    base: float
    matching_change: float
    not_matching_change: float


def by_quartile(base: Array, matching: Array, not_matching: Array) -> tuple[Quartile, ...]:
    """The changes of both sides by quartile of the base likelihood; none for fewer than four items.

    Items are cut into four parts of equal size by rank; the first ones are larger by one where four does not divide their number.

    Args:
        base: [n_items] unsteered log-likelihoods. matching / not_matching: [n_items] changes.
    """
    if len(base) < len(QUARTILES):
        return ()
    parts = np.array_split(np.argsort(base, kind="stable"), len(QUARTILES))
    return tuple(
        Quartile(name, len(part), float(base[part].mean()), float(matching[part].mean()), float(not_matching[part].mean()))
        for name, part in zip(QUARTILES, parts, strict=True)
    )


@dataclass(frozen=True)
class Normalised:
    """Changes on the scale of Pres et al. 2024, on which behaviours compare.

    Attributes:
        promoted / suppressed: the rise of the promoted and the fall of the suppressed answers, over the first quarter, half, three
            quarters and all of the items: those that have most to gain or lose come first.
        scales: what unsteered and steered log-likelihoods are divided by, in nats per token.
    """

    promoted: tuple[float, ...]
    suppressed: tuple[float, ...]
    scales: tuple[float, float]


def normalised_changes(promoted: tuple[Array, Array], suppressed: tuple[Array, Array]) -> Normalised | None:
    """The normalised changes of Pres et al. 2024 (arXiv 2410.17245), in the form of the function ``calc_steer_metric`` of the authors' code.

    With L the mean token log-likelihood of an answer and max L the largest of all answers of both sides, each condition by itself::

        unsteered:   l(x) = L(x) / -max L             so that the likeliest answer is at -1
        steered:     l'(x) = L'(x) / -max L'
        promoted_q   = mean of l'(x) - l(x) over the share q of the promoted answers that are least likely unsteered
        suppressed_q = mean of l(x) - l'(x) over the share q of the suppressed answers that are likeliest unsteered

    for q = 1/4, 1/2, 3/4 and 1, shares of n items rounded down. Since each condition has its own scale, all log-likelihoods can fall and
    the promoted ones still rise here: look at the changes in nats first. The code divides an answer's sum by the length of the padded
    row, prompt included; here means are over an answer's own tokens.

    Args:
        promoted / suppressed: ([n_items], [n_items]) unsteered and steered log-likelihoods.

    Returns:
        None for fewer than four items, and where an answer is certain, or several alternatives together more than that (max L >= 0).
    """
    if len(promoted[0]) < len(QUARTILES):
        return None
    scales = [-max(float(one.max()), float(other.max())) for one, other in zip(promoted, suppressed, strict=True)]
    if min(scales) <= 0:
        return None
    up, down = (steered / scales[1] - base / scales[0] for base, steered in (promoted, suppressed))
    rises, falls = up[np.argsort(promoted[0], kind="stable")], -down[np.argsort(-suppressed[0], kind="stable")]
    counts = [len(rises) * quarter // 4 for quarter in range(1, 5)]
    return Normalised(
        tuple(float(rises[:count].mean()) for count in counts),
        tuple(float(falls[:count].mean()) for count in counts),
        (scales[0], scales[1]),
    )
