"""Multipliers at which the change overflows: one message in both faces, for vectors and interventions, with the multiplier and the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import HEAD

TEST = """
import pytest
import pytest_steer
from pytest_steer import extract, read_items
from pytest_steer.steering import add, add_keeping_norm

@pytest.mark.parametrize(("kind", "given"), %r)
def test_all(steer_model, kind, given):
    how = add_keeping_norm if kind == "not_anti_steered" else add
    vector = how(extract.caa(steer_model, read_items("train.json"), layer=1))
    data = open("neutral.txt").read().splitlines() if kind == "ppl_delta_below" else read_items("test.json")
    getattr(pytest_steer, f"assert_{kind}")(steer_model, vector, data, **given)
"""
NORM = "intervention: {kind: add_keeping_norm, extract: {method: caa, data: train.json}, layer: 1}"
CLAIMS: list[tuple[str, dict[str, Any]]] = [
    ("steers", {"steerability": 0.1, "multiplier": 1e30}),
    ("steers", {"steerability": 0.1, "multipliers": [0.0, -1e38]}),
    ("not_anti_steered", {"share": 0.5, "multiplier": -1e38}),
    ("not_anti_steered", {"share": 0.5, "multipliers": [0.0, 1e30]}),
    ("ppl_delta_below", {"limit": 0.1, "multiplier": 1e30}),
]


def test_one_message_in_both_faces(suite: Path, pytester: pytest.Pytester) -> None:
    lines = []
    for at, (kind, given) in enumerate(CLAIMS):
        own = json.dumps({"name": f"c{at}"} | given).replace("e+", ".0e+")
        lines.append(f"  - {kind}: {own[:-1]}{', ' + NORM if kind == 'not_anti_steered' else ''}}}\n")
    (suite / "c.steer.yaml").write_text(HEAD.replace("multipliers: [-1, 0, 1]\n", "") + "".join(lines))
    (suite / "test_it.py").write_text(TEST % CLAIMS)
    pytester.runpytest("--steer-report=out.json", "-p", "no:cacheprovider")
    claims = json.loads((suite / "out.json").read_text())["claims"]
    assert [claim["verdict"] for claim in claims] == ["error"] * 2 * len(CLAIMS)
    for at, (kind, given) in enumerate(CLAIMS):
        by_file, by_assertion = claims[at]["error"], claims[len(CLAIMS) + at]["error"]
        key = "multipliers" if "multipliers" in given else "multiplier"
        size = given[key][1] if key == "multipliers" else given[key]
        line = HEAD.count("\n") + at
        assert by_file == f"c.steer.yaml:{line}: claims[{at}].{kind}.{key}: {by_assertion}"
        words = f"multiplier {size:g}{' (of multipliers)' * (key == 'multipliers')} moves the hidden states "
        assert by_assertion.startswith(words)
        assert "overflows float32" in by_assertion
