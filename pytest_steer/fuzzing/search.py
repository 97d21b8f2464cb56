"""Hypothesis as a searcher: draws contexts, climbs towards the worst one, shrinks one that is bad enough, remembers it.

A function says how bad a context is. Every setting and the seed are given explicitly, so the same seed gives the same contexts,
whatever profile, seed or database the user has chosen for their tests. :class:`Remembered` keeps contexts from one run to the next.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import Phase, target
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.strategies import SearchStrategy

from ..core.errors import DataError, SteerError, warn_caller
from ..core.evidence import Json
from ..prompting import Axis
from ..prompting.contexts import Context, Read, as_text, identity
from ..soundness.examples import draw

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
    met: list[Context] = []
    draw(space, met.append, Phase.generate, examples=examples, seed=seed)
    found: dict[str, Context] = {}
    for context in met[:first]:
        found.setdefault(identity(context), context)
    return list(found.values())


@dataclass(frozen=True)
class Survey:
    """The contents of a space, as found in 200 contexts drawn from it.

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
    met: list[Context] = []
    draw(space, met.append, Phase.generate, examples=200, seed=seed)
    values: dict[str, Json] = {}
    axes: dict[str, Axis] = {}
    for context in met:
        for name, value in context.to_dict().items():
            values.setdefault(name, {}).setdefault(as_text(value), value)
        for axis, _ in context.values:
            axes.setdefault(axis.name, axis)
    pool = next((context.examples for context in met if context.examples is not None), None)
    read = partial(Context.from_dict, axes=tuple(axes.values()), examples=pool)
    return Survey({axis: list(own.values()) for axis, own in sorted(values.items())}, read, len({*map(identity, met)}))


def climb(space: Space, badness: Badness, *, examples: int, seed: int) -> None:
    """Try ``examples`` contexts: the first half at random, the others on the way up from the worst of them.

    Raises:
        SteerError: what ``badness`` raises ends the search.
    """

    def look(context: Context) -> None:
        target(badness(context), label=_LABEL)

    draw(space, look, Phase.generate, Phase.target, examples=examples, seed=seed)


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
        draw(space, look, Phase.generate, Phase.target, Phase.shrink, examples=examples, seed=seed)
    except _BadEnough:
        return simplest
    return None


class Remembered:
    """The bad contexts of one claim, in a Hypothesis example database.

    They are kept as ``Context.to_dict``, not as the random choices that led to them, so that they outlive a change of Hypothesis.
    The key holds the claim and the space that is searched: contexts that were found before its axes changed are not tried.
    Each claim has its folder in ``folder``, and every entry is written whole or not at all, so several processes can share it.

    Attributes:
        folder: where the database is; made when the first context is saved.
    """

    def __init__(self, folder: Path, claim: str, space: Space) -> None:
        self.folder = folder
        # Addresses in the text of a strategy differ from run to run.
        described = re.sub(r"0x[0-9a-fA-F]+", "", repr(space))
        self._key = hashlib.sha256(f"{claim}\0{described}".encode()).digest()
        self._database = DirectoryBasedExampleDatabase(folder)

    def contexts(self, read: Read) -> list[Context]:
        """What is remembered, the simplest first. An entry that is damaged, or no context any more, is dropped."""
        found = []
        for entry in sorted(self._database.fetch(self._key), key=lambda entry: (len(entry), entry)):
            try:
                found.append(read(json.loads(entry)))
            except (ValueError, TypeError, DataError):
                self._database.delete(self._key, entry)
        return found

    def save(self, context: Context) -> None:
        """Keep a context.

        Warns:
            SteerWarning: it could not be written. The database says nothing then.
        """
        entry = identity(context).encode()
        self._database.save(self._key, entry)
        if entry not in self._database.fetch(self._key):
            self._database.delete(self._key, entry)  # a full disk may have left a part of it
            warn_caller(f"the context that broke the claim is not kept: {self.folder} is full or cannot be written to")

    def forget(self, context: Context) -> None:
        self._database.delete(self._key, identity(context).encode())
