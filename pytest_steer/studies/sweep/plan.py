"""What a sweep is given: training data, and items and texts to choose on and to test on, none of them in two parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...data import Items, Texts, read_items, read_texts
from ...data.likeness import count_known, traces
from ...errors import DataError
from ...extract.training import Training
from ...files.training import read_training
from ..split import split_items, split_texts

_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Parts:
    """The data of a sweep.

    Attributes:
        train: what the vector is made from; None for one that is there already.
        validation / test: items to choose a layer and a multiplier on, and to test the choice on.
        texts / test_texts: neutral texts for the same two purposes, or none.
    """

    train: Training | None
    validation: Items
    test: Items
    texts: Texts = field(default_factory=lambda: Texts(()))
    test_texts: Texts = field(default_factory=lambda: Texts(()))


def read_parts(
    data: Path,
    shares: Sequence[float],
    *,
    train: Path | None = None,
    neutral: Path | None = None,
    seen: Mapping[str, Any] = MappingProxyType({}),
    seen_by: str = "",
    seed: int,
) -> Parts:
    """Reads and splits the data of a sweep.

    Args:
        data: contrast items that are split.
        shares: of train, validation and test; of the last two only, if the vector is made from ``train`` or is there already.
        train: contrast items, texts or pairs of a task to make the vector from.
        neutral: neutral texts, split as the validation and the test items are.
        seen / seen_by: the record of a saved vector, with traces of the questions that it was made from, and its name.

    Raises:
        DataError: a file cannot be used, a part would be too small, or the vector is made from questions of ``data``.
    """
    items = Items(read_items(data), str(data))
    *own, validation, test = split_items(items, shares, seed=seed, names=_NAMES[-len(shares) :])
    training = Training(own[0], None, None, data, seed) if own else None
    if train is not None:
        training = read_training(train, seed)
        given = training.given if training.given is not None else ()
        seen, seen_by = traces([item.question for item in given]), str(train)
    shared = count_known((item.question for item in items), seen)
    if shared:
        raise DataError(
            f"{shared} questions of {data} are also in {seen_by}: a vector has to be judged on items that it was not made "
            f"from. Take them out of {data}"
        )
    if neutral is None:
        return Parts(training, validation, test)
    texts = split_texts(read_texts(neutral), shares[-2:], seed=seed, names=_NAMES[-2:], source=str(neutral))
    return Parts(training, validation, test, *texts)
