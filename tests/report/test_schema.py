"""The schema of reports is made from the records, and a report comes back as them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from page_reports import mixed, replies_of, steers
from reports import a_claim, a_report

from pytest_steer.core import block, record
from pytest_steer.core.evidence import Evidence
from pytest_steer.core.record import ClaimRecord, Report, record_of
from pytest_steer.report import report_of, report_schema, write_report

SCHEMA = report_schema()
RECORDS, BLOCKS = (
    {name: kind for name, kind in vars(module).items() if dataclasses.is_dataclass(kind)} for module in (record, block)
)


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_record_is_in_it_by_its_name():
    assert not RECORDS.keys() & BLOCKS.keys()
    assert set(SCHEMA["$defs"]) <= RECORDS.keys() | BLOCKS.keys()
    for name, found in SCHEMA["$defs"].items():
        names = [field.name for field in dataclasses.fields((RECORDS | BLOCKS)[name])]
        assert [key for key in found["properties"] if key != "kind" or name not in BLOCKS] == names


@pytest.mark.parametrize("name", sorted(SCHEMA["$defs"].keys() & RECORDS.keys()))
def test_its_words_are_those_of_the_docstring(name):
    assert SCHEMA["$defs"][name]["description"] == RECORDS[name].__doc__.partition("\n")[0]
    lines = {line.strip() for line in RECORDS[name].__doc__.splitlines() if line.startswith("        ")}
    properties = SCHEMA["$defs"][name]["properties"]
    assert lines == {f"{key}: {one['description']}" for key, one in properties.items() if "description" in one}


def test_evidence_has_the_fields_of_its_record():
    here, there = ({field.name for field in dataclasses.fields(kind)} for kind in (Evidence, ClaimRecord))
    assert here - there == {"own", "extra"}
    assert there - here == {"promised", "counterexample", "is_comparison"}


def test_what_a_contract_promises_is_required():
    assert {*SCHEMA["$defs"]["ClaimRecord"]["required"]} >= {
        "id", "suite", "check", "name", "verdict", "estimate", "interval", "confidence", "threshold", "n", "seconds", "vector", "data", "message"
    }  # fmt: skip


def test_it_is_the_same_in_every_process(tmp_path):
    code = "import json; from pytest_steer.report import report_schema; print(json.dumps(report_schema()))"
    root = str(Path(record.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": "7"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert said.strip() == json.dumps(SCHEMA)


def test_a_report_comes_back_as_records(tmp_path):
    write_report(tmp_path / "out.json", mixed())
    found = report_of(tmp_path / "out.json")
    assert isinstance(found, Report)
    claim = found.claims[0]
    assert isinstance(claim, ClaimRecord)
    assert claim.vector is not None
    assert claim.vector.hash == "a" * 64
    assert claim.items is not None
    assert claim.items[0].propensity == (-claim.items[0].slope, 0.0, claim.items[0].slope)
    assert claim.receipt is not None
    assert claim.receipt.doses[0].layer == 1
    assert [one.verdict for one in found.claims] == [one["verdict"] for one in mixed()["claims"]]
    broken = found.claims[1]
    assert broken.replies is not None
    assert broken.replies.of[0].steered.outcome == "rejected"
    assert found.against is None
    assert found.comparison is not None
    assert not found.comparison.rows


def test_a_key_of_another_package_is_passed_over():
    assert record_of(a_claim() | {"mine": 1}).name == "steers"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"verdict": "error"}, "3.5 is not of type 'null'"),
        ({"estimate": None}, "None is not of type 'number'"),
        ({"n": 1}, "1 is less than the minimum of 2"),
        ({"threshold": None}, "None is not of type 'number'"),
        ({"vector": None}, "None is not of type 'object'"),
        ({"interval": [0.0]}, "[0.0] is too short"),
        ({"confidence": 1.0}, "1.0 is greater than or equal to the maximum of 1"),
        ({"direction": "up"}, "'up' is not one of"),
    ],
)
def test_what_a_record_has_to_be(change: dict[str, Any], fault: str):
    report = a_report(a_claim())
    report["claims"][0] |= change
    with pytest.raises(jsonschema.ValidationError, match=r".*"):
        jsonschema.validate(report, SCHEMA)
    found = [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(report)]
    assert any(fault in message for message in found), found


def test_without_items_there_are_no_multipliers():
    record = steers("holds", [0.25, 0.5])
    del record["multipliers"]
    report = a_report()
    report["claims"].append(record)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(report)
    del record["items"]
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(report)


def test_replies_come_back_whole():
    replies = replies_of(4)
    found = record_of(steers("holds", [0.25, 0.5]) | {"replies": replies}).replies
    assert found is not None
    assert json.loads(json.dumps(dataclasses.asdict(found))) == replies
