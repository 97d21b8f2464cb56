"""One claim, two faces: a claim file and an assertion measure the same, in every precision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import HEAD

ASSERTIONS = """
from pytest_steer import assert_not_anti_steered, assert_ppl_delta_below, assert_steers, extract, read_items

GRID = [-1, 0, 1]

def test_all(steer_model):
    vector = extract.caa(steer_model, read_items("train.json"), layer=1)
    items = read_items("test.json")
    assert_steers(steer_model, vector, items, steerability=-50, multipliers=GRID)
    assert_not_anti_steered(steer_model, vector, items, share=0.999, multipliers=GRID)
    texts = [line for line in open("neutral.txt").read().splitlines()]
    assert_ppl_delta_below(steer_model, vector, texts, limit=90)
"""
CLAIMS = """
  - steers: {steerability: -50}
  - not_anti_steered: {share: 0.999}
  - ppl_delta_below: {limit: 90}
"""
MEASURED = ("estimate", "interval", "n", "verdict", "noise", "items", "curve")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_claim_file_and_an_assertion_measure_the_same(suite: Path, pytester: pytest.Pytester, dtype: str) -> None:
    (suite / "both.steer.yaml").write_text("model: builtin:tiny\n" + HEAD + CLAIMS)
    pytester.makepyfile(test_both=ASSERTIONS)
    found = []
    for what in ("both.steer.yaml", "test_both.py"):
        result = pytester.runpytest(what, f"--steer-dtype={dtype}", "--steer-report=out.json", "--steer-model=builtin:tiny")
        assert result.ret == 0
        report = json.loads((suite / "out.json").read_text())
        assert report["provenance"]["model"]["dtype"] == dtype
        found.append({claim["check"]: claim for claim in report["claims"]})
    by_file, by_assertion = found
    assert set(by_file) == set(by_assertion) == {"steers", "not_anti_steered", "ppl_delta_below"}
    for check, claim in by_file.items():
        for key in MEASURED:
            assert claim.get(key) == by_assertion[check].get(key), (check, key)
        assert (claim["noise"]["score"] > 1e-3) == (dtype == "bfloat16")
