"""Contexts, the swapped order of options, and the Hypothesis strategies over contexts and prompts."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from pytest_steer import Context, ContrastItem, contexts, prompts
from pytest_steer.errors import DataError
from pytest_steer.prompting import AS_GIVEN, swap_options

quickly = settings(deadline=None, derandomize=True, database=None, max_examples=50)
ITEM = ContrastItem("Which?\n\nChoices:\n (A) red wine\n (B) tea", (" (A)",), (" (B)",), "7", {"source": "mine"})
option_texts = (
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), min_size=1).map(str.strip).filter(bool)
)


def test_as_given_is_the_item_itself():
    assert AS_GIVEN.put(ITEM) is ITEM
    assert repr(AS_GIVEN) == "Context()"
    assert repr(Context(system="", option_order="swapped")) == "Context(system='', option_order='swapped')"


def test_swapping_exchanges_texts_and_labels_so_that_the_matching_text_stays():
    swapped = Context(option_order="swapped").put(ITEM)
    assert swapped.question == "Which?\n\nChoices:\n (A) tea\n (B) red wine"
    assert (swapped.matching, swapped.not_matching) == ((" (B)",), (" (A)",))
    assert (swapped.id, swapped.meta) == ("7", {"source": "mine"})


@quickly
@given(option_texts, option_texts, st.sampled_from(["", "\n", "\nAnd now?"]))
def test_swapping_twice_is_the_item_again(first, second, behind):
    item = ContrastItem(f"Which?\n(A) {first}\n(B) {second}{behind}", ("(B)",), ("(A)",), "1")
    once = swap_options(item)
    assert f"(A) {second}\n(B) {first}" in once.question
    assert swap_options(once) == item


def test_worded_items_are_left_as_given():
    item = ContrastItem("So?\n(A) yes\n(B) no", ("yes",), ("no",))
    assert Context(option_order="swapped").put(item) is item


@pytest.mark.parametrize(
    "question",
    [
        "Which, A or B?",
        "Which?\n(A) one\n(B) two\n(C) three",
        "Which?\n(A) one\n(C) two",
        "Which? (A) one (B) two",
        "?\n(A) one",
    ],
)
def test_what_cannot_be_swapped_is_an_error_with_the_item(question):
    with pytest.raises(DataError, match=r"item 3: cannot swap the options: expected two lines '\(X\) text'"):
        swap_options(ContrastItem(question, ("(A)",), ("(B)",), "3"))


def test_an_unknown_order_is_refused():
    with pytest.raises(DataError, match="'as_given' or 'swapped', not 'sideways'"):
        Context(option_order="sideways")


@pytest.mark.parametrize(
    "context", [AS_GIVEN, Context(system=""), Context(system="S", option_order="swapped")], ids=repr
)
def test_a_context_survives_json_and_its_own_repr(context):
    again = Context.from_dict(json.loads(json.dumps(context.to_dict())))
    assert again == context
    assert hash(again) == hash(context)
    assert eval(repr(context), {"Context": Context}) == context


def test_to_dict_holds_only_what_is_not_as_given():
    assert AS_GIVEN.to_dict() == {}
    assert Context(option_order="swapped").to_dict() == {"option_order": "swapped"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"option_oder": "swapped"}, "unknown context axis 'option_oder': did you mean 'option_order'? the axes are system"),
        ({"colour": "red"}, "unknown context axis 'colour': the axes are system"),
        (["system"], "a context is a mapping of axes to values, not ['system']"),
        ({"option_order": "up"}, "option_order is 'as_given' or 'swapped', not 'up'"),
    ],
)
def test_what_is_not_a_context_is_refused(values, message):
    with pytest.raises(DataError, match=re.escape(message)):
        Context.from_dict(values)


# --- strategies ----------------------------------------------------------------------------------------------------------


def test_contexts_shrink_towards_the_first_value_of_each_axis():
    space = contexts(system=[None, "", "Be kind."], option_order=["as_given", "swapped"])
    assert find(space, lambda _: True, settings=quickly) == AS_GIVEN
    assert find(space, lambda c: c.option_order == "swapped", settings=quickly) == Context(option_order="swapped")


def test_contexts_reach_every_combination():
    space = contexts(system=["a", "b"], option_order=["as_given", "swapped"])
    for system in "ab":
        for order in ("as_given", "swapped"):
            wanted = Context(system=system, option_order=order)
            assert find(space, lambda c, wanted=wanted: c == wanted, settings=quickly) == wanted


@pytest.mark.parametrize(
    "arguments", [{"system": []}, {"option_order": []}, {"system": "one text"}, {"option_order": "swapped"}]
)
def test_an_axis_without_values_is_refused(arguments):
    with pytest.raises(DataError, match=rf"contexts: {next(iter(arguments))} takes a list with at least one value"):
        contexts(**arguments)


def test_prompts_shrink_towards_the_first_item_as_given():
    items = [ITEM, ContrastItem("Other?", ("yes",), ("no",))]
    first = find(prompts(items, contexts(system=["", "S"])), lambda _: True, settings=quickly)
    assert (first.item, first.context) == (ITEM, Context(system=""))
    other = find(prompts(items), lambda p: p.item.question == "Other?", settings=quickly)
    assert (other.item.id, other.context) == ("1", AS_GIVEN)


def test_prompts_of_nothing_are_refused():
    with pytest.raises(DataError, match="the data set is empty"):
        prompts([])
