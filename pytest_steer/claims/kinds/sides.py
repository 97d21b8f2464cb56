"""``promotes`` and ``suppresses``: what steering does to the likelihood of each side's answers, judged on one side, with the other beside it."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import numpy as np

from ...core.block import Block, Curve, Line, Series, Table
from ...core.evidence import Evidence, Verdict
from ...core.finding import Finding, Weight, code
from ...core.numbers import in_brackets, number
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import LEFT_OUT, Bounds, Data, Item, SideChanges, Stratum
from ...data import Items, as_items, sample_of
from ...data.likeness import hash_of
from ...measures import AnswerLikelihoods, Array, by_quartile, normalised_changes, strata, with_label
from ...measures.ask import Ask
from ...measures.compared import bounds_of
from ...measures.propensity import Normalised, Quartile
from ...prompting.options import find_options
from ...stats import rank_correlation
from ...stats.estimators import Mean
from .. import show
from ..asserting import assertion
from ..base import OverItems
from ..common import Interval
from ..curves import WithControls, check_has_slope, compared_by_items, controls_of_no_effect
from ..findings import Found
from ..from_file import ITEMS
from ..judging import Judgement
from ..kind import claim
from ..measurement import Measurement

SIDES = ("matching", "not_matching")
DEGRADATION, BOTH_RISE = "degradation, not steering", "both sides rise"

degraded = code(
    "both-sides-fall",
    signal="The log-likelihood of the matching answers falls, and that of the others too.",
    meaning="The model is degraded and not steered, whatever the verdict (Pres et al. 2024).",
    cure="Deploy a smaller multiplier, or another vector.",
    weight=Weight.MEANINGLESS,
)
inflated = code(
    "both-sides-rise",
    signal="The log-likelihood rises on both sides, and the model is not proven to move towards what is wanted.",
    meaning="A pass on one side says nothing about which answer the model prefers.",
    cure="Claim the difference of the two sides too, with `steers`.",
    weight=Weight.DOUBTFUL,
)


@dataclass(frozen=True)
class Change:
    """What steering does to the mean log-likelihood of the answers on one side.

    Attributes:
        base / steered: unsteered, and at the deployed multiplier. at: at each multiplier.
    """

    base: float
    steered: float
    change: float
    interval: Bounds
    at: Sequence[float]


class Beside(Data):
    """The behaviour in another form.

    Attributes:
        shared: questions that are asked in both forms.
        rank_correlation: Spearman's, over these, of the effect on propensity and of the change of each side; None where there are fewer than
            three, or one of the two does not vary.
    """

    sides: Mapping[str, Change]
    shared: int
    rank_correlation: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Details(WithControls):
    """What the evidence has in ``details``.

    Attributes:
        diagnosis: what both sides together say. quartiles: by the unsteered log-likelihood of the promised side.
    """

    promised_side: str
    sides: Mapping[str, Change]
    diagnosis: str | None
    quartiles: Sequence[Quartile]
    normalised: Normalised | None
    beside: Beside | None = field(default=None, metadata=LEFT_OUT)


class OfSides(OverItems):
    """A claim about the change of one side's mean token log-likelihood at the deployed multiplier, each item paired with itself.

    Attributes:
        rises: whether a rise of the answers that are wanted is promised, or a fall of the others. The matching answers are wanted, and with
            ``direction: lowers`` those that do not match.
    """

    rises: ClassVar[bool]
    asks_likelihoods: ClassVar = True  # so that `pytest-steer show` asks about single tokens as this claim does

    beside: Annotated[
        Items | None,
        Param(
            "A file of contrast items that has the same behaviour in another form, such as the same questions with lettered answers: it is "
            "measured too and shown beside, with the rank correlation over the questions that both ask, and never judged.",
            title="The behaviour in another form",
            example="data/lettered.json",
            judges=True,
            reads=as_items,
            loads=ITEMS,
        ),
    ] = None
    interval: Interval = "t"

    def measure(self, ask: Ask) -> Measurement:
        subject, at, sample = self.subject, float(self.multiplier), self.sampled_items
        linear = subject.intervention.strength == "linear"
        grid = check_has_slope(subject, sorted({*(self.multipliers if linear else ()), 0.0, at}), by_effect=True)
        found = ask.likelihoods(sample.units, grid)
        changes = found.changes(at)
        wanted = 0 if subject.effect_sign > 0 else 1
        side, sign = (wanted, 1) if self.rises else (1 - wanted, -1)
        changed, normalised = self._sides(found, sample.clusters), _normalised(found, at, wanted)
        details = Details(
            promised_side=SIDES[side],
            sides=changed,
            diagnosis=_diagnosis(changed),
            quartiles=by_quartile(_base(found)[side], *changes),
            normalised=normalised,
        )
        also = {}
        if self.beside is not None:
            also["beside"] = other = sample_of(self.beside)
            likelihoods = ask.likelihoods(other.units, [0.0, at])
            shared, correlation = _ranked_alike(found, likelihoods, at)
            beside = Beside(
                **vars(replace(other.describe(), n=other.n)),
                sides=self._sides(likelihoods, other.clusters),
                shared=shared,
                rank_correlation=correlation,
            )
            details = replace(details, beside=beside)
        compared = compared_by_items(found.curve, found.curve, subject, self.confidence, sample.clusters)
        measured = Measurement(
            sample=sample,
            values=sign * changes[side] + 0.0,  # no -0
            estimator=Mean(self.interval, self.seed),
            statistic=f"{'rise' if self.rises else 'fall'} of {called(SIDES[side])} log-likelihood",
            probes=found.curve.probes,
            moved=lambda floor: math.sqrt(2) * floor.answer,  # a change is the difference of two scores of one answer
            curve=found.curve,
            details=details,
        )
        return measured.but(
            also=also,
            of_items=[
                {"matching_likelihood": own.tolist(), "not_matching_likelihood": others.tolist()}
                for own, others in zip(found.matching, found.not_matching, strict=True)
            ],
            compared=replace(compared, sides=_side_changes(changed, normalised)),
            fields={"strata": _strata_of(found, changes)},
        )

    def find(self, found: Found) -> Iterator[Finding]:
        details: Details = found.measured.details
        each = ", ".join(f"{called(side)} answers {with_bounds(details.sides[side])}" for side in SIDES)
        if details.diagnosis == DEGRADATION:
            yield degraded(f"{DEGRADATION} (Pres et al. 2024): the log-likelihood falls on both sides, {each}")
        meant = "down" if self.direction == "lowers" else "up"
        passes_elsewhere = found.judgement.verdict is Verdict.PASS and found.details["deployed"]["moves"] != meant
        if details.diagnosis == BOTH_RISE and passes_elsewhere:
            yield inflated(
                f"the log-likelihood rises on both sides, {each}: it is not proven that the model prefers what is wanted"
            )

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, object]:
        return controls_of_no_effect(ask, measured, judgement, seed=self.seed)

    def _sides(self, found: AnswerLikelihoods, clusters: Sequence[int] | None) -> dict[str, Change]:
        at, mean, changed = float(self.multiplier), Mean(self.interval, self.seed), {}
        for name, likelihoods, change in zip(SIDES, (found.matching, found.not_matching), found.changes(at), strict=True):
            inference, means = mean.infer(change, clusters, confidence=self.confidence), likelihoods.mean(0).tolist()
            base, steered = means[found.column(0.0)], means[found.column(at)]
            changed[name] = Change(base, steered, inference.estimate, bounds_of(inference), means)
        return changed

    # --- what it shows ---

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        """Both sides, and the other form of the behaviour."""
        details: Details = evidence.own
        for name, one in details.sides.items():
            yield Line(
                f"{called(name)} answers: log-likelihood {number(one.base)} -> {number(one.steered)} {_unit(evidence)}, change "
                f"{with_bounds(one)}"
            )
        other = details.beside
        if other is None:
            return
        rows = [
            [name, str(n), *(with_bounds(sides[side]) for side in SIDES)]
            for name, n, sides in (("here", evidence.n, details.sides), ("beside", other.n, other.sides))
        ]
        yield Table(rows, ["", "n", *map(called, SIDES)], title=f"beside, {other.source}")
        found, shared = other.rank_correlation, other.shared
        each = ", ".join(f"{_MEASURES[name]} {number(found[name])}" for name in _MEASURES)
        alike = f"{shared or 'no'} question{'' if shared == 1 else 's'} of the two {'is' if shared == 1 else 'are'} the same"
        yield Line(
            f"rank correlation (Spearman) over the {shared} questions that both ask: {each}"
            if shared > 2
            else f"{alike}: a rank correlation needs three"
        )

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        """The sides over the multiplier, by quartile and by stratum, and the items."""
        details: Details = evidence.own
        grid, sides = evidence.multipliers or [], details.sides
        yield Curve(
            [Series(f"{called(side)} answers", list(zip(grid, sides[side].at, strict=True))) for side in SIDES],
            f"log-likelihood, {_unit(evidence)}",
            marked=show.deployed_mark(evidence),
            title="Both sides",
            about="Mean token log-likelihood of the answers that match and of those that do not.",
        )
        if details.quartiles:
            rows = [
                [one.name, str(one.n), number(one.base), _signed(one.matching_change), _signed(one.not_matching_change)]
                for one in details.quartiles
            ]
            side = called(details.promised_side)
            title = f"change by quartile of the unsteered log-likelihood of the {side} answers"
            yield Table(rows, ["", "n", "unsteered", *map(called, SIDES)], title=title)
        yield from _strata(evidence)
        found = details.normalised
        if found is not None:
            promoted, suppressed, scales = found.promoted, found.suppressed, found.scales
            yield Line(
                f"on the scale of Pres et al. 2024 (divided by {number(scales[0])} unsteered, {number(scales[1])} steered): promoted "
                f"{_signed(promoted[-1])}, suppressed {_signed(suppressed[-1])}; in the quarter with most to gain {_signed(promoted[0])}, "
                f"{_signed(suppressed[0])}"
            )
        yield from show.distribution(evidence)
        yield from _worst_items(evidence)


def _nats(what: str, of: str) -> Param:
    return Param(
        f"The least mean {what} of {of}, for example 0.05.",
        title=f"Least {what} of the log-likelihood",
        example=0.05,
        at_least=0,
        unit="nats per token",
    )


@claim("promotes", title="Steering promotes the matching answers", main="nats")
class Promotes(OfSides):
    """Steering at `multiplier` raises the mean token log-likelihood of the matching answers by at least `nats`.

    The statistic is the mean over items of the change, steered minus unsteered, each item paired with itself (Pres et al. 2024, arXiv
    2410.17245, report both sides apart: see ``suppresses``). With ``direction: lowers`` the answers that do not match are the ones to
    promote. What an answer's likelihood is, is said in ``measures.answer_likelihood``.
    """

    rises: ClassVar[bool] = True
    nats: Annotated[Promise, _nats("rise", "the matching answers' mean token log-likelihood")]


@claim("suppresses", title="Steering suppresses the answers that do not match", main="nats")
class Suppresses(OfSides):
    """Steering at `multiplier` lowers the mean token log-likelihood of the answers that do not match by at least `nats`.

    The statistic is the mean over items of the fall, unsteered minus steered, each item paired with itself (Pres et al. 2024, arXiv
    2410.17245, report both sides apart: see ``promotes``). With ``direction: lowers`` the matching answers are the ones to suppress. Where
    the other side falls too, the model is degraded and not steered: a warning says so, also beside a pass.
    """

    rises: ClassVar[bool] = False
    nats: Annotated[Promise, _nats("fall", "the mean token log-likelihood of the answers that do not match")]


assert_promotes = assertion(Promotes)
assert_suppresses = assertion(Suppresses)


# --- both sides ---


def called(side: str) -> str:
    """A side in words."""
    return side.replace("_", " ")


def with_bounds(changed: Change) -> str:
    """A change with its sign and its interval."""
    return f"{_signed(changed.change)} {in_brackets(changed.interval)}"


def _diagnosis(changed: Mapping[str, Change]) -> str | None:
    """What both sides together say: that the model is degraded where both are proven to fall (Pres et al. 2024), or that both rise."""
    bounds = [changed[name].interval for name in SIDES]
    if all(high is not None and high < 0 for _, high in bounds):
        return DEGRADATION
    return BOTH_RISE if all(low is not None and low > 0 for low, _ in bounds) else None


def _base(found: AnswerLikelihoods) -> tuple[Array, Array]:
    column = found.column(0.0)
    return found.matching[:, column], found.not_matching[:, column]


def _normalised(found: AnswerLikelihoods, at: float, wanted: int) -> Normalised | None:
    column, sides = found.column(at), (found.matching, found.not_matching)
    pairs = [(base, side[:, column]) for base, side in zip(_base(found), sides, strict=True)]
    return normalised_changes(pairs[wanted], pairs[1 - wanted])


def _side_changes(changed: Mapping[str, Change], normalised: Normalised | None) -> SideChanges:
    """The changes of both sides; of the normalised changes those over all items."""
    matching, other = (changed[name] for name in SIDES)
    over_all = (None, None) if normalised is None else (normalised.promoted[-1], normalised.suppressed[-1])
    return SideChanges(matching.change, matching.interval, other.change, other.interval, *over_all)


def _strata_of(found: AnswerLikelihoods, changes: tuple[Array, Array]) -> list[Stratum]:
    """The strata of the curve, each with the mean change of both sides."""
    return [
        replace(stratum, matching_change=float(changes[0][own].mean()), not_matching_change=float(changes[1][own].mean()))
        for stratum, (_, own) in zip(strata(found.curve), with_label(found.curve), strict=True)
    ]


# --- the same behaviour in another form ---

# What stands before a list of options and is no part of the question: CAA writes "Choices:".
_HEADING = re.compile(r"\n\s*(?:choices|options|answers?)\s*:\s*$", re.IGNORECASE)
_MEASURES = {"effect": "effect on propensity", "matching_change": "matching", "not_matching_change": "not matching"}


def question_of(text: str) -> str:
    """A question without the options that it lists on lines of their own, and without the line above these."""
    options = find_options(text)
    if not options:
        return text
    before = _HEADING.sub("", text[: options[0].start()].rstrip())
    return f"{before}\n{text[options[-1].end() :]}".strip() or text


def _ranked_alike(own: AnswerLikelihoods, other: AnswerLikelihoods, at: float) -> tuple[int, dict[str, float | None]]:
    """How many questions two sets of items share, and the rank correlation of each of the measures over these.

    Items of one question are averaged. Questions are the same if their words are, whatever white space, case, the punctuation at
    their ends and the options that they list.
    """
    here, there = (_by_question(found, at) for found in (own, other))
    shared = sorted(here.keys() & there.keys())
    return len(shared), {
        name: rank_correlation([here[key][index] for key in shared], [there[key][index] for key in shared])
        for index, name in enumerate(_MEASURES)
    }


def _by_question(found: AnswerLikelihoods, at: float) -> dict[str, list[float]]:
    """Of each question the mean over its items of each of the measures."""
    matching, other = found.changes(at)
    columns = np.stack([matching - other, matching, other], axis=1)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(found.items):
        places[hash_of(question_of(item.question))].append(index)
    return {key: [float(values[own].mean()) for values in columns.T] for key, own in places.items()}


# --- words ---


def _unit(evidence: Evidence) -> str:
    return "nats" if evidence.asked is not None and evidence.asked.answers == "sum" else "nats per token"


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def _strata(evidence: Evidence) -> Iterator[Block]:
    if len(evidence.strata) > 1:
        rows = [
            [f"matching answer {one.label}", str(one.n), *(_signed(getattr(one, f"{name}_change")) for name in SIDES)]
            for one in evidence.strata
        ]
        yield Table(rows, ["", "n", *map(called, SIDES)], title="strata")


def _worst_items(evidence: Evidence) -> list[Block]:
    """The items whose promised side moves least in the promised direction."""
    side = evidence.own.promised_side
    grid = evidence.multipliers or []
    base, at = grid.index(0.0), grid.index(float(evidence.multiplier or 0.0))
    sign = show.effect_sign(evidence) * (1 if side == "matching" else -1)  # of a change that is promised

    def change(item: Item) -> float:
        own = getattr(item, f"{side}_likelihood")
        return float(own[at] - own[base])

    def words(item: Item) -> str:
        likelihoods = ((one, getattr(item, f"{one}_likelihood")) for one in SIDES)
        each = (f"{called(one)} {own[base]:.2f} -> {own[at]:.2f}" for one, own in likelihoods)
        return f"change {_signed(change(item))}: {', '.join(each)}"

    ordered = sorted(evidence.items or (), key=lambda item: sign * change(item))
    return show.items_block((show.contrast_item(item, change(item), words(item)) for item in ordered), value="change")
