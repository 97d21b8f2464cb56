"""Contrast items and sequences of them."""

from __future__ import annotations

import pytest

from pytest_steer import ContrastItem, Items
from pytest_steer.core.errors import DataError
from pytest_steer.data import as_items


def item(matching=("(A)",), not_matching=("(B)",), question="Q?", id=""):
    return ContrastItem(question, matching, not_matching, id)


@pytest.mark.parametrize(
    ("matching", "not_matching", "lettered", "label"),
    [
        (("(A)",), ("(B)",), True, "A"),
        ((" (B)",), (" (A)",), True, "B"),
        (("(C)", "(A)"), ("(B)",), True, "C"),
        (("(1)",), ("(2)",), True, "1"),
        (("no.",), ("yes!",), False, "No"),
        (("(A)",), ("B",), False, None),
        (("(AB)",), ("(B)",), False, None),
    ],
)
def test_letters_and_labels(matching, not_matching, lettered, label):
    found = item(matching, not_matching)
    assert (found.is_lettered, found.label) == (lettered, label)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"question": " \n"}, "the question is empty"),
        ({"matching": ()}, "there is no matching answer"),
        ({"not_matching": ()}, "there is no not matching answer"),
        ({"matching": ("yes", " ")}, "an answer of the matching side is empty"),
        ({"matching": (" yes",), "not_matching": ("no", "yes ")}, "are the same: 'yes'"),
    ],
)
def test_unusable_items_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        item(**arguments)


def test_answers_given_as_one_text_are_not_taken_apart():
    """A text is a sequence too: "Yes" must not silently become the answers "Y", "e" and "s"."""
    try:
        found = ContrastItem("Q?", "Yes", "No")
    except DataError:
        return
    assert found.matching == ("Yes",)


def test_item_hashes_find_a_question_again_however_it_is_answered():
    items = Items([item(question=" same? "), item(("yes",), ("no",), "same?"), item(question="other?")])
    first, second, third = items.item_hashes
    assert first == second != third


def test_label_balance_counts_labelled_items_only():
    sides = [("(A)", "(B)"), ("(B)", "(A)"), ("(B)", "(A)"), ("Yes", "No"), ("perhaps", "never")]
    assert Items([item((a,), (b,)) for a, b in sides]).label_balance() == {"A": 1, "B": 2, "Yes": 1}


def test_as_items_numbers_what_has_no_id():
    items = as_items([item(), item(id="mine"), item()])
    assert [i.id for i in items] == ["0", "mine", "2"]
    assert as_items(items) is items


def test_as_items_refuses_other_things_with_the_place():
    with pytest.raises(DataError, match="item 1 is a dict, not a ContrastItem: read a file with read_items"):
        as_items([item(), {"question": "Q?"}])
