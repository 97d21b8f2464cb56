"""Comparing methods on the built-in model: every number against the plain way, and what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import plain
import pytest
import torch

from pytest_steer import SteeringVector, load_model, read_items, read_tasks, read_texts, task_accuracy
from pytest_steer.core.errors import ClaimFileError, DataError
from pytest_steer.core.run_context import RunContext, running
from pytest_steer.files import read_suite
from pytest_steer.files.inputs import Inputs
from pytest_steer.model import engine_of
from pytest_steer.studies.compare_methods import compare, entries_of, plan_of

DATA = Path(__file__).resolve().parents[2] / "example_suites" / "builtin" / "data"
WORDS = ["tea", "coffee", "rain", "snow", "bread", "soup", "fair", "feast", "dance", "church", "tower", "valley"]
FILE = """
model: builtin:tiny
multipliers: [-1, 0, 1]
data: {neutral: neutral.txt}
matrix:
  method:
    mean_difference: {layer: 1, positions: all}
    weak: {extract: {method: mean_difference}, layer: 1, positions: all, multiplier: 0.5}
    ablation: {layer: 1, positions: all}
  behaviour:
    approval: {train: approval_train.json, test: approval_test.json}
    words: {train: words.json, test: words.json, demonstrations: words.json}
claims:
  - ppl_delta_below: {limit: 0.05}
  - not_anti_steered: {share: 0.2, by: effect}
