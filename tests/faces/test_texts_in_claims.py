"""Texts with a prompt, rules and windows in claim files: what is shown, and what the report has."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from pytest_steer.report import report_schema

from .conftest import HEAD

ANSWERS = [
    {"id": f"a{n}", "prompt": f"Mary made hat {n}. Do you like it?", "completion": "Yes." if n % 3 else "I am sorry, no."}
    for n in range(12)
]


@pytest.fixture
def texts(suite: Path) -> Path:
    (suite / "answers.jsonl").write_text("\n".join(map(json.dumps, ANSWERS)))
    return suite


def report(pytester: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, dict[str, dict]]:
    result = pytester.runpytest("--steer-report=out.json", *options)
    written = json.loads((Path(pytester.path) / "out.json").read_text())
    jsonschema.validate(written, report_schema())
    return result, {claim["name"]: claim for claim in written["claims"]}


def test_what_a_rule_leaves_out_is_in_the_summary_the_message_and_the_report(texts: Path, pytester: pytest.Pytester) -> None:
    (texts / "c.steer.yaml").write_text(
        HEAD
        + """
  - ppl_delta_below: {name: cost, limit: 9e9, data: &rule {neutral: {file: answers.jsonl, leave_out: {matching: sorry}}}}
  - ppl_delta_below: {name: mean-cost, limit: 9e9, aggregate: arithmetic, window: 16, stride: 6, data: *rule}
  - steers_at_cost: {name: effect, effect: -50, budget: 0.05, data: *rule}
  - ppl_delta_below: {name: by-id, limit: 9e9, data: {neutral: {file: answers.jsonl, leave_out: {ids: [a1, a2]}}}}
  - ppl_delta_below: {name: none-left, limit: 9, data: {neutral: {file: answers.jsonl, leave_out: {matching: "."}}}}
  - ppl_delta_below: {name: no-such-id, limit: 9, data: {neutral: {file: answers.jsonl, leave_out: {ids: [b1]}}}}
  - ppl_delta_below: {name: no-messages, limit: 9, data: {neutral: {file: answers.jsonl, best: 3}}}
"""
    )
    result, found = report(pytester)
    result.assert_outcomes(passed=3, failed=4)  # the apologies that by-id keeps are not what this model reads
    result.stdout.fnmatch_lines(["texts left out: 4 of 12, matching 'sorry' (c: cost, c: mean-cost, c: effect)"])
    result.stdout.fnmatch_lines(["texts left out: 2 of 12, named by ids (c: by-id)"])
    for name, words in (
        ("none-left", "answers.jsonl: leave_out: no text is left: all 12 are left out (matching '.')"),
        ("no-such-id", "leave_out: no text has the id 'b1'"),
        ("no-messages", "best chooses among the messages of OpenAssistant, and this file holds none"),
    ):
        assert words in found[name]["error"]
        assert "c.steer.yaml:" in found[name]["error"]
    left_out = [{"rule": "matching 'sorry'", "n": 4, "of": 12, "ids": ["a0", "a3", "a6", "a9"]}]
    assert found["cost"]["data"]["left_out"] == found["effect"]["details"]["neutral"]["left_out"] == left_out
    assert "  texts: 4 of 12 left out, matching 'sorry' (a0, a3, a6, ...)" in found["effect"]["message"]
    assert [text["id"] for text in found["by-id"]["details"]["texts"]] == [
        a["id"] for a in ANSWERS if a["id"] not in ("a1", "a2")
    ]
