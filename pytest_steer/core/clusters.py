"""Clusters: units that belong together count as one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence


def clusters_of(*labelings: Sequence[Hashable]) -> tuple[int, ...] | None:
    """The cluster of each unit, numbered in order of appearance: units that share a label in any labeling are together.

    None if each unit stands for itself.
    """
    size = len(labelings[0])
    parent = list(range(size))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index] = parent[parent[index]]
        return index

    for labels in labelings:
        first: dict[Hashable, int] = {}
        for index, label in enumerate(labels):
            parent[root(index)] = root(first.setdefault(label, index))
    numbers: dict[int, int] = {}
    found = tuple(numbers.setdefault(root(index), len(numbers)) for index in range(size))
    return None if len(numbers) == size else found


def part_of(clusters: Sequence[int] | None, places: Iterable[int]) -> tuple[int, ...] | None:
    """The clusters of the units at these places; None if each of them stands for itself."""
    found = None if clusters is None else tuple(clusters[place] for place in places)
    return None if found is None or len(set(found)) == len(found) else found


def independent(size: int, clusters: Sequence[int] | None) -> int:
    """The number of independent ones among so many units: of clusters where there are some."""
    return size if clusters is None else len(set(clusters))
