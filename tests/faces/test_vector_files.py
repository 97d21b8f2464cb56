"""Claim files that name vectors of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
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


# Every kind of file is read in tests/steering.
def test_the_same_vector_from_a_folder_gives_the_same_numbers(suite: Path, pytester: pytest.Pytester) -> None:
    made, name = directions(1, 2), "vectors/"
    (suite / name).mkdir()
    for layer, direction in made.items():
        torch.save(direction, suite / name / f"vec_layer_{layer}_tiny.pt")
    result, evidence = run(suite, pytester, f"{name}, layer: 2")
    result.assert_outcomes(passed=1)
    SteeringVector({2: made[2]}).save(suite / "plain.safetensors")
    _, expected = run(suite, pytester, "plain.safetensors")
    assert evidence["items"] == expected["items"]
    assert evidence["vector"]["hash"] == expected["vector"]["hash"] == SteeringVector({2: made[2]}).hash
    assert evidence["vector"]["layer"] == 2
    _, both = run(suite, pytester, f"{name}, layer: all")
    assert both["vector"]["layer"] == [1, 2]
    result, asked = run(suite, pytester, name)
    result.assert_outcomes(failed=1)
    assert asked["verdict"] == "error"
    assert "holds directions for 2 layers (1, 2), and nothing says at which of them to steer" in asked["message"]
    assert "`layer: 2`" in asked["message"]


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
    line = f"  vector from {assumed['format']}: {assumed['layers']}; norm {assumed['norm']}; here it is added"
    assert line in evidence["message"].splitlines()
    result.stdout.fnmatch_lines([f"*{line}"])


# --- stacks --------------------------------------------------------------------------------------------------------------


def stack(rows: int) -> torch.Tensor:
    width = load_model("builtin:tiny").width
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(5))


def test_a_stack_is_taken_as_the_models_depth_has_it_and_never_one_off(suite: Path, pytester: pytest.Pytester) -> None:
    depth = load_model("builtin:tiny").n_layers

    def saved(rows: torch.Tensor) -> str:
        torch.save(rows, suite / "stack.pt")
        return "stack.pt"

    def expected(direction: torch.Tensor) -> dict:
        SteeringVector({1: direction}).save(suite / "plain.safetensors")
        return run(suite, pytester, "plain.safetensors")[1]

    blocks = stack(depth)
    _, evidence = run(suite, pytester, f"{saved(blocks)}, layer: 1")
    assert evidence["items"] == expected(blocks[1])["items"]
    assert evidence["vector"]["hash"] == SteeringVector({1: blocks[1]}).hash
    _, evidence = run(suite, pytester, f"{saved(blocks)}, layer: 1, rows: hidden_states")
    assert evidence["verdict"] == "error"
    assert "`rows: hidden_states` needs one row more, the embedding" in evidence["message"]

    hidden = stack(depth + 1)
    hidden[0] = 0  # differences of embeddings at one token are often all 0
    _, evidence = run(suite, pytester, f"{saved(hidden)}, layer: 1")
    assert evidence["verdict"] == "error"
    assert f"a stack of {depth + 1} rows, and " in evidence["message"]
    assert "write `rows: hidden_states` beside `file`" in evidence["message"]
    _, evidence = run(suite, pytester, f"{saved(hidden)}, layer: 1, rows: blocks")
    assert "`rows: blocks` needs as many rows as blocks" in evidence["message"]
    _, evidence = run(suite, pytester, f"{saved(hidden)}, layer: 1, rows: hidden_states")
    assert evidence["items"] == expected(hidden[2])["items"]
    assert evidence["vector"]["hash"] == SteeringVector({1: hidden[2]}).hash
    assert evidence["vector"]["source"]["rows"] == str(depth + 1)

    _, evidence = run(suite, pytester, f"{saved(stack(depth + 2))}, layer: 1, rows: blocks")
    assert evidence["verdict"] == "error"
    assert f"with neither {depth} nor {depth + 1} rows nothing says which block a row is of" in evidence["message"]


def test_one_file_has_two_meanings_and_the_evidence_says_which(suite: Path, pytester: pytest.Pytester) -> None:
    SteeringVector(directions(1)).save(suite / "v.gguf")
    (suite / "c.steer.yaml").write_text(
        "data: {test: test.json}\nclaims:\n"
        "  - not_anti_steered: {share: 0.99, by: effect, name: added, vector: {file: v.gguf}}\n"
        "  - not_anti_steered: {share: 0.99, by: effect, name: out, intervention: {kind: ablate, file: v.gguf}}\n"
    )
    pytester.runpytest("--steer-report", "r.json")
    report = json.loads((suite / "r.json").read_text())
    jsonschema.validate(report, report_schema())
    for claim, operation in zip(report["claims"], ("added", "projected out"), strict=True):
        assert claim["vector"]["operation"] == claim["receipt"]["operation"] == operation


def test_an_assertion_with_a_file_of_several_layers_asks_which(suite: Path, pytester: pytest.Pytester) -> None:
    np.savez(suite / "v.npz", **{f"layer.{layer}": d.numpy() for layer, d in directions(1, 2).items()})
    pytester.makepyfile(
        """
        from pytest_steer import SteeringVector, assert_steers, load_model, read_items

        def check(**options):
            vector = SteeringVector.load("v.npz", **options)
            assert_steers(load_model("builtin:tiny"), vector, read_items("test.json"), steerability=-50, multipliers=[-1, 0, 1])

        def test_asked(): check()
        def test_one(): check(layer=2)
        def test_all(): check(layer="all")
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["*v.npz: holds directions for 2 layers (1, 2), and nothing says at which of them to steer.*"]
    )
