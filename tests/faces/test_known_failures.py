"""Known failures: excused until their day is over, and under --steer-strict-known no longer than they are true."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from reports import noted

from pytest_steer.report import read_report

from .conftest import HEAD

TODAY = datetime.date.today()
YESTERDAY, TOMORROW = (TODAY + datetime.timedelta(days=days) for days in (-1, 1))
HOLDS, FAILS = -50, 50
PLAIN = ("-p", "no:cacheprovider")


def run(suite: Path, pytester: pytest.Pytester, *claims: str, options: tuple[str, ...] = ()) -> pytest.RunResult:
    (suite / "c.steer.yaml").write_text(HEAD + "".join(f"  - steers: {{{claim}}}\n" for claim in claims))
    return pytester.runpytest("--steer-report=r.json", *PLAIN, *options)


def known(value: int, day: datetime.date | str, name: str = "a") -> str:
    return f"steerability: {value}, name: {name}, xfail: {{reason: retrained next week, expires: {day}}}"


def test_until_its_last_day_is_over_it_is_excused(suite: Path, pytester: pytest.Pytester) -> None:
    result = run(suite, pytester, known(FAILS, TODAY))
    result.assert_outcomes(xfailed=1)
    (claim,) = read_report(suite / "r.json")["claims"]
    assert (claim["verdict"], claim["xfail"], claim["xfail_expires"]) == ("fail", "retrained next week", TODAY.isoformat())


def test_afterwards_it_is_a_failure_that_says_so(suite: Path, pytester: pytest.Pytester) -> None:
    result = run(suite, pytester, known(FAILS, YESTERDAY))
    result.assert_outcomes(failed=1)
    said = f"its known failure (retrained next week) expired on {YESTERDAY}, so nothing excuses it any more"
    assert said in " ".join(result.stdout.str().split())
    assert "in line 8 of c.steer.yaml" in " ".join(result.stdout.str().split())
    (claim,) = read_report(suite / "r.json")["claims"]
    assert (claim["xfail"], claim["xfail_expires"]) == (None, YESTERDAY.isoformat())
    assert [said in text for text in noted(claim, "known-failure")] == [True]


def test_a_claim_that_holds_although_it_is_expired(suite: Path, pytester: pytest.Pytester) -> None:
    run(suite, pytester, known(HOLDS, YESTERDAY)).assert_outcomes(passed=1)
    result = run(suite, pytester, known(HOLDS, YESTERDAY), options=("--steer-strict-known",))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*a: its known failure (retrained next week) expired on *", "*--steer-strict-known: *"])
    run(suite, pytester, known(HOLDS, TOMORROW)).assert_outcomes(failed=1)  # as with a reason alone


@pytest.mark.parametrize("day", ["2026-02-30", "'2026-02-30'", "soon"])
def test_a_day_that_is_none_is_an_error_in_its_line(suite: Path, pytester: pytest.Pytester, day: str) -> None:
    body = f"  - steers:\n      steerability: {FAILS}\n      xfail:\n        reason: r\n        expires: {day}\n"
    (suite / "c.steer.yaml").write_text(HEAD + body)
    said = " ".join(pytester.runpytest("--collect-only", "-q", *PLAIN).stdout.str().split())
    assert "c.steer.yaml:12: " in said
    # What YAML itself takes for a date is no YAML if there is no such day.
    known = "not valid YAML: day is out of range" if day == "2026-02-30" else "claims[0].steers.xfail.expires: "
    assert known in said


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("{expires: 2027-01-31}", "'reason' is missing"),
        ("{reason: r, expire: 2027-01-31}", "Did you mean 'expires'?"),
        ("{reason: ' '}", "xfail.reason"),
        ("3", "must be text, or a mapping of a reason and the day when it expires"),
    ],
)
def test_entries_of_another_form(suite: Path, pytester: pytest.Pytester, entry: str, what: str) -> None:
    result = run(suite, pytester, f"steerability: {FAILS}, xfail: {entry}", options=("--collect-only", "-q"))
    assert what in " ".join(result.stdout.str().split())


TESTS = f"""
import pytest
from pytest_steer import assert_steers, extract, read_items

@pytest.mark.xfail(reason="the old one")
@pytest.mark.parametrize("promise", [{HOLDS}, {FAILS}])
def test_claim(steer_model, promise):
    vector = extract.caa(steer_model, read_items("train.json"), layer=1)
    assert_steers(steer_model, vector, read_items("test.json"), steerability=promise)

@pytest.mark.xfail(reason="no claim")
def test_other():
    pass
"""


def test_assertions_in_tests_that_are_expected_to_fail(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "test_a.py").write_text(TESTS)
    pytester.runpytest(*PLAIN).assert_outcomes(xpassed=2, xfailed=1)
    (suite / "pytest.ini").write_text("[pytest]\nsteer_strict_known = true\nsteer_no_soundness = true\n")
    result = pytester.runpytest(*PLAIN)
    result.assert_outcomes(failed=1, xfailed=1, xpassed=1)  # what has no claim is not ours to judge
    result.stdout.fnmatch_lines(["*XPASS(strict)* the old one", "--steer-strict-known: *"])
