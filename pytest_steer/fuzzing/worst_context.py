"""The search for the worst context of a batch of items, and for the simplest one that is nearly as bad.

What it finds is a suspicion: the worst of many contexts on one batch is an extreme value. ``holds_in_contexts`` judges it on other items.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from ..core.run_context import most_looks
from ..prompting import AS_GIVEN, Context
from ..prompting.contexts import Read, identity
from .search import Remembered, Survey, climb, drawn, shrunk, survey
from .trials import Found, Search, Trial, Trials, recombined, simplicity, without

# A space of which 200 draws show so few contexts holds hardly more; drawing 20 times as many then meets nearly all of them.
_FEW = 50
# The most simpler values of an axis that are tried in the place of the one that breaks the promise.
_SIMPLER = 8


def find_worst(trials: Trials, asked: Search, *, max_contexts: int, seed: int) -> Found:
    """Try contexts, fill ``trials``, and remember the simplest context that breaks the promise.

    The context as given and those listed or remembered come first; a remembered context that no longer breaks the promise is forgotten. Of
    ``max_contexts`` further contexts, if ``asked.free``, up to two fifths have one axis that is not as given; three tenths are
    Hypothesis' own, drawn at random and then on a climb to the worst (``target``); the rest recombines, in three rounds, values
    that were seen into contexts that are likely to be worse still. Without ``asked.free`` all are Hypothesis' own. Each step
    except the climb is measured in one run. A space of at most ``max_contexts`` contexts is tried whole, without a search. Shrinking
    tries at most ``max_contexts`` more. With ``asked.only`` no other context is
    tried.

    Raises:
        SteerError: a context cannot be measured.
    """
    if asked.only is not None:
        most_looks(1, "contexts")
        trials.estimates([asked.only], "listed")
        return Found(trials.worst, None)
    around = survey(asked.space, seed=seed)
    around = replace(around, read=asked.read or around.read)
    memory = None if asked.memory is None else Remembered(asked.memory, asked.place, asked.space)
    remembered = memory.contexts(around.read) if memory is not None else []
    trials.estimates([AS_GIVEN, *asked.listed], "listed")
    trials.estimates(remembered, "remembered")
    every = asked.every(max_contexts)
    if every is not None:
        trials.estimates([context for context in every if len(context.to_dict()) == 1], "single")
        trials.estimates(every, "drawn")
        most_looks(len(trials.rows), "contexts")
        return _remembering(trials, _simplest_of(trials), remembered, memory, exhausted=True)
    first = len(trials.rows)
    axes = len(around.values) if asked.free else 0
    most_looks(first + most_contexts(max_contexts, axes, shrinks=trials.threshold is not None), "contexts")
    for_hypothesis = max_contexts
    if asked.free:
        trials.estimates(_one_axis(around, 2 * max_contexts // 5), "single")
        for_hypothesis = max(1, 3 * max_contexts // 10)
    if around.distinct <= _FEW:
        for_hypothesis = min(for_hypothesis, 20 * around.distinct)
    trials.estimates(drawn(asked.space, examples=for_hypothesis, seed=seed), "drawn")
    climb(asked.space, lambda one: trials.badness_in(one, "climbed"), examples=for_hypothesis, seed=seed)
    for rounds_left in (3, 2, 1) if asked.free else ():
        left = max_contexts - (len(trials.rows) - first)
        more = recombined(trials.rows, trials.badness, math.ceil(left / rounds_left), read=around.read, seed=seed)
        trials.estimates(more, "recombined")
    limit = len(trials.rows) + max_contexts
    smallest = _smallest(trials, asked, around, limit, examples=for_hypothesis, seed=seed)
    return _remembering(trials, smallest, remembered, memory)


def most_contexts(max_contexts: int, axes: int, *, shrinks: bool) -> int:
    """How many contexts :func:`find_worst` tries at most, besides as given and those that are listed or remembered.

    Shrinking tries up to ``max_contexts`` more, then sets the axes back to as given, each of those that are left in each round, and then
    tries simpler values of those that stay.
    """
    return 2 * max_contexts + axes * (axes + 1) // 2 + axes * _SIMPLER if shrinks else max_contexts


def _remembering(
    trials: Trials, smallest: Trial | None, remembered: list[Context], memory: Remembered | None, *, exhausted: bool = False
) -> Found:
    if memory is not None and trials.threshold is not None:
        for context in remembered:
            if not trials.breaks(trials.estimates([context], "remembered")[0]):
                memory.forget(context)
        if smallest is not None:
            memory.save(smallest.context)
    return Found(trials.worst, smallest, exhausted)


def _simplest_of(trials: Trials) -> Trial | None:
    """The simplest trial that breaks the promise at least half as badly as the worst one; nothing is left to be shrunk."""
    worst = trials.worst.estimate
    enough = trials.badness(worst) / 2
    bad = [trial for trial in trials.rows if trials.breaks(worst) and trials.badness(trial.estimate) >= enough]
    return min(bad, key=lambda trial: simplicity(trial.context), default=None)


def _one_axis(around: Survey, most: int) -> list[Context]:
    """Contexts with one axis that is not as given: the first value of each axis, then the second, and so on."""
    in_turn = itertools.zip_longest(*([(axis, value) for value in own] for axis, own in around.values.items()))
    pairs = [pair for turn in in_turn for pair in turn if pair is not None]
    return [around.read({axis: value}) for axis, value in pairs[:most]]


def _smallest(trials: Trials, asked: Search, around: Survey, limit: int, *, examples: int, seed: int) -> Trial | None:
    """The simplest trial that is bad enough; at most ``limit`` contexts are known to ``trials`` afterwards, before axes are set back."""
    worst = trials.worst
    if not trials.breaks(worst.estimate):
        return None
    # A context that breaks the promise by a hair may do so by chance, and would hide the one that really breaks it. Half as
    # bad as the worst can be told from chance wherever the worst can.
    enough = trials.badness(worst.estimate) / 2
    bad = [trial.context for trial in trials.rows if trials.badness(trial.estimate) >= enough]

    def badness(context: Context) -> float:
        # With the budget spent, a new context counts as harmless, and shrinking comes to its end.
        is_spent = not trials.knows(context) and len(trials.rows) >= limit
        return -1.0 if is_spent else trials.badness_in(context, "shrunk")

    if AS_GIVEN not in bad:
        found = shrunk(asked.space, badness, lambda _, value: value >= enough, examples=examples, seed=seed)
        bad += [] if found is None else [found]
    simplest = min(bad, key=simplicity)
    if asked.free:
        simplest = _with_axes_as_given(trials, simplest, enough, around.read)
        simplest = _with_simpler_values(trials, simplest, enough, around)
    return next(trial for trial in trials.rows if identity(trial.context) == identity(simplest))


def _with_axes_as_given(trials: Trials, context: Context, enough: float, read: Read) -> Context:
    """The context with as many axes as given as it can spare, one after the other."""
    while axes := list(context.to_dict()):
        simpler = [without(context, axis, read) for axis in axes]
        found = zip(map(trials.badness, trials.estimates(simpler, "shrunk")), simpler, strict=True)
        spared = [(badness, one) for badness, one in found if badness >= enough]
        if not spared:
            break
        context = max(spared, key=lambda pair: pair[0])[1]
    return context


def _with_simpler_values(trials: Trials, context: Context, enough: float, around: Survey) -> Context:
    """The context with the simplest value of each remaining axis, among those of the survey, with which it is still bad enough."""
    for axis in context.to_dict():
        others = [around.read(context.to_dict() | {axis: value}) for value in around.values.get(axis, ())]
        simpler = sorted((c for c in others if simplicity(c) < simplicity(context)), key=simplicity)[:_SIMPLER]
        estimates = trials.estimates(simpler, "shrunk") if simpler else []
        bad = (one for one, estimate in zip(simpler, estimates, strict=True) if trials.badness(estimate) >= enough)
        context = next(bad, context)
    return context
