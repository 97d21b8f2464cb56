"""Mistakes in claim files and in how they are named: when they are seen, and where they are said to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pytest_steer import SteeringVector, load_model

from .conftest import HEAD

WRONG = "  - steers: {steerability: 0.1}\n  - steers: {name: wrong, steerabilty: 0.1}\n"
DATA = "data: {test: test.json, neutral: neutral.txt}\nclaims:\n  - steers: 0.1\n"


def test_collect_only_shows_what_is_wrong_beside_the_claim(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + WRONG)
    (suite / "d.steer.yaml").write_text("claims: 3\n")
    fault = "c.steer.yaml:*: claims[[]1[]].steers.steerabilty: unknown key 'steerabilty'"
    result = pytester.runpytest("--collect-only")
    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "*<ClaimItem steers>", f"*<ClaimItem wrong: ERROR {fault}>", "*<ClaimItem claim-file: ERROR d.steer.yaml:1: claims: must be a list*",
        "*claims with errors*", "c.steer.yaml::wrong: ERROR", f"  {fault}", "    Did you mean 'steerability'?*", "d.steer.yaml::claim-file: ERROR",
    ])  # fmt: skip
    result = pytester.runpytest("--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["c.steer.yaml::steers", "c.steer.yaml::wrong", "c.steer.yaml::wrong: ERROR", f"  {fault}"])
    result.stdout.no_fnmatch_line("c.steer.yaml::steers: ERROR")
    result = pytester.runpytest("c.steer.yaml::wrong")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["c", "  error  * wrong (steers) *", "* c.steer.yaml:*steerabilty*"])


def test_nothing_is_shown_of_claims_without_mistakes(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: 0.1\n")
    pytester.runpytest("--collect-only").stdout.no_fnmatch_line("*claims with errors*")


def message_of(pytester: pytest.Pytester, *options: str) -> str:
    pytester.runpytest("--steer-report=r.json", *options)
    (claim,) = json.loads((Path(pytester.path) / "r.json").read_text())["claims"]
    assert claim["verdict"] == "error"
    return str(claim["message"])


def test_a_fault_at_run_time_has_the_line_and_the_key_where_it_is_written(suite: Path, pytester: pytest.Pytester) -> None:
    file = suite / "c.steer.yaml"
    extracted = "vector:\n  extract:\n    method: caa\n    data: train.json\n  layer: 1\n"
    file.write_text(extracted.replace("layer: 1", "layer: 99") + DATA)
    assert "c.steer.yaml:5: vector.layer: layer 99: builtin:tiny has" in message_of(pytester)
    file.write_text("matrix:\n  layer:\n    - 77\n" + extracted + DATA)
    assert "c.steer.yaml:3: matrix.layer[0]: layer 77: builtin:tiny has" in message_of(pytester)
    (suite / "bad.json").write_text("{not json")
    file.write_text(extracted + DATA.replace("test.json", "bad.json"))
    assert "bad.json: is not valid JSON" in message_of(pytester).partition("c.steer.yaml:6: data.test: ")[2]
    file.write_text(extracted.replace("train", "bad") + DATA)
    assert "c.steer.yaml:4: vector.extract.data: " in message_of(pytester)
    file.write_text(extracted + DATA.replace("neutral.txt", "empty.txt").replace("steers: 0.1", "ppl_delta_below: 0.1"))
    (suite / "empty.txt").write_text("")
    assert "c.steer.yaml:6: data.neutral: " in message_of(pytester)
    assert "c.steer.yaml:6: data.neutral: " in message_of(pytester, "--steer-holm")


def test_a_vector_that_does_not_fit_the_model(suite: Path, pytester: pytest.Pytester) -> None:
    SteeringVector({1: torch.ones(7)}).save(suite / "narrow.safetensors")
    SteeringVector({1: torch.ones(load_model("builtin:tiny").width)}).save(suite / "wide.safetensors")
    file = suite / "c.steer.yaml"
    file.write_text("vector:\n  positions: all\n  file: narrow.safetensors\n" + DATA)
    assert "c.steer.yaml:3: vector.file: the vector has width 7, but builtin:tiny has width" in message_of(pytester)
    condition = "intervention:\n  kind: add\n  file: wide.safetensors\n  condition:\n    file: narrow.safetensors\n    threshold: 0.1\n"
    file.write_text(condition + DATA)
    assert "c.steer.yaml:5: intervention.condition.file: " in message_of(pytester)


def test_a_file_that_is_deleted_after_collection(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: 0.1\n")
    (suite / "conftest.py").write_text(
        "import pathlib\n\ndef pytest_collection_finish(session):\n    pathlib.Path('test.json').unlink()\n"
    )
    assert "data.test: " in message_of(pytester)


def test_a_model_that_is_not_there_is_known_at_collection(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "model").mkdir()
    (suite / "c.steer.yaml").write_text("suite: c\nmodel: ./modle\n" + HEAD + "  - steers: -50\n")
    result = pytester.runpytest("--collect-only")
    result.stdout.fnmatch_lines(
        ["*<ClaimItem steers: ERROR c.steer.yaml:2: model: *no such folder or file*Did you mean '*/model'?>"]
    )
    pytester.runpytest().assert_outcomes(failed=1)
    pytester.runpytest("--steer-model=builtin:tiny").assert_outcomes(passed=1)


def usage_error(pytester: pytest.Pytester, argument: str) -> str:
    result = pytester.runpytest(argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    return result.stderr.str()


def test_arguments_that_nearly_name_a_claim_or_its_file(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: 0.1\n  - ppl_delta_below: 0.1\n")
    (suite / "oops.yaml").write_text(HEAD + "  - steers: 0.1\n")
    (suite / "other.yaml").write_text("a: 1\n")
    said = usage_error(pytester, "c.steer.yaml::staers")
    assert "not found: " in said
    assert "Did you mean 'steers'? There are steers, ppl_delta_below." in said
    assert "Did you mean c.steer.yaml?" in usage_error(pytester, "c.yaml")
    assert "Did you mean c.steer.yaml?" in usage_error(pytester, "d.steer.yaml")
    said = usage_error(pytester, "oops.yaml")
    assert (
        "It has claims, but only files named *.steer.yaml, *.steer.yml, *.steer.json are collected: rename it to oops.steer.yaml."
        in said
    )
    for argument in ("other.yaml", "nowhere.py", "test_x.py::test_y"):
        assert "Did you mean" not in usage_error(pytester, argument)
