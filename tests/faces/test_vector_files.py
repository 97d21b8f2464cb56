"""Claim files that name vectors of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import torch

from pytest_steer import SteeringVector, load_model
from pytest_steer.report import report_schema

HEAD = """
multipliers: [-1, 0, 1]
data: {test: test.json, neutral: neutral.txt}
vector: {file: %s}
claims:
  - steers: {steerability: %s}
"""


def directions(*layers: int) -> dict[int, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {layer: torch.randn(load_model("builtin:tiny").width, generator=generator) for layer in layers}


def run(suite: Path, pytester: pytest.Pytester, vector: str, promised: int = -50) -> tuple[pytest.RunResult, dict]:
    (suite / "c.steer.yaml").write_text(HEAD % (vector, promised))
    result = pytester.runpytest("--steer-report", "r.json")
    report = json.loads((suite / "r.json").read_text())
    jsonschema.validate(report, report_schema())
    return result, report["claims"][0]


def write(suite: Path, name: str, made: dict[int, torch.Tensor]) -> None:
    if name.endswith("/"):
        (suite / name).mkdir()
        for layer, direction in made.items():
            torch.save(direction, suite / name / f"vec_layer_{layer}_tiny.pt")
    elif name.endswith(".pt"):
        torch.save(made, suite / name)
    elif name.endswith(".svec"):
        lists = {str(layer): d.tolist() for layer, d in made.items()}
        (suite / name).write_text(json.dumps({"model_type": "m", "directions": lists, "explained_variances": {}}))
    else:
        SteeringVector(made).save(suite / name)


@pytest.mark.parametrize("name", ["v.safetensors", "v.gguf", "v.pt", "v.svec", "vectors/"])
def test_the_same_vector_from_any_file_gives_the_same_numbers(suite: Path, pytester: pytest.Pytester, name: str) -> None:
    made = directions(1, 2)
    write(suite, name, made)
    result, evidence = run(suite, pytester, f"{name}, layer: 2")
    result.assert_outcomes(passed=1)
    SteeringVector({2: made[2]}).save(suite / "plain.safetensors")
    _, expected = run(suite, pytester, "plain.safetensors")
    assert evidence["items"] == expected["items"]
    assert evidence["vector"]["hash"] == expected["vector"]["hash"] == SteeringVector({2: made[2]}).hash
    assert evidence["vector"]["layer"] == 2
    _, both = run(suite, pytester, name)
    assert both["vector"]["layer"] == [1, 2]


def test_what_was_assumed_is_in_the_evidence_and_shown_when_a_claim_fails(suite: Path, pytester: pytest.Pytester) -> None:
    torch.save(directions(2)[2], suite / "vec_layer_2_tiny.pt")
    result, evidence = run(suite, pytester, "vec_layer_2_tiny.pt", promised=50)
    result.assert_outcomes(failed=1)
    assumed = evidence["vector"]["source"]
    assert assumed == {
        "format": ".pt vec_layer_L",
        "layers": "the file's name, as the 0-based decoder block whose output is changed (CAA)",
        "norm": "as stored, not rescaled",
        "model_hint": "tiny",
    }
    line = f"  vector from {assumed['format']}: {assumed['layers']}; norm {assumed['norm']}"
    assert line in evidence["message"].splitlines()
    result.stdout.fnmatch_lines([f"*{line}"])


def test_a_file_that_does_not_say_its_layer_fails_until_the_claim_says_it(suite: Path, pytester: pytest.Pytester) -> None:
    torch.save(directions(0)[0], suite / "v.pt")
    result, evidence = run(suite, pytester, "v.pt")
    result.assert_outcomes(failed=1)
    assert evidence["verdict"] == "error"
    assert "v.pt: holds one direction and does not say for which layer. Give layer:" in evidence["message"]
    result, evidence = run(suite, pytester, "v.pt, layer: 3")
    result.assert_outcomes(passed=1)
    assert evidence["vector"]["layer"] == 3


def test_a_pickle_is_an_error_of_the_claim_and_is_not_run(suite: Path, pytester: pytest.Pytester) -> None:
    class Bomb:
        def __reduce__(self) -> object:
            return (open, (str(suite / "executed"), "w"))

    torch.save({1: Bomb()}, suite / "v.pt")
    result, evidence = run(suite, pytester, "v.pt")
    result.assert_outcomes(failed=1)
    assert evidence["verdict"] == "error"
    assert "open to be unpickled, and nothing is" in evidence["message"]
    assert not (suite / "executed").exists()
    result.stdout.no_fnmatch_line("*Traceback*")
