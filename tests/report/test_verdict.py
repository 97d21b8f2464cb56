"""What a whole report comes to, and the command that answers with an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reports import a_claim, records

from pytest_steer.cli.main import main
from pytest_steer.core.evidence import error_evidence
from pytest_steer.core.record import typed
from pytest_steer.report import build_report, claim_table, write_report
from pytest_steer.report.formats.markdown_file import to_markdown
from pytest_steer.report.outcome import category_of, verdict_of

PASS = a_claim("a")
FAIL = a_claim("b") | {"id": "a.steer.yaml::b", "verdict": "fail", "message": "b: FAIL  0.1\n  why"}
OPEN = a_claim("c") | {"verdict": "inconclusive"}
ERROR = error_evidence("steers", "d", "no", id="a.steer.yaml::d", suite="s").to_dict() | {"message": "d: ERROR  no"}
KNOWN, STALE = FAIL | {"xfail": "r"}, PASS | {"xfail": "r"}


@pytest.mark.parametrize(
    ("claims", "ended", "code"),
    [
        ([PASS], {}, 0),
        ([PASS, KNOWN], {}, 0),
        ([PASS, OPEN | {"xfail": "r"}], {}, 0),
        ([STALE], {}, 0),
        ([PASS, FAIL], {}, 1),
        ([FAIL, ERROR, OPEN], {"interrupted": True, "not_run": 3}, 1),
        ([PASS, OPEN], {}, 3),
        ([PASS, ERROR], {}, 3),
        ([PASS, ERROR | {"xfail": "r"}], {}, 3),
        ([], {}, 3),
        ([PASS], {"interrupted": True}, 3),
        ([PASS], {"not_run": 1}, 3),
        ([PASS], {"not_run": None}, 3),
    ],
)
def test_exit_codes(tmp_path: Path, capsys, claims, ended, code) -> None:
    report = build_report(claims, seed=0, profile="ci", started=0.0, **ended)
    write_report(tmp_path / "r.json", report)
    assert main(["verdict", str(tmp_path / "r.json")]) == code
    assert capsys.readouterr().out.splitlines()[0] == verdict_of(typed(report)).headline
    assert main(["verdict", str(tmp_path / "r.json"), "--json"]) == code
    said = json.loads(capsys.readouterr().out)
    assert said["code"] == code
    names = ("broken", "errors", "inconclusive", "unexpected", "known", "holding")
    assert sum(len(said[name]) for name in names) == len(claims)


def test_what_is_printed_of_each_claim_that_does_not_hold(tmp_path: Path, capsys) -> None:
    report = build_report([PASS, ERROR, FAIL], seed=0, profile="ci", started=0.0, interrupted=True, not_run=2)
    write_report(tmp_path / "r.json", report)
    main(["verdict", str(tmp_path / "r.json")])
    assert capsys.readouterr().out.splitlines() == [
        "Broken: 1 of 3 steering claims",
        "  broken: a.steer.yaml::b",
        "    b: FAIL  0.1",
        "  could not be measured: a.steer.yaml::d",
        "    d: ERROR  no",
        "  the run was interrupted",
        "  2 selected claims were not run",
    ]


def test_a_claim_that_passes_against_expectation_has_one_word_everywhere() -> None:
    report = build_report([PASS, STALE, KNOWN], seed=0, profile="ci", started=0.0)
    assert verdict_of(typed(report)).counts == "1 xpass, 1 known to fail, 1 holds"
    assert "| **xpass** | " in to_markdown(report)
    assert claim_table(records([STALE])).splitlines()[-1].startswith("  xpass  ")
    assert category_of(STALE["verdict"], STALE["xfail"]).words == "xpass"


def test_a_partial_report_is_not_all() -> None:
    report = build_report([PASS], seed=0, profile="ci", started=0.0)
    report["provenance"]["partial"] = True
    assert verdict_of(typed(report)).code == 3


@pytest.mark.parametrize(("content", "words"), [("{}", "no report of pytest-steer"), ('{"schema": "pytest', "damaged")])
def test_what_is_no_report_is_no_verdict(tmp_path: Path, capsys, content, words) -> None:
    (tmp_path / "r.json").write_text(content)
    assert main(["verdict", str(tmp_path / "r.json")]) == 4
    assert words in " ".join(capsys.readouterr().err.split())


def test_no_report_at_all(tmp_path: Path, capsys) -> None:
    assert main(["verdict", str(tmp_path / "gone.json")]) == 4
    assert "there is no such report" in " ".join(capsys.readouterr().err.split())
