"""What a search of contexts is made of: which items it sees, and how the running test searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Items, Sample
from ..errors import DataError, SteerError
from ..fuzzing.trials import Search
from ..prompting import Context
from ..run_context import current_run

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def divided(
    sample: Sample[Items], source: str, usual: int, batch: int | None, *, seed: int
) -> tuple[Sample[Items], Sample[Items]]:
    """The batch that is searched on, drawn at random, and the other items; both in the order of the data set, clusters whole.

    Args:
        source: of the items, for messages.
        usual: the size of the batch if ``batch`` does not say it, or half of the items if they are fewer.

    Raises:
        DataError: fewer than four items, or fewer than two would be left.
    """
    count = len(sample.units)
    if count < 4:
        raise DataError(
            f"{source}: has {count} item(s); holds_in_contexts needs at least four, two to search on and two that "
            "judge what the search found"
        )
    size = min(usual, count // 2) if batch is None else batch
    if size > count - 2:
        raise DataError(
            f"{source}: has {count} items, and a batch of {size} leaves {max(0, count - size)} to judge on what "
            f"the search finds; at least two are needed: take a batch of at most {count - 2}, or more items"
        )
    labels = range(count) if sample.clusters is None else sample.clusters
    chosen: set[int] = set()
    for label in np.random.default_rng(seed).permutation(sample.n)[: sample.n - 2 + (sample.n < 3)].tolist():
        if len(chosen) >= size:
            break
        chosen |= {index for index, own in enumerate(labels) if own == label}
    return sample.part(chosen), sample.part(set(range(count)) - chosen)


def search_of(
    contexts: SearchStrategy[Context] | Mapping[str, Sequence[Any]],
    listed: Sequence[Context],
    only: Context | None,
    name: str,
) -> Search:
    """How the running test searches the contexts of an assertion.

    Raises:
        SteerError: ``listed`` or ``only`` holds something else than contexts, or ``contexts`` are none.
    """
    from ..fuzzing.search import survey  # loads Hypothesis
    from ..prompting.strategies import as_space, every_context

    if not all(isinstance(one, Context) for one in (*listed, *([] if only is None else [only]))):
        raise SteerError("listed and only are Contexts: write listed=[Context(option_order='swapped')]")
    run = current_run()
    space = as_space(contexts)
    if only is None and run.context is not None:
        only = survey(space, seed=run.seed).read(run.context)
    return Search(
        space=space,
        free=isinstance(contexts, Mapping),
        every=lambda most: every_context(contexts, most=most) if isinstance(contexts, Mapping) else None,
        max_contexts=run.effort.max_contexts,
        batch=run.effort.batch,
        listed=tuple(listed),
        memory=run.counterexamples(),
        place=f"{run.place}::{name}",
        only=only,
    )
