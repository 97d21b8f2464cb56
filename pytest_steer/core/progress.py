"""Progress of long work, and of searches. Silent unless the run shows it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from .run_context import current_run


def report(text: str) -> None:
    """Show what is being done, where the run has a place for it."""
    show = current_run().progress
    if show is not None:
        show(text)


def looking(count: int, *, sure: bool) -> AbstractContextManager[None]:
    """The body measures so many of what a search tries.

    Args:
        count: 0 for what is measured beside it, in a context or at a multiplier that may be known by then.
        sure: it does so whatever the scores are.
    """
    looks = current_run().looks
    return nullcontext() if looks is None else looks.look(count, sure=sure)


def most_looks(count: int, what: str) -> None:
    """The limits of a search, which tries at most so many ``contexts`` or ``multipliers``."""
    looks = current_run().looks
    if looks is not None:
        looks.most(count, what)
