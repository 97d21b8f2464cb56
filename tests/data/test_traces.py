"""Questions and texts of the training data are found in other data, and others are not."""

from __future__ import annotations

import random
import time

import pytest

from pytest_steer.data.likeness import hash_of
from pytest_steer.data.traces import FORM, Known, is_comparable, known_in, traces

LISTED = "Which drink do you take?\n (A) Tea\n (B) Ice"
LONG = "the committee that met on friday has to decide whether the old bridge over the river is repaired"
SEEN = [
    "Is the sky blue?",
    "Think first. Is water always wet there?",
    "hot",
    LISTED,
    "3. Would you, when asked, leave?",
    "7 * 8 is how much?",
    f"Tell us now: {LONG}, please and thank you.",
]


@pytest.mark.parametrize(
    ("question", "how"),
    [
        ("is  the sky BLUE", "same"),
        ("Please answer:\nIs the sky blue?", "within"),
        ("You are kind. Question: is the sky blue?", "within"),
        ("Is the sky, blue?", "within"),
        ("4) Is the sky blue?", "within"),
        ("Is water always wet there?", "within"),
        ("Would you when asked leave?", "within"),
        ("Which drink do you take?\n (A) Ice\n (B) Tea", "within"),
        ("Which drink do you take? (A) Ice (B) Tea", "within"),
        ("Which drink do you take?\n (A) Ice\n (B) Milk", "new"),
        (f"Say it: {LONG}?", "near"),
        (f"Tell us now: {LONG.replace('old', 'new')}, please and thank you.", "near"),
        (f"Say at once whether {LONG.replace('old', 'new').replace('decide', 'say')}", "new"),
        (f"You were told that {LONG[:60]} and what it wants to know", "near"),
        ("7 / 8 is how much?", "new"),
        ("very hot", "new"),  # one word is found in others by chance
        ("sky blue?", "new"),
    ],
)
def test_a_question_is_known_in_whatever_form(question, how):
    record = traces(SEEN)
    found = known_in([question], record)
    assert (found.same, found.within, found.near) == tuple(int(how == one) for one in ("same", "within", "near"))
    assert found.example == (question if how in ("within", "near") else None)
    assert known_in([question], {}) == Known()
    assert record["item_hashes"] == [hash_of(text) for text in SEEN]


def test_questions_are_found_in_texts_and_texts_in_others():
    record = traces([f"Hello. {SEEN[1]} I say yes, and that is all.", "No."], "texts")
    assert record["seen"] == "texts"
    assert known_in([SEEN[1], "Is water always wet there?", "No", "Is water never wet there?"], record) == Known(
        1, 2, 0, SEEN[1]
    )
    assert known_in([f"First. {SEEN[0]} Last."], traces(SEEN[:1], "texts")).within == 1


def test_three_words_are_found_at_the_ends_only():
    record = traces(["Is it good?"])
    assert known_in(["Answer this: is it good", "Is it good? Say yes.", "What is it good for", "is it"], record).within == 2


def test_a_prefix_without_punctuation_hides_nothing():
    questions = ["Do you like the cake?", "Would you rather walk home in the rain than wait for the bus?"]
    record = traces([f"Tell us now {question}" for question in questions])
    assert known_in(questions, record).asked == 2
    assert known_in(["you like the", "Do you like the soup?"], record) == Known()


def test_what_questions_share_is_no_trace():
    ending = "is that something that you would say? (A) yes (B) no"
    record = traces([f"number {word} {ending}" for word in ("one", "two", "three")])
    assert known_in([f"number {word} {ending}" for word in ("four", "five", "six")], record) == Known()
    # Of these, one is the question itself with a word before it.
    others = [f"so number {word} {ending}" for word in ("one", "two", "three")]
    assert known_in(others, traces([f"number one {ending}"])).within == 1
    # Slots of a template, filled otherwise.
    places = [f"{who} made the {what} in {where}. Is it so?" for who in "ABC" for what in "xyz" for where in "uv"]
    random.Random(1).shuffle(places)
    assert known_in(places[9:], traces(places[:9])) == Known()


def test_an_older_record_says_that_it_cannot_be_compared():
    record = traces(SEEN)
    assert is_comparable(record)
    assert record["item_form"] == FORM
    assert not is_comparable({**record, "item_form": FORM - 1})
    assert not is_comparable({"item_hashes": record["item_hashes"], "item_ends": []})
    assert not is_comparable({"data_hash": "x"})
    assert is_comparable({"method": "by hand"})
    # What it has is compared all the same; what no version writes is no error.
    old = {"item_hashes": record["item_hashes"]}
    assert known_in(["is the sky blue", "Is the sky, blue?"], old) == Known(same=1)
    assert known_in(["is the sky blue"], {**old, "item_words": "not base 85 \u00e9"}) == Known(same=1)


def test_traces_are_small_and_cheap():
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 9))) for _ in range(3000)]
    texts = [" ".join(draw.choices(words, k=60)) for _ in range(2000)]
    began = time.perf_counter()
    record = traces(texts[:1000])
    packed = sum(map(len, (record["item_words"], *record["item_hashes"], *record["item_forms"])))
    assert packed < 1000 * (60 * 1.4 + 40)
    assert known_in(texts[1000:], record) == Known()
    assert known_in([f"also {text} so" for text in texts[:1000]], record).within == 1000
    assert time.perf_counter() - began < 10
