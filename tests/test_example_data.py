"""The data files of the example suites: read, without repetitions, train and test apart, answers alike in all but the behaviour.

Every check is a function that lists what is wrong, and is tried on broken copies too: a check that finds nothing there
would say nothing of the files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_steer.data import read_contrast_texts, read_items, read_prompts, read_tasks, read_texts
from pytest_steer.errors import DataError

SUITES = Path(__file__).resolve().parents[1] / "example_suites"
FILES = sorted(file for file in SUITES.glob("*/data/**/*") if file.is_file())
METHODS = SUITES / "methods" / "data"
SMOLLM2 = SUITES / "smollm2" / "data"
BUILTIN = SUITES / "builtin" / "data"
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


def put(index: int, **fields: str) -> Callable[[Any], None]:
    return lambda entries: entries[index].update(fields)


def matching_all(start: str) -> Callable[[Any], None]:
    def change(entries: Any) -> None:
        for number, entry in enumerate(entries):
            entry["answer_matching_behavior"] = f"{start} this is answer number {number}."

    return change


BROKEN = {
    "input twice": (METHODS / "antonyms_train.json", lambda data: data.append(data[0]), "input repeated: 'hot'"),
    "input in capitals": (METHODS / "antonyms_train.json", put(3, input="HOT"), "input repeated: 'hot'"),
    "empty output": (METHODS / "past_test.json", put(2, output=" "), "item 2: the output of a task item has to be"),
    "space at the end": (METHODS / "past_test.json", put(2, output="saw "), "not stripped: 'saw '"),
    "copied": (METHODS / "past_test.json", put(2, output="call"), "output is the input: 'call'"),
    "one output": (METHODS / "capitals_test.json", lambda data: [put(i, output="Oslo")(data) for i in range(9)], "output 'oslo'"),
    "two shapes": (METHODS / "capitals_test.json", lambda data: data.append({"question": "Why?"}), "taken by []"),
    "question twice": (SMOLLM2 / "science_test.json", put(1, question="Do you enjoy science"), "question repeated"),
    "no answer": (METHODS / "formality_items_train.json", put(4, answer_matching_behavior=""), "item 4: an answer"),
    "long answer": (METHODS / "formality_items_train.json", put(4, answer_matching_behavior="Yes " * 30 + "."), "10 and 31 words"),
    "give-away": (METHODS / "sentiment_items_train.json", matching_all("Great,"), "first word of matching answers 'great'"),
    "alike": (
        METHODS / "sentiment_items_train.json",
        put(0, answer_matching_behavior="I do like it.", answer_not_matching_behavior="I do like it"),
        "answers alike",
    ),
    "answer twice": (
        METHODS / "agreeableness_items_train.json",
        lambda data: put(1, answer_matching_behavior=data[0]["answer_matching_behavior"])(data),
        "answer repeated: 'please do",
    ),
    "only A": (
        BUILTIN / "quiz_test.json",
        lambda data: [put(i, answer_matching_behavior="(A)", answer_not_matching_behavior="(B)")(data) for i in range(80)],
        "letter of matching answers '(A)': 80 of 80",
    ),
    "one side short": (BUILTIN / "cheer_train.json", lambda data: data["negative"].pop(), "100 positive and 99 negative"),
    "text on both sides": (BUILTIN / "cheer_train.json", lambda d: d["negative"].__setitem__(0, d["positive"][0]), "text repeated"),
    "side without words": (
        SMOLLM2 / "science_train.json",
        lambda data: data.update(negative=[f"No {number}." for number in range(80)]),
        "sides of 160 and",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("file", "change", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_broken_copy_is_found(file: Path, change: Callable[[Any], Any], fault: str, tmp_path: Path):
    data = json.loads(file.read_text(encoding="utf-8"))
    change(data)
    copy = tmp_path / file.name
    copy.write_text(json.dumps(data), encoding="utf-8")
    faults = content(copy).faults
    assert any(fault in found for found in faults), faults


def test_a_repeated_line_is_found(tmp_path: Path):
    copy = tmp_path / "neutral.txt"
    copy.write_text("The mill is red.\nThe owl sits.\nthe mill is red\n", encoding="utf-8")
    assert content(copy).faults == ["text repeated: 'the mill is red'"]


LEAKS = {
    "input": ("methods/capitals", {"input": "germany", "output": "Bonn"}, "germany"),
    "reversed pair": ("methods/antonyms", {"input": "ancien", "output": "young"}, "young"),
    "question": (
        "smollm2/science",
        {"question": "do you enjoy science", "answer_matching_behavior": "Yes.", "answer_not_matching_behavior": "No."},
        "do you enjoy science",
    ),
    "answer": (
        "smollm2/science",
        {
            "question": "Is it fun?",
            "answer_matching_behavior": "Thrilling, I wanted to try it myself!",
            "answer_not_matching_behavior": "Boring, nobody wanted to try it then.",
        },
        "thrilling i wanted to try it myself",
    ),
}


@pytest.mark.parametrize(("place", "entry", "leak"), LEAKS.values(), ids=LEAKS)
def test_what_train_shares_with_test_is_found(place: str, entry: dict[str, str], leak: str, tmp_path: Path):
    suite, _, name = place.partition("/")
    train = tmp_path / "train.json"
    train.write_text(json.dumps([entry]), encoding="utf-8")
    test = content(SUITES / suite / "data" / f"{name}_test.json")
    assert shared(content(train), test) == [f"in train and test: {leak!r}"]


def test_a_training_text_that_is_an_answer_of_the_test_is_found(tmp_path: Path):
    train = tmp_path / "train.json"
    train.write_text(
        json.dumps({"positive": ["Thrilling, I wanted to try it myself."], "negative": ["No."]}), encoding="utf-8"
    )
    assert len(shared(content(train), content(SMOLLM2 / "science_test.json"))) == 1
