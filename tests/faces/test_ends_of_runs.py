"""A run that is ended before its end, or that says little: what is kept, how to go on, and signs of life."""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from forked import runpytest
from reports import noted

import pytest_steer.pytest_plugin.progress
from pytest_steer.report import report_schema

from .conftest import HEAD

CLAIMS = "".join(
    f"  - steers: {{steerability: {value}, name: c{n}, controls: 0}}\n" for n, value in enumerate((-50, 50, -50, -50))
)
STOPPING = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    if item.name == "c2":
        {what}
"""


def report_of(suite: Path) -> dict:
    report = json.loads((suite / "r.json").read_text())
    jsonschema.validate(report, report_schema())
    return report


@pytest.mark.parametrize(
    "what", ["raise KeyboardInterrupt", pytest.param("pytest.exit('enough')", marks=pytest.mark.nightly)]
)
def test_an_interrupted_run_says_what_was_kept_and_how_to_go_on(suite: Path, pytester: pytest.Pytester, what: str) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    (suite / "conftest.py").write_text(STOPPING.format(what=what))
    # In this process it would end the tests here.
    run = partial(runpytest, pytester) if "Keyboard" in what else pytester.runpytest
    result = run("--steer-report=r.json", "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            "  pass     c0 *",
            "  fail     c1 *",
            "interrupted: 2 measured, 2 not run",
            "go on: pytest c.steer.yaml::c2 c.steer.yaml::c3",
            "scores were not kept: --steer-cache DIR keeps them",
            "report: *r.json",
        ]
    )
    report = report_of(suite)
    assert report["provenance"]["interrupted"]
    assert report["provenance"]["not_run"] == 2
    assert [claim["name"] for claim in report["claims"]] == ["c0", "c1"]
    assert not (suite / "r.partial.json").exists()


def test_commands_to_copy_are_those_of_the_folder_where_pytest_was_started(
    suite: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    (suite / "pytest.ini").write_text("[pytest]\n")
    (suite / "below").mkdir()
    monkeypatch.chdir(suite / "below")
    result = pytester.runpytest("-x", "--steer-model=builtin:tiny", "-p", "no:cacheprovider", "../c.steer.yaml")
    result.stdout.fnmatch_lines(
        [
            f"rootdir: {suite}",
            "  run again: pytest ../c.steer.yaml::c1 --steer-model=builtin:tiny",
            "go on: pytest ../c.steer.yaml::c2 ../c.steer.yaml::c3",
        ]
    )


def test_a_run_that_stops_at_the_first_failure_says_how_many_were_not_run(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    result = pytester.runpytest("-x", "--steer-report=r.json", "--steer-cache=kept", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["stopped: 2 measured, 2 not run", "go on: *c2 *c3", "scores are kept in *kept"])
    assert report_of(suite)["provenance"] | {"interrupted": False, "not_run": 2} == report_of(suite)["provenance"]
    # A run that comes to its end says nothing of it, nor one of which a part was selected.
    result = pytester.runpytest("-k", "c0", "--steer-report=r.json", "-p", "no:cacheprovider")
    result.stdout.no_fnmatch_line("*not run*")
    assert report_of(suite)["provenance"]["not_run"] == 0


def test_the_table_and_its_warnings_are_there_however_little_is_asked_for(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: -50\n")
    for arguments in (["-q"], ["-qq"], ["--no-header", "-q"], ["-q", "--disable-warnings"]):
        result = pytester.runpytest("-p", "no:cacheprovider", *arguments)
        result.stdout.fnmatch_lines(["  pass     steers *", "warning: c: steers: *", "1 pass"])
    result = pytester.runpytest("-p", "no:terminal", "-p", "no:cacheprovider", "--steer-report=r.json")
    assert result.ret == 0
    assert report_of(suite)["claims"][0]["findings"]


def test_controls_of_a_claim_that_passes_stand_below_the_table(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: {steerability: -50, controls: 3}\n")
    result = pytester.runpytest("-p", "no:cacheprovider", "-q", "--steer-report=r.json")
    (claim,) = report_of(suite)["claims"]
    p = claim["details"]["controls"]["p"]
    result.stdout.fnmatch_lines(
        [f"controls: of the vector and 3 random directions*number {round(4 * p)} (p = {p:.3g}) in 1 (c: steers)"]
    )
    assert f"is number {round(4 * p)} of 4" in claim["message"]


@pytest.mark.parametrize("worker", [[], pytest.param(["-n1"], marks=pytest.mark.nightly)])
def test_quiet_runs_say_what_and_not_why(suite: Path, pytester: pytest.Pytester, worker: list[str]) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: 50\n")
    (suite / "test_it.py").write_text(
        "import torch\n"
        "from pytest_steer import SteeringVector, assert_steers, read_items\n"
        "def test_it(steer_model):\n"
        "    vector = SteeringVector({1: torch.ones(steer_model.width)})\n"
        "    assert_steers(steer_model, vector, read_items('test.json'), steerability=50)\n"
    )
    for arguments in ([], ["-q"], ["--tb=short"]):
        result = pytester.runpytest("-p", "no:cacheprovider", *worker, *arguments)
        result.assert_outcomes(failed=2)
        said = result.stdout.str()
        assert ("  worst items:" in said) is (not arguments)
        assert "run again: pytest c.steer.yaml::steers" in said
        assert "run again: pytest test_it.py::test_it" in said
        result.stdout.fnmatch_lines(["steers: FAIL *promised at least 50", "  n = 10 items*", "  fail     steers *"])


@pytest.mark.parametrize("worker", [[], pytest.param(["-n1"], marks=pytest.mark.nightly)])
def test_the_short_summary_has_one_line_for_each_failure(
    suite: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, worker: list[str]
) -> None:
    """Under CI pytest repeats whole messages there."""
    monkeypatch.setenv("CI", "true")
    (suite / "c.steer.yaml").write_text(
        HEAD + "  - steers: 50\n  - steers: {name: odd, data: {test: gone.json}, steerability: 1}\n"
    )
    (suite / "test_it.py").write_text(
        "import torch\n"
        "from pytest_steer import SteeringVector, assert_steers, read_items\n"
        "def test_it(steer_model):\n"
        "    vector = SteeringVector({1: torch.ones(steer_model.width)})\n"
        "    assert_steers(steer_model, vector, read_items('test.json'), steerability=50)\n"
        "def test_own():\n"
        "    raise AssertionError('one\\ntwo')\n"
    )
    result = pytester.runpytest("-p", "no:cacheprovider", "--junitxml=j.xml", *worker)
    lines = result.outlines
    below = lines[next(at for at, line in enumerate(lines) if "short test summary" in line) + 1 : -1]
    assert [line.split(" - ")[0] for line in below] == [
        "FAILED c.steer.yaml::steers",
        "FAILED c.steer.yaml::odd",
        "FAILED test_it.py::test_it",
        "FAILED test_it.py::test_own",
        "two",  # what is not ours is left as it is
    ]
    assert below[0].endswith("promised at least 50")
    assert " ERROR  c.steer.yaml:" in below[1]
    assert "  worst items:" in result.stdout.str()
    assert ElementTree.parse(suite / "j.xml").find(".//failure").text.count("worst items") == 1
    line = pytester.runpytest("-p", "no:cacheprovider", "--tb=line")
    line.stdout.re_match_lines([r".*c\.steer\.yaml:8: steers: FAIL .*promised at least 50$"])


def test_signs_of_life_off_a_terminal(suite: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: -50\n")
    pytester.runpytest("-p", "no:cacheprovider").stdout.no_fnmatch_line("steer: steers: *")  # of less than 30 s
    monkeypatch.setattr(pytest_steer.pytest_plugin.progress, "EVERY", 0.0)
    for quiet, said in ((0, True), (1, True), (2, False)):
        result = pytester.runpytest("-p", "no:cacheprovider", *["-q"] * quiet)
        found = [line for line in result.outlines if re.fullmatch(r"steer: steers: .*\d+ of \d+ \w+ \(\d+ %.*\)", line)]
        assert bool(found) is said
    assert "\x1b" not in result.stdout.str()


def test_the_time_that_is_left() -> None:
    shown = pytest_steer.pytest_plugin.progress.Progress.__new__(pytest_steer.pytest_plugin.progress.Progress)
    shown._stage, shown._begun, shown._done_before = "", 0.0, 0
    assert shown._time_left("10 of 100 scores", 100.0) == " (10 %)"
    assert shown._time_left("40 of 100 scores", 160.0) == " (40 %, about 120 s left)"  # 30 in 60 s, 60 are left
    assert shown._time_left("loading", 170.0) == ""
    assert shown._time_left("5 of 10 prompts", 200.0) == " (50 %)"


def test_a_warning_that_is_given_while_a_claim_is_measured_is_in_its_record(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: -50\n")
    (suite / "test_it.py").write_text(
        "import warnings, torch, pytest\n"
        "from pytest_steer import SteeringVector, assert_steers, read_items\n"
        "from pytest_steer.core.errors import SteerWarning\n"
        "def test_it(steer_model):\n"
        "    vector = SteeringVector({1: torch.ones(steer_model.width)})\n"
        "    def mine(hidden, strength, layer):\n"
        "        warnings.warn(SteerWarning('memory ran low'))\n"
        "        return hidden + strength\n"
        "    from pytest_steer.steering import custom\n"
        "    with pytest.warns(SteerWarning, match='ran low'):\n"
        "        assert_steers(steer_model, custom(mine, layers=1, strength='linear', name='mine'), read_items('test.json'),\n"
        "                      steerability=-1e6)\n"
    )
    result = pytester.runpytest("-q", "--disable-warnings", "-p", "no:cacheprovider", "--steer-report=r.json", "test_it.py")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["warning: test_it: steers: *memory ran low*"])
    assert noted(report_of(suite)["claims"][0], "noted-while-measuring") == ["memory ran low"]


TWICE = """
import os, signal
import pytest
import pytest_steer.pytest_plugin.plugin

def pytest_configure():
    for name in ("write_reports", "summarize"):
        def again(*given, own=getattr(pytest_steer.pytest_plugin.plugin, name), **more):
            os.kill(os.getpid(), signal.SIGINT)
            return own(*given, **more)
        setattr(pytest_steer.pytest_plugin.plugin, name, again)

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    if item.name == "c2":
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_a_second_ctrl_c_loses_nothing_and_shows_no_traceback(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    (suite / "conftest.py").write_text(TWICE)
    result = runpytest(pytester, "--steer-report=r.json", "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["  fail * c1 *", "interrupted: 2 measured, 2 not run", "report: *r.json"])
    assert report_of(suite)["provenance"]["not_run"] == 2
