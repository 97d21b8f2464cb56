"""Multipliers at which the change overflows: one message in both faces, for vectors and interventions, with the multiplier and the key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import HEAD

TEST = """
import pytest_steer
from pytest_steer import extract, read_items
from pytest_steer.steering import add, add_keeping_norm

def test_all(steer_model):
    vector = {how}(extract.caa(steer_model, read_items("train.json"), layer=1))
    items, texts = read_items("test.json"), open("neutral.txt").read().splitlines()
    pytest_steer.assert_{call}(steer_model, vector, {data}, **{kwargs})
"""
CALLS = {
    "steers": ("items", {"steerability": 0.1}),
    "not_anti_steered": ("items", {"share": 0.5}),
    "ppl_delta_below": ("texts", {"limit": 0.1}),
}


@pytest.mark.covering(1)
@pytest.mark.parametrize("size", [1e30, -1e38])
@pytest.mark.parametrize("how", ["add", "add_keeping_norm"])
@pytest.mark.parametrize(
    ("claim", "key"),
    [(claim, "multiplier") for claim in CALLS] + [("steers", "multipliers"), ("not_anti_steered", "multipliers")],
)
def test_one_message_in_both_faces(
    suite: Path, pytester: pytest.Pytester, claim: str, how: str, key: str, size: float
) -> None:
    given = {key: size if key == "multiplier" else [0.0, size]}
    data, promise = CALLS[claim]
    head = HEAD.replace("vector:\n", f"intervention:\n  kind: {how}\n") if how != "add" else HEAD
    written = f"{key}: {json.dumps(given[key]).replace('e+', '.0e+')}\n"
    head = head.replace("multipliers: [-1, 0, 1]\n", "" if key == "multipliers" else "multipliers: [-1, 0, 1]\n")
    (suite / "c.steer.yaml").write_text(written + head + f"  - {claim}: {json.dumps(promise)}\n")
    (suite / "test_it.py").write_text(TEST.format(how=how, call=claim, data=data, kwargs=promise | given))
    found = []
    for file in ("c.steer.yaml", "test_it.py"):
        pytester.runpytest(file, "--steer-report=out.json", "--steer-model=builtin:tiny", "-p", "no:cacheprovider")
        (one,) = json.loads((suite / "out.json").read_text())["claims"]
        assert one["verdict"] == "error", one["message"]
        found.append(one["error"])
    assert found[0] == f"c.steer.yaml:1: {key}: {found[1]}"
    assert found[1].startswith(f"multiplier {size:g}{' (of multipliers)' * (key == 'multipliers')} moves the hidden states ")
    assert "overflows float32" in found[1]
