"""What a claim counts: distinct units, and which of them belong together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..data import ContrastItem, Items, TaskItem
from ..data.likeness import TooManyPairs, Twins, case_twins, distinct, near_twins, normal_form, number_twins, without_order
from ..core.finding import Finding, code
from ..errors import DataError, at_key
from ..measures import Array
from ..registry import did_you_mean

_repeats = code("repeated-units", signal="s", meaning="m", cure="c")

# In characters: longer than any prompt, and looking for twins would take minutes.
_LONGEST = 4_000_000


@dataclass(frozen=True, eq=False)
class Sample:
    """The items of a claim.

    Attributes:
        items: distinct ones.
        clusters: the cluster of each item, or None if each stands for itself. key: of the items, that names the clusters.
        warnings: what the reader has to know about them.
    """

    items: Items
    clusters: tuple[int, ...] | None
    key: str | None
    warnings: tuple[str, ...]

    @cached_property
    def n(self) -> int:
        """Independent units."""
        return len(self.items) if self.clusters is None else len(set(self.clusters))

    @property
    def names(self) -> list[str]:
        return [item.id for item in self.items]

    @property
    def forms(self) -> list[tuple[str, ...]]:
        return [item.form for item in self.items]

    @property
    def called(self) -> str:
        return "items"

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(_repeats(one) for one in self.warnings)

    @property
    def drawable(self) -> int:
        """Items that may be drawn one by one."""
        return len(self.items) if self.clusters is None else 0

    def part(self, chosen: Iterable[int]) -> Sample:
        """Some of its items, in their order; clusters of one item each are none."""
        kept = sorted(chosen)
        labels = None if self.clusters is None else tuple(self.clusters[index] for index in kept)
        if labels is not None and len(set(labels)) == len(labels):
            labels = None
        return Sample(Items((self.items[index] for index in kept), self.items.source), labels, self.key, self.warnings)

    @property
    def units(self) -> Items:
        return self.items

    def describe(self) -> dict[str, Any]:
        return {"hash": self.items.hash, "n": len(self.items), "source": self.items.source}

    def counts(self) -> dict[str, Any]:
        """Fields of evidence: what n counts."""
        return {"n": self.n, "unit": "items" if self.clusters is None else "clusters"}

    def details(self) -> dict[str, Any]:
        """The evidence's ``details.clusters`` record, if there are clusters."""
        return {} if self.clusters is None else cluster_record(self.key, self.clusters)


def cluster_record(key: str | None, clusters: Sequence[int], **more: str) -> dict[str, Any]:
    """The evidence's ``details.clusters`` record.

    Args:
        key: that names the clusters. clusters: of each item. more: the ``unit`` that is clustered, if not items.
    """
    return {"clusters": {"key": key, "items": len(clusters), "largest": max(Counter(clusters).values()), **more}}


def sample_of(items: Items | Sample, cluster: str | None = None) -> Sample:
    """The distinct items, and their clusters: by a key of the items, and of items that ask one question, with its options in whatever order
    and with whatever answers.

    Raises:
        DataError: the key is unknown, an item lacks it, or all items are one cluster.
    """
    if isinstance(items, Sample):
        return items
    if any(len(text) > _LONGEST for item in items for text in (item.question, *item.matching, *item.not_matching)):
        return Sample(items, None, cluster, ())  # which no model takes, as the measure will say
    forms = [item.form for item in items]
    kept, repeats = kept_of(forms, "items")
    if len(kept) < len(items):
        items, forms = Items((items[index] for index in kept), items.source), [forms[index] for index in kept]
    labels: list[Hashable] = list(range(len(items)))
    if cluster is not None:
        with at_key("data.cluster"):
            labels = labels_of([(f"item {item.id}", item.meta) for item in items], cluster, items.source)
    before = len(set(labels))
    questions = [_question(item) for item in items]
    # Options that are listed are what is asked; other answers may be the sample.
    one_question = len(items) > 1 and len(set(questions)) == 1 and isinstance(questions[0], str)
    joined = cluster_numbers(labels, forms if one_question else questions)
    clusters = None if len(set(joined)) == len(items) else tuple(joined)
    if clusters is not None and len(items) > 1 and len(set(clusters)) == 1:
        raise DataError(
            f"{items.source}: all items are one cluster, which says nothing about others"
            + (f": {cluster!r} has one value" if cluster else "")
        )
    notes = []
    if len(set(joined)) < before:
        notes.append(
            f"{len(items)} items are counted as {len(set(joined))} clusters: some ask one question {_how(items, questions)}"
        )
    if one_question and clusters is None:
        notes.append(
            f"these {len(items)} items ask one question with other answers, and n counts the answers: the interval is about other answers, "
            "and says nothing about other questions"
        )
    notes += shared_ids([item.id for item in items], "items")
    return Sample(items, clusters, cluster, (*repeats, *notes, *twins_of(forms, "items", clusters)))


def clusters_of_tasks(tasks: Sequence[TaskItem], cluster: str | None, source: str) -> tuple[int, ...] | None:
    """The cluster of each pair: by a key of the pairs, and of those with one input; None if each stands for itself.

    Raises:
        DataError: the key is unknown, a pair lacks it, or all pairs are one cluster.
    """
    labels: list[Hashable] = list(range(len(tasks)))
    if cluster is not None:
        with at_key("data.cluster"):
            labels = labels_of(
                [(f"pair {index} ({task.input!r})", task.meta) for index, task in enumerate(tasks)], cluster, source
            )
    joined = cluster_numbers(labels, [task.form[0] for task in tasks])
    if len(set(joined)) == len(tasks):
        return None
    if len(set(joined)) == 1:
        raise DataError(f"{source}: all pairs are one cluster, which says nothing about others")
    return tuple(joined)


