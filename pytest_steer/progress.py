"""Progress of long work. Silent unless the run shows it."""

from __future__ import annotations

from .run_context import current_run


def report(text: str) -> None:
    """Show what is being done, where the run has a place for it."""
    show = current_run().progress
    if show is not None:
        show(text)
