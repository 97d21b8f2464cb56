"""The neutral texts and the safety items that the package ships: read, varied, balanced, nothing twice.

Each check lists what is wrong.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pytest_steer.core.errors import DataError
from pytest_steer.core.sources import BUILTIN_FOLDER
from pytest_steer.data import read_contrast_texts, read_items, read_tasks, read_texts
from pytest_steer.data.likeness import case_twins, near_twins, normal_form
from pytest_steer.data.traces import Known, known_in, traces
from pytest_steer.prompting.options import find_options, swap_options

NEUTRAL = BUILTIN_FOLDER / "neutral.jsonl"
SAFETY = {name: BUILTIN_FOLDER / f"safety_{name}.json" for name in ("refuses", "answers")}
OPEN = {"question": "request", "matching": "open_matching", "not_matching": "open_not_matching"}
READERS = {"items": read_items, "sides": read_contrast_texts, "tasks": read_tasks, "texts": read_texts}
KINDS = {
    "encyclopaedic", "how-to", "narrative", "dialogue", "letter", "report", "place", "process", "review", "notes",
}  # fmt: skip
SHARED_WORDS = 6  # so many words in a row are in one text only
STEERED = re.compile(
    r"\b(as an ai|language model|chatbot|i can't help|i cannot help|i'm sorry|politic|religio)", re.IGNORECASE
)

Entries = list[dict[str, Any]]


def neutral() -> Entries:
    return [json.loads(line) for line in NEUTRAL.read_text(encoding="utf-8").splitlines()]


def safety(name: str) -> Entries:
    return json.loads(SAFETY[name].read_text(encoding="utf-8"))


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", normal_form(text).casefold())


def sentences(text: str) -> list[str]:
    """The sentences of a text that have at least three words."""
    parts = re.split(r"(?<=[.?!])[\")]?\s+|\n", text)
    return [" ".join(found) for part in parts if len(found := words(part)) >= 3]


def repeated(what: str, values: Iterable[str]) -> list[str]:
    return [f"{what} repeated: {value!r}" for value, count in Counter(values).items() if count > 1]


def twins(what: str, texts: Iterable[str]) -> list[str]:
    forms = [(normal_form(text),) for text in texts]
    return [f"{what} twins: {found.example}" for alike in (case_twins, near_twins) if (found := alike(forms))]


def too_common(what: str, values: Iterable[str], most: int) -> list[str]:
    return [f"{what} {value!r}: {count} times" for value, count in Counter(values).items() if count > most]


# --- the neutral texts ---------------------------------------------------------------------------------------------------


def faults_of_texts(entries: Entries) -> list[str]:
    texts = [entry["text"] for entry in entries]
    faults = [f"keys {sorted(entry)}" for entry in entries if entry.keys() != {"id", "kind", "text"}]
    faults += [f"id {entry['id']}" for n, entry in enumerate(entries, 1) if entry["id"] != f"neutral-{n:03d}"]
    counts = Counter(entry["kind"] for entry in entries)
    faults += [] if counts.keys() == KINDS and len(set(counts.values())) == 1 else [f"kinds {dict(counts)}"]
    # Kinds take turns, so that the first so many texts of the file hold all of them.
    faults += [f"{a['kind']} after itself: {b['id']}" for a, b in pairwise(entries) if a["kind"] == b["kind"]]
    faults += [f"{len(text.split())} words: {text!r}" for text in texts if not 25 <= len(text.split()) <= 90]
    faults += [f"not plain: {text!r}" for text in texts if text != text.strip() or "  " in text or not text.isascii()]
    faults += [f"about what is steered: {found[0]!r}" for text in texts if (found := STEERED.search(text))]
    faults += twins("texts", texts) + repeated("sentence", (part for text in texts for part in sentences(text)))
    faults += repeated("opening", (" ".join(words(text)[:3]) for text in texts))
    faults += too_common("first word", (words(text)[0] for text in texts), len(texts) // 16)
    seen: dict[str, set[int]] = defaultdict(set)
    for number, text in enumerate(texts):
        own = words(text)
        for start in range(len(own) - SHARED_WORDS + 1):
            seen[" ".join(own[start : start + SHARED_WORDS])].add(number)
    return faults + [f"shared by texts: {part!r}" for part, where in seen.items() if len(where) > 1]


def test_neutral_texts():
    entries = neutral()
    assert faults_of_texts(entries) == []
    assert len(entries) == 250
    assert read_texts(NEUTRAL) == [entry["text"] for entry in entries]
    assert 11_000 < sum(len(entry["text"].split()) for entry in entries) < 14_000
    assert len({word for entry in entries for word in words(entry["text"])}) > 3_000


# --- the safety items ----------------------------------------------------------------------------------------------------


def faults_of_items(entries: Entries) -> list[str]:
    faults, sides = [], {key: [entry[key] for entry in entries] for key in ("request", "open_matching", "open_not_matching")}
    for entry in entries:
        options = {f"({found['label']})": found["text"] for found in find_options(entry["question"])}
        letters = entry["answer_matching_behavior"], entry["answer_not_matching_behavior"]
        if tuple(map(options.get, letters)) != (entry["open_matching"], entry["open_not_matching"]):
            faults.append(f"{entry['id']}: the options are not the open answers")
        if not entry["question"].startswith(entry["request"] + "\n\nChoices:\n (A) ") or len(options) != 2:
            faults.append(f"{entry['id']}: not a question of two options")
        short, long = sorted(len(entry[key].split()) for key in ("open_matching", "open_not_matching"))
        if long > 1.5 * short:
            faults.append(f"{entry['id']}: answers of {short} and {long} words")
    for side, texts in sides.items():
        faults += twins(side, texts) + [f"{side}: {text!r}" for text in texts if text != text.strip() or not text.isascii()]
        faults += too_common(
            f"first word of {side}", (words(text)[0] for text in texts), len(texts) // (3 if side == "request" else 4)
        )
    faults += repeated("answer", (" ".join(words(text)) for text in sides["open_matching"] + sides["open_not_matching"]))
    # Half of the items of each length order and of each letter, in all and (within one) in each topic.
    more = [
        len(a) > len(b) for a, b in zip(sides["open_matching"], sides["open_not_matching"], strict=True) if len(a) != len(b)
    ]
    faults += [] if 0.35 < sum(more) / len(more) < 0.65 else [f"the matching answer is longer in {sum(more)} of {len(more)}"]
    mean = {side: sum(map(len, texts)) / len(texts) for side, texts in sides.items()}
    if not 0.95 < mean["open_matching"] / mean["open_not_matching"] < 1.05:
        faults.append(f"mean lengths {mean}")
    for topic in (None, *{entry["topic"] for entry in entries}):
        letters = [entry["answer_matching_behavior"] for entry in entries if topic in (None, entry["topic"])]
        if abs(letters.count("(A)") - letters.count("(B)")) > 1:
            faults.append(f"letters of {topic}: {letters.count('(A)')} A, {letters.count('(B)')} B")
    return faults


@pytest.mark.parametrize("name", SAFETY)
def test_safety_items(name):
    entries = safety(name)
    assert faults_of_items(entries) == []
    lettered, opened = read_items(SAFETY[name]), read_items(SAFETY[name], columns=OPEN)
    assert len(entries) == len(lettered) == len({item.form for item in lettered}) == 60
    assert [item.id for item in lettered] == [item.id for item in opened] == [f"{name}-{n:02d}" for n in range(1, 61)]
    assert lettered.label_balance() == {"A": 30, "B": 30}
    for half in (lettered[:30], lettered[30:]):
        assert abs(half.label_balance()["A"] - 15) <= 1
    assert all(item.is_lettered for item in lettered)
    assert not any(item.is_lettered for item in opened)
    assert {item.meta["topic"] for item in lettered} == {entry["topic"] for entry in entries}
    swapped = swap_options(lettered[0])
    assert swapped.label != lettered[0].label
    assert [(item.question, item.matching[0]) for item in opened] == [(e["request"], e["open_matching"]) for e in entries]


def test_the_two_suites_share_nothing():
    refuses, answers = safety("refuses"), safety("answers")
    assert twins("requests", [entry["request"] for entry in refuses + answers]) == []
    assert known_in([entry["request"] for entry in answers], traces([entry["request"] for entry in refuses])) == Known()
    replies = [entry[key] for entry in refuses + answers for key in ("open_matching", "open_not_matching")]
    assert repeated("reply", (" ".join(words(reply)) for reply in replies)) == []


@pytest.mark.parametrize("file", [NEUTRAL, *SAFETY.values()], ids=lambda file: file.name)
def test_one_reader_takes_each_file(file: Path):
    def taken(read: Any) -> bool:
        try:
            return bool(read(file))
        except DataError:
            return False

    assert [name for name, read in READERS.items() if taken(read)] == ["texts" if file == NEUTRAL else "items"]
