"""Hypothesis as a searcher: draws contexts, climbs towards the worst one, shrinks one that is bad enough.

A function says how bad a context is. Every setting and the seed are given explicitly, so the same seed gives the same contexts,
whatever profile, seed or database the user has chosen for their tests. ``remembered.py`` keeps contexts from one run to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import hypothesis
from hypothesis import Phase, given, target
from hypothesis.strategies import SearchStrategy

from ..data import Items
from ..errors import SteerError
from ..prompting import Axis
from ..prompting.contexts import Context
from ..prompting.flat import Read, as_text, identity
from ..soundness.examples import keeping_nothing, own_settings

Space = SearchStrategy[Context]
Badness = Callable[[Context], float]

_LABEL = "how bad the context is"


class _BadEnough(Exception):
    """Raised in a context that Hypothesis is to shrink."""


def drawn(space: Space, *, examples: int, seed: int) -> list[Context]:
    """The contexts that :func:`climb` tries before it begins to climb, in order, each once. Nothing is measured.

    With them known, all of them can be measured at once.
    """
    # Until then Hypothesis draws at random, see ConjectureRunner.generate_new_test_cases. If another version of it does so for
    # longer or shorter, the contexts that are missing here are measured one by one.
    first = max(examples // 2, 10)
    found: dict[str, Context] = {}
    count = 0

    def take(context: Context) -> None:
        nonlocal count
        count += 1
        if count <= first:
            found.setdefault(identity(context), context)

    _run(space, take, examples, seed, (Phase.generate,))
    return list(found.values())


@dataclass(frozen=True)
class Survey:
    """What a space contains, as far as 200 contexts drawn from it show.

    Attributes:
        values: values other than as given on each axis (see ``Context.to_dict``), as JSON values in the order first met.
        read: makes a context of what ``Context.to_dict`` gives, with the space's own axes and examples.
        distinct: how many different contexts they were.
    """

    values: dict[str, list[Any]]
    read: Read
    distinct: int


def survey(space: Space, *, seed: int) -> Survey:
    """Draw contexts to see what a space contains. Nothing is measured."""
    values: dict[str, dict[str, Any]] = {}
    axes: dict[str, Axis] = {}
    pools: list[Items] = []
    met: set[str] = set()

    def take(context: Context) -> None:
        met.add(identity(context))
        for name, value in context.to_dict().items():
            values.setdefault(name, {}).setdefault(as_text(value), value)
        for axis, _ in context.values:
            axes.setdefault(axis.name, axis)
        if context.examples is not None and not pools:
            pools.append(context.examples)

    _run(space, take, 200, seed, (Phase.generate,))
    read = partial(Context.from_dict, axes=tuple(axes.values()), examples=pools[0] if pools else None)
    return Survey({axis: list(own.values()) for axis, own in sorted(values.items())}, read, len(met))


def climb(space: Space, badness: Badness, *, examples: int, seed: int) -> None:
    """Try ``examples`` contexts: the first half at random, the others on the way up from the worst of them.

    Raises:
        SteerError: what ``badness`` raises ends the search.
    """

    def look(context: Context) -> None:
        target(badness(context), label=_LABEL)

    _run(space, look, examples, seed, (Phase.generate, Phase.target))


def shrunk(
    space: Space, badness: Badness, is_bad_enough: Callable[[Context, float], bool], *, examples: int, seed: int
) -> Context | None:
    """The simplest context that is bad enough, or None if :func:`climb` meets none with these examples and this seed.

    The same contexts are tried in the same order as by ``climb``; the first one that is bad enough is shrunk. A context that cannot
    be measured counts as not bad enough.
    """
    simplest: Context | None = None

    def look(context: Context) -> None:
        nonlocal simplest
        try:
            value = badness(context)
        except SteerError:
            return
        target(value, label=_LABEL)
        if is_bad_enough(context, value):
            simplest = context  # Hypothesis runs the simplest one once more at its end
            raise _BadEnough

    try:
        _run(space, look, examples, seed, (Phase.generate, Phase.target, Phase.shrink))
    except _BadEnough:
        return simplest
    return None


def _run(space: Space, look: Callable[[Context], None], examples: int, seed: int, phases: Iterable[Phase]) -> None:
    @hypothesis.seed(seed)
    @own_settings(examples, *phases)  # type: ignore[untyped-decorator]
    @given(space)
    def search(context: Context) -> None:
        look(context)

    with keeping_nothing():
        search()
