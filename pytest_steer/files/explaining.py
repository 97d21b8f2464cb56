"""What the claims of a file would cost: scores, forwards, tokens and seconds, from a rehearsal of each claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from ..errors import SteerError, exceptions_named
from ..measures import Subject
from ..model import Model
from ..model.loaded import looked_at_once
from ..model.models import Models
from ..model.rehearsal import Pass, Rehearsal, rehearsing, seconds_per_cost
from ..run_context import RunContext
from .build import Builder, load_for
from .specs import BrokenClaim, ClaimSpec, Suite

MOVES = (0.0, 10.0, -10.0)
"""What steering does in the rehearsals of each claim: nothing, much, and much the other way."""


@dataclass(frozen=True)
class Course:
    """One rehearsal of a claim.

    Attributes:
        asked: scores that the claim asks for.
        computed: those that are computed; the others are known.
        cached: those that the folder of scores has.
        passes: the forwards that compute them.
        stopped: why the rehearsal ended early, or None: placeholders can be such that nothing can be said about them.
        reply_tokens: the most tokens of replies that would be written.
        judged: replies that judges would be asked about, if none is undetermined.
    """

    asked: int
    computed: int
    cached: int
    passes: tuple[Pass, ...]
    stopped: str | None = None
    reply_tokens: int = 0
    judged: int = 0

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
class Explained:
    """What a claim would cost on a model.

    Attributes:
        claim: the claim. model: the model it is measured on.
        layers: the blocks whose output is changed, or None if the claim has no vector or intervention.
        courses: one for each of ``MOVES``.
        prepared: seconds that data and vector took; 0 if they were there.
        checked: seconds of what a rehearsal runs: the check of the hooks, the dose, statistics.
        seconds: (least, most) expected seconds of the claim, data and vector included, writing and judging replies not.
    """

    claim: ClaimSpec
    model: Model
    layers: tuple[int, ...] | None
    courses: tuple[Course, ...]
    prepared: float
    checked: float
    seconds: tuple[float, float]

    def between(self, value: Callable[[Course], float]) -> tuple[float, float]:
        """The least and the most of a number over the courses."""
        values = [value(course) for course in self.courses]
        return min(values), max(values)

    @property
    def depends(self) -> bool:
        """Whether the scores decide how many are asked for."""
        return len({(course.asked, course.computed, len(course.passes)) for course in self.courses}) > 1

    def tokens(self, course: Course) -> float:
        """Tokens through all blocks: what passes through some of them counts for as large a part."""
        return sum(one.tokens(self.model) for one in course.passes)

    def plain_tokens(self, course: Course) -> int:
        """The same with one forward for each score, and for each unsteered row that scores are differences from."""
        bundles = [bundle for one in course.passes if one.what == "scores" for bundle in one.batch]
        rows = [row.probe for bundle in bundles for row in bundle.rows]
        return sum(len(probe.ids) for probe in (*rows, *(probe for bundle in bundles for probe in bundle.compared)))


@dataclass
class Explaining:
    """Explains claims one after the other; each knows the scores of those before it, as in a run.

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
        """What each of the entries would cost, or why it cannot be measured."""
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
            course, seconds = _rehearsed(claim.measure, *stages[index])
            courses.append(course)
            checked = checked or seconds  # later rehearsals find the hooks checked
        per_cost = seconds_per_cost(model, [one for course in courses for one in course.passes])
        usual = min(per_cost.values(), default=0.0)
        scoring = [sum(one.cost(model) * per_cost.get(one.way, usual) for one in course.passes) for course in courses]
        subject = getattr(claim, "subject", None)
        return Explained(
            entry,
            model,
            tuple(subject.intervention.changes) if isinstance(subject, Subject) else None,
            tuple(courses),
            prepared,
            checked,
            (prepared + checked + min(scoring), prepared + checked + max(scoring)),
        )


def _rehearsed(measure: Callable[[Model], object], model: Model, engine: Rehearsal) -> tuple[Course, float]:
    before = engine.forwards, engine.remembered, engine.disk.found if engine.disk else 0
    engine.passes, engine.reply_tokens, engine.judged_replies = [], 0, 0
    stopped = None
    start = perf_counter()
    try:
        with looked_at_once():
            measure(model)
    except SteerError as error:
        stopped = str(error)
    seconds = perf_counter() - start
    computed, remembered = engine.forwards - before[0], engine.remembered - before[1]
    cached = (engine.disk.found if engine.disk else 0) - before[2]
    of_replies = engine.reply_tokens, engine.judged_replies
    return Course(computed + remembered, computed, cached, tuple(engine.passes), stopped, *of_replies), seconds
