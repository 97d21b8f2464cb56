"""Claims about tasks in claim files and in tests, on the built-in model."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from pytest_steer import SteeringVector, load_model, read_tasks, task_accuracy
from pytest_steer.report import report_schema

# The vector below makes the first token of " soup" the likeliest one behind any prompt, whatever is shown before it.
RIGHT, WRONG = "soup", "rain"


@pytest.fixture
def tasks(suite: Path) -> Path:
    """The test folder with pairs of a task: 45 with the answer that the vector brings about, and 15 with another."""
    model = load_model("builtin:tiny")
    ids = [model.tokenizer(f"A:{answer}", add_special_tokens=False)["input_ids"] for answer in ("", " soup", " rain")]
    first, other = (own[len(ids[0])] for own in ids[1:])
    row = model.hf.get_output_embeddings().weight.detach()[first]
    last = model.n_layers - 1
    SteeringVector({last: 400 * row / row.norm()}).save(suite / "soup.safetensors")
    pairs = [{"input": f"case {i}", "output": WRONG if i % 4 == 3 else RIGHT} for i in range(60)]
    assert first != other
    (suite / "pairs.json").write_text(json.dumps(pairs))
    (suite / "shown.json").write_text(json.dumps([{"input": f"shown {i}", "output": RIGHT} for i in range(3)]))
    return suite


HEAD = """
vector: {file: soup.safetensors, positions: last}
data: {test: pairs.json}
claims:
"""


def claims_of(folder: Path, pytester: pytest.Pytester, text: str, *options: str) -> tuple[pytest.RunResult, list[dict]]:
    (folder / "task.steer.yaml").write_text(HEAD + text)
    result = pytester.runpytest("--steer-report=out.json", *options)
    report = json.loads((folder / "out.json").read_text())
    jsonschema.validate(report, report_schema())
    return result, report["claims"]


def test_what_is_asked_is_what_the_measure_asks(tasks: Path, pytester: pytest.Pytester) -> None:
    """Demonstrations come from data.demonstrations, and follow the seed of the run."""
    _, (claim,) = claims_of(
        tasks,
        pytester,
        "  - performs_task: {accuracy: 0.6, n_shots: 2, baseline_n_shots: 3, data: {demonstrations: shown.json}}\n",
        "--steer-seed=5",
    )
    model, pairs, shown = load_model("builtin:tiny"), read_tasks(tasks / "pairs.json"), read_tasks(tasks / "shown.json")
    vector = SteeringVector.load(tasks / "soup.safetensors")
    asked = {"n_shots": 2, "demonstrations": shown}
    steered = task_accuracy(model, pairs, vector, seed=5, **asked)
    bare, other = (task_accuracy(model, pairs, seed=seed, **asked) for seed in (5, 6))
    for record, by_vector, alone in zip(claim["details"]["tasks"], steered.margins, bare.margins, strict=True):
        assert record["margins_steered"] == pytest.approx(by_vector, abs=1e-4)
        assert record["margins_unsteered"] == pytest.approx(alone, abs=1e-4)
    assert max(abs(a - b).max() for a, b in zip(bare.margins, other.margins, strict=True)) > 2e-3
    assert [record["note"] for record in claim["details"]["accuracies"]] == [None] * 5
