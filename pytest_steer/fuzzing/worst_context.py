"""The worst context of a search, with what earlier runs remember of the claim."""

from __future__ import annotations

from dataclasses import replace

from .context_search import Found, Search, search
from .remembered import Remembered
from .search import survey
from .trials import Trials


def find_worst(trials: Trials, asked: Search, *, max_contexts: int, seed: int) -> Found:
    """Search for the worst context, and remember the simplest one that breaks the promise.

    What is remembered is tried first, and forgotten if it breaks the promise no longer. With ``asked.only`` no other context is tried.

    Raises:
        SteerError: a context cannot be measured.
    """
    if asked.only is not None:
        trials.estimates([asked.only], "listed")
        return Found(trials.worst, None)
    around = survey(asked.space, seed=seed)
    if asked.read is not None:
        around = replace(around, read=asked.read)
    memory = None if asked.memory is None else Remembered(asked.memory, asked.place, asked.space)
    found = search(
        trials,
        asked.space,
        examples=max_contexts,
        seed=seed,
        listed=asked.listed,
        remembered=memory.contexts(around.read) if memory is not None else (),
        free=asked.free,
        survey=around,
    )
    if memory is not None:
        for context in memory.contexts(around.read):
            if not trials.breaks(trials.estimates([context], "remembered")[0]):
                memory.forget(context)
        if found.smallest is not None:
            memory.save(found.smallest.context)
    return found
