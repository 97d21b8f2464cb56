"""Reports without the texts of data, walked whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from forked import run_module
from small_suite import small_suite

from pytest_steer.core.evidence import error_evidence
from pytest_steer.core.finding import Finding
from pytest_steer.report import report_schema, with_texts

SYSTEM = ["You are the secret assistant of Acme.", "Another private sentence."]
MORE = f"""
vector: {{extract: {{method: mean_difference, data: data/approval_train.json}}, layer: 1, positions: all}}
data: {{neutral: data/neutral.txt, test: data/approval_test.json}}
contexts: {{option_order: [as_given, swapped], system: ["{SYSTEM[0]}", "{SYSTEM[1]}"]}}
regressions: [{{system: "Very private words."}}]
claims:
  - holds_in_contexts: {{steerability: 50, max_contexts: 6, batch: 8}}
  - steers_at_cost: {{effect: 0.1, budget: 0.2}}
  - steers: {{steerability: 50, name: fails}}
  - ppl_delta_below: {{limit: 0.00001}}
  - performs_task: {{accuracy: 0.9, n_shots: 2, data: {{test: tasks.json, demonstrations: tasks.json}}}}
"""


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in (*value.keys(), *value.values()):
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def test_none_of_the_texts_is_in_a_report(tmp_path: Path) -> None:
    tmp_path = small_suite(tmp_path / "suite")
    (tmp_path / "test_builtin.py").unlink()
    (tmp_path / "more.steer.yaml").write_text(MORE)
    (tmp_path / "tasks.json").write_text(json.dumps([{"input": f"secretword{n}", "output": f"answer{n}"} for n in range(8)]))
    options = ["--steer-report", "none.json", "--steer-report-texts", "none", "--rootdir", str(tmp_path)]
    done = run_module("pytest", "-p", "no:cacheprovider", "--steer-no-soundness", *options, cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert SYSTEM[0] in " ".join(done.stdout.split())  # the terminal shows it
    report = json.loads((tmp_path / "none.json").read_text())
    jsonschema.validate(report, report_schema())
    assert len(report["claims"]) == 11
    assert not [claim["error"] for claim in report["claims"] if claim["error"]]
    found = list(strings(report))
    texts = {*SYSTEM, "Very private words.", *(tmp_path / "data" / "neutral.txt").read_text().split("\n")}
    for file in [*(tmp_path / "data").glob("*.json"), tmp_path / "tasks.json"]:
        texts |= {text for text in strings(json.loads(file.read_text())) if len(text) > 5}
    texts -= {
        "question",
        "matching",
        "not_matching",
        "output",
        "answer_matching_behavior",
        "answer_not_matching_behavior",
        "",
    }
    assert len(texts) > 250
    for text in texts:
        assert not [said for said in found if text in said], text
    (searched,) = (claim for claim in report["claims"] if claim["check"] == "holds_in_contexts")
    named = {tried["context"].get("system") for tried in searched["details"]["contexts"]} - {None}
    assert len(named) >= 2
    assert all(name.startswith("sha256:") for name in named)
    assert {tried["context"].get("option_order") for tried in searched["details"]["contexts"]} >= {None, "swapped"}
    assert searched["data"]["hash"]
    assert all(item["id"] for item in searched["items"])


def test_what_a_model_called_is_left_out_too() -> None:
    record = error_evidence("calls_tool", "mine", "no").to_dict()
    why = (
        "a call of another tool: Private",
        'other arguments than promised: search({"Private": 3})',
        "has no block of thought",
    )
    record["replies"] = {"of": [{"steered": {"turns": ["x"], "said": "x", "why": one}} for one in why]}
    kept = with_texts(record, "none")["replies"]["of"]
    assert [one["steered"]["why"] for one in kept] == ["a call of another tool", "other arguments than promised", why[2]]


@pytest.mark.parametrize("texts", ["short", "none"])
def test_messages_keep_no_more_than_the_texts(texts: str) -> None:
    long = "All is said in this text of ours, " * 9
    items = [{"id": "3", "question": long, "matching": ["Yes"], "not_matching": ["No"]}]
    error = f"item 3: the answers 'Private one' and \"Ours\" are equal; {long}"
    rerun = 'pytest a.steer.yaml::mine --steer-context \'{"system": "Private"}\''
    known = {"items": items, "findings": (Finding("made-up", f"see {long}"),), "rerun": rerun}
    evidence = error_evidence("steers", "mine", error, message=f"mine: ERROR {error}\n  worst: {long}", **known)
    record = evidence.to_dict()
    found = "\n".join(strings(with_texts(record, texts)))
    assert with_texts(record, "all") is record
    assert long not in found
    assert "item 3: the answers" in found
    if texts == "none":
        assert "Private" not in found
        assert "All is said" not in found
    else:
        assert f"{long[:80]}..." in found
