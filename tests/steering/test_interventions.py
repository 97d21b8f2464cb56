"""Interventions and scopes, without a model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_steer import SteeringVector
from pytest_steer.core.errors import SteerError, VectorError
from pytest_steer.steering import add, as_intervention, check_positions, custom, first_steered

quickly = settings(deadline=None, derandomize=True, database=None, max_examples=100)


def test_add_adds_each_rows_dose_at_the_steered_positions_only():
    v = SteeringVector({1: torch.tensor([1.0, -2.0]), 3: torch.tensor([5.0, 0.0])})
    hidden = torch.randn(2, 3, 2)
    steered = torch.tensor([[False, True, True], [False, False, True]])
    for layer in (1, 3):
        changed = add(v).apply(hidden, torch.tensor([[2.0], [-1.0]]), steered, layer)
        want = hidden.clone()
        want[0, 1:] += 2 * v.directions[layer]
        want[1, 2] -= v.directions[layer]
        assert torch.equal(changed, want)


def test_each_position_may_have_a_strength_of_its_own():
    v = SteeringVector({0: torch.tensor([1.0, -2.0])})
    hidden, strength = torch.randn(2, 3, 2), torch.tensor([[1.0, 2.0, 0.0], [0.5, -1.0, 3.0]])
    changed = add(v).apply(hidden, strength, torch.ones(2, 3, dtype=torch.bool), 0)
    torch.testing.assert_close(changed, hidden + strength[:, :, None] * v.directions[0], rtol=0, atol=0)


def test_unsteered_positions_keep_every_bit_even_if_the_transform_gives_nan():
    nan = custom(lambda h, s, layer: h * float("nan"), layers=0, strength="ignored", name="nan")
    hidden = torch.randn(1, 2, 3)
    changed = nan.apply(hidden, torch.ones(1, 1), torch.tensor([[True, False]]), 0)
    assert changed[0, 0].isnan().all()
    assert torch.equal(changed[0, 1], hidden[0, 1])


def test_a_transform_of_another_shape_is_refused():
    wrong = custom(lambda h, s, layer: h[:, :1], layers=4, strength="linear", name="cut")
    with pytest.raises(VectorError, match=r"layer 4 returned shape \[1, 1, 3\] for hidden states of shape \[1, 2, 3\]"):
        wrong.apply(torch.ones(1, 2, 3), torch.ones(1, 1), torch.ones(1, 2, dtype=torch.bool), 4)


def test_custom_is_told_the_strength_and_the_layer():
    seen = []

    def transform(hidden, strength, layer):
        seen.append((strength.tolist(), layer))
        return hidden * strength

    made = custom(transform, layers=[3, 1, 3], strength="interpolated", name="scale")
    assert (made.layers, made.strength, made.method, made.width, made.vector) == (
        (1, 3),
        "interpolated",
        "scale",
        None,
        None,
    )
    changed = made.apply(torch.ones(2, 1, 1), torch.tensor([[2.0], [3.0]]), torch.ones(2, 1, dtype=torch.bool), 3)
    assert changed.flatten().tolist() == [2.0, 3.0]
    assert seen == [([[[2.0]], [[3.0]]], 3)]


def test_two_customs_of_one_name_are_two_interventions():
    def make():
        return custom(lambda h, s, layer: h, layers=0, strength="linear", name="same")

    assert make().hash != make().hash


def test_custom_refuses_what_it_cannot_use():
    with pytest.raises(VectorError, match="at least one layer"):
        custom(lambda h, s, layer: h, layers=[], strength="linear", name="x")
    with pytest.raises(VectorError, match="linear, interpolated, angle or ignored; not 'strong'"):
        custom(lambda h, s, layer: h, layers=0, strength="strong", name="x")


def test_as_intervention():
    v = SteeringVector({2: torch.ones(3)}, {"method": "caa"})
    made = as_intervention(v)
    assert (made.layers, made.width, made.hash, made.method, made.strength) == ((2,), 3, v.hash, "caa", "linear")
    assert made.vector is v
    assert as_intervention(made) is made
    with pytest.raises(VectorError, match="expected a SteeringVector or an Intervention, not Tensor; wrap a tensor"):
        as_intervention(torch.ones(3))


# --- scopes --------------------------------------------------------------------------------------------------------------


@quickly
@given(st.sampled_from(["all", "after_prompt", "last"]), st.integers(0, 3), st.integers(1, 4))
def test_the_first_position_is_steered_only_if_included(positions, turn_end, prompt_end):
    """And the position that predicts the first scored token always, also where nothing stands between the user's turn and the reply."""
    start = first_steered(positions, turn_end=turn_end, prompt_end=prompt_end)
    included = first_steered(positions, turn_end=turn_end, prompt_end=prompt_end, include_first=True)
    assert included == {"all": 0, "after_prompt": min(turn_end, prompt_end - 1), "last": prompt_end - 1}[positions]
    assert start == max(included, 1)


def test_unknown_positions_are_refused():
    assert [check_positions(p) for p in ("all", "after_prompt", "last")] == ["all", "after_prompt", "last"]
    with pytest.raises(SteerError, match="positions is one of all, after_prompt, last; not 'prompt'"):
        check_positions("prompt")
