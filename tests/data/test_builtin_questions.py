"""The multiple-choice questions that ship with the package: one right answer each, and none that a rule finds without the question."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from importlib import resources
from typing import Any

import pytest
from scipy import stats

from pytest_steer.data.likeness import case_twins, near_twins, normal_form

Question = dict[str, Any]
LETTERS = "ABCD"
SUBJECTS = ["arithmetic", "language", "science", "geography", "common-sense", "reading"]
# A rule that ignores the question is one that guesses: its hits stay below what guessing exceeds once in 100 files.
CHANCE, SURPRISE = 0.25, 0.01


def read() -> list[Question]:
    file = resources.files("pytest_steer") / "builtin" / "capability.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


QUESTIONS = read()
RULES: dict[str, Callable[[Question, int], float]] = {
    "longest": lambda question, index: len(question["choices"][index]),
    "shortest": lambda question, index: -len(question["choices"][index]),
    "most words": lambda question, index: len(words(question["choices"][index])),
    "fewest words": lambda question, index: -len(words(question["choices"][index])),
    "most words of the question": lambda question, index: len(
        set(words(question["choices"][index])) & set(words(question["question"]))
    ),
    **{f"always {letter}": lambda _, index, at=at: index == at for at, letter in enumerate(LETTERS)},
}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def hits(questions: list[Question], rule: Callable[[Question, int], float]) -> float:
    """How many right answers the rule finds, if it draws among the options that it puts first."""
    found = 0.0
    for question in questions:
        values = [rule(question, index) for index in range(len(question["choices"]))]
        first = [index for index, value in enumerate(values) if value == max(values)]
        found += (LETTERS.index(question["answer"]) in first) / len(first)
    return found


def found_by(questions: list[Question]) -> list[str]:
    """The rules that find more right answers than guessing does."""
    most = stats.binom.isf(SURPRISE / len(RULES), len(questions), CHANCE)
    return [name for name, rule in RULES.items() if hits(questions, rule) > most]


def faults(questions: list[Question]) -> list[str]:
    """What is wrong with the form of single questions."""
    wrong = []
    for question in questions:
        if list(question) != ["id", "subject", "question", "choices", "answer"]:
            wrong.append(f"keys: {question}")
            continue
        name, texts = question["id"], [question["question"], *question["choices"]]
        if not re.fullmatch(rf"{question['subject']}-\d{{3}}", name):
            wrong.append(f"{name}: not an id of {question['subject']}")
        if len(question["choices"]) != len(LETTERS) or question["answer"] not in LETTERS:
            wrong.append(f"{name}: not four options with one letter")
        if any(not text or text != normal_form(text) for text in texts):
            wrong.append(f"{name}: empty text or stray white space")
        if len({normal_form(choice).casefold() for choice in question["choices"]}) < len(question["choices"]):
            wrong.append(f"{name}: an option twice")
        if not question["question"].endswith(("?", '."')):
            wrong.append(f"{name}: not a question")
    wrong += [f"{name}: id {count} times" for name, count in Counter(q["id"] for q in questions).items() if count > 1]
    return wrong


def test_there_are_enough_of_each_subject() -> None:
    counts = Counter(question["subject"] for question in QUESTIONS)
    assert list(counts) == SUBJECTS
    assert counts.total() >= 300
    assert min(counts.values()) >= 50
    assert max(counts.values()) - min(counts.values()) <= 5


def test_every_question_has_the_form() -> None:
    assert faults(QUESTIONS) == []


def test_no_question_comes_twice() -> None:
    """Neither with other options nor, for the wording with the options, with a word changed."""
    asked = [(normal_form(question["question"]),) for question in QUESTIONS]
    whole = [(*text, *map(normal_form, question["choices"])) for text, question in zip(asked, QUESTIONS, strict=True)]
    assert len(set(asked)) == len(asked)
    for forms in (asked, whole):
        assert case_twins(forms) is None
        assert near_twins(forms) is None
    assert case_twins([*asked, (asked[3][0].upper(),)]) is not None
    assert near_twins([*asked, (f"{asked[-1][0]} Please?",)]) is not None


@pytest.mark.parametrize("subject", SUBJECTS)
def test_letters_are_balanced(subject: str) -> None:
    counts = Counter(question["answer"] for question in QUESTIONS if question["subject"] == subject)
    assert sorted(counts) == list(LETTERS)
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("subject", [None, *SUBJECTS])
def test_no_rule_finds_the_right_answers(subject: str | None) -> None:
    assert found_by([question for question in QUESTIONS if subject in (None, question["subject"])]) == []


# --- arithmetic ---

MINUTES = 60
RIGHT: list[Any] = [  # by id: the value, or what is true of the one right option among all
    *(2 + 3, 10 - 4, 8 + 2, 12, 5 * 5, Fraction(18, 2), max, 3 + 4, lambda options: [v for v in options if v % 2 == 0]),
    *(24, 7 + 8, 10 + 10, Fraction(81, 9), 7, 20 - 6, 2 * 60, 3 * 4, 9 * 0, min, 12 - 3, 36 + 47, 2 + 2),
    *(10 + 5 - 1, 700, Fraction(60, 4), Fraction(48, 6), round(3687, -2), 3 * 2 + 9, 12),
    *(Fraction(15 * 200, 100), Fraction(2, 10), Fraction(1, 2) + Fraction(1, 4), 8 * 5, 4 * 7),
    lambda options: [v for v in options if all(v % divisor for divisor in range(2, int(v)))],
    lambda options: [v for v in options if v % 3 == 0],
    *(29 % 6, 7 * MINUTES + 40 + 95, 9 + 1, 12 * 12, 2**5),
    lambda options: [v for v in options if v * v == 169],
    *(-3 + 8, -4 * -6, 15 - 9, Fraction(27, 3), Fraction(11 + 5, 2), 10 - 2 * 3, 80 - Fraction(25 * 80, 100)),
    *(Fraction(4 + 8 + 12, 3), 2 * 10 - 7, Fraction(3, 5) * 45),
    lambda options: [v for v in options if v - (20 - v) == 4],
    *(Fraction(300, 4) * 6, 30 - Fraction(40, 100) * 30, Fraction(3 * 4, 6), Fraction(3, 10) * Fraction(2, 10)),
    *(Fraction(len([2, 4, 6]), 6), 180 - 50 - 60, len(list(itertools.product("ABC", repeat=2)))),
    lambda options: [min(v for v in options if v % 6 == v % 8 == 0)],
    lambda options: [max(v for v in options if 18 % v == 24 % v == 0)],
    *(Fraction(60 - 50, 50) * 100, Fraction(30 - 6, 2)),
]


def number(text: str) -> Fraction:
    """The number of an option; a time in minutes."""
    text = text.removesuffix("%").replace(",", "").split()[0]
    hours, colon, minutes = text.partition(":")
    return Fraction(hours) * MINUTES + Fraction(minutes) if colon else Fraction(text)


def test_arithmetic_is_right() -> None:
    """Exactly one option has the value that is worked out here, and it is the answer."""
    asked = [question for question in QUESTIONS if question["subject"] == "arithmetic"]
    wrong = []
    for question, right in zip(asked, RIGHT, strict=True):
        options = [number(choice) for choice in question["choices"]]
        if callable(right):
            right = right(options)
        good = [index for index, value in enumerate(options) if value in (right if isinstance(right, list) else [right])]
        if good != [LETTERS.index(question["answer"])]:
            wrong.append((question, str(right)))
    assert wrong == []


def test_the_size_of_a_number_is_no_clue() -> None:
    """The right number is each of the smallest to the largest about equally often."""
    ranks = Counter()
    for question in QUESTIONS:
        if question["subject"] == "arithmetic":
            options = [number(choice) for choice in question["choices"]]
            ranks[sorted(options).index(options[LETTERS.index(question["answer"])])] += 1
    assert stats.chisquare([ranks[rank] for rank in range(len(LETTERS))]).pvalue > 0.05
