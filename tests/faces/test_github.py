"""Where CI looks: the summary of a step and annotations on GitHub, and the properties of JUnit files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from forked import runpytest

from pytest_steer.core.evidence import Evidence, Verdict
from pytest_steer.pytest_plugin.github import annotation_lines, append_summary
from pytest_steer.report import build_report

from .conftest import HEAD

CLAIMS = """\
  - steers: {name: holds, steerability: -50}
  - steers: {name: "fails, 100%: here", steerability: 50}
  - steers: {name: open, steerability: -50, min_n: 100}
  - steers: {name: known, steerability: 50, xfail: too much}
  - steers: {name: stale, steerability: -50, xfail: too little}
  - steers: {name: odd, data: {test: gone.json}, steerability: 1}
"""
ASSERTED = """
import torch
from pytest_steer import SteeringVector, assert_steers, read_items

def test_two(steer_model):
    vector = SteeringVector({1: torch.ones(steer_model.width)})
    items = read_items("test.json")
    assert_steers(steer_model, vector, items, steerability=-50)
    assert_steers(steer_model, vector, items, steerability=50)
"""
RUN = ("-p", "no:cacheprovider", "--steer-report=r.json")


@pytest.fixture
def outside_of_github(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def commands(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("::")]


def test_summary_and_annotations_of_a_run(suite: Path, pytester: pytest.Pytester, outside_of_github) -> None:
    (suite / "sub").mkdir()
    file = suite / "sub" / "c.steer.yaml"
    file.write_text(
        HEAD.replace("train", "../train").replace("test.json", "../test.json").replace("neutral.txt", "../neutral.txt")
        + CLAIMS
    )
    (suite / "test_it.py").write_text(ASSERTED)
    summary = suite / "summary.md"
    summary.write_text("what another step wrote\n")
    outside_of_github.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = pytester.runpytest(*RUN, "--steer-report=out.md", "--steer-github")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    lines = {name: at for at, text in enumerate(file.read_text().splitlines(), 1) if (name := _name_in(text))}
    found = commands(result.outlines)
    heads = [line.split("::")[1] for line in found]
    assert heads == [
        f"error file=sub/c.steer.yaml,line={lines['fails, 100%: here']},title=fails%2C 100%25%3A here%3A fail",
        "error file=test_it.py,line=5,title=test_two%3A fail",
        f"error file=sub/c.steer.yaml,line={lines['odd']},title=odd%3A error",
        f"warning file=sub/c.steer.yaml,line={lines['open']},title=open%3A inconclusive",
        f"notice file=sub/c.steer.yaml,line={lines['stale']},title=stale%3A xpass",
    ]
    assert "promised at least 50%0An = 10 items, bounds by" in found[0]
    result.stdout.fnmatch_lines([f"summary: appended to {summary}"])
    before, _, added = summary.read_text().partition("\n\n")
    assert before == "what another step wrote"
    assert added == (suite / "out.md").read_text()
    assert added.startswith("<!-- pytest-steer: summary -->\n\n## ❌ Broken: 2 of 8 steering claims\n")


def _name_in(line: str) -> str | None:
    found = re.search(r'name: "?([^"}]*?)"?, (?:steer|data)', line)
    return found and found[1]


def test_nothing_of_it_unless_asked(suite: Path, pytester: pytest.Pytester, outside_of_github) -> None:
    summary = suite / "summary.md"
    outside_of_github.setenv("GITHUB_STEP_SUMMARY", str(summary))
    outside_of_github.setenv("GITHUB_ACTIONS", "true")
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: 50\n")
    assert not commands(pytester.runpytest(*RUN).outlines)
    assert not summary.exists()
    (suite / "pytest.ini").write_text("[pytest]\nsteer_no_soundness = true\nsteer_github = true\n")
    assert len(commands(pytester.runpytest(*RUN).outlines)) == 1
    assert "Broken: 1 of 1" in summary.read_text()


def test_the_suffix_is_known_before_any_format_is_imported(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "test_other.py").write_text("def test_it():\n    pass\n")
    result = runpytest(pytester, "-p", "no:cacheprovider", "--steer-report=out.md")
    result.assert_outcomes(passed=1)
    assert "No steering claim was measured" in (suite / "out.md").read_text()


def test_without_a_place_for_the_summary_the_run_says_so_and_counts(
    suite: Path, pytester: pytest.Pytester, outside_of_github
) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: -50\n")
    result = pytester.runpytest("-p", "no:cacheprovider", "--steer-github")
    result.stdout.fnmatch_lines(["--steer-github: no summary is written: GITHUB_STEP_SUMMARY, *is not set"])
    assert result.ret == 0
    outside_of_github.setenv("GITHUB_STEP_SUMMARY", str(suite / "gone" / "summary.md"))
    result = pytester.runpytest("-p", "no:cacheprovider", "--steer-github")
    result.stdout.fnmatch_lines(["--steer-github: the summary cannot be written: *summary.md'"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def claim(name: str, verdict: Verdict, message: str = "") -> dict:
    evidence = Evidence("steers", name, verdict, "s", 1.0, (0.5, 1.5), threshold=2.0, n=9, suite="s", id=f"a::{name}")
    return evidence.but(message=message).to_dict() | {"model": None}


def test_at_most_ten_annotations_of_a_level_and_broken_claims_first(tmp_path: Path, outside_of_github) -> None:
    claims = [claim(f"o{n}", Verdict.INCONCLUSIVE) for n in range(3)] + [claim(f"f{n}", Verdict.FAIL) for n in range(12)]
    claims += [claims[3]] * 5  # a test that asserts the same in a loop
    lines = annotation_lines(claims, {}, tmp_path, "all")
    assert [line.split("::")[1].split()[0] for line in lines[:-1]] == ["error"] * 10 + ["warning"] * 3
    assert lines[0] == "::error title=f0%3A fail::None"
    assert lines[-1] == "--steer-github: GitHub shows 10 annotations of a level in a step; left out: 2 of 12 of level error"


def test_an_annotation_is_one_line_whatever_a_text_holds(tmp_path: Path, outside_of_github) -> None:
    """As the toolkit of GitHub escapes it, and no second command."""
    odd = claim("a,b:c%\r\nd", Verdict.FAIL, "100%\r\n::error::x\x1b[31m\u202e\n::stop-commands::y\n::error::z")
    outside_of_github.setenv("GITHUB_WORKSPACE", str(tmp_path))
    (line,) = annotation_lines([odd], {odd["id"]: ("f,o.yaml", 7)}, tmp_path / "sub", "all")
    assert line == (
        r"::error file=sub/f%2Co.yaml,line=7,title=a%2Cb%3Ac%25\r%0Ad%3A fail::100%25\r%0A::error::x\x1b[31m\u202e"
    )


def test_a_step_that_has_its_megabyte_is_left_as_it_is(tmp_path: Path, outside_of_github) -> None:
    """GitHub would drop all of it."""
    report = build_report(
        [claim("a", Verdict.PASS) | {"verdict": "error", "estimate": None, "error": "e"}], seed=0, profile="ci", started=0.0
    )
    file = tmp_path / "summary.md"
    outside_of_github.setenv("GITHUB_STEP_SUMMARY", str(file))
    file.write_bytes(b"x" * ((1 << 20) - 10_000))
    (said,) = append_summary(report)
    assert said.startswith("--steer-github: no summary is written: ")
    assert "has 1,038,576 bytes already, and GitHub takes 1,048,576" in said
    assert file.stat().st_size == (1 << 20) - 10_000


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
@pytest.mark.parametrize("workers", [(), pytest.param(("-n1",), marks=pytest.mark.nightly)])
def test_junit_has_the_numbers_of_every_claim(
    suite: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, family: str, workers: tuple[str, ...]
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    (suite / "test_it.py").write_text(ASSERTED)
    run = pytester.runpytest_subprocess if workers else pytester.runpytest
    run(*RUN, *workers, "--junitxml=j.xml", "-o", f"junit_family={family}")
    cases = {
        case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")}
        for case in ElementTree.parse(suite / "j.xml").iter("testcase")
    }
    claims = json.loads((suite / "r.json").read_text())["claims"]
    for found in claims:
        has, prefix = cases[found["id"].partition("::")[2]], "steer"
        if found["name"] == "steers":  # the two of a test
            prefix = f"steer.{1 if found['threshold'] < 0 else 2}"
        assert has[f"{prefix}.verdict"] == found["verdict"]
        assert has.get(f"{prefix}.check", "") == found["check"]
        if found["verdict"] == "error":
            assert f"{prefix}.estimate" not in has
            assert f"{prefix}.interval" not in has
            continue
        assert float(has[f"{prefix}.estimate"]) == found["estimate"]
        assert json.loads(has[f"{prefix}.interval"]) == found["interval"]
        assert float(has[f"{prefix}.threshold"]) == found["threshold"]
        assert int(has[f"{prefix}.n"]) == found["n"] == 10
        assert has.get(f"{prefix}.xfail") == found["xfail"]
        assert has[f"{prefix}.model"] == "builtin:tiny"
    assert {found["verdict"] for found in claims} == {"pass", "fail", "inconclusive", "error"}
    assert len(claims) == 8
