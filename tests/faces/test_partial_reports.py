"""What is left of a run that is killed: the report of the run before, and beside it every claim that was finished."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from forked import runpytest

from pytest_steer.core.evidence import SCORING
from pytest_steer.report import read_report

from .conftest import HEAD

NUMBERS = (-50, 50, -50, -50)
CLAIMS = "".join(f"  - steers: {{steerability: {value}, name: c{n}, controls: 0}}\n" for n, value in enumerate(NUMBERS))
IN_C2 = """
import os, pathlib, pytest, shutil, signal

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    if item.name == "c2":
        {what}
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
PLAIN = ("-p", "no:cacheprovider", "--steer-no-soundness")


def names_in(file: Path) -> list[str]:
    return [claim["name"] for claim in read_report(file)["claims"]]


@pytest.fixture
def killing(suite: Path) -> Path:
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    (suite / "conftest.py").write_text(IN_C2.format(what=KILLED))
    return suite


def test_a_killed_run_leaves_the_old_report_and_a_partial_one(killing: Path, pytester: pytest.Pytester) -> None:
    (killing / "r.json").write_text("the one before")
    result = runpytest(pytester, "--steer-report=r.json", "--steer-report-texts=none", *PLAIN)
    assert result.ret == -9
    assert (killing / "r.json").read_text() == "the one before"
    partial = read_report(killing / "r.partial.json")
    assert [(claim["name"], claim["verdict"]) for claim in partial["claims"]] == [("c0", "pass"), ("c1", "fail")]
    assert "question" not in partial["claims"][0]["items"][0]
    assert partial["provenance"]["partial"] is True
    assert partial["provenance"]["model"]["id"] == "builtin:tiny"
    # The next whole run takes its place.
    (killing / "conftest.py").unlink()
    assert runpytest(pytester, "--steer-report=r.json", "--steer-report-texts=none", *PLAIN).ret == 1
    whole = read_report(killing / "r.json")
    assert whole["provenance"]["partial"] is False
    assert not (killing / "r.partial.json").exists()
    timed = [{**claim, "seconds": 0} for claim in partial["claims"]]
    assert timed == [{**claim, "seconds": 0} for claim in whole["claims"][:2]]


@pytest.mark.nightly
def test_what_workers_have_finished_is_written_as_it_arrives(killing: Path, pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    # The process that gathers the evidence is killed, the worker's parent.
    (killing / "conftest.py").write_text(IN_C2.format(what="os.kill(os.getppid(), signal.SIGKILL)"))
    result = pytester.runpytest_subprocess("--steer-report=r.json", "-n", "1", *PLAIN)
    assert result.ret == -9
    assert names_in(killing / "r.partial.json")[:1] == ["c0"]
    assert not (killing / "r.json").exists()


def test_a_folder_that_vanishes(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    (suite / "out").mkdir()
    (suite / "conftest.py").write_text(IN_C2.format(what="shutil.rmtree('out')"))
    result = pytester.runpytest("--steer-report=out/r.json", *PLAIN)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        [
            "--steer-report: *out/r.json cannot be written: No such file or directory",
            "Run again with --steer-report in a folder that has room",
        ]
    )


@pytest.mark.nightly
def test_where_the_whole_report_has_no_room_the_partial_one_stays(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    (suite / "r.json").write_text("the one before")
    full = "import resource, sys; sys.dont_write_bytecode = True; size = os.stat('r.partial.json').st_size + 5000; resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))"
    (suite / "conftest.py").write_text(IN_C2.format(what=full))
    result = runpytest(pytester, "--steer-report=r.json", *PLAIN)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        [
            "--steer-report: *r.json cannot be written: File too large; the report that was there before is untouched",
            "2 finished claims are in *r.partial.json (2 more did not fit)",
        ]
    )
    assert (suite / "r.json").read_text() == "the one before"
    assert names_in(suite / "r.partial.json") == ["c0", "c1"]
    assert sorted(file.name for file in suite.glob("*r.*json*")) == ["r.json", "r.partial.json"]


def test_the_name_of_a_partial_report_is_refused(suite: Path, pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--steer-report=r.partial.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--steer-report: r.partial.json: is the name of a report that is not finished; take r.json"]
    )


def test_the_run_is_in_the_provenance(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: -50\n")
    pytester.runpytest("--steer-report=r.json", "--steer-holm", "--steer-seed=3", "--steer-inconclusive=skip", *PLAIN)
    found = read_report(suite / "r.json")["provenance"]
    options = found["options"]
    assert (options["holm"], options["seed"], options["inconclusive"], options["no-soundness"]) == (True, 3, "skip", True)
    assert (options["model"], options["context"], options["allow-unexpected"]) == (None, None, [])
    assert not {"report", "cache", "counterexamples"} & options.keys()
    import torch

    assert found["threads"] == found["model"]["threads"] == torch.get_num_threads()
    assert (found["scoring"], found["commit"]) == (SCORING, None)
    assert {"python", "pytest-steer", "torch", "transformers", "tokenizers"} <= found["versions"].keys()
    (claim,) = read_report(suite / "r.json")["claims"]
    for fingerprint in (found["model"]["fingerprint"], found["template"], claim["vector"]["hash"], claim["data"]["hash"]):
        assert re.fullmatch("[0-9a-f]{12,64}", fingerprint), fingerprint
    assert json.loads((suite / "r.json").read_text()) == read_report(suite / "r.json")
