"""Contexts of claim files through pytest: generalizes, few-shot examples, axes from a conftest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_steer import Context, axis, load_model, read_items
from pytest_steer.core.run_context import Effort, RunContext
from pytest_steer.data import ContrastItem
from pytest_steer.files import ClaimSpec, read_suite
from pytest_steer.files.build import Builder
from pytest_steer.prompting.strategies import contexts

from .conftest import HEAD, lettered, steering_items

CONFTEST = """
from pytest_steer import ContrastItem, axis

@axis("shout", [1, 2])
def shout(item, times):
    return ContrastItem("!" * times + item.question, item.matching, item.not_matching, item.id)
"""
CLAIMS = """
  - generalizes:
      retention: 0.0001
      min_n: 6
      data: {demonstrations: train.json}
      data_sets: {other: other.json}
      contexts:
        swapped: {option_order: swapped, option_labels: 1/2}
        shots: {few_shot: 2, noise: {typos: 0.2, seed: 1}}
        shouted: {shout: 2, history: [[Hello., Hello!]]}
        talked: {transcript: {messages: [{role: user, content: Hello.}, {role: assistant, content: Hello!}]}}
"""


pytestmark = pytest.mark.usefixtures("registered_here_only")


@pytest.fixture
def steering_suite(suite: Path) -> Path:
    (suite / "train.json").write_text(json.dumps(steering_items(8, 0)))
    (suite / "test.json").write_text(json.dumps(steering_items(10, 8)))
    (suite / "other.json").write_text(json.dumps(steering_items(6, 30)))
    (suite / "conftest.py").write_text(CONFTEST)
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    return suite


def test_generalizes_over_contexts_data_and_an_axis_of_a_conftest(steering_suite: Path, pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--steer-report=out.json")
    result.assert_outcomes(passed=1)
    (claim,) = json.loads((steering_suite / "out.json").read_text())["claims"]
    details = claim["details"]
    assert [row["name"] for row in details["settings"]] == ["swapped", "shots", "shouted", "talked", "other"]
    assert details["settings"][2]["context"] == {"history": [["Hello.", "Hello!"]], "shout": 2}
    said = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello!"}]
    assert details["settings"][3]["context"] == {"transcript": {"messages": said}}
    assert [row["n"] for row in details["settings"]] == [10, 10, 10, 10, 6]
    # Yes and No have no order and no labels to change, so that context is the one as given.
    assert details["settings"][0]["slopes"] == details["base"]["slopes"]
    assert details["settings"][1]["slopes"] != details["base"]["slopes"]
    assert (
        "Context(few_shot=2, noise=Noise(typos=0.2, seed=1), examples=read_items('train.json'))"
        in (details["settings"][1]["put"])
    )
    assert claim["estimate"] == min(row["retention"] for row in details["settings"])


def test_a_vector_beside_the_vectors_of_other_data_sets(steering_suite: Path, pytester: pytest.Pytester) -> None:
    """Made from the same training data, the data set's own vector is this one, and the ratio is 1."""
    (steering_suite / "other_train.json").write_text(json.dumps(steering_items(8, 60)))
    head = HEAD + "  - generalizes: {tan_relative: 0.1, min_n: 2, data_sets: {other: %s}}\n"
    (steering_suite / "empty.json").write_text("[]")
    names = {"same": "train.json", "own": "other_train.json", "gone": "gone.json", "empty": "empty.json"}
    for name, train in names.items():
        (steering_suite / f"{name}.steer.yaml").write_text(head % f"{{test: other.json, train: {train}}}")
    (steering_suite / "c.steer.yaml").write_text(head % "{test: other.json}")
    result = pytester.runpytest("--steer-report=out.json")
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*c.steer.yaml:8: claims[[]0[]].generalizes.data_sets.other: tan_relative needs the data set's own vector*",
            "*empty.steer.yaml:8: claims[[]0[]].generalizes.data_sets.other.train: *empty.json*",
            "*gone.steer.yaml:8: claims[[]0[]].generalizes.data_sets.other.train: there is no file*gone.json*",
        ]
    )
    result.stdout.fnmatch_lines(["warning: same: *its own vector is the claim's vector*"])
    listed = pytester.runpytest("--collect-only", "-q")
    listed.stdout.fnmatch_lines(["*c.steer.yaml:8: *tan_relative needs*", "*gone.steer.yaml:8: *there is no file*"])
    claims = json.loads((steering_suite / "out.json").read_text())["claims"]
    rows = {claim["suite"]: claim["details"]["settings"][0] for claim in claims if claim["verdict"] == "pass"}
    assert rows["same"]["own_vector"]["slopes"] == rows["same"]["slopes"]
    assert rows["own"]["own_vector"]["hash"] != rows["same"]["own_vector"]["hash"]
    own = rows["own"]
    assert own["tan_relative"] == pytest.approx(sum(own["slopes"]) / sum(own["own_vector"]["slopes"]))


def test_a_context_that_the_base_is_no_base_for_is_an_error(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "test.json").write_text(json.dumps(lettered(10)))
    claim = "  - generalizes: {retention: 0.5, contexts: {swapped: {option_order: swapped}}}\n"
    (suite / "c.steer.yaml").write_text(HEAD + claim)
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*generalizes: ERROR  c.steer.yaml:*in the base context *"])


def test_the_files_contexts_become_a_strategy(tmp_path: Path) -> None:
    for name in ("train.json", "test.json"):
        (tmp_path / name).write_text(json.dumps(lettered(6)))
    head = "contexts: {filler: [3, as_given], few_shot: [0, 2], shout: [5, as_given]}\n" + HEAD
    (tmp_path / "c.steer.yaml").write_text(head + "  - steers: {steerability: 0, data: {demonstrations: train.json}}\n")
    axis("shout", [1, 5])(lambda item, n: ContrastItem("!" * n + item.question, item.matching, item.not_matching))
    suite = read_suite(tmp_path / "c.steer.yaml")
    (claim,) = suite.entries
    assert isinstance(claim, ClaimSpec)
    builder = Builder(load_model("builtin:tiny"), RunContext(seed=0, effort=Effort(max_items=3)))
    space = contexts(**suite.contexts, examples=builder.inputs.demonstrations(claim))

    from hypothesis import find, settings

    quickly = settings(deadline=None, derandomize=True, database=None)
    assert find(space, lambda _: True, settings=quickly) == Context()
    loud = find(space, lambda context: context.shout != "as_given" and context.few_shot, settings=quickly)
    assert loud.to_dict() == {"few_shot": 2, "shout": 5}
    assert loud.examples == read_items(tmp_path / "train.json")  # all of them, whatever the profile
    assert loud.put(ContrastItem("Q", ("a",), ("b",))).question == "!!!!!Q"
