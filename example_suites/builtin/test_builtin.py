"""The same kind of claims as ordinary tests, on the built-in model."""

from pathlib import Path

import pytest

from pytest_steer import (
    SteeringFailure,
    assert_not_anti_steered,
    assert_ppl_delta_below,
    assert_steers,
    extract,
    read_items,
    read_texts,
)
from pytest_steer.data import read_contrast_texts

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def model(steer_load_model):
    return steer_load_model("builtin:tiny")


@pytest.fixture(scope="module")
def cheer(model):
    return extract.mean_difference(model, *read_contrast_texts(DATA / "cheer_train.json"), layer=1)


def test_cheer_rises_for_every_item(model, cheer):
    items = read_items(DATA / "cheer_test.json")
    assert_steers(model, cheer, items, steerability=0.3, positions="all")
    assert_not_anti_steered(model, cheer, items, share=0.05, positions="all")


def test_cheer_is_cheap(model, cheer):
    assert_ppl_delta_below(model, cheer, read_texts(DATA / "neutral.txt"), limit=0.02)


@pytest.mark.xfail(raises=SteeringFailure, strict=True, reason="cheer does not make half the effect that approval does")
def test_cheer_is_as_strong_as_approval(model, cheer):
    assert_steers(model, cheer, read_items(DATA / "cheer_test.json"), steerability=1.0, positions="all")


def test_the_first_word_of_a_reply_turns(model, cheer, steering):
    question = [{"role": "user", "content": "How was the trip?"}]
    prompt = model.tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)

    def reply():
        tokens = model.hf.generate(**prompt, max_new_tokens=8, do_sample=False)
        return model.tokenizer.decode(tokens[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)

    plain, replies = reply(), []
    for multiplier in (-8, 8):
        with steering(model, cheer, multiplier=multiplier, positions="after_prompt"):
            replies.append(reply())
    assert replies[0] != replies[1]
    assert reply() == plain
