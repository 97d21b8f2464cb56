"""What is searched for the worst context, and what was found. Does not load Hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..prompting import Context
from ..prompting.flat import Read
from ..run_context import Effort
from .trials import Trial

if TYPE_CHECKING:
    from .search import Space


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which contexts are searched, and how.

    Attributes:
        space: the contexts: a Hypothesis strategy.
        free: its axes are independent, so that values of them may be recombined and set back to "as given".
        every: all contexts of the space, if they are known and no more than the number that it is called with; else None.
        read: makes a context of what ``Context.to_dict`` gives; from what is seen in the space if None.
        max_contexts: how many contexts are tried, besides those named below.
        batch: how many items the search measures, at most half of them.
        listed: contexts that are always tried first (a claim file's regressions).
        memory: folder in which contexts that broke the promise are kept, to be tried first the next time; None keeps none.
        place: what the claim is called in that database.
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
    """What the search came to.

    Attributes:
        worst: the worst context tried.
        smallest: the simplest one that breaks the promise at least half as badly as the worst one tried before anything was
            shrunk; None if no context breaks it.
        exhausted: every context of the space was tried.
    """

    worst: Trial
    smallest: Trial | None
    exhausted: bool = False
