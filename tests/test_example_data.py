"""The data files of the example suites: read, without repetitions, train and test apart, answers alike in all but the behaviour.

Every check is a function that lists what is wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_steer.core.errors import DataError
from pytest_steer.data import read_contrast_texts, read_items, read_prompts, read_tasks, read_texts

SUITES = Path(__file__).resolve().parents[1] / "example_suites"
FILES = sorted(file for file in SUITES.glob("*/data/**/*") if file.is_file())
READERS: dict[str, Callable[[Path], Any]] = {
    "tasks": read_tasks,
    "items": read_items,
    "sides": read_contrast_texts,
    "texts": read_texts,
}
LIKE = 1.5  # how many times as many words one side may have
SENTENCE = 4  # words from which on an answer is a sentence, which says more than a label ("Yes", "(A)", "It was sunny.")


def name_of(file: Path) -> str:
    return f"{file.relative_to(SUITES).parts[0]}/{file.name}"


def plain(text: str) -> str:
    """The words alone: what differs in case, spaces or punctuation only is the same."""
    return " ".join(re.findall(r"[\w']+", text.casefold()))


def repeated(what: str, texts: Iterable[str]) -> list[str]:
    return [f"{what} repeated: {text!r}" for text, count in Counter(map(plain, texts)).items() if count > 1]


def unlike(what: str, one: str, other: str) -> list[str]:
    sizes = sorted(len(text.split()) for text in (one, other))
    return [f"{what} of {sizes[0]} and {sizes[1]} words: {one!r}, {other!r}"] if sizes[1] > LIKE * sizes[0] else []


def too_common(what: str, texts: Iterable[str], share: float) -> list[str]:
    counts = Counter(texts)
    ((text, count),) = counts.most_common(1)
    return [f"{what} {text!r}: {count} of {counts.total()}"] if count > share * counts.total() else []


@dataclass
class Content:
    """What a file holds: what is asked, what is answered (empty for plain texts), and what is wrong with it."""

    kind: str
    asked: list[str]
    answers: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def sentences(self) -> bool:
        return all(len(answer.split()) >= SENTENCE for answer in self.answers)


def content(file: Path) -> Content:
    """Reads a file with the one reader that takes it, and checks it."""
    found, refused = {}, []
    for kind, read in READERS.items():
        try:
            found[kind] = read(file)
        except DataError as error:
            refused.append(str(error))
    if not found and (dialogues := dialogues_of(file)) is not None:
        return dialogues
    if len(found) != 1:
        return Content("unknown", [], faults=[f"taken by {sorted(found)} and not by one reader", *refused])
    ((kind, value),) = found.items()
    return {"tasks": of_tasks, "items": of_items, "sides": of_sides, "texts": of_texts}[kind](value)


def dialogues_of(file: Path) -> Content | None:
    try:
        dialogues = read_prompts(file)
    except DataError:
        return None
    if any(len(one.turns) < 2 for one in dialogues):
        return None
    turns = [turn for one in dialogues for turn in one.turns]
    return Content("dialogues", turns, faults=repeated("turn", turns))


def of_tasks(tasks: Any) -> Content:
    got = Content("tasks", [task.input for task in tasks], [task.output for task in tasks])
    got.faults += repeated("input", got.asked)
    got.faults += [f"not stripped: {text!r}" for text in got.asked + got.answers if text != text.strip()]
    got.faults += [f"output is the input: {task.input!r}" for task in tasks if plain(task.input) == plain(task.output)]
    got.faults += too_common("output", map(plain, got.answers), 0.1)
    return got


def of_items(items: Any) -> Content:
    matching, other = [item.matching[0] for item in items], [item.not_matching[0] for item in items]
    got = Content("items", [item.question for item in items], matching + other)
    got.faults += repeated("question", got.asked)
    got.faults += [f"several answers: {item.question!r}" for item in items if len(item.matching + item.not_matching) > 2]
    got.faults += [f"not stripped: {text!r}" for text in got.asked + got.answers if text != text.strip()]
    for pair in zip(matching, other, strict=True):
        got.faults += unlike("answers", *pair)
        got.faults += [f"answers alike: {pair}"] if plain(pair[0]) == plain(pair[1]) else []
    if got.sentences:
        got.faults += repeated("answer", got.answers)
        for side, answers in (("matching", matching), ("not matching", other)):
            got.faults += too_common(f"first word of {side} answers", (plain(answer).split()[0] for answer in answers), 0.4)
    if all(item.is_lettered for item in items):
        got.faults += too_common("letter of matching answers", matching, 0.6)
    return got


def of_sides(sides: Any) -> Content:
    positive, negative = sides
    got = Content("sides", positive + negative)
    got.faults += repeated("text", got.asked)
    got.faults += [] if len(positive) == len(negative) else [f"{len(positive)} positive and {len(negative)} negative texts"]
    got.faults += unlike("sides", " ".join(positive), " ".join(negative))
    return got


def of_texts(texts: Any) -> Content:
    return Content("texts", texts, faults=repeated("text", texts))


def shared(train: Content, test: Content) -> list[str]:
    """What a test could know from the training data.

    Questions, inputs and texts in any case. Of tasks the outputs too (else a test could ask a trained pair the other way
    round), and of sentences the answers.
    """
    all_of_both = train.kind == test.kind == "tasks"
    learned, asked = list(train.asked), list(test.asked)
    if all_of_both or train.sentences:
        learned += train.answers
    if all_of_both or test.sentences:
        asked += test.answers
    return [f"in train and test: {text!r}" for text in sorted({*map(plain, learned)} & {*map(plain, asked)})]


def topic(file: Path) -> tuple[str, str]:
    """(sentiment, train) for sentiment_train and for sentiment_items_train, in whatever suite: they meet the same test file."""
    name, _, part = file.stem.rpartition("_")
    return (name.removesuffix("_items"), part) if part in ("train", "test") else (file.stem, "")


PAIRS = [
    (train, test)
    for train in FILES
    for test in FILES
    if topic(train)[1] == "train" and topic(test) == (topic(train)[0], "test")
]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_is_sound(file: Path):
    assert content(file).faults == []


@pytest.mark.parametrize(("train", "test"), PAIRS, ids=[f"{name_of(train)}-{name_of(test)}" for train, test in PAIRS])
def test_train_and_test_share_nothing(train: Path, test: Path):
    assert shared(content(train), content(test)) == []


def test_every_train_file_meets_a_test_file():
    assert {file.relative_to(SUITES).parts[0] for file in FILES} == {folder.parent.name for folder in SUITES.glob("*/data")}
    assert FILES
    named = {file for file in FILES if topic(file)[1]}
    assert named == {file for pair in PAIRS for file in pair}


# --- the checks find what is wrong ---------------------------------------------------------------------------------------
