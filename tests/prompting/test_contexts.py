"""Contexts, the swapped order of options, and the Hypothesis strategies over contexts and prompts."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from pytest_steer import Context, ContrastItem, contexts, prompts, read_items
from pytest_steer.core.errors import DataError
from pytest_steer.prompting import AS_GIVEN, Axis, Noise, swap_options
from pytest_steer.prompting.strategies import noises

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


def test_to_dict_holds_only_what_is_not_as_given():
    assert AS_GIVEN.to_dict() == {}
    assert Context(option_order="swapped").to_dict() == {"option_order": "swapped"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"option_oder": "swapped"}, "unknown context axis 'option_oder': did you mean 'option_order'? There are system"),
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


POOL = [ContrastItem(f"Of {n}?\n(A) x{n}\n(B) y{n}", ("(A)",), ("(B)",)) for n in range(8)]
shout = Axis("shout", st.integers(1, 9), lambda item, n: dataclasses.replace(item, question="!" * n + item.question))
WIDE = contexts(
    system=st.none() | st.text(max_size=9),
    template=["plain", "as_given", "Q: {question}\nA: "],
    option_order=["swapped", "as_given"],
    option_labels=["Yes/No", "1/2", "as_given"],
    wording=["please", None],
    distractor=["It rains.", None],
    filler=st.integers(0, 30),
    history=[[("a", "b"), ("c", "d")], [("a", "b")], []],
    few_shot=[4, 2, 0],
    noise=noises(typos=0.5, case=0.5),
    opening=["The answer is (", None],
    axes=[shout],
    examples=POOL,
)


def times(context):
    return dict(context.values).get(shout, 0)


def test_the_simplest_context_is_the_one_as_given_wherever_that_stands_in_a_list():
    assert find(WIDE, lambda _: True, settings=quickly) == AS_GIVEN


@pytest.mark.parametrize(
    ("breaks", "simplest"),
    [
        (lambda c: c.option_order == "swapped" and c.option_labels != "as_given", Context(option_order="swapped", option_labels="Yes/No")),
        (lambda c: c.filler >= 7, Context(filler=7)),
        (lambda c: c.few_shot > 1 and c.wording, Context(few_shot=2, wording="please", examples=POOL)),
        (lambda c: c.noise and c.noise.typos > 0.105, Context(noise=Noise(typos=0.11))),
        (lambda c: c.noise and c.distractor, Context(noise=Noise(typos=0.01), distractor="It rains.")),
        (lambda c: times(c) > 3, Context({shout: 4})),
    ],
)  # fmt: skip
def test_each_axis_shrinks_by_itself_to_the_least_that_breaks(breaks, simplest):
    # Without the phase that explains what was found, which takes as long as all others.
    found = find(WIDE, breaks, settings=settings(quickly, max_examples=2000, phases=[Phase.generate, Phase.shrink]))
    if simplest.noise is not None and simplest.distractor:  # which kind of noise is left is Hypothesis' choice
        assert (found.distractor, len(found.to_dict()), len(found.noise.to_dict())) == ("It rains.", 2, 1)
    else:
        assert found == simplest


def test_a_failing_example_is_printed_as_python():
    @settings(quickly, max_examples=500, phases=[Phase.generate, Phase.shrink])
    @given(prompts([ITEM], WIDE), WIDE)
    def broken(prompt, context):
        assert not (times(context) and prompt.context.few_shot)

    with pytest.raises(AssertionError) as caught:
        broken()
    text = "".join(caught.value.__notes__)
    assert "context=Context({shout: 1})" in text
    assert "context=Context(few_shot=2, examples=items)" in text


def test_examples_print_as_the_python_that_gives_them(tmp_path):
    path = tmp_path / "e.json"
    path.write_text(json.dumps([{"question": p.question, "matching": "(A)", "not_matching": "(B)"} for p in POOL]))
    part = read_items(path)[1:5]
    context = Context(few_shot=2, examples=part)
    assert repr(context) == f"Context(few_shot=2, examples=read_items({str(path)!r})[1:5])"
    assert eval(repr(context)) == context


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filler": [0, -1]}, "filler is a whole number"),
        ({"noise": [{"typo": 1}]}, "noise has no 'typo'"),
        ({"history": 3}, "history takes a list"),
        ({"wording": ["plaese"]}, "did you mean 'please'"),
    ],
)
def test_values_are_looked_at_before_anything_is_drawn(arguments, message):
    with pytest.raises(DataError, match=message):
        contexts(**arguments)


def test_a_strategy_that_draws_what_the_axis_does_not_have_fails_when_it_is_drawn():
    with pytest.raises(DataError, match="filler is a whole number"):
        find(contexts(filler=st.just(-1)), lambda _: True, settings=quickly)
    with pytest.raises(DataError, match="few_shot=3 needs items"):
        find(contexts(few_shot=st.just(3)), lambda _: True, settings=quickly)


# --- what a claim file says of all contexts ------------------------------------------------------------------------------


def test_a_context_over_what_the_file_says():
    base = Context(thinking="open", date="2025-06-01", answers="sum", template="plain", system="S")
    assert Context().over(base) == Context(thinking="open", date="2025-06-01", answers="sum", template="plain")
    own = Context(thinking="closed", date="2024-02-29", template="{question}:", option_order="swapped")
    assert own.over(base) == Context(
        thinking="closed", date="2024-02-29", template="{question}:", option_order="swapped", answers="sum"
    )


def test_a_context_that_says_how_answers_are_read_keeps_it():
    assert Context(answers="sum").over(AS_GIVEN) == Context(answers="sum")


@pytest.mark.parametrize("value", ["closed", "open"])
def test_thinking_is_kept_as_it_was_said(value):
    context = Context(thinking=value)
    assert context.to_dict() == {"thinking": value}
    assert Context.from_dict(context.to_dict()) == context
    assert eval(repr(context)) == context


def test_thinking_and_date_refuse_what_they_are_not():
    with pytest.raises(DataError, match="thinking is 'as_given', 'closed' or 'open', not 'shut'"):
        Context(thinking="shut")
    for value in ("2025-02-30", "yesterday"):
        with pytest.raises(DataError, match=f"date must be a day such as '2025-01-01', not '{value}'"):
            Context(date=value)
    assert Context(date=datetime.date(2025, 3, 1)).date == "2025-03-01"
