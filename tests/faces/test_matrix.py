"""``matrix:`` through pytest: one item per combination, selected by name, models and vectors made once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import pytest_steer.model
from pytest_steer import SteeringVector, load_model

HEAD = """
multipliers: [-1, 0, 1]
data: {test: test.json, neutral: neutral.txt}
"""


def claims_of(pytester: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, dict[str, dict]]:
    result = pytester.runpytest("--steer-report=r.json", *options)
    report = json.loads((Path(pytester.path) / "r.json").read_text())
    return result, {claim["id"]: claim for claim in report["claims"]}


def test_one_item_per_combination_with_the_numbers_of_the_single_claims(suite: Path, pytester: pytest.Pytester) -> None:
    torch.manual_seed(0)
    SteeringVector({2: torch.randn(load_model("builtin:tiny").width)}).save(suite / "saved.gguf")
    (suite / "m.steer.yaml").write_text(
        HEAD + "matrix:\n  vector: {caa: {extract: {method: caa, data: train.json}, layer: 1}, saved: {file: saved.gguf}}\n"
        "claims:\n  - steers: {steerability: -50}\n  - not_anti_steered: {share: 0.99}\n"
    )
    result, found = claims_of(pytester, "-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["m.steer.yaml::steers[[]caa[]] PASSED*", "m.steer.yaml::steers[[]saved[]] PASSED*"])
    (suite / "m.steer.yaml").unlink()
    for name, vector in (("caa", "{extract: {method: caa, data: train.json}, layer: 1}"), ("saved", "{file: saved.gguf}")):
        (suite / "m.steer.yaml").write_text(HEAD + f"vector: {vector}\nclaims:\n  - steers: {{steerability: -50}}\n")
        _, single = claims_of(pytester)
        combined, alone = found[f"m.steer.yaml::steers[{name}]"], single["m.steer.yaml::steers"]
        assert combined["vector"]["hash"] == alone["vector"]["hash"]
        for one, other in zip(combined["items"], alone["items"], strict=True):
            # Unsteered scores are shared among combinations, so batches differ in what they hold, and the last digits with them.
            assert one["propensity"] == pytest.approx(other["propensity"], abs=1e-4)
        assert combined["estimate"] == pytest.approx(alone["estimate"], abs=1e-4)
    estimates = [found[f"m.steer.yaml::steers[{name}]"]["estimate"] for name in ("caa", "saved")]
    assert abs(estimates[0] - estimates[1]) > 1e-2


def test_a_combination_is_selected_by_its_id_and_can_be_known_to_fail(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "m.steer.yaml").write_text(
        HEAD + "vector: {extract: {method: caa, data: train.json}}\nmatrix: {layer: [1, 2]}\n"
        'claims:\n  - steers: {steerability: 50, xfail: {"2": far too much}}\n'
    )
    result, found = claims_of(pytester)
    result.assert_outcomes(failed=1, xfailed=1)
    assert found["m.steer.yaml::steers[2]"]["vector"]["layer"] == 2
    result.stdout.fnmatch_lines(["  run again: pytest 'm.steer.yaml::steers[[]1[]]'*"])
    result, found = claims_of(pytester, "m.steer.yaml::steers[1]")
    result.assert_outcomes(failed=1)
    assert list(found) == ["m.steer.yaml::steers[1]"]


def test_models_are_loaded_once_each_and_the_option_does_not_replace_them(
    suite: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model("builtin:tiny")
    other = suite / "other"
    with torch.no_grad():
        weight = model.hf.get_output_embeddings().weight
        before = weight.clone()
        weight.mul_(0.5)
        model.hf.save_pretrained(other)
        weight.copy_(before)
    model.tokenizer.save_pretrained(other)
    loaded = []

    def counting(name: str, **options: object) -> object:
        loaded.append(name)
        return load_model(name, **options)

    monkeypatch.setattr(pytest_steer.model, "load_model", counting)
    (suite / "m.steer.yaml").write_text(
        HEAD
        + "vector: {extract: {method: caa, data: train.json}}\nmatrix: {model: [builtin:tiny, ./other], layer: [1, 2]}\n"
        "claims:\n  - steers: {steerability: -50}\n  - ppl_delta_below: {limit: 1000000}\n"
    )
    result, found = claims_of(pytester)
    result.assert_outcomes(passed=8)
    assert sorted(loaded) == sorted(["builtin:tiny", str(other)])
    assert len({claim["model"]["fingerprint"] for claim in found.values()}) == 2
    assert len({claim["estimate"] for key, claim in found.items() if "steers" in key}) == 4
    result, found = claims_of(pytester, "--steer-model", "builtin:tiny", "-k", "steers")
    result.assert_outcomes(failed=4, deselected=4)
    assert all("Leave the option out" in claim["message"] for claim in found.values())