def kept_of(forms: Sequence[Hashable], unit: str) -> tuple[list[int], list[str]]:
    """Indices of the distinct units, and a warning about the others."""
    kept = distinct(forms)
    left_out = len(forms) - len(kept)
    if not left_out:
        return kept, []
    return kept, [
        f"{left_out} of these {len(forms)} {unit} repeat another one (white space aside) and are left out: {len(kept)} are distinct"
    ]


def shared_ids(ids: Sequence[str], unit: str) -> list[str]:
    """A warning about distinct units that have one id."""
    counts = Counter(ids)
    shared = {own: count for own, count in counts.items() if count > 1}
    if not shared:
        return []
    first = next(iter(shared))
    return [
        f"{sum(shared.values())} of these {len(ids)} {unit} share their id with another one (such as {first!r}, of {shared[first]}), so "
        "messages and reports do not say which is meant: give each an id of its own"
    ]


def twins_of(forms: Sequence[tuple[str, ...]], unit: str, clusters: Sequence[Hashable] | None = None) -> list[str]:
    """Warnings about units that are nearly the same."""
    found = []
    cased = case_twins(forms, clusters)
    if cased is not None:
        found.append(_about(cased, "differ in nothing but case from another one", forms, unit))
    try:
        near = near_twins(forms, clusters)
    except TooManyPairs:
        return [*found, f"near twins were not looked for: too many of these {len(forms)} {unit} share rare words"]
    numbered = number_twins(forms, clusters)
    if numbered is not None:
        found.append(_about(numbered, "differ in nothing but numbers or punctuation from another one", forms, unit))
    if near is not None:
        found.append(_about(near, "share nine words of ten with another one", forms, unit))
    return found


def _about(twins: Twins, what: str, forms: Sequence[tuple[str, ...]], unit: str) -> str:
    first = forms[twins.example[0]][0]
    shown = first if len(first) <= 50 else f"{first[:47]}..."
    cure = "keep one of each, or name what belongs together with cluster" if unit == "items" else "keep one of each"
    return (
        f"{twins.units} of these {len(forms)} {unit} {what} (such as {shown!r}), and n counts each: if they are variants of each other, the "
        f"interval is too narrow: {cure}"
    )


def clustered(items: Items, clusters: Sequence[int] | None) -> list[list[ContrastItem]]:
    """The items of each cluster, in the order of the clusters' numbers; each item alone without clusters."""
    if clusters is None:
        return [[item] for item in items]
    members: dict[int, list[ContrastItem]] = {}
    for item, cluster in zip(items, clusters, strict=True):
        members.setdefault(cluster, []).append(item)
    return [members[cluster] for cluster in sorted(members)]


def one_per_cluster(values: Array, clusters: Sequence[int] | None) -> Array:
    """[n_clusters] the mean of each cluster's values, in the order of their numbers; the values themselves without clusters."""
    if clusters is None:
        return values
    place = np.unique(np.asarray(clusters), return_inverse=True)[1]
    means: Array = np.bincount(place, weights=values) / np.bincount(place)
    return means


def labels_of(units: Sequence[tuple[str, Mapping[str, object]]], key: str, source: str) -> list[Hashable]:
    """What each unit, given by its name and its other keys, has under a key."""
    known = list(dict.fromkeys(name for _, meta in units for name in meta))
    if key not in known:
        raise DataError(
            f"{source}: none of its {len(units)} items has the key {key!r} that cluster names: {did_you_mean(key, known)}"
        )
    labels: list[Hashable] = []
    for name, meta in units:
        value = meta.get(key)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            raise DataError(f"{source}: {name} has no {key!r}, which cluster names: give one to every item")
        if not isinstance(value, (str, int, float)):
            raise DataError(f"{source}: {name}: {key!r} is {value!r}, and a cluster is named by a text or a number")
        labels.append(normal_form(str(value)))
    return labels


def _question(item: ContrastItem) -> Hashable:
    """A form of the question that does not change with the order of its options."""
    listed = without_order(item.question) if item.is_lettered else None
    return listed or normal_form(item.question)


def _how(items: Items, questions: Sequence[Hashable]) -> str:
    written: dict[Hashable, set[str]] = {}
    for item, question in zip(items, questions, strict=True):
        written.setdefault(question, set()).add(normal_form(item.question))
    swapped = any(len(texts) > 1 for texts in written.values())
    answered = sum(len(texts) for texts in written.values()) < len(items)
    return " or ".join(["with its options in another order"] * swapped + ["with other answers"] * answered)


def cluster_numbers(labels: Sequence[Hashable], forms: Sequence[Hashable]) -> list[int]:
    """Numbers of clusters: items of one label are together, and so are items of one form."""
    parent = list(range(len(labels)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index] = parent[parent[index]]
        return index

    for names in (labels, forms):
        first: dict[Hashable, int] = {}
        for index, name in enumerate(names):
            parent[root(index)] = root(first.setdefault(name, index))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(index), len(numbers)) for index in range(len(labels))]
