"""What claims about replies count: distinct dialogues, which belong together, and those that the vector was made from."""

from __future__ import annotations

import pytest

from pytest_steer import ContrastItem, Dialogue
from pytest_steer.claims.leaks import leaks
from pytest_steer.claims.prompt_sampling import sample_of_prompts
from pytest_steer.data.traces import traces
from pytest_steer.errors import DataError

QUESTIONS = ("How do rivers begin?", "Why is the sea salt?", "Where do birds sleep?", "What makes bread rise?")
SAID = ({"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."})


def test_a_repeated_dialogue_is_left_out_with_a_warning():
    sample = sample_of_prompts([*QUESTIONS, " Why is  the sea salt? "])
    assert (sample.n, sample.unit, sample.clusters) == (4, "prompts", None)
    assert any("1 of these 5 prompts repeat another one" in warning for warning in sample.warnings)


def test_items_that_ask_one_question_are_one_prompt():
    items = [ContrastItem(question, (f"yes{n}",), ("no",)) for question in QUESTIONS for n in range(2)]
    assert sample_of_prompts(items).n == 4


def test_dialogues_that_begin_alike_are_one_cluster():
    told = [Dialogue((QUESTIONS[0], then)) for then in ("Shorter.", "Longer.")]
    sample = sample_of_prompts([*told, *QUESTIONS[1:]])
    assert (sample.n, sample.unit, sample.clusters) == (4, "clusters", (0, 0, 1, 2, 3))
    assert sample.details()["clusters"] == {"key": None, "items": 5, "largest": 2, "unit": "prompts"}
    apart = [told[0], Dialogue(told[1].turns, messages=SAID), *QUESTIONS[1:]]
    assert sample_of_prompts(apart).clusters is None  # another transcript before it


def test_a_key_of_the_entries_names_clusters():
    prompts = [Dialogue((question,), meta={"topic": number % 2}) for number, question in enumerate(QUESTIONS)]
    assert sample_of_prompts(prompts, "topic").clusters == (0, 1, 0, 1)
    with pytest.raises(DataError, match="none of its 4 items has the key 'topics'"):
        sample_of_prompts(prompts, "topics")
    with pytest.raises(DataError, match="all prompts are one cluster"):
        sample_of_prompts([Dialogue((question,), meta={"topic": 1}) for question in QUESTIONS], "topic")


def test_one_prompt_has_no_interval():
    with pytest.raises(DataError, match=r"has 1 prompt\(s\); an interval needs at least two"):
        sample_of_prompts(["One?", "One?"])


@pytest.mark.parametrize("turn", [0, 1])
def test_a_training_question_in_any_turn_is_found(turn):
    record = {**traces([QUESTIONS[0]]), "data_hash": "x"}
    turns = [QUESTIONS[1], "And tell me more, please."]
    turns[turn] = QUESTIONS[0]
    asked = ["\n\n".join(Dialogue(tuple(turns)).asked), *QUESTIONS[2:]]
    (warning,) = leaks(record, asked, "y", unit="prompts")
    assert warning.startswith("1 of these 3 prompts ask a question that the vector was extracted from")
    assert leaks(record, QUESTIONS[2:], "y", unit="prompts") == []
