"""Splitting items so that what is chosen on some can be tested on others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...data import Items
from ...errors import DataError

# A part with fewer gives no interval.
LEAST_ITEMS = 2


def split_items(items: Items, shares: Sequence[float], *, seed: int, names: Sequence[str]) -> list[Items]:
    """The items in random order in parts of about these shares. Items that ask the same question stay in one part.

    Args:
        shares: relative sizes, above 0.
        names: what the parts are called in messages, and behind the source's name.

    Raises:
        DataError: a part would have fewer than two items.
    """
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(item.question.strip(), []).append(index)
    questions = list(groups.values())
    order = np.random.default_rng(seed).permutation(len(questions))
    ends = np.cumsum(shares) / np.sum(shares) * len(items)
    parts: list[list[int]] = [[] for _ in shares]
    placed = 0
    for at in order:
        group = questions[int(at)]
        # The part in which the middle of the group falls.
        part = int(np.searchsorted(ends, placed + len(group) / 2))
        parts[min(part, len(parts) - 1)] += group
        placed += len(group)
    sizes = ", ".join(f"{name} {len(part)}" for name, part in zip(names, parts, strict=True))
    if any(len(part) < LEAST_ITEMS for part in parts):
        raise DataError(
            f"{items.source}: {len(items)} items with {len(groups)} different questions are too few to split: {sizes}; each "
            f"part needs at least {LEAST_ITEMS}"
        )
    return [
        Items((items[i] for i in sorted(part)), f"{items.source} ({name})") for name, part in zip(names, parts, strict=True)
    ]


def write_items(path: Path, items: Items) -> None:
    """Writes items as a JSON list in the shape of CAA, which ``read_items`` reads.

    Raises:
        DataError: the file cannot be written.
    """
    entries = [
        {
            "id": item.id,
            "question": item.question,
            "answer_matching_behavior": _answers(item.matching),
            "answer_not_matching_behavior": _answers(item.not_matching),
        }
        for item in items
    ]
    try:
        path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def _answers(answers: tuple[str, ...]) -> str | list[str]:
    return answers[0] if len(answers) == 1 else list(answers)
