"""The claim hooks_are_sound, and the check before other claims, through pytest."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from pytest_steer.report import report_schema

from .conftest import HEAD

CLAIMS = "  - hooks_are_sound: {max_batches: 3}\n  - ppl_delta_below: {limit: 1000000}\n  - steers: {steerability: -50}\n"

# Claim items have no fixtures, so the mark is moved for as long as the inner run lasts.
BROKEN = """
from pytest_steer.model import hooks
from pytest_steer.steering import first_steered

def pytest_sessionstart():
    hooks.first_steered = lambda *a, **k: first_steered(*a, **k) + 1

def pytest_sessionfinish():
    hooks.first_steered = first_steered
"""


@pytest.fixture
def suite(suite: Path) -> Path:
    """With the check that other files' suites leave out."""
    (suite / "pytest.ini").write_text("[pytest]\n")
    return suite


@pytest.fixture
def claims(suite: Path) -> Path:
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    return suite


def report(pytester: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, dict[str, dict]]:
    result = pytester.runpytest("--steer-report=out.json", *options)
    written = json.loads((Path(pytester.path) / "out.json").read_text())
    jsonschema.validate(written, report_schema())
    return result, {claim["check"]: claim for claim in written["claims"]}


def test_the_claim_holds_and_the_others_carry_the_record_of_their_check(claims: Path, pytester: pytest.Pytester) -> None:
    result, found = report(pytester)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["  pass * hooks_are_sound * broken properties * 0 * <= 0 * 3", "2 verdicts at 95 %: expect at most *"]
    )
    claim = found["hooks_are_sound"]
    assert (claim["estimate"], claim["threshold"], claim["interval"], claim["n"]) == (0, 0, [None, None], 3)
    assert claim["receipt"]["steered_tokens"] > 0
    assert len(claim["soundness"]["holds"]) == 19
    for kind in ("ppl_delta_below", "steers"):
        assert found[kind]["soundness"]["sound"]
        assert found[kind]["soundness"]["examples"] == 1
        assert found[kind]["soundness"]["seconds"] < 2
    assert found["steers"]["soundness"] == found["ppl_delta_below"]["soundness"]


def test_broken_hooks_make_every_claim_an_error_that_names_the_property(claims: Path, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(BROKEN)
    result, found = report(pytester)
    result.assert_outcomes(failed=3)
    assert result.ret == 1
    assert {kind: claim["verdict"] for kind, claim in found.items()} == {
        "hooks_are_sound": "fail",
        "ppl_delta_below": "error",
        "steers": "error",
    }
    names = [entry["property"] for entry in found["hooks_are_sound"]["soundness"]["broken"]]
    assert "dose" in names
    result.stdout.fnmatch_lines(
        ["hooks_are_sound: FAIL  * of 19 properties broken: *dose*", "  dose: The block's output moves *"]
    )
    assert "the hooks are not sound: dose: row 0, token" in found["steers"]["error"]
    assert found["steers"]["soundness"]["sound"] is False
    assert found["steers"]["estimate"] is None
    result.stdout.no_fnmatch_line("*Traceback*")


def test_what_is_left_out_stands_beside_the_verdict(suite: Path, pytester: pytest.Pytester) -> None:
    every = (
        "runs, moves, template, output_type, layer, dose, first_position, padding, identity, sign, repetition, batch_size, "
    )
    every += "batch_order, padding_side, cached_decoding, measuring, nothing_left, exceptions, zero_tokens"
    claims = {"one": "padding", "needed": "dose, sign", "all": every}
    text = [f"  - hooks_are_sound: {{name: {name}, max_batches: 2, leave_out: [{left}]}}\n" for name, left in claims.items()]
    (suite / "c.steer.yaml").write_text(HEAD + "".join(text))
    result = pytester.runpytest("--steer-report=out.json")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["needed: INCONCLUSIVE  all 17 properties hold; not looked at: dose, sign; a verdict needs dose"]
    )
    result.stdout.fnmatch_lines(["*leave_out leaves no property of steering to look at*"])
    result.stdout.fnmatch_lines(["warning: c: one: not looked at: padding"])
    claims = json.loads((suite / "out.json").read_text())["claims"]
    assert [(claim["name"], claim["verdict"]) for claim in claims] == [
        ("one", "pass"),
        ("needed", "inconclusive"),
        ("all", "error"),
    ]


def test_the_check_can_be_switched_off(claims: Path, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(BROKEN)
    result, found = report(pytester, "--steer-no-soundness")
    result.assert_outcomes(failed=1, passed=2)  # the claim itself still says it
    assert found["hooks_are_sound"]["verdict"] == "fail"
    assert found["steers"]["soundness"] is None


def test_assertions_are_checked_too(suite: Path, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(BROKEN)
    pytester.makepyfile(
        """
        from pytest_steer import SteerError, SteeringVector, assert_ppl_delta_below
        import pytest, torch

        def test_it(steer_model):
            vector = SteeringVector({1: torch.ones(steer_model.width)})
            with pytest.raises(SteerError, match="the hooks are not sound: dose"):
                assert_ppl_delta_below(steer_model, vector, ["one text here", "and another one"], limit=9)
        """
    )
    result, found = report(pytester)
    result.assert_outcomes(passed=1)
    assert found["ppl_delta_below"]["verdict"] == "error"
    assert found["ppl_delta_below"]["soundness"]["sound"] is False


def test_with_holm_the_exact_claim_is_no_part_of_the_family(claims: Path, pytester: pytest.Pytester) -> None:
    result, found = report(pytester, "--steer-holm")
    result.assert_outcomes(passed=3)
    assert found["hooks_are_sound"]["holm"] is None
    assert found["steers"]["holm"]["claims"] == 2
