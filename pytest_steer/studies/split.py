"""Splitting items and texts so that what is chosen on some can be tested on others."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from ..core.clusters import clusters_of
from ..core.errors import DataError
from ..data import Items, Sample, TextLike, Texts
from ..data.texts import as_texts

# A part with fewer gives no interval.
LEAST = 2


def split_sample(sample: Sample[Items], shares: Sequence[float], *, seed: int, names: Sequence[str]) -> list[Sample[Items]]:
    """Split items at random into parts of about these shares. Items with the same question, and clusters, stay in one part.

    Args:
        shares: relative sizes, above 0.
        names: what the parts are called in messages, and after the source's name.

    Raises:
        DataError: a part would have fewer than two items or clusters.
    """
    items = sample.units
    unit, keys = f"{len(items)} items with {{}} different questions", [_form(item.question) for item in items]
    if sample.clusters is not None:  # which hold items of one question together
        unit, keys = f"{len(items)} items in {{}} clusters", [str(label) for label in sample.clusters]
    found = []
    for name, part in zip(names, _split(keys, shares, seed, names, f"{items.source}: {unit}"), strict=True):
        one = sample.part(part)
        found.append(replace(one, units=Items(one.units, f"{items.source} ({name})")))
        if one.n < LEAST:
            raise DataError(
                f"{items.source}: the {name} part has one cluster of items that belong together: bring more, or split otherwise"
            )
    return found


def split_texts(
    texts: Sequence[TextLike], shares: Sequence[float], *, seed: int, names: Sequence[str], source: str
) -> list[Texts]:
    """Split texts as :func:`split_sample` splits items. Equal texts, and completions of one prompt, stay in one part.

    Raises:
        DataError: a part would have fewer than two texts.
    """
    known = as_texts(texts)
    what, keys = f"{source}: {len(known)} texts, {{}} of them different,", known.forms
    clusters = clusters_of(known.together())
    if clusters is not None:
        what, keys = f"{source}: {len(known)} texts in {{}} clusters", [(str(label),) for label in clusters]
    parts = _split(keys, shares, seed, names, what)
    return [known.part(part) for part in parts]


def _form(text: str) -> str:
    """A form that ignores white space and the composition of characters."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _split(keys: Sequence[Hashable], shares: Sequence[float], seed: int, names: Sequence[str], what: str) -> list[list[int]]:
    """Indices of each part, ascending; equal keys in one part."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    together = list(groups.values())
    ends = np.cumsum(shares) / np.sum(shares) * len(keys)
    parts: list[list[int]] = [[] for _ in shares]
    placed = 0
    for at in np.random.default_rng(seed).permutation(len(together)):
        group = together[int(at)]
        # The part in which the middle of the group falls.
        part = int(np.searchsorted(ends, placed + len(group) / 2))
        parts[min(part, len(parts) - 1)] += group
        placed += len(group)
    if any(len(part) < LEAST for part in parts):
        sizes = ", ".join(f"{name} {len(part)}" for name, part in zip(names, parts, strict=True))
        raise DataError(f"{what.format(len(groups))} are too few to split: {sizes}; each part needs at least {LEAST}")
    return [sorted(part) for part in parts]
