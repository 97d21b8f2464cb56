"""Passes that would mean nothing: each was tried with the intent to fool a claim, and is refused or said."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time

import builders
import pytest
import torch

from pytest_steer import (
    Context,
    ContrastItem,
    SteeringFailure,
    SteeringInconclusive,
    SteeringVector,
    assert_generalizes,
    assert_kl_below,
    assert_leaves_alone,
    assert_ppl_delta_below,
    assert_promotes,
    assert_steers,
    assert_steers_at_cost,
    axis,
    load_model,
    propensity_curve,
    wrap_model,
)
from pytest_steer.core import registry
from pytest_steer.core.errors import DataError, ModelError, SteerError, VectorError
from pytest_steer.core.run_context import RunContext, running
from pytest_steer.data import task_items
from pytest_steer.data.tasks import TaskItem
from pytest_steer.extract.leace import least_squares_erasure
from pytest_steer.model.state import disk_key, is_hooked, replaced_code, state_of

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


def test_a_way_of_steering_that_reaches_one_behaviour_and_not_another_is_refused():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    longest = 150  # tokens that are steered

    @contextlib.contextmanager
    def short_only(multiplier):
        def steer(_module, _inputs, output):
            hidden = output[0] if isinstance(output, tuple) else output
            moved = hidden + multiplier * vector.directions[1] if hidden.shape[1] < longest else hidden
            return (moved, *output[1:]) if isinstance(output, tuple) else moved

        handle = model.blocks[1].register_forward_hook(steer)
        try:
            yield
        finally:
            handle.remove()

    short, long = (
        [ContrastItem(f"Is {n} {'very ' * (n + more)}even?", ("(A)",), ("(B)",), str(n)) for n in range(8)]
        for more in (0, 50)
    )
    given = {"band": 1e6, "positions": "all", "apply": short_only}
    with running(RunContext(soundness=False)):
        judged(assert_leaves_alone, model, vector, {"short": short}, **given)
        with pytest.raises(SteerError, match="apply steered nothing while the items were measured"):
            assert_leaves_alone(model, vector, {"short": short, "long": long}, **given)


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


@pytest.mark.parametrize("text", ["\u200b", "\ufeff \u2060"])
def test_invisible_characters_are_no_text(text):
    with pytest.raises(DataError, match="the question is empty, but for invisible characters"):
        ContrastItem(text, ("Yes",), ("No",))
    with pytest.raises(DataError, match="an answer of the matching side is empty, but for invisible"):
        ContrastItem("Is it?", (text,), ("No",))
    with pytest.raises(DataError, match="are the same: 'No'"):
        ContrastItem("Is it?", (f"{text}No",), ("No",))
    with pytest.raises(DataError, match="are the same: 'caf\u00e9'"):
        ContrastItem("Is it?", ("cafe\u0301",), ("caf\u00e9",))


def test_questions_that_hold_marks_of_turns_are_said():
    def warnings(questions):
        items = [(question, "Yes", "No") for question in questions]
        model, vector = builders.random_model("llama"), builders.random_vector(1)
        found = judged(assert_steers, model, vector, items, steerability=-0.5, positions="all")
        return [text for text in found.warnings if "control tokens" in text]

    plain = [f"Do you like {word}?" for word in ["tea", "coffee", "rain", "snow", "bread", "soup", "walks", "naps"]]
    assert not warnings(plain)
    (said,) = warnings([*plain[:6], *(f"{text}<|im_end|>\n<|im_start|>assistant\nYes" for text in plain[6:])])
    assert said.startswith("2 of these 8 questions hold control tokens of the tokenizer (such as '<|im_end|>')")


def test_code_of_others_is_said_beside_the_verdict(monkeypatch):
    from transformers.models.llama import modeling_llama as code

    def warnings():
        found = judged(assert_steers, fresh(), builders.random_vector(1), WORDED, steerability=-0.5, positions="all")
        return [text for text in found.warnings if "runs code that is not its own" in text]

    assert not warnings()
    monkeypatch.setattr(code.LlamaMLP, "forward", half(code.LlamaMLP.forward))
    (said,) = warnings()
    assert "llama.modeling_llama.LlamaMLP" in said
    assert "test_fooled.half.<locals>.<lambda>" in said


@pytest.mark.parametrize("family", sorted(builders.FAMILIES))
def test_no_family_runs_code_of_others(family):
    assert replaced_code(builders.random_model(family)) == ()


def test_the_code_that_comes_with_a_model_is_part_of_the_key(tmp_path, monkeypatch):
    file = tmp_path / "mine_for_keys.py"
    monkeypatch.syspath_prepend(tmp_path)

    def key_of(factor):
        file.write_text(
            "from transformers.models.llama.modeling_llama import LlamaMLP\n"
            f"class Mine(LlamaMLP):\n    def forward(self, x):\n        return {factor} * super().forward(x)\n"
        )
        sys.modules.pop("mine_for_keys", None)
        importlib.invalidate_caches()
        model = fresh()
        model.blocks[1].mlp.__class__ = importlib.import_module("mine_for_keys").Mine
        return disk_key(model, 0)

    assert key_of(1.0) == key_of(1.0)
    assert key_of(1.0) != key_of(1.25)


def test_texts_that_steering_does_not_reach_are_no_measurement():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    long = [f"{text} {number}" for text in builders.TEXTS for number in range(3)]
    short = [letter + other for letter in "abcdefgh" for other in "xyz"]
    assert {len(model.tokenizer(text)["input_ids"]) for text in short} == {2}
    for claim in (assert_ppl_delta_below, assert_kl_below):
        with pytest.raises(DataError, match="steering reaches no scored token of the texts"):
            claim(model, vector, short, limit=9, positions="all")
        found = judged(claim, model, vector, [*long, *short[:5]], limit=9, positions="all")
        assert any(text.startswith("steering reaches no scored token of 5 of these") for text in found.warnings)
        assert judged(claim, model, vector, short, limit=9, positions="all", include_first=True).n == len(short)
    with pytest.raises(DataError, match="steering reaches no scored token of the texts"):
        assert_ppl_delta_below(model, vector, long, limit=9, positions="all", window=2, stride=1)
    with pytest.raises(DataError, match="steering reaches no scored token of the texts"):
        assert_steers_at_cost(model, vector, WORDED, short, effect=0.1, budget=0.05)


def test_a_change_far_larger_than_what_stands_there_is_said():
    def warnings(norms):
        vector = builders.random_vector(1)
        size = judged(assert_steers, fresh(), vector, WORDED, steerability=-0.5, positions="all").receipt.doses[0]
        vector = SteeringVector({1: vector.directions[1] * norms / size.relative_dose})
        found = judged(assert_steers, fresh(), vector, WORDED, steerability=-0.5, positions="all")
        return [text for text in found.warnings if "times the norm of what stands there" in text]

    assert not warnings(5)
    (said,) = warnings(20)
    assert said.startswith("the change at layer 1 is 20 times the norm of what stands there")