"""


@pytest.fixture(scope="module")
def model():
    return load_model("builtin:tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("approval_train.json", "loud_test.json"):
        (tmp_path / name).write_text((DATA / name).read_text())
    (tmp_path / "approval_test.json").write_text(json.dumps(json.loads((DATA / "approval_test.json").read_text())[:6]))
    (tmp_path / "neutral.txt").write_text("\n".join((DATA / "neutral.txt").read_text().splitlines()[:5]))
    pairs = [{"input": word, "output": WORDS[index - 1]} for index, word in enumerate(WORDS)]
    (tmp_path / "words.json").write_text(json.dumps(pairs))
    (tmp_path / "c.steer.yaml").write_text(FILE)
    return tmp_path


def measured(folder: Path, model, *, seed: int = 0, **options):
    (plan,) = plan_of(read_suite(folder / "c.steer.yaml"), RunContext())
    assert plan.model == "builtin:tiny"
    entries, unmade = entries_of(plan, Inputs(model))
    with running(RunContext(seed=seed, soundness=False)):
        return entries, unmade, compare(model, entries, **options)


def test_pairs_in_columns_of_other_names(folder, model):
    rows = [f"{word},{WORDS[index - 1]}" for index, word in enumerate(WORDS)]
    (folder / "words.csv").write_text("\n".join(["word,before", *rows]))
    text = FILE.replace("words.json", "words.csv").replace(
        "demonstrations: words.csv}", "demonstrations: words.csv, columns: {input: word, output: before}}"
    )
    (folder / "c.steer.yaml").write_text(text)
    (plan,) = plan_of(read_suite(folder / "c.steer.yaml"), RunContext())
    entries, unmade = entries_of(plan, Inputs(model))
    assert not unmade
    wanted = [(word, WORDS[index - 1]) for index, word in enumerate(WORDS)]
    for entry in (entry for entry in entries if entry.behaviour == "words"):
        for pairs in (entry.tasks, entry.examples):
            assert [(pair.input, pair.output) for pair in pairs] == wanted


def test_the_numbers_are_those_of_the_plain_way(folder, model):
    entries, unmade, found = measured(folder, model, budget=0.02, n_shots=3)
    assert not unmade
    assert not found.failures
    assert [(row.behaviour, row.method) for row in found.rows] == [
        (behaviour, method)
        for method in ("mean_difference", "weak", "ablation")
        for behaviour in ("approval", "words")
    ]  # fmt: skip
    by_place = {(row.behaviour, row.method): row for row in found.rows}
    vectors = {(entry.behaviour, entry.method): entry.subject.vector for entry in entries}
    items = read_items(folder / "approval_test.json")
    directions = vectors["approval", "mean_difference"].directions
    values = plain.curve(model.hf, model.tokenizer, items, directions, (-1.0, 0.0, 0.5, 1.0), "all")

    row, weak = by_place["approval", "mean_difference"], by_place["approval", "weak"]
    np.testing.assert_allclose(row.steerability, plain.slopes(values[:, [0, 1, 3]], (-1, 0, 1)).mean(), atol=1e-4)
    np.testing.assert_allclose(row.deployed.effect, (values[:, 3] - values[:, 1]).mean(), atol=1e-4)
    np.testing.assert_allclose(weak.deployed.effect, (values[:, 2] - values[:, 1]).mean(), atol=1e-4)
    np.testing.assert_allclose(row.spread, values[:, 1].std(ddof=1), atol=1e-4)
    assert row.anti_steerable_share == (plain.slopes(values[:, [0, 1, 3]], (-1, 0, 1)) <= 0).mean()
    assert row.deployed.wrong_way == (values[:, 3] < values[:, 1]).mean()

    texts = read_texts(folder / "neutral.txt")

    def rise(multiplier: float) -> float:
        steered = [plain.nll(model.hf, model.tokenizer, text, directions, multiplier)[0] for text in texts]
        bare = [plain.nll(model.hf, model.tokenizer, text)[0] for text in texts]
        return float(np.expm1(np.subtract(steered, bare).mean()))

    np.testing.assert_allclose(row.deployed.cost, rise(1.0), atol=1e-4)
    np.testing.assert_allclose(weak.deployed.cost, rise(0.5), atol=1e-4)
    # Both are the same vector, so at equal cost they are the same.
    for one in (row, weak):
        assert one.at_cost.reached == "cost"
        np.testing.assert_allclose(one.at_cost.cost, rise(one.at_cost.multiplier), atol=1e-4)
        assert 0.9 * 0.02 < one.at_cost.cost <= 0.02
        at = plain.curve(model.hf, model.tokenizer, items, directions, (one.at_cost.multiplier,), "all")[:, 0]
        np.testing.assert_allclose(one.at_cost.effect, (at - values[:, 1]).mean(), atol=1e-4)

    fixed = by_place["approval", "ablation"]
    assert fixed.steerability is None
    assert fixed.at_cost.reached == "fixed"
    assert fixed.at_cost.multiplier == 1.0
    assert fixed.at_cost.effect == fixed.deployed.effect != 0


def test_tasks_have_their_accuracy_in_every_setting(folder, model):
    entries, _, found = measured(folder, model, budget=0.02, n_shots=3)
    tasks = read_tasks(folder / "words.json")
    assert {task.behaviour for task in found.tasks} == {"words"}
    cells = {(task.method, task.setting, task.at_cost): task for task in found.tasks}
    methods = ("mean_difference", "weak", "ablation")
    settings = ("zero-shot", "3-shot", "3-shot shuffled")
    assert set(cells) == {(method, setting, False) for method in ("unsteered", *methods) for setting in settings} | {
        (method, "zero-shot", True) for method in methods
    }
    vector = next(e.subject.vector for e in entries if (e.behaviour, e.method) == ("words", "mean_difference"))
    for method, own, multiplier in (("unsteered", None, 1.0), ("mean_difference", vector, 1.0), ("weak", vector, 0.5)):
        alone = task_accuracy(
            model,
            tasks,
            own,
            multiplier=multiplier,
            positions="all",
            n_shots=3,
            shuffled=True,
            demonstrations=tasks,
        )
        cell = cells[method, "3-shot shuffled", False]
        assert (cell.first_token, cell.exact, cell.n) == (alone.first_token_accuracy, alone.exact_accuracy, 12)


def test_demonstrations_are_drawn_from_the_examples_with_the_seed(folder):
    """The built-in model has no answer right, so shares cannot tell prompts apart; that nothing new is asked can."""
    shown = [{"input": word, "output": word[::-1]} for word in ("barn", "wool", "milk", "road", "lamp", "coat")]
    (folder / "shown.json").write_text(json.dumps(shown))
    (folder / "c.steer.yaml").write_text(FILE.replace("demonstrations: words.json", "demonstrations: shown.json"))
    model = load_model("builtin:tiny")
    entries, _, _ = measured(folder, model, budget=0.02, n_shots=3, seed=4)
    tasks, pool = read_tasks(folder / "words.json"), read_tasks(folder / "shown.json")
    vector = next(e.subject.vector for e in entries if (e.behaviour, e.method) == ("words", "mean_difference"))
    before = engine_of(model).forwards
    for shuffled in (False, True):
        how = {"positions": "all", "n_shots": 3, "shuffled": shuffled}
        for own in (None, vector):
            task_accuracy(model, tasks, own, demonstrations=pool, seed=4, **how)
        assert engine_of(model).forwards == before
    task_accuracy(model, tasks, demonstrations=pool, seed=5, **how)
    task_accuracy(model, tasks, demonstrations=tasks, seed=4, **how)
    assert engine_of(model).forwards == before + 2 * len(tasks)


def test_a_vector_of_another_model_is_not_measured_unless_that_is_accepted(folder, model):
    width = model.width
    SteeringVector({1: torch.ones(width)}, {"model_fingerprint": "0" * 64, "model": "another"}).save(
        folder / "other.safetensors"
    )
    text = FILE.replace("    ablation:", "    other: {file: other.safetensors, positions: all}\n    ablation:")
    (folder / "c.steer.yaml").write_text(text)
    _, unmade, found = measured(folder, model, budget=0.02)
    assert {failure.method for failure in (*unmade, *found.failures)} == {"other"}
    assert {row.method for row in found.rows} == {"mean_difference", "weak", "ablation"}
    (folder / "c.steer.yaml").write_text(text.replace("other.safetensors,", "other.safetensors, allow_mismatch: [model],"))
    _, _, found = measured(folder, model, budget=0.02)
    assert not found.failures
    assert {row.method for row in found.rows} == {"mean_difference", "weak", "other", "ablation"}


def test_the_models_of_a_matrix_are_plans_and_the_option_wins(folder):
    (folder / "c.steer.yaml").write_text(FILE.replace("  behaviour:", "  model: [builtin:tiny, ./elsewhere]\n  behaviour:"))
    suite = read_suite(folder / "c.steer.yaml")
    own = plan_of(suite, RunContext())
    assert [(plan.model, len(plan.claims)) for plan in own] == [("builtin:tiny", 6), (str(folder / "elsewhere"), 6)]
    (over,) = plan_of(suite, RunContext(model="package:one"))
    assert (over.model, len(over.claims)) == ("package:one", 6)


def test_what_cannot_be_made_or_measured_is_named_and_the_rest_is_there(folder, model):
    (folder / "words.json").write_text((folder / "words.json").read_text().replace('"tea"', '""', 1))
    _, unmade, found = measured(folder, model)
    reasons = {(failure.method, failure.behaviour): failure.reason for failure in unmade}
    assert "the input of a task item has to be a text that is not empty" in reasons["weak", "words"]
    assert list(reasons) == [("mean_difference", "words"), ("weak", "words"), ("ablation", "words")]
    assert [(row.behaviour, row.method) for row in found.rows] == [
        ("approval", "mean_difference"), ("approval", "weak"), ("approval", "ablation"),
    ]  # fmt: skip


def test_a_method_that_overflows_does_not_spoil_the_others(folder, model):
    (folder / "c.steer.yaml").write_text(FILE.replace("multiplier: 0.5", "multiplier: 3e38"))
    _, unmade, found = measured(folder, model, budget=0.02)
    assert {(failure.method, failure.behaviour) for failure in unmade} == {("weak", "approval"), ("weak", "words")}
    assert all("overflows float32" in failure.reason for failure in unmade)
    assert not found.failures
    assert ("approval", "mean_difference") in {(row.behaviour, row.method) for row in found.rows}


def test_methods_and_behaviours_can_be_chosen(folder):
    suite = read_suite(folder / "c.steer.yaml")

    def chosen(**names):
        plans = plan_of(suite, RunContext(model="builtin:tiny"), **names)
        return [claim.choice for plan in plans for claim in plan.claims]

    assert len(chosen()) == 6
    assert chosen(methods=["weak"], behaviours=["words"]) == [{"method": "weak", "behaviour": "words"}]
    with pytest.raises(DataError, match="no method 'weka' in the file; there are: mean_difference, weak, ablation"):
        chosen(methods=["weka"])
    with pytest.raises(DataError, match="no behaviour 'word' in the file; there are: approval, words"):
        chosen(behaviours=["word"])


def test_a_file_without_a_matrix_compares_what_its_claims_name(folder):
    (folder / "c.steer.yaml").write_text("""
