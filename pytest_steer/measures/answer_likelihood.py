"""Likelihoods of the two answers of items under steering, each side by itself (Pres et al. 2024, arXiv 2410.17245)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..core.errors import DataError, SteerError
from ..data import ItemLike, Items, as_items
from ..model import Model, Probe, check_fits, engine_of
from ..model.arguments import checks_arguments
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, Positions, SteeringVector, as_intervention, check_positions
from .asking import Array, Asked, asked_of, finite, sides_of
from .propensity import MULTIPLIERS, PropensityCurve, check_multipliers, pairs_of

QUARTILES = ("lowest", "second", "third", "highest")


@dataclass(frozen=True, eq=False)
class AnswerLikelihoods:
    """Log-likelihoods of the matching and of the not matching answers of items over multipliers.

    Attributes:
        matching / not_matching: float64 [n_items, n_multipliers], in nats per token: the mean log-likelihood of the answer's own
            tokens, which are those that hold a character of it; of a label in brackets, its first token that differs from the other's.
            Several alternative answers of one side count as the log of the sum of the exponentials of their means, as in propensity.
            With ``answers: sum`` the tokens' log-likelihoods are added up.
        multipliers: float64 [n_multipliers], as they were given.
        items: the items, in order.
        probes: what was asked of the model.
        asked: how each item was asked and read.
    """

    matching: Array
    not_matching: Array
    multipliers: Array
    items: Items
    probes: tuple[Probe, ...] = field(repr=False, default=())
    asked: tuple[Asked, ...] = field(repr=False, default=())

    @cached_property
    def curve(self) -> PropensityCurve:
        """The propensity curve of the same scores: matching minus not matching."""
        labels = tuple(item.label for item in self.asked) or None
        return PropensityCurve(
            self.matching - self.not_matching, self.multipliers, self.items, self.probes, labels, self.asked
        )

    def changes(self, multiplier: float) -> tuple[Array, Array]:
        """([n_items], [n_items]) what steering at a multiplier changes the matching and the not matching answers by, against 0.

        Raises:
            SteerError: one of the two multipliers was not measured.
        """
        steered, base = self.column(multiplier), self.column(0.0)
        return self.matching[:, steered] - self.matching[:, base], self.not_matching[:, steered] - self.not_matching[:, base]

    def column(self, multiplier: float) -> int:
        """Where a multiplier stands.

        Raises:
            SteerError: it was not measured.
        """
        at = np.flatnonzero(self.multipliers == multiplier)
        if not len(at):
            raise SteerError(f"multiplier {multiplier:g} was not measured: it is not among {self.multipliers.tolist()}")
        return int(at[0])


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
    scope, grid, data = check_positions(positions), check_multipliers(multipliers), as_items(items)
    if not data:
        raise DataError(f"{data.source}: there are no items to measure")
    change = None if vector is None else as_intervention(vector)
    if change is not None:
        check_fits(model, change, allow_mismatch)
    asked = tuple(asked_of(model, item, scope, include_first, context, likelihoods=True) for item in data)
    probes = tuple(probe for item in asked for probe in item.probes)
    scores = engine_of(model).run_pairs(probes, pairs_of(change, grid))
    sides = [finite(side, "a log-likelihood") for side in sides_of(asked, scores, len(grid))]
    return AnswerLikelihoods(sides[0], sides[1], np.array(grid), data, probes, asked)


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
