"""The order in which replies are judged: at random, and balanced over which reply to a prompt is judged first."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def blind_order(groups: Sequence[Hashable], seed: int) -> list[int]:
    """An order of replies in which nothing tells which side a reply is from.

    The replies to one prompt are a group. Groups of one size are taken two by two: one has its replies in a random order, the other
    in the reverse of that order. So whichever two places within a group are compared, such as base and steered, each comes first in
    half of the groups, up to one. The groups are then mixed at random, and each keeps the order of its own replies.

    Args:
        groups: the group of each reply.
        seed: the order depends on it and on ``groups`` alone.

    Returns:
        Indices of ``groups``, each once.
    """
    rng = np.random.default_rng([seed, 0x6A756467])
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    by_size: dict[int, list[Hashable]] = {}
    for group, own in members.items():
        by_size.setdefault(len(own), []).append(group)
    order: dict[Hashable, list[int]] = {}
    for size, alike in by_size.items():
        permutation = rng.permutation(size)
        for at, chosen in enumerate(rng.permutation(len(alike))):
            permutation = permutation[::-1] if at % 2 else rng.permutation(size)
            order[alike[chosen]] = [members[alike[chosen]][place] for place in permutation]
    following = {group: iter(own) for group, own in order.items()}
    return [next(following[groups[at]]) for at in rng.permutation(len(groups))]
