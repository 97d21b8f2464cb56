"""A search for the worst context as plain data: what is searched, the contexts tried and which axes explain their differences.

Does not load Hypothesis.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..core.errors import DataError
from ..core.evidence import Json
from ..core.run_context import Effort, looking
from ..prompting import AS_GIVEN, Context
from ..prompting.contexts import Read, as_text, identity
from ..stats import Direction

if TYPE_CHECKING:
    from .search import Space


@dataclass(frozen=True, kw_only=True)
class Search:
    """Settings of a search for the worst context.

    Attributes:
        space: the contexts: a Hypothesis strategy.
        free: its axes are independent, so that values of them may be recombined and set back to "as given".
        every: all contexts of the space, if they are known and no more than the number that it is called with; else None.
        read: makes a context of what ``Context.to_dict`` gives; from the contents of the space if None.
        max_contexts: how many contexts are tried, in addition to those named below.
        batch: how many items the search measures, at most half of them.
        listed: contexts that are always tried first (a claim file's regressions).
        memory: folder in which contexts that broke the promise are kept, to be tried first the next time; None keeps none.
        place: the claim's name in that database.
        only: judge this context and search for no other.
    """

    space: Space
    free: bool
    every: Callable[[int], list[Context] | None] = lambda _: None
    read: Read | None = None
    max_contexts: int = Effort.max_contexts
    batch: int = Effort.batch
    listed: tuple[Context, ...] = ()
    memory: Path | None = None
    place: str = ""
    only: Context | None = None


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        worst: the worst context tried.
        smallest: the simplest one that breaks the promise at least half as badly as the worst one tried before anything was
            shrunk; None if no context breaks it.
        exhausted: every context of the space was tried.
    """

    worst: Trial
    smallest: Trial | None
    exhausted: bool = False


How = Literal["listed", "remembered", "single", "drawn", "climbed", "recombined", "shrunk"]
# Which contexts these are does not depend on what was measured in others.
_SURE: tuple[How, ...] = ("listed", "remembered", "single", "drawn")
# More combinations of the values seen than this are not enumerated; then only neighbours of the worst contexts are.
_MOST_COMBINATIONS = 5000


@dataclass(frozen=True)
class Trial:
    """One context that was tried.

    Attributes:
        estimate: the statistic over the batch.
        how: ``listed`` (as given, or in the claim file's regressions), ``remembered`` (it broke the promise in an earlier
            run), ``single`` (one axis is not as given), ``drawn`` at random, ``climbed`` or ``recombined`` (on the way to the worst), ``shrunk`` (on the way to the
            simplest).
    """

    context: Context
    estimate: float
    how: How

    def describe(self) -> dict[str, Any]:
        """The evidence's record: the axes that are not as given, and the estimate."""
        return {"context": self.context.to_dict(), "estimate": self.estimate, "how": self.how}


class Trials:
    """Measures contexts and keeps the estimates. A context is measured once.

    Attributes:
        asked: how often a context was asked about; the difference to the number of rows was answered from the table.
    """

    def __init__(
        self, measure: Callable[[Sequence[Context]], list[float]], threshold: float | None, direction: Direction
    ) -> None:
        self._measure = measure
        self.threshold, self.direction = threshold, direction
        self._rows: dict[str, Trial] = {}
        self.asked = 0

    @property
    def rows(self) -> list[Trial]:
        return list(self._rows.values())

    @property
    def worst(self) -> Trial:
        """The first of the worst ones."""
        return max(self.rows, key=lambda trial: self.badness(trial.estimate))

    def badness(self, estimate: float) -> float:
        """By how much the estimate breaks the promise; below 0 it keeps it. Without a threshold it orders the estimates, the worst last."""
        gap = (0.0 if self.threshold is None else self.threshold) - estimate
        return gap if self.direction is Direction.AT_LEAST else -gap

    def badness_in(self, context: Context, how: How) -> float:
        return self.badness(self.estimates([context], how)[0])

    def breaks(self, estimate: float) -> bool:
        return self.threshold is not None and self.badness(estimate) > 0

    def knows(self, context: Context) -> bool:
        return identity(context) in self._rows

    def estimates(self, contexts: Iterable[Context], how: How) -> list[float]:
        """The estimate in each context; those not yet known are measured together."""
        wanted = list(contexts)
        self.asked += len(wanted)
        new = {identity(context): context for context in wanted if not self.knows(context)}
        if new:
            with looking(len(new), sure=how in _SURE):
                found = self._measure(list(new.values()))
            for (key, context), estimate in zip(new.items(), found, strict=True):
                self._rows[key] = Trial(context, estimate, how)
        return [self._rows[identity(context)].estimate for context in wanted]


@dataclass(frozen=True)
class AxisShare:
    """The share of the variation between contexts that one axis explains.

    Attributes:
        share: sum over the axis' values v of n_v (mean_v - mean)^2, divided by the sum over the contexts of
            (estimate - mean)^2: the correlation ratio (eta squared), which for a full factorial design is the axis' main-effect
            share of the variance. Values that occur in one context only form one group.
        values: (value as JSON, or None for as given; number of contexts; their mean estimate), the lowest mean first.
    """

    axis: str
    share: float
    values: tuple[tuple[Any, int, float], ...]

    def describe(self) -> dict[str, Any]:
        values = [{"value": value, "n": n, "mean": mean} for value, n, mean in self.values]
        return {"axis": self.axis, "share": self.share, "values": values}


def axis_shares(trials: Sequence[Trial]) -> list[AxisShare]:
    """The share of each axis, the greatest first; none where the estimates do not differ.

    Meant for contexts that were not chosen for being bad, since those are not balanced over the axes. Shares need not add up to 1:
    combinations have their part, and in few contexts axes overlap by chance.
    """
    estimates = np.array([trial.estimate for trial in trials])
    if len(estimates) < 2 or estimates.min() == estimates.max():
        return []
    total = float(((estimates - estimates.mean()) ** 2).sum())
    found = []
    for axis in dict.fromkeys(name for trial in trials for name in trial.context.to_dict()):
        groups: dict[str, list[float]] = {}
        for trial in trials:
            groups.setdefault(as_text(trial.context.to_dict().get(axis)), []).append(trial.estimate)
        means = [(json.loads(value), len(own), float(np.mean(own))) for value, own in groups.items()]
        pooled = [own for own in groups.values() if len(own) > 1]
        single = [own[0] for own in groups.values() if len(own) == 1]
        pooled += [single] if single else []
        between = sum(len(own) * (float(np.mean(own)) - float(estimates.mean())) ** 2 for own in pooled)
        found.append(AxisShare(axis, between / total, tuple(sorted(means, key=lambda row: row[2]))))
    return sorted(found, key=lambda share: -share.share)


def recombined(
    trials: Sequence[Trial], badness: Callable[[float], float], count: int, *, read: Read, seed: int = 0
) -> list[Context]:
    """Up to ``count`` untried combinations of axis values that were seen, those most likely to be bad first.

    A sum of one term per axis value, fitted to the trials by least squares (ridge, penalty 0.1 per term), says how bad a
    combination is likely to be.
    """
    rows = [trial.context.to_dict() for trial in trials]
    axes = list(dict.fromkeys(name for row in rows for name in row))
    seen = {axis: sorted({as_text(row.get(axis)) for row in rows}) for axis in axes}
    terms = {pair: column for column, pair in enumerate((axis, value) for axis in axes for value in seen[axis])}
    if not terms or count < 1:
        return []

    def code(rows: Sequence[Json]) -> np.ndarray[Any, Any]:
        coded = np.zeros((len(rows), len(terms)))
        for number, row in enumerate(rows):
            for axis in axes:
                coded[number, terms[axis, as_text(row.get(axis))]] = 1
        return coded

    bad = np.array([badness(trial.estimate) for trial in trials])
    known = code(rows)
    fitted = np.linalg.solve(known.T @ known + 0.1 * np.eye(len(terms)), known.T @ (bad - bad.mean()))
    tried = {as_text(row) for row in rows}
    combinations = [row for row in _combinations(rows, bad, axes, seen) if as_text(row) not in tried]
    if not combinations:
        return []
    # What is as likely as another comes in any order.
    combinations = [combinations[int(i)] for i in np.random.default_rng(seed).permutation(len(combinations))]
    likely = np.round(code(combinations) @ fitted, 9)
    found: list[Context] = []
    for number in np.argsort(-likely, kind="stable"):
        try:
            found.append(read(combinations[int(number)]))
        except DataError:  # values that do not go together
            continue
        if len(found) == count:
            break
    return found


def _combinations(rows: list[Json], bad: np.ndarray[Any, Any], axes: list[str], seen: dict[str, list[str]]) -> list[Json]:
    if math.prod(len(seen[axis]) for axis in axes) <= _MOST_COMBINATIONS:
        choices = [dict(zip(axes, values, strict=True)) for values in itertools.product(*seen.values())]
    else:
        worst = [rows[int(index)] for index in np.argsort(-bad, kind="stable")[:3]]
        choices = [
            {other: value if other == axis else as_text(row.get(other)) for other in axes}
            for row in worst
            for axis in axes
            for value in seen[axis]
        ]
    plain = [{axis: json.loads(value) for axis, value in choice.items()} for choice in choices]
    return [{axis: value for axis, value in choice.items() if value is not None} for choice in plain]


def without(context: Context, axis: str, read: Read) -> Context:
    """The context with one axis as given."""
    return read({name: value for name, value in context.to_dict().items() if name != axis})


def simplicity(context: Context) -> tuple[int, int]:
    """Smaller is simpler: how many axes are not as given, then how much there is to say about them."""
    return (len(context.to_dict()), 0 if context == AS_GIVEN else len(identity(context)))
