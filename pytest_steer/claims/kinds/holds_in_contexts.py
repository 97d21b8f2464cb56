"""``holds_in_contexts``: the promise holds in the worst context that a search can find.

The statistic of a claim is measured in each context over one fixed batch of items; the search goes for the context where it is
worst (``worst_context.py``). The worst of many contexts on one batch is an extreme value and no evidence (REFERENCE, section 6),
so the claim is judged in that one context on items that the search did not see: pass if the bound on the far side is past
the threshold, fail if the other one is, as for any claim. There is no interval over contexts, and a pass does not say that
no context is worse.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from ...core.block import Block, Estimate, Intervals, Line, Table
from ...core.errors import DataError, SteerError
from ...core.evidence import Evidence
from ...core.finding import Finding, Weight, code
from ...core.numbers import number
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import LEFT_OUT, Bounds
from ...core.run_context import current_run, looking
from ...data import ContrastItem, Items, Sample, as_items, sample_of
from ...data.likeness import normal_form
from ...fuzzing.trials import AxisShare, Search, Trial, Trials, axis_shares
from ...fuzzing.trials import Found as Searched
from ...measures import Array, NoiseFloor, PropensityCurve
from ...measures.ask import Ask
from ...measures.compared import bounds_of
from ...model import Model, engine_of
from ...prompting import AS_GIVEN, Context, PromptFormat, render_item
from ...stats import Direction, Inference, Verdict
from ...stats.estimators import Estimator, Mean, Share
from .. import show
from ..asserting import assertion
from ..base import OverItems
from ..common import WEAK_MEAN, WEAK_SHARE, Interval
from ..curves import WithControls, check_has_slope, controls_of_no_effect, with_deployed
from ..judging import Judgement, exceeding_nothing, verdict_of
from ..kind import claim
from ..measurement import Measurement, counted

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    Contexts = Search | SearchStrategy[Context] | Mapping[str, Sequence[Any]]
else:
    Contexts = Any  # rather than loading Hypothesis

Statistic = Literal["steerability", "anti_steerable_share", "effect"]
STATISTICS: tuple[Statistic, ...] = ("steerability", "anti_steerable_share", "effect")

nothing_searched = code(
    "nothing-searched",
    signal="All contexts that were tried ask the items as the context as given does.",
    meaning="The claim was judged in the context as given alone.",
    cure="Name axes with values that ask in another way.",
    weight=Weight.MEANINGLESS,
)


@dataclass(frozen=True)
class Look:
    """A context in which the items were measured that the search did not see."""

    context: Context
    curve: PropensityCurve
    found: Inference
    verdict: Verdict


@dataclass(frozen=True)
class Tried:
    """A context of the search, as its axes that are not as given, with the statistic on the batch."""

    context: Mapping[str, object]
    estimate: float
    how: str

    @staticmethod
    def of(trial: Trial) -> Tried:
        return Tried(trial.context.to_dict(), trial.estimate, trial.how)


@dataclass(frozen=True)
class Judged:
    """A context that was judged."""

    context: Mapping[str, object]
    estimate: float
    interval: Bounds
    verdict: str


@dataclass(frozen=True)
class Scores:
    """How many scores the model computed, and answered from memory."""

    computed: int
    saved: int


@dataclass(frozen=True, kw_only=True)
class Details(WithControls):
    """What the search tried and found, and the contexts that were judged.

    Attributes:
        context: that decides. contexts: all that were tried. breaking: how many of them miss the threshold. worst / unconfirmed: of the search.
        axes: what each explains of the variation between the ``unchosen`` contexts, which were not chosen for being bad.
    """

    statistic: Statistic
    context: Mapping[str, object]
    contexts: Sequence[Tried]
    tried: int
    exhausted: bool
    breaking: int
    worst: Tried
    as_given: float | None
    unconfirmed: Tried | None
    judged: Sequence[Judged]
    axes: Sequence[AxisShare]
    unchosen: int
    batch: Sequence[str]
    seed: int
    max_contexts: int
    forwards: Scores | None = field(default=None, metadata=LEFT_OUT)


@claim(
    "holds_in_contexts",
    title="The promise holds in the worst context that a search finds",
    main="steerability",
    one_of=STATISTICS,
    not_with={"multipliers": "effect", "interval": "anti_steerable_share"},
)
class HoldsInContexts(OverItems):
    """What is promised of every context in `contexts`: one of steerability, anti_steerable_share, effect, such as `{steerability: 0.1}`.

    Steerability is the mean slope, anti_steerable_share the share of items whose slope is <= 0, effect the mean propensity at the deployed
    multiplier minus that at 0. A batch of the items, of which there are at least four, is searched on, and the others judge what was found
    (docs/fuzzing.md). Clusters are searched on, or judge, as a whole. ``context`` says how items are asked and read where a context leaves
    that as given: template, thinking, date, answers.

    Raises:
        SteerError: not exactly one promise, or contexts that are none.
    """

    contexts: Annotated[
        Contexts,
        Param(
            'A strategy (`pytest_steer.contexts(...)`), or its axes as a mapping, `{"option_order": ["as_given", "swapped"]}`. With a mapping, '
            'every combination of the values and "as given" is allowed, so the search may recombine them and set axes back; a strategy\'s '
            "contexts are only drawn, climbed and shrunk by Hypothesis.",
            in_files=False,
        ),
    ]
    listed: Annotated[Sequence[Context], Param("Contexts that are always tried, before any other.", in_files=False)] = ()
    only: Annotated[Context | None, Param("Judge this context and search for no other.", in_files=False)] = None
    steerability: Annotated[
        Promise,
        Param(
            "The least mean steerability in any context: the change of propensity per unit of multiplier, for example 0.1.",
            title="Least mean steerability",
            example=0.1,
            weak_to=-1,
            weak=WEAK_MEAN,
        ),
    ] = None
    anti_steerable_share: Annotated[
        Promise,
        Param(
            "The largest share of items whose steerability is not above 0, in any context: 0.25 means 25 %.",
            title="Largest share of anti-steerable items",
            example=0.25,
            above=0,
            below=1,
            weak_from=0.6,
            weak=WEAK_SHARE,
        ),
    ] = None
    effect: Annotated[
        Promise,
        Param(
            "The least mean effect in any context: propensity at `multiplier` minus propensity at 0, for example 0.1.",
            title="Least mean effect",
            example=0.1,
            weak_to=-1,
            weak=WEAK_MEAN,
        ),
    ] = None
    max_contexts: Annotated[
        int | None,
        Param(
            "How many contexts are looked at; without it, what --steer-profile says.",
            title="Number of contexts",
            example=40,
            at_least=1,
        ),
    ] = None
    batch: Annotated[
        int | None,
        Param(
            "How many items the search sees, the others judge what it finds; without it, what --steer-profile says.",
            title="Size of the batch",
            example=16,
            at_least=2,
        ),
    ] = None
    interval: Interval = "t"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.search

    @property
    def statistic(self) -> Statistic:
        """The one of the three that is promised."""
        return next(name for name in STATISTICS if getattr(self, name) is not None)

    @cached_property
    def sampled_items(self) -> Sample[Items]:
        return sample_of(as_items(self.items), self.cluster, at_least=0)

    @cached_property
    def search(self) -> Search:
        """How the contexts are searched.

        Raises:
            SteerError: ``listed`` or ``only`` holds something else than contexts, or ``contexts`` are none.
        """
        from ...fuzzing.search import survey  # loads Hypothesis
        from ...prompting.strategies import as_space, every_context

        given, only, run = self.contexts, self.only, current_run()
        if not all(isinstance(one, Context) for one in (*self.listed, *([] if only is None else [only]))):
            raise SteerError("listed and only are Contexts: write listed=[Context(option_order='swapped')]")
        if isinstance(given, Search):
            listed = (*given.listed, *self.listed)
            return replace(given, place=given.place or self.name, listed=listed, only=given.only if only is None else only)
        space = as_space(given)
        if only is None and run.context is not None:
            only = survey(space, seed=run.seed).read(run.context)
        return Search(
            space=space,
            free=isinstance(given, Mapping),
            every=lambda most: every_context(given, most=most) if isinstance(given, Mapping) else None,
            max_contexts=run.effort.max_contexts,
            batch=run.effort.batch,
            listed=tuple(self.listed),
            memory=run.counterexamples(),
            place=f"{run.place}::{self.name}",
            only=only,
        )

    def measure(self, ask: Ask) -> Measurement:
        """Search on the batch, then measure the other items in what was found.

        Raises:
            DataError: too few items, or an item that cannot be put in one of the contexts.
        """
        from ...fuzzing.worst_context import find_worst  # loads Hypothesis

        grid, search = self._grid(), self.search
        batch, fresh = divided(self.sampled_items, search.batch, self.batch, seed=self.seed)
        _ = ask.soundness  # whose forwards are not those of the search
        before = _scores(ask.model)
        trials = Trials(
            lambda contexts: [float(self._values(curve).mean()) for curve in ask.propensity_in(contexts, batch.units, grid)],
            self.threshold,
            self._direction,
        )
        max_contexts = search.max_contexts if self.max_contexts is None else self.max_contexts
        found = find_worst(trials, search, max_contexts=max_contexts, seed=self.seed)
        with looking(0, sure=False):  # the context may be known from other claims
            looks = [self._look(ask, found.worst.context, fresh, grid)]
            if looks[0].verdict is Verdict.FAIL and found.smallest is not None and found.smallest != found.worst:
                # A fixed sequence of tests: the second is made only if the first refutes the claim, and the batch alone chose
                # both, so neither needs a stricter level (Maurer, Hothorn & Lehmacher 1995).
                looks.append(self._look(ask, found.smallest.context, fresh, grid))
            decisive = looks[-1] if looks[-1].verdict is Verdict.FAIL else looks[0]
            context, curve = decisive.context.over(self.context), decisive.curve
            deployed = with_deployed(ask.within(context), curve)
        linear = self.subject.intervention.strength == "linear"
        fields: dict[str, object] = {} if linear else {"items": None}
        if decisive.verdict is Verdict.FAIL:
            broken = {"context": decisive.context.to_dict(), "estimate": decisive.found.estimate}
            fields["extra"] = {"counterexample": broken}
        measured = Measurement(
            sample=self.sampled_items,
            units=replace(counted(fresh), unit=f"{fresh.counted} that the search did not see", of=fresh),
            values=self._values(curve),
            estimator=self._estimator,
            statistic=self._words,
            direction=self._direction,
            probes=curve.probes,
            moved=lambda floor: self._moved(floor, curve),
            curve=curve,
            deployed=deployed,
            kept=(before, (trials.asked - len(trials.rows)) * len(batch.units) * len(grid)),
        )
        return measured.but(
            context=context,
            is_slope=self.statistic != "effect",
            has_slopes=linear,
            unpaired="the search may find another worst context in each run",
            compared={},
            details=self._details(trials, found, batch.units, decisive, looks, max_contexts),
            findings=[] if search.only is not None else [*self._nothing_searched(ask.model, batch.units, trials)],
            fields=fields,
        )

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, object]:
        """Random directions where there seems to be no effect, and what the search cost."""
        controls = controls_of_no_effect(ask, measured, judgement, seed=self.seed)
        (computed, answered), repeated = measured.kept
        now_computed, now_answered = _scores(ask.model)
        return controls | {"forwards": Scores(now_computed - computed, now_answered - answered + repeated)}

    # --- what is measured ---

    @property
    def _direction(self) -> Direction:
        return Direction.AT_MOST if self.statistic == "anti_steerable_share" else Direction.AT_LEAST

    @property
    def _estimator(self) -> Estimator:
        return Share() if self.statistic == "anti_steerable_share" else Mean(self.interval, self.seed)

    def _grid(self) -> list[float]:
        if self.statistic == "effect":
            return sorted({0.0, float(self.multiplier)})
        return check_has_slope(self.subject, self.multipliers, instead="Promise an effect")

    def _values(self, curve: PropensityCurve) -> Array:
        """[n_items] what the statistic is the mean of."""
        if self.statistic == "effect":
            return self._sign * curve.effects(float(self.multiplier))
        slopes = self._sign * curve.slopes
        return slopes if self.statistic == "steerability" else (slopes <= 0).astype(float)

    @property
    def _sign(self) -> int:
        return self.subject.effect_sign if self.statistic == "effect" else self.subject.slope_sign

    @property
    def _words(self) -> str:
        if self.statistic == "anti_steerable_share":
            return show.wrong_share(self._sign)
        if self.statistic == "effect":
            return "mean effect" if self._sign > 0 else "negative mean effect"
        return show.steerability(self._sign)

    def _moved(self, floor: NoiseFloor, curve: PropensityCurve) -> float:
        """How far rounding moves the statistic of one item; of a share, the share of items that it leaves open."""
        if self.statistic == "effect":
            return floor.effect
        room = floor.slope(curve.multipliers.tolist())
        return room if self.statistic == "steerability" else float((abs(curve.slopes) < room).mean())

    def _look(self, ask: Ask, context: Context, fresh: Sample[Items], grid: list[float]) -> Look:
        (curve,) = ask.propensity_in([context], fresh.units, grid)
        found = self._estimator.infer(
            self._values(curve), fresh.clusters, confidence=self.confidence, direction=self._direction
        )
        at = None if self.threshold is None else exceeding_nothing(self.threshold, self._direction)
        return Look(context, curve, found, verdict_of(found, at, self._direction, self.min_n))

    def _details(
        self, trials: Trials, found: Searched, batch: Items, decisive: Look, looks: Sequence[Look], max_contexts: int
    ) -> Details:
        rows = trials.rows
        unchosen = [row for row in rows if row.how in ("single", "drawn") or row.context == AS_GIVEN]
        suspicion = found.smallest if decisive.verdict is not Verdict.FAIL else None
        return Details(
            statistic=self.statistic,
            context=decisive.context.to_dict(),
            contexts=[*map(Tried.of, rows)],
            tried=len(rows),
            exhausted=found.exhausted,
            breaking=sum(trials.breaks(row.estimate) for row in rows),
            worst=Tried.of(found.worst),
            as_given=next((row.estimate for row in rows if row.context == AS_GIVEN), None),
            unconfirmed=None if suspicion is None else Tried.of(suspicion),
            judged=[
                Judged(one.context.to_dict(), one.found.estimate, bounds_of(one.found), one.verdict.value) for one in looks
            ],
            axes=axis_shares(unchosen),
            unchosen=len(unchosen),
            batch=[item.id for item in batch],
            seed=self.seed,
            max_contexts=max_contexts,
        )

    def _nothing_searched(self, model: Model, items: Items, trials: Trials) -> Iterator[Finding]:
        """That all contexts ask the items as the first one does, but for white space."""
        first, *others = [row.context.over(self.context) for row in trials.rows]
        form = model.format
        if any(_put(form, item, other) != _put(form, item, first) for other in others for item in items):
            return
        what = f"all others tried ({len(others)}) differ from it in white space at most" if others else "no other was tried"
        yield nothing_searched(
            f"nothing was searched but the context as given: {what}. Name axes with values that ask in another way"
        )

    # --- what it shows ---

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        """Where it was judged, and what the search did not confirm."""
        details: Details = evidence.own
        context, are_several = _shown(details.context), details.tried > 1
        if evidence.verdict is Verdict.FAIL and are_several:
            yield Line(f"the smallest context that breaks it: {context}" + ("" if details.context else ", as given"))
        else:
            yield Line(f"judged in {context}" + (", the worst context found" if are_several else ""))
        if are_several:
            tried = f"all {details.tried} contexts tried" if details.exhausted else f"searched {details.tried} contexts"
            missing = "" if evidence.threshold is None else f"; {details.breaking} of them miss the threshold"
            yield Line(
                f"{tried} on {len(details.batch)} other items{missing}; as given {number(details.as_given)}, worst "
                f"{number(details.worst.estimate)}"
            )
        if (suspicion := details.unconfirmed) is not None:
            outcome = "kept the promise" if evidence.passed else "do not prove it"
            yield Line(
                f"unconfirmed: {number(suspicion.estimate)} in {_shown(suspicion.context)} on the batch; the items that the "
                f"search did not see {outcome} in the worst context"
            )

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        """What makes the difference, the worst contexts, what it took to find them, and the items in the decisive one."""
        details: Details = evidence.own
        if details.axes:
            first = details.axes[0]
            means = [f"{show.shorten(_value(one.value), 30)} {number(one.mean)}" for one in first.values]
            if len(means) > 4:
                means = [*means[:2], "...", *means[-2:]]
            yield Line(
                f"{first.axis} explains {100 * first.share:.0f} % of the variation between the {details.unchosen} randomly drawn contexts "
                f"({', '.join(means)})"
            )
        worst_first = 1 if evidence.direction is Direction.AT_LEAST else -1
        looked_at = sorted(details.contexts, key=lambda row: worst_first * row.estimate)
        if len(looked_at) > 1:
            cells = [[number(row.estimate), show.shorten(_shown(row.context), 100)] for row in looked_at[:_MOST_ROWS]]
            yield Table(cells, ["on the batch", "context"], title="the worst contexts")
        rows = [
            Estimate(f"judged: {_named(one.context)}", one.estimate, one.interval, verdict=one.verdict)
            for one in details.judged
        ]
        shown = f"the worst {_DRAWN} of {len(looked_at)}" if len(looked_at) > _DRAWN else f"all {len(looked_at)}"
        yield Intervals(
            [*rows, *(Estimate(_named(one.context), one.estimate) for one in looked_at[:_DRAWN])],
            evidence.statistic,
            promised=show.promised_in(evidence),
            title="Contexts",
            is_drawing=True,
            about=f"Bars are bounds on items that the search did not see. Dots alone are {shown} contexts of the search, on its batch.",
        )
        if (count := details.forwards) is not None:
            yield Line(f"scores: {count.computed:,} computed, {count.saved:,} more asked for and answered from memory")
        yield from show.of_items(evidence)

    @staticmethod
    def extra(evidence: Evidence) -> dict[str, Any]:
        """The counterexample with a command, or outside of pytest an expression, that shows it again."""
        found, reproduce = evidence.counterexample, evidence.rerun
        if found is None:
            return {"counterexample": None}
        context = found["context"]
        if reproduce is None:
            reproduce = f"assert_holds_in_contexts(..., only=Context.from_dict({context!r}))"
        elif "--steer-context" not in reproduce:
            reproduce += f" --steer-context {shlex.quote(json.dumps(context, ensure_ascii=False))}"
        return {"counterexample": {**found, "reproduce": reproduce}}


assert_holds_in_contexts = assertion(HoldsInContexts)


def divided(sample: Sample[Items], usual: int, batch: int | None, *, seed: int) -> tuple[Sample[Items], Sample[Items]]:
    """The batch that is searched on, drawn at random, and the other items; both in the order of the data set, clusters whole.

    Args:
        usual: the size of the batch if ``batch`` does not say it, or half of the items if they are fewer.

    Raises:
        DataError: fewer than four items, or fewer than two would be left.
    """
    source, count = sample.units.source, len(sample.units)
    if count < 4:
        raise DataError(
            f"{source}: has {count} item(s); holds_in_contexts needs at least four, two to search on and two that "
            "judge what the search found"
        )
    size = min(usual, count // 2) if batch is None else batch
    if size > count - 2:
        raise DataError(
            f"{source}: has {count} items, and a batch of {size} leaves {max(0, count - size)} to judge on what "
            f"the search finds; at least two are needed: take a batch of at most {count - 2}, or more items"
        )
    labels = range(count) if sample.clusters is None else sample.clusters
    chosen: set[int] = set()
    for label in np.random.default_rng(seed).permutation(sample.n)[: sample.n - 2 + (sample.n < 3)].tolist():
        if len(chosen) >= size:
            break
        chosen |= {index for index, own in enumerate(labels) if own == label}
    return sample.part(chosen), sample.part(set(range(count)) - chosen)


def _scores(model: Model) -> tuple[int, int]:
    """How many scores the model has computed, and answered from memory."""
    return engine_of(model).forwards, engine_of(model).remembered


def _put(form: PromptFormat, item: ContrastItem, context: Context) -> tuple[object, ...]:
    rendered = render_item(item, form, context)
    return normal_form(rendered.prompt), rendered.matching, rendered.not_matching, context.answers


_MOST_ROWS, _DRAWN = 5, 12


def _value(value: object) -> str:
    if value is None:
        return "as given"
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _shown(values: Mapping[str, object]) -> str:
    """``Context(option_order='swapped')``, or its axes if these values make no context here."""
    try:
        return repr(Context.from_dict(values))
    except DataError:  # axes that are not registered and few-shot examples are known to the run alone
        return f"Context({', '.join(f'{name}={value!r}' for name, value in values.items())})"


def _named(context: Mapping[str, object]) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in context.items()) or "as given"
