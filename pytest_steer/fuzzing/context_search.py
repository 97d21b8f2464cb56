"""The search for the worst context, and for the simplest one that is nearly as bad. Everything here is about one batch of items.

What is found is a suspicion: the worst of many contexts on one batch is an extreme value. It is judged on other items, see
``holds_in_contexts.py``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..prompting import AS_GIVEN, Context
from ..prompting.flat import Read, identity
from ..run_context import Effort
from .trials import How, Trial, Trials, recombined, simplicity, without

if TYPE_CHECKING:
    from .search import Space, Survey


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which contexts are searched, and how.

    Attributes:
        space: the contexts: a Hypothesis strategy.
        free: its axes are independent, so that values of them may be recombined and set back to "as given".
        read: makes a context of what ``Context.to_dict`` gives; from what is seen in the space if None.
        max_contexts: how many contexts are looked at, besides those named below.
        batch: how many items the search sees, but no more than half of them.
        listed: contexts that are always tried first (a claim file's regressions).
        memory: folder of the example database in which what broke the promise is kept, to be tried first the next time; none if None.
        place: what the claim is called in that database.
        only: judge this context and search for no other.
    """

    space: Space
    free: bool
    read: Read | None = None
    max_contexts: int = Effort.max_contexts
    batch: int = Effort.batch
    listed: tuple[Context, ...] = ()
    memory: Path | None = None
    place: str = ""
    only: Context | None = None


@dataclass(frozen=True)
class Found:
    """What the search came to.

    Attributes:
        worst: the worst context tried.
        smallest: the simplest one that breaks the promise at least half as badly as the worst one tried before anything was
            shrunk; None if no context breaks it.
    """

    worst: Trial
    smallest: Trial | None


def search(
    trials: Trials,
    space: Space,
    *,
    examples: int,
    seed: int,
    listed: Sequence[Context] = (),
    remembered: Sequence[Context] = (),
    free: bool,
    survey: Survey,
) -> Found:
    """Tries contexts and fills ``trials``.

    As given and what is listed or remembered come first. With ``free``, of ``examples`` further contexts up to two fifths have one
    axis that is not as given; three tenths are Hypothesis' own, drawn at random and then on a climb to the worst (``target``); what
    is left recombines, in three rounds, values that were seen into contexts that are likely to be worse still. Without ``free``
    all are Hypothesis' own. But for the climb, each step is measured in one go. Shrinking looks at no more than ``examples``
    further ones.

    Args:
        free: the axes are independent: every combination of values belongs to the space, and so does "as given".
        survey: what the space is made of.

    Raises:
        SteerError: a context cannot be measured.
    """
    from .search import climb, drawn

    trials.estimates([AS_GIVEN, *listed], "listed")
    trials.estimates(remembered, "remembered")
    first = len(trials.rows)
    for_hypothesis = examples
    if free:
        trials.estimates(_one_axis(survey, 2 * examples // 5), "single")
        for_hypothesis = max(1, 3 * examples // 10)
    trials.estimates(drawn(space, examples=for_hypothesis, seed=seed), "drawn")
    climb(space, _one_by_one(trials, "climbed"), examples=for_hypothesis, seed=seed)
    for rounds_left in (3, 2, 1) if free else ():
        left = examples - (len(trials.rows) - first)
        more = recombined(trials.rows, trials.badness, math.ceil(left / rounds_left), read=survey.read, seed=seed)
        trials.estimates(more, "recombined")
    smallest = _smallest(trials, space, for_hypothesis, seed, examples, survey.read if free else None)
    return Found(trials.worst, smallest)


def _one_axis(survey: Survey, most: int) -> list[Context]:
    """Contexts with one axis that is not as given: the first value of each axis, then the second, and so on."""
    values = survey.values
    in_turn = itertools.zip_longest(*([(axis, value) for value in own] for axis, own in values.items()))
    pairs = [pair for turn in in_turn for pair in turn if pair is not None]
    return [survey.read({axis: value}) for axis, value in pairs[:most]]


def _smallest(trials: Trials, space: Space, for_hypothesis: int, seed: int, limit: int, read: Read | None) -> Trial | None:
    from .search import shrunk

    worst = trials.worst
    if not trials.breaks(worst.estimate):
        return None
    # Not every context that is beyond the threshold by a hair: where as given is, by chance, the context that really breaks
    # would never be seen. Half as bad as the worst can be told from chance wherever the worst can.
    enough = trials.badness(worst.estimate) / 2

    def is_bad_enough(estimate: float) -> bool:
        return trials.badness(estimate) >= enough

    bad = [trial.context for trial in trials.rows if is_bad_enough(trial.estimate)]
    most = len(trials.rows) + limit
    measure = _one_by_one(trials, "shrunk")

    def badness(context: Context) -> float:
        # With the budget spent, a new context counts as harmless, and shrinking comes to its end.
        if not trials.knows(context) and len(trials.rows) >= most:
            return -1.0
        return measure(context)

    if AS_GIVEN not in bad:
        by_hypothesis = shrunk(space, badness, lambda context, value: value >= enough, examples=for_hypothesis, seed=seed)
        if by_hypothesis is not None:
            bad.append(by_hypothesis)
    simplest = min(bad, key=simplicity)
    if read is not None:
        simplest = _with_axes_as_given(trials, simplest, is_bad_enough, read)
    return next(trial for trial in trials.rows if identity(trial.context) == identity(simplest))


def _with_axes_as_given(trials: Trials, context: Context, is_bad_enough: Callable[[float], bool], read: Read) -> Context:
    """The context with as many axes as given as it can spare, one after the other."""
    while axes := list(context.to_dict()):
        simpler = [without(context, axis, read) for axis in axes]
        estimates = trials.estimates(simpler, "shrunk")
        spared = [(trials.badness(e), c) for e, c in zip(estimates, simpler, strict=True) if is_bad_enough(e)]
        if not spared:
            break
        context = max(spared, key=lambda pair: pair[0])[1]
    return context


def _one_by_one(trials: Trials, how: How) -> Callable[[Context], float]:
    def badness(context: Context) -> float:
        return trials.badness(trials.estimates([context], how)[0])

    return badness
