"""tools/golden.py finds every change of a recording, and nothing in two that differ in times alone."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools" / "golden.py"
CLAIM = {
    "id": "suite.steer.yaml::moves",
    "verdict": "pass",
    "estimate": 0.30000000000000004,
    "interval": [0.1, None],
    "n": 12,
    "seconds": 1.5,
    "findings": [{"code": "weak-promise", "text": "almost any vector would keep this promise"}],
    "message": "moves: pass\n  worst items\n  [3] 0.1",
    "units": {"ids": ["a", "b"], "values": [0.25, 0.35]},
}


@pytest.fixture(scope="module")
def golden():
    spec = importlib.util.spec_from_file_location("golden_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["golden_script"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["golden_script"]


def recording(
    folder: Path, *, change=lambda report: None, exit_code=0, terminal="1 pass in 2.41s\n", page="<p>held</p>"
) -> Path:
    report = {"schema": "pytest-steer/report/2", "started": "2026-01-01", "claims": [json.loads(json.dumps(CLAIM))]}
    change(report)
    place = folder / "builtin"
    place.mkdir(parents=True)
    (place / "run.json").write_text(json.dumps({"code": "/code", "exit_code": exit_code, "inputs": {"suite": "1"}}))
    (place / "report.json").write_text(json.dumps(report))
    (place / "report.md").write_text("| moves | pass |\n- versions: 1\n")
    (place / "report.html").write_text(f"<html><body>{page}</body></html>")
    (place / "terminal.txt").write_text(terminal)
    (place / "stderr.txt").write_text("")
    return folder


def of_claim(**changes):
    return lambda report: report["claims"][0].update(changes)


def without(key):
    return lambda report: report["claims"][0].pop(key)


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("changed", {"change": of_claim(estimate=0.3)}),
        ("changed", {"change": of_claim(n=12.0)}),
        ("changed", {"change": of_claim(interval=[0.1, 0.5])}),
        ("changed", {"change": of_claim(units={"ids": ["a", "b"], "values": [0.25, 0.36]})}),
        ("changed", {"change": of_claim(message="moves: pass\n  worst items\n  [4] 0.1")}),
        ("order", {"change": of_claim(units={"ids": ["b", "a"], "values": [0.25, 0.35]})}),
        ("verdict", {"change": of_claim(verdict="fail")}),
        ("removed", {"change": without("n")}),
        ("added", {"change": of_claim(new=None)}),
        ("warnings", {"change": of_claim(findings=[])}),
        ("claims", {"change": lambda report: report["claims"].clear()}),
        ("exit", {"exit_code": 1}),
        ("terminal", {"terminal": "1 fail in 2.41s\n"}),
        ("page", {"page": "<p>broken</p>"}),
    ],
)
def test_a_change_is_found_and_is_the_only_one(golden, tmp_path, capsys, kind, made):
    old, new = recording(tmp_path / "old"), recording(tmp_path / "new", **made)
    found = [*golden.compare(old, new, [])]
    assert {one.kind for one in found} == {kind}
    assert golden.explain(found, [], most=5) == len(found)
    assert golden.KINDS[kind] in capsys.readouterr().out


def test_times_and_dates_are_no_differences(golden, tmp_path):
    def later(report):
        report["started"] = "2027-02-02"
        report["claims"][0]["seconds"] = 9.5

    old, new = recording(tmp_path / "old"), recording(tmp_path / "new", change=later, terminal="1 pass in 99.10s\n")
    assert [*golden.compare(old, new, [])] == []


def test_a_rule_expects_what_it_matches_and_nothing_else(golden, tmp_path, capsys):
    old = recording(tmp_path / "old")
    new = recording(tmp_path / "new", change=of_claim(n=13, estimate=0.4))
    (tmp_path / "expected.json").write_text(json.dumps([{"where": r" n: 12 -> 13", "why": "one more item"}]))
    rules = golden.read_rules(tmp_path / "expected.json")
    assert golden.explain([*golden.compare(old, new, [])], rules, most=5) == 1
    assert "expected (1): one more item" in capsys.readouterr().out
