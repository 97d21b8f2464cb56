"""Another library's hooks, held against the same properties: the steering-vectors package as published (docs/hooks.md)."""

from __future__ import annotations

from contextlib import nullcontext
from importlib import metadata

import builders
import pytest

from pytest_steer import SteeringFailure, assert_hooks_are_sound, load_model

library = pytest.importorskip(
    "steering_vectors", reason="the steering-vectors package is not installed; docs/hooks.md says what it gives"
)


def found(model, apply, **more):
    try:
        evidence = assert_hooks_are_sound(model, apply=apply, max_batches=8, **more)
    except SteeringFailure as failure:
        evidence = failure.evidence
    return {entry.property: entry.message for entry in evidence.soundness.broken}


@pytest.fixture(scope="module")
def model():
    return load_model("builtin:tiny")


@pytest.fixture(scope="module")
def directions(model):
    return builders.random_vector(2, width=model.width).directions


@pytest.fixture(scope="module")
def vector(directions):
    return library.SteeringVector({layer: direction.clone() for layer, direction in directions.items()})


def test_steering_every_token_is_sound_but_for_padding(model, vector, directions):
    def apply(multiplier):
        return vector.apply(model.hf, multiplier=multiplier)

    assert found(model, apply, directions=directions, include_first=True).keys() == {"padding"}
    assert not found(model, apply, directions=directions, include_first=True, leave_out=["padding"])
    assert "first_position" in found(model, apply, directions=directions)


@pytest.mark.parametrize("family", ["gptj", "bloom", "gpt2"])
def test_blocks_that_return_a_tuple_are_steered(family):
    other, directions = builders.random_model(family), builders.random_vector(1).directions
    vector = library.SteeringVector(dict(directions))
    broken = found(other, lambda m: vector.apply(other.hf, multiplier=m), directions=directions, include_first=True)
    assert broken.keys() == {"padding"}


def test_a_first_token_counts_columns_and_ends_with_the_prompt(model, vector, directions):
    """min_token_index: one column for all rows, padding counted, and found anew in every step of decoding."""

    def apply(multiplier, batch):
        return vector.apply(model.hf, multiplier=multiplier, min_token_index=min(batch.starts))

    broken = found(model, apply, directions=directions, positions="after_prompt")
    assert {"dose", "padding_side", "cached_decoding"} <= broken.keys()
    assert "step 1 after the prompt" in broken["cached_decoding"]


def test_a_mask_per_row_holds_for_the_forward_it_was_made_for(model, vector, directions):
    def apply(multiplier, batch):
        mask = batch.steered.float()
        return vector.apply(model.hf, multiplier=multiplier, min_token_index=None, token_indices=mask)

    broken = found(model, apply, directions=directions, positions="after_prompt")
    assert broken.keys() == {"cached_decoding"}
    assert "raises RuntimeError" in broken["cached_decoding"]


@pytest.mark.skipif(metadata.version("steering-vectors") != "0.12.2", reason="seen in 0.12.2")
def test_token_indices_alone_cannot_be_given(model, vector, directions):
    """``apply``'s own default for min_token_index is 0 and counts as given."""
    broken = found(
        model, lambda m: vector.apply(model.hf, multiplier=m, token_indices=[-1]), directions=directions, positions="last"
    )
    assert broken.keys() == {"runs"}
    with pytest.raises(UnboundLocalError), vector.apply(model.hf, token_indices=[-1]), nullcontext():
        pass
