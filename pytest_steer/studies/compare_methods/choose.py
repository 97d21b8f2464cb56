"""Choosing a method on one part of the data, so that it can be judged on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...data import sample_of
from ...measures.compared import Row
from ..split import split_sample, split_texts
from .measure import Entry

_NAMES = ("validation", "test")


def split_entries(entries: Sequence[Entry], shares: Sequence[float], *, seed: int) -> tuple[list[Entry], list[Entry]]:
    """Every entry on the validation part of its items and texts, and on the test part. Repeats are left out, and clusters stay in one part.

    Raises:
        DataError: a part would have fewer than two items or texts.
    """
    validation: list[Entry] = []
    test: list[Entry] = []
    for entry in entries:
        items = [
            part.units
            for part in split_sample(sample_of(entry.items, entry.cluster, at_least=0), shares, seed=seed, names=_NAMES)
        ]
        texts = split_texts(entry.texts, shares, seed=seed, names=_NAMES, source=entry.source) if entry.texts else [(), ()]
        for part, own_items, own_texts in zip((validation, test), items, texts, strict=True):
            # An item that was made of a pair has the pair's number as its id.
            tasks = entry.tasks.part(int(item.id) for item in own_items) if entry.tasks else entry.tasks
            part.append(replace(entry, items=own_items, texts=tuple(own_texts), tasks=tasks))
    return validation, test


def within(row: Row, *, budget: float, share: float) -> bool:
    """Whether a method raises the propensity at equal cost, within the perplexity budget and the share of items that move the wrong way."""
    at = row.at_cost
    if at is None or at.effect is None or at.cost is None or at.wrong_way is None:
        return False  # a row of the comparison always has them; one of a claim may lack some
    return at.effect > 0 and at.cost <= budget and at.wrong_way <= share


def best_of(rows: Sequence[Row], *, budget: float, share: float) -> Row | None:
    """Of the methods that were measured at equal cost, the one of the largest effect; one that keeps the limits before any other."""

    def order(row: Row) -> tuple[bool, float]:
        assert row.at_cost is not None
        return within(row, budget=budget, share=share), row.at_cost.effect or 0.0

    return max((row for row in rows if row.at_cost is not None), key=order, default=None)
