"""Measurements that are none, in claim files: tiny doses, the deployed strength, the chat template, accepted mismatches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reports import noted

import pytest_steer
from pytest_steer.report import report_schema

from .conftest import HEAD

RUN = ("-p", "no:cacheprovider", "-p", "no:xdist", "--steer-report", "r.json")


def claims_of(suite: Path) -> dict[str, dict]:
    return {claim["name"]: claim for claim in json.loads((suite / "r.json").read_text())["claims"]}


def test_the_template_is_named_and_can_be_required(pytester: pytest.Pytester, suite: Path) -> None:
    model = pytest_steer.load_model("builtin:tiny")
    for name, template in (("with", model.tokenizer.chat_template), ("without", None)):
        model.hf.save_pretrained(suite / name)
        model.tokenizer.save_pretrained(suite / name)
        if template is None:
            (suite / name / "chat_template.jinja").unlink(missing_ok=True)
        (suite / f"{name}.steer.yaml").write_text(
            f"model: ./{name}\n{HEAD}  - steers: {{steerability: -100, name: {name}}}\n"
        )
        required = f"model: ./{name}\ntemplate: required\n{HEAD}  - steers: {{steerability: -100, name: {name}-required}}\n"
        (suite / f"{name}-required.steer.yaml").write_text(required)
    result = pytester.runpytest_inprocess(*RUN)
    found = claims_of(suite)
    named = f"chat template {model.template_hash[:12]}"
    out = str(result.stdout)
    assert f"with: {named}" in out
    assert "without: no chat template (Question: / Answer:)" in out
    assert "without-required.steer.yaml:2: template: " in found["without-required"]["error"]
    assert "has no chat template, and the file requires one" in found["without-required"]["error"]
    assert found["with-required"]["verdict"] == "pass"
    said = [one["asked"]["template"] for one in found.values() if one["asked"]]
    assert sorted(said) == [named, named, "no chat template (Question: / Answer:)"]
    assert {one["model"]["template_name"] for one in found.values() if one["model"]} == set(said)
    assert "template_name" in json.dumps(report_schema())


def test_a_mismatch_that_is_accepted_is_a_warning(pytester: pytest.Pytester, suite: Path) -> None:
    model = pytest_steer.load_model("builtin:tiny")
    vector = pytest_steer.extract.caa(model, pytest_steer.read_items(suite / "train.json"), layer=1)
    made = {**vector.metadata, "model": "another", "model_fingerprint": "0" * 64, "template_hash": "1" * 64}
    pytest_steer.SteeringVector(vector.directions, made).save(suite / "v.safetensors")
    head = "vector: {file: v.safetensors, allow_mismatch: [model, template]}\nmultipliers: [-1, 0, 1]\n"
    (suite / "a.steer.yaml").write_text(
        f"{head}data: {{test: test.json, neutral: neutral.txt}}\nclaims:\n  - steers: -100\n  - ppl_delta_below: 100000\n"
    )
    result = pytester.runpytest_inprocess(*RUN)
    result.assert_outcomes(passed=2)
    said = "allow_mismatch accepted a vector that was made on the model another, not on builtin:tiny and under another chat template"
    for claim in claims_of(suite).values():
        assert noted(claim, "vector-made-elsewhere") == [said]
    assert said in str(result.stdout)
