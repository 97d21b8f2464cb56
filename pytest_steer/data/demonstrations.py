"""Which pairs of a task are shown before a query, and with which outputs."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from ..errors import DataError
from .tasks import TaskItem


def draw_demonstrations(
    query: TaskItem, pool: Sequence[TaskItem], shots: int, *, shuffled: bool = False, seed: int = 0
) -> tuple[TaskItem, ...]:
    """Pairs to show before a query, all different, in a random order.

    What is drawn depends on the query, the seed and which pairs there are, and neither on their order nor on other queries.

    Args:
        pool: what they are drawn from; the query itself, and pairs with the input of the query, are passed over.
        shuffled: deal their outputs out anew, see :func:`deal_anew`.

    Raises:
        DataError: the pool has fewer such pairs.
    """
    if not shots:
        return ()
    others = {(item.input.strip(), item.output.strip()) for item in pool if item.input.strip() != query.input.strip()}
    if len(others) < shots:
        raise DataError(
            f"task item {query.input!r}: {shots} demonstrations are asked for, but there are only {len(others)} other pairs to "
            "draw from: ask for fewer shots, or name more pairs"
        )
    content = repr((seed, shots, query.input.strip(), query.output.strip()))
    draw = random.Random(hashlib.sha256(content.encode()).digest())
    shown = [TaskItem(*pair) for pair in draw.sample(sorted(others), shots)]
    return deal_anew(shown, draw) if shuffled else tuple(shown)


def deal_anew(shown: Sequence[TaskItem], draw: random.Random) -> tuple[TaskItem, ...]:
    """The demonstrations with their outputs dealt out anew, so that as few as possible keep theirs.

    None does unless one output is that of more than half of them. The field (Todd et al. 2023, arXiv 2310.15213, section 2.3;
    ``extract.fv`` too) deals them out at random, so that some demonstrations may stay right and the shuffled baseline is a little
    too good.
    """
    order = list(range(len(shown)))
    draw.shuffle(order)
    # Those of one output side by side; then each takes the output that stands one block further on.
    first: dict[str, int] = {}
    for place, index in enumerate(order):
        first.setdefault(shown[index].output.strip(), place)
    order.sort(key=lambda index: first[shown[index].output.strip()])  # stable
    outputs = [shown[index].output for index in order]
    step = max((sum(shown[index].output.strip() == output for index in order) for output in first), default=0)
    dealt = list(shown)
    for place, index in enumerate(order):
        dealt[index] = TaskItem(shown[index].input, outputs[(place + step) % len(outputs)])
    return tuple(dealt)
