"""Hooks of others and training mode: refused by every measure, and no score that was measured under them is kept."""

from __future__ import annotations

import builders
import pytest

from pytest_steer import TaskItem, extract, perplexity, propensity_curve, task_accuracy, wrap_model
from pytest_steer.core.errors import ModelError
from pytest_steer.measures import Deployed, Scope, effects_at, first_order_slopes, multipliers_at_cost, sweep_curves
from pytest_steer.model import engine_of
from pytest_steer.model.memo import DiskMemo

VECTOR = builders.random_vector(1)
ITEMS = [(f"Question {index}?", "(A)", "(B)") for index in range(8)]
TEXTS = [*builders.TEXTS]
FACES = {
    "propensity_curve": lambda m: propensity_curve(m, ITEMS, VECTOR),
    "perplexity": lambda m: perplexity(m, TEXTS, VECTOR),
    "extract": lambda m: extract.caa(m, ITEMS, layer=1),
    "sweep": lambda m: sweep_curves(m, ITEMS, builders.random_vector(0, 1), Scope("last"), multipliers=(-1, 0, 1)),
    "first order": lambda m: first_order_slopes(m, ITEMS, VECTOR),
    "task accuracy": lambda m: task_accuracy(m, [TaskItem("one", "Yes"), TaskItem("two", "No")], VECTOR),
    "effects": lambda m: effects_at(m, ITEMS, {0: (Deployed(VECTOR), 1.0)}),
    "at cost": lambda m: multipliers_at_cost(m, TEXTS, {0: Deployed(VECTOR)}),
}


def model_of():
    return wrap_model(builders.random_hf("llama"), builders.tokenizer(), "random llama")


def hook_on(model):
    return model.blocks[0].register_forward_hook(lambda _module, _inputs, output: output * 1.5)


@pytest.mark.covering(1)
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("measured_before", [False, True])
def test_a_hook_left_on_the_model_is_refused_also_where_everything_is_remembered(face, measured_before):
    model = model_of()
    if measured_before:
        FACES[face](model)
    handle = hook_on(model)
    with pytest.raises(ModelError, match="hooks of others change what it computes"):
        FACES[face](model)
    handle.remove()
    FACES[face](model)


@pytest.mark.parametrize("face", FACES)
def test_dropout_in_training_mode_is_refused(face):
    model = model_of()
    FACES[face](model)
    model.hf.train()
    model.config.attention_dropout = 0.1
    with pytest.raises(ModelError, match="is in training mode"):
        FACES[face](model)


def test_no_score_that_was_measured_under_a_hook_reaches_a_memory(tmp_path):
    clean = propensity_curve(model_of(), ITEMS, VECTOR).values
    model = model_of()
    engine_of(model).disk = disk = DiskMemo(tmp_path)
    calls = []

    def later(_module, _inputs, output):
        calls.append(1)
        return output * 1.5 if len(calls) > 3 else None

    handle = model.blocks[0].register_forward_hook(later)
    propensity_curve(model, ITEMS[:1], None, multipliers=[0])
    assert len(calls) <= 3
    with pytest.raises(ModelError, match="hooks of others change what it computes"):
        propensity_curve(model, ITEMS, VECTOR)
    handle.remove()
    looking = model.blocks[0].register_forward_hook(lambda *_: None)
    assert (propensity_curve(model, ITEMS, VECTOR).values == clean).all()
    assert disk._connection.execute("SELECT count(*) FROM scores").fetchone() == (0,)
    looking.remove()
    assert (propensity_curve(model, ITEMS, VECTOR).values == clean).all()
    assert disk._connection.execute("SELECT count(*) FROM scores").fetchone() == (
        clean.size + 1,
    )  # and the norms of hidden states
    other = model_of()
    engine_of(other).disk = DiskMemo(tmp_path)
    assert (propensity_curve(other, ITEMS, VECTOR).values == clean).all()
    assert engine_of(other).forwards == 0
    # And what is on disk does not hide a hook.
    third = model_of()
    engine_of(third).disk = DiskMemo(tmp_path)
    hook_on(third)
    with pytest.raises(ModelError, match="hooks of others change what it computes"):
        propensity_curve(third, ITEMS, VECTOR)
