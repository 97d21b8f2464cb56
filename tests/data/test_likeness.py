"""What counts as one text, and what is too alike."""

from __future__ import annotations

import itertools
import random
import re
import time

import pytest

from pytest_steer.data import ContrastItem
from pytest_steer.data.likeness import NEAR, TooManyPairs, Twins, case_twins, distinct, near_twins, normal_form, number_twins


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


def asked(*questions, answers=("Yes", "No")):
    return [(question, "\n", answers[0], "\n", answers[1]) for question in questions]


@pytest.mark.parametrize(
    ("pair", "twins"),
    [
        (("1. Do you like tea?", "2. Do you like tea?"), True),
        (("Q1) Do you like tea", "#12 Do you like tea"), True),
        (("Do you like tea at 5?", "Do you like tea at 6?"), True),
        (("Do you, like tea?", "Do you like tea"), True),
        (("Do you like tea?", "Do YOU like tea?"), False),  # case alone is another warning
        (("Do you like tea?", "Do you like ice?"), False),
        (("What is 3 + 4?", "What is 3 + 5?"), False),
    ],
)
def test_number_twins(pair, twins):
    forms = asked("Is it so here?", *pair)
    found = number_twins(forms)
    assert found == (Twins(2, (1, 2)) if twins else None)
    assert number_twins(forms, [0, 1, 1]) is None
    assert number_twins([forms[1], *asked(pair[1], answers=("No", "Yes"))]) is None


def test_number_twins_are_counted_as_pairs_are():
    draw = random.Random(2)
    texts = [
        f"{draw.randint(1, 2)}. Do you {draw.choice(['like', 'LIKE'])} {draw.choice(['tea', 'ice'])}" for _ in range(40)
    ]
    forms, groups = asked(*texts), [draw.randint(0, 3) for _ in texts]
    without = [text[3:].casefold() for text in texts]
    plainly = {
        a
        for a, b in itertools.permutations(range(40), 2)
        if without[a] == without[b] and texts[a].casefold() != texts[b].casefold() and groups[a] != groups[b]
    }
    found = number_twins(forms, groups)
    assert found.units == len(plainly)
    a, b = found.example
    assert {a, b} <= plainly
    assert without[a] == without[b]


def test_number_twins_are_no_near_twins():
    long = " ".join(f"word{chr(97 + n)}" for n in range(25))
    assert near_twins(asked(f"1. {long}", f"2. {long}")) is None
    assert near_twins(asked(f"1. {long}", f"2. {long} more")).units == 2
