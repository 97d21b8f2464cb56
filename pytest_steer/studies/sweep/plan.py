"""What a sweep is given: training data, and items and texts to choose on and to test on, none of them in two parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...claims.leaks import leaks, text_leaks
from ...data import Items, Texts, read_items, read_texts, sample_of
from ...data.traces import Seen, known_in, traces
from ...data.units import without_repeats
from ...errors import DataError
from ...extract.kinds import Training
from ...files.training import read_training
from ..split import split_sample, split_texts

_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Parts:
    """The data of a sweep.

    Attributes:
        train: what the vector is made from; None for one that is there already.
        validation / test: items to choose a layer and a multiplier on, and to test the choice on.
        texts / test_texts: neutral texts for the same two purposes, or none.
        cluster: the key of the items that says which belong together; those are in one part.
        warnings: what the reader has to know about the data.
    """

    train: Training | None
    validation: Items
    test: Items
    texts: Texts = field(default_factory=lambda: Texts(()))
    test_texts: Texts = field(default_factory=lambda: Texts(()))
    cluster: str | None = None
    warnings: tuple[str, ...] = ()


def read_parts(
    data: Path,
    shares: Sequence[float],
    *,
    train: Path | None = None,
    neutral: Path | None = None,
    leave_out: str | None = None,
    seen: Mapping[str, Any] = MappingProxyType({}),
    seen_by: str = "",
    cluster: str | None = None,
    seed: int,
) -> Parts:
    """Reads and splits the data of a sweep.

    Args:
        data: contrast items that are split.
        shares: of train, validation and test; of the last two only, if the vector is made from ``train`` or is there already.
        train: contrast items, texts or pairs of a task to make the vector from.
        neutral: neutral texts, split as the validation and the test items are. leave_out: a regular expression; those that it matches are not.
        seen / seen_by: the record of a saved vector, with traces of the questions that it was made from, and its name.
        cluster: a key of the items that says which belong together; those stay in one part.

    Raises:
        DataError: a file cannot be used, a part would be too small, or the vector is made from questions of ``data``.
    """
    sample = sample_of(Items(read_items(data), str(data)), cluster, at_least=0)
    *own, validation, test = (part.units for part in split_sample(sample, shares, seed=seed, names=_NAMES[-len(shares) :]))
    training = Training(own[0], None, None, data, seed) if own else None
    if train is not None:
        training = read_training(train, seed)
        seen, seen_by = traces(*_texts_of(training)), str(train)
    items = sample.units
    known = known_in((item.question for item in items), seen)
    if known.same:
        raise DataError(
            f"{known.same} questions of {data} are also in {seen_by}: a vector has to be judged on items that it was not made "
            f"from. Take them out of {data}"
        )
    warnings = [*map(str, sample.findings), *leaks(seen, [item.question for item in items], items.hash)]
    if neutral is None:
        return Parts(training, validation, test, cluster=cluster, warnings=tuple(warnings))
    given = read_texts(neutral, leave_out=None if leave_out is None else {"matching": leave_out})
    texts, repeats = without_repeats(given)
    if own:
        seen = traces([item.question for item in own[0]])
    warnings += [str(finding) for record in given.left_out for finding in record.findings]
    warnings += [*map(str, repeats), *text_leaks(seen, texts)]
    chosen_on, judged_on = split_texts(texts, shares[-2:], seed=seed, names=_NAMES[-2:], source=str(neutral))
    return Parts(training, validation, test, chosen_on, judged_on, cluster, tuple(dict.fromkeys(warnings)))


def _texts_of(training: Training) -> tuple[list[str], Seen]:
    """What a vector's record has traces of."""
    if training.texts is not None:
        return [text for side in training.texts for text in side], "texts"
    return [item.question for item in training.given or ()] + [task.input for task in training.tasks or ()], "questions"