multipliers: [-1, 0, 1]
vector: {extract: {method: mean_difference, data: approval_train.json}, layer: 1}
data: {test: approval_test.json}
claims:
  - steers: {steerability: 0.1}
  - not_anti_steered: {share: 0.2}
  - steers: {name: loud, steerability: 0.1, data: {test: loud_test.json}}
  - steers: {name: late, steerability: 0.1, multiplier: 2}
""")
    (plan,) = plan_of(read_suite(folder / "c.steer.yaml"), RunContext())
    entries, _ = entries_of(plan, Inputs(load_model("builtin:tiny")))
    assert [(entry.method, entry.behaviour, entry.subject.multiplier) for entry in entries] == [
        ("mean_difference", "approval_test", 1.0),
        ("mean_difference", "loud_test", 1.0),
        ("mean_difference x 2", "approval_test", 2.0),
    ]


def test_one_vector_applied_in_two_ways_is_two_rows(folder):
    vector = "{extract: {method: mean_difference, data: approval_train.json}, layer: 1"
    (folder / "c.steer.yaml").write_text(
        "data: {test: approval_test.json}\nclaims:\n"
        f"  - not_anti_steered: {{name: added, share: 0.2, by: effect, vector: {vector}}}}}\n"
        f"  - not_anti_steered: {{name: held, share: 0.2, by: effect, intervention: {vector}, kind: clamp, value: 3}}}}\n"
    )
    (plan,) = plan_of(read_suite(folder / "c.steer.yaml"), RunContext())
    entries, _ = entries_of(plan, Inputs(load_model("builtin:tiny")))
    assert [(entry.method, entry.subject.intervention.strength) for entry in entries] == [
        ("mean_difference", "linear"), ("mean_difference (2)", "interpolated"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims:\n  - steers: {steerability: x}\n", "steerability"),
        (
            "vector: {extract: {method: mean_difference, data: approval_train.json}, layer: 1}\n"
            "data: {neutral: neutral.txt}\nclaims:\n  - ppl_delta_below: {limit: 0.1}\n",
            "nothing to compare",
        ),
    ],
)
def test_files_that_cannot_be_compared(folder, text: str, message: str):
    (folder / "c.steer.yaml").write_text(text)
    with pytest.raises((ClaimFileError, DataError), match=message):
        plan_of(read_suite(folder / "c.steer.yaml"), RunContext())


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("approval_test.json", None, "has 1 item(s); an interval needs at least two"),
        ("neutral.txt", "The tea was on the table.", "has 1 text(s); an interval needs at least two"),
    ],
)
def test_one_item_or_one_text_is_not_enough(folder, model, file: str, content: str | None, reason: str):
    text = content or json.dumps(json.loads((folder / file).read_text())[:1])
    (folder / file).write_text(text)
    _, _, found = measured(folder, model, budget=0.02)
    behaviours = ("approval",) if content is None else ("approval", "words")
    assert {failure.behaviour for failure in found.failures} == set(behaviours)
    assert all(reason in failure.reason for failure in found.failures)
    assert {row.behaviour for row in found.rows} == {"approval", "words"} - set(behaviours)
