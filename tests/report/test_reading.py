"""Reports read back: what is right comes as it was written, and everything else is an error with where, what and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from reports import a_claim, a_report

from pytest_steer.core.errors import SteerError
from pytest_steer.report import partial_path, read_report, write_report
from pytest_steer.report.partial import PartialReport


def written(folder: Path, report: Any, name: str = "out.json") -> Path:
    file = folder / name
    file.write_text(report if isinstance(report, str) else json.dumps(report), encoding="utf-8")
    return file


def error_of(path: Path) -> str:
    with pytest.raises(SteerError) as caught:
        read_report(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n  " in said or "cannot be read" in said  # what to do
    assert all(len(line) < 400 for line in said.splitlines())
    return said


def test_a_report_comes_back_as_it_was_written(tmp_path):
    report = a_report(a_claim("a"), a_claim("b", interval=(None, 4.0)))
    write_report(tmp_path / "out.json", report)
    assert read_report(tmp_path / "out.json") == report
    assert read_report(str(tmp_path / "out.json")) == report


def test_one_with_the_mark_that_editors_of_windows_put_first(tmp_path):
    report = a_report(a_claim())
    (tmp_path / "out.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(report).encode())
    assert read_report(tmp_path / "out.json") == report


def test_none(tmp_path):
    assert "there is no such report\n  Write it again: pytest --steer-report" in error_of(tmp_path / "out.json")
    assert "There is no folder" in error_of(tmp_path / "nowhere" / "out.json")


def test_none_but_a_partial_one(tmp_path):
    partial = PartialReport(tmp_path / "out.partial.json", {**a_report(), "claims": None})
    assert partial.path == partial_path(tmp_path / "out.json")
    assert f"A run that was ended left {partial.path}" in error_of(tmp_path / "out.json")


def test_a_folder(tmp_path):
    written(tmp_path, "{}")
    assert "is a folder, not a report\n  Name a file in it: out.json" in error_of(tmp_path)


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_file(tmp_path, text):
    assert f"is empty ({len(text)} bytes)" in error_of(written(tmp_path, text))


def test_one_that_cannot_be_read(tmp_path):
    (tmp_path / "out.json").symlink_to(tmp_path / "out.json")
    assert "cannot be read: Too many levels of symbolic links" in error_of(tmp_path / "out.json")


def test_cut_anywhere_it_is_damaged(tmp_path):
    """Or, where nothing but white space is missing, whole."""
    report = a_report(a_claim())
    text = json.dumps(report, ensure_ascii=False, indent=1) + "\n"
    for end in range(1, len(text.rstrip().encode()), 11):
        (tmp_path / "out.json").write_bytes(text.encode()[:end])
        line = text.encode()[:end].count(b"\n") + 1
        assert f"is damaged: it breaks off in line {line}, after " in error_of(tmp_path / "out.json")
    assert read_report(written(tmp_path, text.rstrip())) == report


def test_bytes_that_are_no_text(tmp_path):
    file = tmp_path / "out.json"
    file.write_bytes(b'{"schema": "\xff\xfe"}')
    assert "byte 12 of 16 is not UTF-8" in error_of(file)


def test_something_else_than_json(tmp_path):
    said = error_of(written(tmp_path, "<!doctype html>\x1b[2J\n"))
    assert "is no JSON report: it begins with '<!doctype html>" in said
    assert "\x1b" not in said


def test_a_comma_too_many(tmp_path):
    said = error_of(written(tmp_path, '{"schema": "pytest-steer/report/2",\n "claims": [1,,2], "provenance": {}}'))
    assert "is damaged: line 2, column 15 is not JSON" in said


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_numbers_that_are_none(tmp_path, number):
    text = json.dumps(a_report(a_claim())).replace("-1.0", number, 1)
    assert f"it holds {number}" in (said := error_of(written(tmp_path, text))) or f"the number {number}" in said


def test_brackets_without_end(tmp_path):
    assert "nested too deeply" in error_of(written(tmp_path, '{"a":' * 100_000))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({}, "it has no `schema`"),
        ([], "it is a list"),
        (None, "it is a null"),
        ({"schema": "pytest-steer/sweep/1"}, "its `schema` is 'pytest-steer/sweep/1'"),
        ({"schema": "x" * 5000}, "its `schema` is 'xxx"),
    ],
)
def test_json_of_others(tmp_path, value, what):
    said = error_of(written(tmp_path, value))
    assert f"is JSON, but no report of pytest-steer: {what}" in said
    assert "'pytest-steer/report/2'" in said


def test_another_schema_version(tmp_path):
    newer = {**a_report(a_claim()), "schema": "pytest-steer/report/12"}
    newer["provenance"]["versions"]["pytest-steer"] = "9.1"
    said = error_of(written(tmp_path, newer))
    assert (
        "is of the newer schema version 12 (written by pytest-steer 9.1); this pytest-steer reads version 2\n  Update"
        in said
    )
    said = error_of(written(tmp_path, {"schema": "pytest-steer/report/0"}))
    assert "is of the older schema version 0; this pytest-steer reads version 2\n  Check out" in said


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("claims", 0, "estimate"), "much", "claims[0].estimate: "),
        (("claims", 0, "verdict"), "fine", "claims[0].verdict: 'fine' is not one of"),
        (("claims", 0, "items", 1, "slope"), None, "claims[0].items[1].slope: "),
        (("claims", 0, "items", 1, "propensity", 1), "x", "claims[0].items[1].propensity[1]: 'x' is not of type 'number'"),
        (("claims", 0), [], "claims[0]: [] is not of type 'object'"),
        (("provenance", "seed"), -1, "provenance.seed: -1"),
        (("provenance", "commit"), {"id": "1; rm"}, "provenance.commit: "),
    ],
)
def test_what_the_schema_does_not_allow(tmp_path, path, value, where):
    report = json.loads(json.dumps(a_report(a_claim())))
    *above, last = path
    holder = report
    for step in above:
        holder = holder[step]
    holder[last] = value
    assert f"is damaged: {where}" in error_of(written(tmp_path, report))


def test_a_key_that_is_missing(tmp_path):
    report = a_report(a_claim())
    del report["claims"][0]["message"]
    assert "is damaged: claims[0]: 'message' is a required property" in error_of(written(tmp_path, report))
    report = a_report(a_claim())
    del report["claims"]
    assert "is damaged: 'claims' is a required property" in error_of(written(tmp_path, report))
