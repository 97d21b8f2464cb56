"""What the claims of a file would cost: scores, forwards, tokens and seconds, from a rehearsal of each claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

from ..claims import evidence_of
from ..core.errors import SteerError, exceptions_named
from ..core.run_context import RunContext, current_run, running
from ..files.build import Builder, load_for
from ..files.specs import BrokenClaim, ClaimSpec, Suite
from ..measures import Subject
from ..model import Model
from ..model.layout import Way
from ..model.loading import Models
from ..model.model import looked_at_once
from ..model.rehearsal import Pass, Rehearsal, rehearsing, seconds_per_cost

MOVES = (0.0, 10.0, -10.0)
"""What steering does in the rehearsals of each claim: nothing, much, and much the other way."""


@dataclass(frozen=True)
class Counted:
    """The counts of one part of a rehearsal.

    Attributes:
        asked: scores. computed: scores that are computed. cached: scores that are read from the folder of scores.
        written: the most tokens that replies may have. judged: replies that judges are asked about.
        passes: the forwards.
    """

    asked: int
    computed: int
    cached: int
    written: int
    judged: int
    passes: tuple[Pass, ...]

    @property
    def known(self) -> int:
        """Scores that the claims before this one asked for, or this one twice."""
        return self.asked - self.computed - self.cached

    @property
    def ways(self) -> dict[str, int]:
        """Way to the number of scores that are computed in it."""
        found: Counter[str] = Counter()
        for one in self.passes:
            if one.what == "scores":
                found[str(one.way)] += sum(len(bundle.rows) for bundle in one.batch)
        return dict(found)


@dataclass(frozen=True)
class Look(Counted):
    """A part of a search that is measured together.

    Attributes:
        count: number of contexts or multipliers it tries; 0 if it measures something else, whose scores may be known by then.
        sure: whether it is measured whatever the scores are.
    """

    count: int
    sure: bool


@dataclass(frozen=True)
class Course(Counted):
    """One rehearsal of a claim.

    Attributes:
        looks: the parts of its searches. most: the largest number they try, and of what; None without a search.
        stopped: why the rehearsal ended early, or None. Some placeholders cannot be judged.
    """

    looks: tuple[Look, ...] = ()
    most: tuple[int, str] | None = None
    stopped: str | None = None

    @property
    def sure(self) -> int:
        """The number its searches try whatever the scores are."""
        return sum(look.count for look in self.looks if look.sure)


@dataclass(frozen=True)
class Explained:
    """What a claim would cost on a model.

    Attributes:
        claim / model: the claim and its model.
        layers: the blocks whose output is changed, or None if the claim has no vector or intervention.
        courses: one for each of ``MOVES``.
        prepared: seconds that data and vector took; 0 if they were there.
        checked: seconds of what a rehearsal runs: the check of the hooks, the dose, statistics.
        per_cost: seconds per unit of :meth:`Pass.cost` for each way.
    """

    claim: ClaimSpec
    model: Model
    layers: tuple[int, ...] | None
    courses: tuple[Course, ...]
    prepared: float
    checked: float
    per_cost: Mapping[Way, float]

    def between(self, value: Callable[[Counted], float]) -> tuple[float, float]:
        """The least and the most of a number that is summed over scores or forwards.

        With a search they are bounds. The least counts what it tries whatever the scores are. The most counts all that its limits allow,
        each further context or multiplier at the cost of the costliest one rehearsed. Without a search they are the least and the most of
        the rehearsals.
        """
        each = [value(look) / look.count for course in self.courses for look in course.looks if look.count]
        ends = []
        for course in self.courses:
            least = value(course) - sum(value(look) for look in course.looks if not look.sure)
            left = course.most[0] - course.sure if course.most is not None else 0
            beside = sum(value(look) for look in course.looks if not look.count)
            ends.append((least, least + beside + left * max(each, default=0.0)))
        return min(least for least, _ in ends), max(most for _, most in ends)

    @property
    def looks(self) -> tuple[int, int, str] | None:
        """The least and the most that searches try, and of what; None without a search."""
        found = [course for course in self.courses if course.most is not None]
        if not found:
            return None
        most, what = max(course.most for course in found if course.most is not None)
        return min(course.sure for course in found), most, what

    @property
    def depends(self) -> bool:
        """Whether the scores decide how many are asked for."""
        varies = len({(course.asked, course.computed, len(course.passes)) for course in self.courses}) > 1
        least, most = self.between(lambda part: part.asked)
        return varies or least < most or (self.looks is not None and self.looks[0] < self.looks[1])

    @property
    def seconds(self) -> tuple[float, float]:
        """Expected seconds of the claim, data and vector included."""
        least, most = self.between(self._scoring)
        return self.prepared + self.checked + least, self.prepared + self.checked + most

    def _scoring(self, part: Counted) -> float:
        usual = min(self.per_cost.values(), default=0.0)
        return sum(one.cost(self.model) * self.per_cost.get(one.way, usual) for one in part.passes)

    def tokens(self, part: Counted) -> float:
        """Tokens through all blocks. A token that passes through a share of the blocks counts as that share."""
        return sum(one.tokens(self.model) for one in part.passes)

    def plain_tokens(self, part: Counted) -> int:
        """The tokens if each score, and each unsteered row that scores are compared with, had its own forward."""
        bundles = [bundle for one in part.passes if one.what == "scores" for bundle in one.batch]
        rows = [row.probe for bundle in bundles for row in bundle.rows]
        return sum(len(probe.ids) for probe in (*rows, *(probe for bundle in bundles for probe in bundle.compared)))


@dataclass
class Explaining:
    """Rehearses claims one after the other. Each knows the scores of those before it, as in a run.

    Attributes:
        run: the settings of the run that is explained.
    """

    run: RunContext
    models: Models = field(init=False)
    _builders: dict[int, Builder] = field(init=False, default_factory=dict)
    _stages: dict[int, list[tuple[Model, Rehearsal]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.models = Models(self.run)

    def all(
        self, suite: Suite, entries: Sequence[ClaimSpec | BrokenClaim]
    ) -> Iterator[tuple[ClaimSpec | BrokenClaim, Explained | SteerError]]:
        """The cost of each entry, or the error if it cannot be measured."""
        for entry in entries:
            try:
                with exceptions_named():
                    if isinstance(entry, BrokenClaim):
                        raise entry.error
                    yield entry, self._explained(suite, entry)
            except SteerError as error:
                yield entry, error

    def _explained(self, suite: Suite, entry: ClaimSpec) -> Explained:
        model = load_for(self.models, suite, self.run.model_name(entry.model, suite.model))
        builder = self._builders.setdefault(id(model), Builder(model, self.run))
        start = perf_counter()
        claim = builder.build(suite, entry)
        prepared = perf_counter() - start
        stages = self._stages.setdefault(id(model), [])
        courses, checked = [], 0.0
        for index, moves in enumerate(MOVES):
            if len(stages) == index:
                stages.append(rehearsing(model, moves=moves, like=stages[0][0] if stages else None))
            course, seconds = _rehearsed(partial(evidence_of, claim), *stages[index])
            courses.append(course)
            checked = checked or seconds  # later rehearsals find the hooks checked
        per_cost = seconds_per_cost(model, [one for course in courses for one in course.passes])
        subject = getattr(claim, "subject", None)
        return Explained(
            entry,
            model,
            tuple(subject.intervention.changes) if isinstance(subject, Subject) else None,
            tuple(courses),
            prepared,
            checked,
            per_cost,
        )


@dataclass
class _Counting:
    """Counts the requests to an engine, and those of each part of a search."""

    engine: Rehearsal
    looks: list[Look] = field(default_factory=list)
    limits: list[tuple[int, str]] = field(default_factory=list)

    def now(self) -> tuple[int, int, int, int, int, int]:
        engine = self.engine
        cached = engine.disk.found if engine.disk else 0
        asked = engine.forwards + engine.remembered
        return asked, engine.forwards, cached, engine.reply_tokens, engine.judged_replies, len(engine.passes)

    def since(self, before: tuple[int, int, int, int, int, int]) -> tuple[int, int, int, int, int, tuple[Pass, ...]]:
        *counts, _ = (now - then for now, then in zip(self.now(), before, strict=True))
        asked, computed, cached, written, judged = counts
        return asked, computed, cached, written, judged, tuple(self.engine.passes[before[-1] :])

    def most(self, count: int, what: str) -> None:
        self.limits.append((count, what))

    @contextmanager
    def look(self, count: int, *, sure: bool) -> Iterator[None]:
        before = self.now()
        yield
        self.looks.append(Look(*self.since(before), count, sure))


def _rehearsed(measure: Callable[[Model], object], model: Model, engine: Rehearsal) -> tuple[Course, float]:
    engine.passes = []
    counting, stopped = _Counting(engine), None
    before, start = counting.now(), perf_counter()
    try:
        with looked_at_once(), running(replace(current_run(), looks=counting)):
            measure(model)
    except SteerError as error:
        stopped = str(error)
    seconds = perf_counter() - start
    most = (sum(count for count, _ in counting.limits), counting.limits[0][1]) if counting.limits else None
    return Course(*counting.since(before), tuple(counting.looks), most, stopped), seconds
