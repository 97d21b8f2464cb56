"""What counts as one text, what is too alike, and whether a question is in the training data."""

from __future__ import annotations

import itertools
import random
import re
import time

import pytest

from pytest_steer.data import ContrastItem
from pytest_steer.data.likeness import (
    NEAR,
    TooManyPairs,
    case_twins,
    count_known,
    distinct,
    hash_of,
    near_twins,
    normal_form,
    traces,
)


@pytest.mark.parametrize("other", [" a\t caf\u00e9\n", "a cafe\u0301", "a\u00a0caf\u00e9", "a\u200b caf\u00e9\ufeff"])
def test_white_space_and_unicode_forms_do_not_count(other):
    assert normal_form(other) == normal_form("a caf\u00e9") != normal_form("A caf\u00e9")


def test_items_of_one_form():
    item = ContrastItem("Is it?\n(A) Yes", ("(A)", "yes"), ("(B)",))
    for same in (
        ContrastItem("Is  it? (A) Yes ", ("yes ", "(A)"), (" (B)",)),
        ContrastItem("Is it? (A)\tYes", ("(A)", "yes"), ("(B)",)),
    ):
        assert same.form == item.form
    for different in (
        ContrastItem(item.question, ("(B)",), ("(A)", "yes")),
        ContrastItem("is it? (A) Yes", item.matching, ("(B)",)),
    ):
        assert different.form != item.form
    # The answers of one side do not run into those of the other.
    assert ContrastItem("q", ("a",), ("b", "c")).form != ContrastItem("q", ("a", "b"), ("c",)).form


def test_distinct_keeps_the_first_of_each():
    assert distinct(["b", "a", "b", "c", "a"]) == [0, 1, 3]


def test_case_twins():
    forms = [("A", "x"), ("b", "x"), ("a", "X"), ("c", "x"), ("A", "X")]
    found = case_twins(forms)
    assert (found.units, found.example) == (3, (0, 2))
    assert case_twins(forms, groups=[0, 1, 0, 2, 0]) is None
    assert case_twins(forms[:2]) is None


def plain_near(forms):
    """Every pair, with the words counted one by one."""
    found = set()
    for (a, one), (b, other) in itertools.combinations(enumerate(forms), 2):
        words = [sorted(re.findall(r"\w+", " ".join(form).casefold())) for form in (one, other)]
        if words[0] == words[1] and " ".join(one).casefold() == " ".join(other).casefold():
            continue
        left, shared = list(words[1]), 0
        for word in words[0]:
            if word in left:
                left.remove(word)
                shared += 1
        total = len(words[0]) + len(words[1]) - shared
        if total and shared >= NEAR * total:
            found |= {a, b}
    return found


@pytest.mark.parametrize("seed", range(5))
def test_near_twins_are_those_of_all_pairs(seed):
    draw = random.Random(seed)
    forms = [(" ".join(draw.choices("abcdefgh", k=draw.randint(0, 14))),) for _ in range(60)]
    for form in list(forms[:20]):  # one word more, or one changed
        words = form[0].split()
        forms.append((" ".join([*words, "z"] if draw.random() < 0.5 else ["y", *words[1:]]),))
    found = near_twins(forms)
    assert (found.units if found else 0) == len(plain_near(forms))
    groups = [0] * len(forms)
    assert near_twins(forms, groups) is None


def test_so_many_that_they_are_not_compared():
    draw = random.Random(0)
    forms = [(" ".join(draw.choices("abcdefghijklmnop", k=40)),) for _ in range(3000)]
    began = time.perf_counter()
    with pytest.raises(TooManyPairs):
        near_twins(forms)
    assert time.perf_counter() - began < 5


SEEN = ["Is the sky blue?", "Think first. Is water always wet there?", "hot"]


@pytest.mark.parametrize(
    ("question", "known"),
    [
        ("is  the sky BLUE", True),
        ("Please answer:\nIs the sky blue?", True),
        ("You are kind. Question: is the sky blue?", True),
        ("Is water always wet there?", True),
        (" Hot ", True),
        ("very hot", False),  # one word is found in others by chance
        ("Is the sky blue today?", False),
        ("Is the sea blue?", False),
        ("sky blue?", False),
    ],
)
def test_a_question_is_known_whatever_is_put_before_it(question, known):
    record = traces(SEEN)
    assert count_known([question], record) == known
    assert not count_known([question], {})
    assert record["item_hashes"] == [hash_of(text) for text in SEEN]


def test_a_prefix_without_punctuation_hides_nothing():
    questions = ["Do you like the cake?", "Would you rather walk home in the rain than wait for the bus?"]
    record = traces([f"Tell us now {question}" for question in questions])
    assert count_known(questions, record) == 2
    assert count_known(["you like the", "Do you like the soup?"], record) == 0


def test_an_ending_that_questions_share_is_no_trace():
    ending = "is that something that you would say? (A) yes (B) no"
    record = traces([f"number {number} {ending}" for number in range(3)])
    assert count_known([f"another {number} {ending}" for number in range(3)], record) == 0
    # Of these, one is the question itself with a word before it.
    assert count_known([f"so number {number} {ending}" for number in range(3)], traces(["number 1 " + ending])) == 1
