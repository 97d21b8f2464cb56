"""``matrix:`` through pytest: one item per combination, selected by name, models and vectors made once."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from reports import noted

from pytest_steer import SteeringVector, load_model

HEAD = """
multipliers: [-1, 0, 1]
data: {test: test.json, neutral: neutral.txt}
"""


def claims_of(pytester: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, dict[str, dict]]:
    result = pytester.runpytest("--steer-report=r.json", *options)
    report = json.loads((Path(pytester.path) / "r.json").read_text())
    return result, {claim["id"]: claim for claim in report["claims"]}


def test_a_combination_is_selected_by_its_id_and_can_be_known_to_fail(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "m.steer.yaml").write_text(
        HEAD + "vector: {extract: {method: caa, data: train.json}}\nmatrix: {layer: [1, 2]}\n"
        "claims:\n  - steers: {steerability: 50, overrides: [{match: {layer: 2}, xfail: far too much}]}\n"
    )
    result, found = claims_of(pytester)
    result.assert_outcomes(failed=1, xfailed=1)
    assert found["m.steer.yaml::steers[2]"]["vector"]["layer"] == 2
    result.stdout.fnmatch_lines(["  run again: pytest 'm.steer.yaml::steers[[]1[]]'*"])
    result, found = claims_of(pytester, "m.steer.yaml::steers[1]")
    result.assert_outcomes(failed=1)
    assert list(found) == ["m.steer.yaml::steers[1]"]


COMPARED = """
min_n: 2
multipliers: [-1, 0, 1]
data: {neutral: neutral.txt}
matrix:
  method:
    caa: {layer: 1, positions: all}
    icv: {positions: all, multiplier: 0.1, multipliers: [-0.1, 0, 0.1]}
    half: {extract: {method: caa}, layer: 1, positions: all, multiplier: 0.5}
    clamp: {kind: clamp, value: 4, extract: {method: caa}, layer: 1}
    saved: {file: saved.safetensors, positions: all}
  behaviour:
    letters: {train: train.json, test: test.json}
    opposites: {train: opposites.json, test: more.json, neutral: short.txt}
claims:
  - not_anti_steered:
      share: 0.99
      by: effect
      overrides:
        - {match: {method: caa, behaviour: letters}, share: 0.98}
        - {match: {behaviour: opposites}, by: slope}
        - {match: {method: clamp, behaviour: opposites}, by: effect}
        - {match: {method: icv}, share: 0.97}
  - ppl_delta_below: {name: cost, limit: 1000000}
"""


def test_many_methods_on_many_behaviours(suite: Path, pytester: pytest.Pytester) -> None:
    pairs = [{"input": one, "output": other} for one, other in zip(("hot", "big", "up", "old", "wet"), ("cold", "small", "down", "new", "dry"), strict=True)]  # fmt: skip
    (suite / "opposites.json").write_text(json.dumps(pairs))
    (suite / "more.json").write_text(json.dumps([{"input": p["output"], "output": p["input"]} for p in pairs]))
    (suite / "short.txt").write_text("The hill is grey.\nThe mill is grey.\nThe inn has two doors.\n")
    torch.manual_seed(0)
    SteeringVector({2: torch.randn(load_model("builtin:tiny").width)}).save(suite / "saved.safetensors")
    (suite / "m.steer.yaml").write_text(COMPARED)
    result, found = claims_of(pytester, "-v")
    result.assert_outcomes(passed=20)
    result.stdout.fnmatch_lines(["m.steer.yaml::not_anti_steered[[]icv-opposites[]] PASSED*"])
    # The same claims in files of their own, one method and one behaviour each.
    vectors = {
        "caa": "{extract: {method: caa, data: TRAIN}, layer: 1, positions: all}",
        "icv": "{extract: {method: icv, data: TRAIN}, positions: all}",
        "half": "{extract: {method: caa, data: TRAIN}, layer: 1, positions: all}",
        "clamp": "{kind: clamp, value: 4, extract: {method: caa, data: TRAIN}, layer: 1}",
        "saved": "{file: saved.safetensors, positions: all}",
    }
    more = {"icv": "multiplier: 0.1\nmultipliers: [-0.1, 0, 0.1]\n", "half": "multiplier: 0.5\nmultipliers: [-1, 0, 1]\n"}
    data = {"letters": ("train.json", "test.json", "neutral.txt"), "opposites": ("opposites.json", "more.json", "short.txt")}
    (suite / "m.steer.yaml").unlink()
    pairs = list(zip(vectors.items(), itertools.cycle(data)))  # each method on one of the behaviours
    by_slope = {"icv"}
    for (name, vector), behaviour in pairs:
        train, test, neutral = data[behaviour]
        by = "slope" if name in by_slope else "effect"
        (suite / f"{name}.steer.yaml").write_text(
            f"min_n: 2\nintervention: {vector.replace('TRAIN', train)}\n{more.get(name, 'multipliers: [-1, 0, 1]' + chr(10))}"
            f"data: {{test: {test}, neutral: {neutral}}}\nclaims:\n  - not_anti_steered: {{share: 0.99, by: {by}}}\n"
            "  - ppl_delta_below: {name: cost, limit: 1000000}\n"
        )
    _, alone = claims_of(pytester)
    for (name, _), behaviour in pairs:
        for claim in ("not_anti_steered", "cost"):
            one, other = found[f"m.steer.yaml::{claim}[{name}-{behaviour}]"], alone[f"{name}.steer.yaml::{claim}"]
            assert (one["matrix"], other["matrix"]) == ({"method": name, "behaviour": behaviour}, None)
            for key in ("hash", "method", "layer", "positions"):
                assert one["vector"][key] == other["vector"][key], (name, behaviour, key)
            assert (one["n"], one["multiplier"], one["data"]) == (other["n"], other["multiplier"], other["data"])
            assert one["estimate"] == pytest.approx(other["estimate"], abs=1e-3, rel=1e-3)
            assert one.get("multipliers") == other.get("multipliers")
        thresholds = {"caa-letters": 0.98, "icv-letters": 0.97, "icv-opposites": 0.97}
        own = found[f"m.steer.yaml::not_anti_steered[{name}-{behaviour}]"]
        assert own["threshold"] == thresholds.get(f"{name}-{behaviour}", 0.99)
        assert own["details"]["by"] == ("slope" if name in by_slope else "effect")


def test_models_are_loaded_once_each_and_the_option_wins_over_all_of_them(
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

    monkeypatch.setattr("pytest_steer.model.loading.load_model", counting)
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
    result.assert_outcomes(passed=4, deselected=4)
    assert {claim["model"]["id"] for claim in found.values()} == {"builtin:tiny"}
    for layer in (1, 2):
        one, other = (found[f"m.steer.yaml::steers[{name}-{layer}]"] for name in ("builtin:tiny", "./other"))
        assert one["estimate"] == other["estimate"]
    for claim in found.values():
        (words,) = noted(claim, "model-option-wins")
        assert "builtin:tiny" in words
    result.stdout.fnmatch_lines(["warning: *--steer-model*"])
