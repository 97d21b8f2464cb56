"""Passes that would mean nothing: each was tried with the intent to fool a claim, and is refused or said."""

from __future__ import annotations

import contextlib
import json
import time

import builders
import pytest
import torch

from pytest_steer import (
    Context,
    ContrastItem,
    SteeringFailure,
    SteeringInconclusive,
    assert_generalizes,
    assert_ppl_delta_below,
    assert_promotes,
    assert_steers,
    assert_steers_at_cost,
    axis,
    load_model,
    propensity_curve,
    registry,
    wrap_model,
)
from pytest_steer.data import task_items
from pytest_steer.data.tasks import TaskItem
from pytest_steer.errors import DataError, ModelError, SteerError, VectorError
from pytest_steer.extract.leace import least_squares_erasure
from pytest_steer.model.identity import is_hooked, state_of
from pytest_steer.run_context import RunContext, running

C = {"up": 1.0, "down": -0.5}
ITEMS = [ContrastItem(f"q{number} w{number}", ("up",), ("down",), str(number)) for number in range(10)]
WORDED = [(f"Question {number}?", "(A)", "(B)") for number in range(9)]


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(("Question:", "Answer:", *C), {"Answer:": 2.0}, {}, C)


def judged(claim, *arguments, **more):
    try:
        return claim(*arguments, **more)
    except (SteeringFailure, SteeringInconclusive) as decided:
        return decided.evidence


def fresh():
    return wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")


def half(module_forward):
    return lambda self, hidden: 0.5 * module_forward(self, hidden)


def test_code_that_is_put_into_the_place_of_a_models_own_is_seen(monkeypatch):
    from transformers.models.llama import modeling_llama as code

    model = fresh()
    clean = state_of(model)
    assert not is_hooked(model)
    for owner, name, other in (
        (code.LlamaMLP, "forward", half(code.LlamaMLP.forward)),
        (code, "apply_rotary_pos_emb", lambda q, k, cos, sin, **more: (q, k)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, other)
            assert is_hooked(model)
            assert state_of(model) != clean
    assert not is_hooked(model)
    assert state_of(model) == clean


def test_scores_of_patched_code_are_not_kept_on_disk(tmp_path, monkeypatch):
    from transformers.models.llama import modeling_llama as code

    def measured():
        with running(RunContext(cache=tmp_path)):
            return propensity_curve(fresh(), WORDED, builders.random_vector(1), multipliers=[0.0, 1.0]).values.tolist()

    with monkeypatch.context() as patch:
        patch.setattr(code.LlamaMLP, "forward", half(code.LlamaMLP.forward))
        patched = measured()
    clean = measured()
    assert clean == propensity_curve(fresh(), WORDED, builders.random_vector(1), multipliers=[0.0, 1.0]).values.tolist()
    assert clean != patched


def test_a_tensor_that_is_neither_parameter_nor_buffer_is_part_of_the_state():
    model = fresh()
    model.blocks[0].__dict__["scale"] = torch.tensor(1.0)
    before = state_of(model)
    model.blocks[0].__dict__["scale"].fill_(0.2)
    assert state_of(model) != before


def test_a_pair_that_is_there_twice_is_one_item():
    pairs = [TaskItem(f"in {number % 5}", f"out {number % 5}") for number in range(20)]
    forms = {item.form for item in task_items(pairs)}
    assert len(forms) == 5


def test_two_texts_are_too_few_for_a_cost(linear):
    texts = ["up down up", "down up down"]
    found = judged(
        assert_steers_at_cost, linear.model, linear.vector(), ITEMS, texts, effect=-100, budget=0.05, max_multiplier=2
    )
    assert found.verdict.value == "inconclusive"
    assert any("n = 2 is below min_n 8: so few texts" in warning for warning in found.warnings)


def test_other_data_that_is_the_base_data_is_refused(linear):
    with pytest.raises(DataError, match="other: asks the questions of the base data and no others"):
        assert_generalizes(linear.model, linear.vector(), ITEMS, retention=0.5, data_sets={"other": ITEMS})


@pytest.fixture
def axes():
    @axis("same_here", ["a"])
    def same_here(item, value):
        return item

    numbers = iter(range(1000))

    @axis("random_here", ["a"])
    def random_here(item, value):
        return ContrastItem(f"{next(numbers)} {item.question}", item.matching, item.not_matching, item.id)

    yield
    registry.forget("axis", "same_here")
    registry.forget("axis", "random_here")


def test_an_axis_that_changes_nothing_is_said_and_one_that_is_random_is_refused(linear, axes):
    same = {"same": Context(same_here="a")}
    found = judged(assert_generalizes, linear.model, linear.vector(), ITEMS, retention=0.5, contexts=same)
    assert any("same: its context changes no prompt" in warning for warning in found.warnings)
    other = {"random": Context(random_here="a")}
    with pytest.raises(DataError, match="axis random_here at 'a' gives another item each time"):
        assert_generalizes(linear.model, linear.vector(), ITEMS, retention=0.5, contexts=other)


def test_a_way_of_steering_that_stops_is_refused():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    texts = [f"{text} {number}" for text in builders.TEXTS for number in range(3)]

    @contextlib.contextmanager
    def short_only(multiplier):
        def steer(_module, _inputs, output):
            hidden = output[0] if isinstance(output, tuple) else output
            if hidden.shape[1] > 2:
                return output
            moved = hidden + multiplier * vector.directions[1]
            return (moved, *output[1:]) if isinstance(output, tuple) else moved

        handle = model.blocks[1].register_forward_hook(steer)
        try:
            yield
        finally:
            handle.remove()

    with (
        running(RunContext(soundness=False)),
        pytest.raises(SteerError, match="apply steered nothing while the texts were measured"),
    ):
        assert_ppl_delta_below(model, vector, texts, limit=9, positions="all", apply=short_only)
    with (
        running(RunContext(soundness=False)),
        pytest.raises(SteerError, match="apply steered nothing while the items were measured"),
    ):
        assert_promotes(model, vector, builders.LETTERED, nats=9, positions="all", apply=short_only)


def test_fifty_megabytes_of_lines_end_in_seconds():
    items = [("Do you like\n" * 4_200_000, "(A)", "(B)"), *WORDED]
    began = time.perf_counter()
    with pytest.raises(DataError, match="characters"):
        assert_steers(builders.random_model("llama"), builders.random_vector(1), items, steerability=0)
    assert time.perf_counter() - began < 20  # twins would be looked for in it for minutes


def test_leace_that_leaves_a_concept_behind_larger_directions_is_refused():
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 32, generator=draw, dtype=torch.float64)
    rows[:200, 9] += 4
    rows *= torch.tensor([1e4, 3e3, 1e3, 5e2, *[1.0] * 28], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(32, 32, generator=draw, dtype=torch.float64))[0]
    with pytest.raises(VectorError, match="others of far larger variance hide"):
        least_squares_erasure((rows @ turn)[:200], (rows @ turn)[200:], 1e-6, 0)
    weight, bias = least_squares_erasure((rows @ turn)[:200], (rows @ turn)[200:], 1e-12, 0)
    left = (rows @ turn @ weight.T + bias) @ turn.T
    assert abs(float(left[:200, 9].mean() - left[200:, 9].mean())) < 1e-3


def test_weights_of_an_adapter_without_its_configuration(tmp_path):
    builders.random_hf("llama").save_pretrained(tmp_path)
    builders.tokenizer().save_pretrained(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(json.dumps({}).encode())
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors"):
        load_model(tmp_path)
