"""Claim files through pytest: what runs, what fails, what is shown, with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import torch

from pytest_steer import SteeringInconclusive, SteeringVector, load_model
from pytest_steer.core.evidence import Evidence, Verdict
from pytest_steer.pytest_plugin import options as pytest_options
from pytest_steer.pytest_plugin.progress import note_letter, status_of
from pytest_steer.report import report_schema

from .conftest import HEAD, lettered

PASSING = "  - steers: {steerability: -50}\n  - not_anti_steered: {share: 0.99}\n  - ppl_delta_below: {limit: 1000000}\n"


def write(suite: Path, claims: str, name: str = "c.steer.yaml", head: str = HEAD) -> None:
    (suite / name).write_text(head + claims)


def test_claims_that_hold(suite: Path, pytester: pytest.Pytester) -> None:
    write(suite, PASSING)
    result = pytester.runpytest("-v")
    result.assert_outcomes(passed=3)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "steer: 3 claims on builtin:tiny (profile ci, seed 0, dtype auto, device auto)",
            "c.steer.yaml::steers PASSED*",
            "c.steer.yaml::not_anti_steered PASSED*",
            "c.steer.yaml::ppl_delta_below PASSED*",
            "*steering claims*",
            "  verdict  claim * statistic * estimate [[]interval[]] * promised * n",
            "c",
            "  pass * steers * steerability * >= -50 *  10",
            "  pass * not_anti_steered * anti-steerable share * <= 0.99 *  10",
            "  pass * ppl_delta_below * perplexity delta *  12",
            "3 verdicts at 95 %: expect at most 0.15 wrong ones, if items are independent, no rare large value is *",
            "3 pass",
        ]
    )


def test_a_claim_that_fails_says_why(suite: Path, pytester: pytest.Pytester) -> None:
    write(suite, "  - steers: {steerability: 50}\n" + PASSING.split("\n", 1)[1])
    result = pytester.runpytest("--steer-seed", "3")
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*claim steers*",
            "steers: FAIL  steerability * [[]*, *[]], promised at least 50",
            "  n = 10 items, bounds by t at 0.95 each side: the interval is on the bad side",
            "  steered: caa at layer 1, positions after_prompt, norm *; multiplier 1 (* of the median hidden norm)",
            "  data: test.json",
            "         multiplier*-1*0*1",
            "    mean propensity*",
            "  steerability *, anti-steerable share *, curvature *, monotonicity *",
            "  strata (the claim misses its threshold in 2 of 2):",
            "    matching answer A *5*misses the threshold",
            "    matching answer B *5*misses the threshold",
            "  worst items:",
            "    [[]*[]] slope *, propensity *, *, *",
            "      Case *: which one? (A) * (B) *",
            "      matching: (?)   not matching: (?)",
            "  run again: pytest c.steer.yaml::steers --steer-seed=3",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_steer/*.py*")


def test_letters_tell_broken_from_undecided_and_unmeasured_and_all_are_failed(
    suite: Path, pytester: pytest.Pytester
) -> None:
    claims = [
        "steers: {name: holds, steerability: -50}", "steers: {name: broken, steerability: 50}",
        "not_anti_steered: {name: few, share: 0.5, min_n: 500}", "steers: {name: gone, steerability: 1, data: {test: gone.json}}",
    ]  # fmt: skip
    write(suite, "".join(f"  - {claim}\n" for claim in claims))
    pytester.makepyfile("def test_other():\n    assert False\n")
    result = pytester.runpytest(
        "-rf", "c.steer.yaml", "test_letters_tell_broken_from_undecided_and_unmeasured_and_all_are_failed.py"
    )
    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(["c.steer.yaml .F[?]! *", "*.py F *"])
    result.stdout.fnmatch_lines([f"FAILED c.steer.yaml::{name}*" for name in ("broken", "few", "gone")])


def test_a_letter_comes_from_a_worker_with_its_report() -> None:
    report = pytest.TestReport("a::b", ("a", 0, "b"), {}, "failed", "why", "call")
    assert status_of(report) is None
    note_letter(report, SteeringInconclusive(Evidence("steers", "b", Verdict.INCONCLUSIVE)))
    assert status_of(pytest.TestReport._from_json(report._to_json())) == ("failed", "?", "FAILED")


def test_inconclusive_fails_and_says_how_many_items_would_decide_unless_an_option_says_otherwise(
    suite: Path, pytester: pytest.Pytester
) -> None:
    write(suite, "  - not_anti_steered: {share: 0.5}\n")
    estimate = run_report(pytester)[0]["estimate"]
    # Near the estimate ten items cannot decide.
    share = estimate + (0.05 if estimate < 0.9 else -0.05)
    write(suite, f"  - not_anti_steered: {{share: {share}}}\n  - steers: {{steerability: 50}}\n")
    result = pytester.runpytest()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["not_anti_steered: INCONCLUSIVE *", "*not enough evidence: about * items would decide*"])
    for what, outcome in (("skip", "skipped"), ("xfail", "xfailed")):
        pytester.runpytest(f"--steer-inconclusive={what}").assert_outcomes(**{outcome: 1, "failed": 1})


def test_an_item_stands_where_its_claim_is_written(suite: Path, pytester: pytest.Pytester) -> None:
    write(suite, PASSING)
    lines = (suite / "c.steer.yaml").read_text().splitlines()
    items, _ = pytester.inline_genitems()
    assert [lines[item.location[1] or 0].strip() for item in items] == [line.strip() for line in PASSING.splitlines()]


def wrong_data(suite: Path) -> dict[str, tuple[str, str]]:
    """Claim file text and the text of the message, by what is wrong."""
    (suite / "one.json").write_text(json.dumps(json.loads((suite / "test.json").read_text())[:1]))
    (suite / "line.txt").write_text("Only one line.\n")
    width = load_model("builtin:tiny").width
    SteeringVector({1: torch.ones(width)}, {"model": "old-release", "model_fingerprint": "0" * 64}).save(
        suite / "old.safetensors"
    )
    SteeringVector({1: torch.ones(width)}, {"template_hash": "0" * 64}).save(suite / "template.safetensors")
    good = (suite / "old.safetensors").read_bytes()
    (suite / "nan.safetensors").write_bytes(good[:-4] + b"\x00\x00\xc0\x7f")
    steers = "  - steers: {steerability: 0.3"
    return {
        "one item": (steers + ", data: {test: one.json}}\n", "*one.json: has 1 item(s); an interval needs at least two"),
        "one text": ("  - ppl_delta_below: {limit: 0.1, data: {neutral: line.txt}}\n", "*line.txt: has 1 text(s)*"),
        "nan": (
            steers + ", vector: {file: nan.safetensors}}\n",
            "*nan.safetensors: layer 1: 1 of * values are NaN or infinite",
        ),
        "model": (
            steers + ", vector: {file: old.safetensors}}\n",
            "*made on another model (old-release*allow_mismatch: ?model?",
        ),
        "template": (
            steers + ", vector: {file: template.safetensors}}\n",
            "*made under another chat template*allow_mismatch: ?template?",
        ),
    }


def test_wrong_input_has_its_own_message_and_the_rest_runs(suite: Path, pytester: pytest.Pytester) -> None:
    wrong = wrong_data(suite)
    claims = [claim.replace("{", f"{{name: {what}, ", 1) for what, (claim, _) in wrong.items()]
    write(suite, "".join(claims) + "  - ppl_delta_below: {limit: 1000000}\n")
    result = pytester.runpytest()
    result.assert_outcomes(passed=1, failed=len(wrong))
    assert result.ret == 1
    for what, (_, message) in wrong.items():
        result.stdout.fnmatch_lines([f"*claim {what}*", message])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_steer/*.py*")


def test_a_model_of_the_claim_file_that_is_not_there_fails_its_claims_only(suite: Path, pytester: pytest.Pytester) -> None:
    write(suite, PASSING, name="a.steer.yaml", head="model: builtin:tinny\n" + HEAD)
    write(suite, PASSING, name="b.steer.yaml")
    result = pytester.runpytest()
    result.assert_outcomes(passed=3, failed=3)
    result.stdout.fnmatch_lines(["*Did you mean 'builtin:tiny'?*"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--steer-model=builtin:tinny", "*Did you mean 'builtin:tiny'?*"),
        ("--steer-device=cpux", "*device 'cpux' cannot be used here*"),
        ("--steer-dtype=float12", "*must be one of auto, float32*"),
        ("--steer-profile=weekly", "*must be one of dev, ci, nightly*"),
        ("--steer-seed=-1", "*whole number from 0 on*"),
        ("--steer-inconclusive=pass", "*must be one of fail, skip, xfail*"),
        ("--steer-report=out.pdf", "*no report format has the suffix '.pdf'; there are *.json*"),
        ("--steer-report=nowhere/out.json", "*does not exist*"),
    ],
)
def test_an_option_that_cannot_be_used_is_a_usage_error(
    suite: Path, pytester: pytest.Pytester, option: str, message: str
) -> None:
    write(suite, PASSING)
    result = pytester.runpytest(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option.split('=')[0]}: {message}"])


def test_a_page_without_its_libraries_is_a_usage_error_before_anything_is_measured(
    suite: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the extra is not installed: the option asks for the library, which cannot be found."""
    write(suite, PASSING)
    find = pytest_options.find_spec
    monkeypatch.setattr(pytest_options, "find_spec", lambda name: None if name == "vl_convert" else find(name))
    result = pytester.runpytest_inprocess("--steer-report=out.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --steer-report: out.html: *vl_convert is not installed*pip install 'pytest-steer?page?'"]
    )
    assert not Path("out.html").exists()


def test_the_page_of_a_run(suite: Path, pytester: pytest.Pytester) -> None:
    write(suite, PASSING)
    result = pytester.runpytest("--steer-report=out.html", "--steer-report=out.json")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["report: *out.html", "report: *out.json"])
    page, (claim, *_) = Path("out.html").read_text(encoding="utf-8"), json.loads(Path("out.json").read_text())["claims"]
    assert f"{claim['estimate']:.3g}" in page
    assert claim["vector"]["hash"] in page
    assert "cannot be drawn" not in page


def run_report(pytester: pytest.Pytester, *options: str) -> list[dict]:
    """The claims of a run's JSON report, checked against the shipped schema."""
    pytester.runpytest("--steer-report=out.json", *options)
    report = json.loads((Path(pytester.path) / "out.json").read_text(), parse_constant=pytest.fail)
    jsonschema.validate(report, report_schema())
    return report["claims"]


def test_the_report_is_valid_whatever_happened(suite: Path, pytester: pytest.Pytester) -> None:
    write(
        suite,
        PASSING + "  - steers: {name: failing, steerability: 50}\n  - steers: {name: unreadable, steerabilty: 1}\n"
        "  - steers: {name: broken, steerability: 1, data: {test: empty.json}}\n",
    )
    (suite / "empty.json").write_text("[]")
    claims = {claim["name"]: claim for claim in run_report(pytester)}
    assert {name: claim["verdict"] for name, claim in claims.items()} == {
        "steers": "pass",
        "not_anti_steered": "pass",
        "ppl_delta_below": "pass",
        "failing": "fail",
        "unreadable": "error",
        "broken": "error",
    }
    steers = claims["steers"]
    assert steers["id"] == "c.steer.yaml::steers"
    assert steers["multipliers"] == [-1, 0, 1]
    assert len(steers["items"]) == steers["n"] == 10
    assert steers["estimate"] == pytest.approx(sum(item["slope"] for item in steers["items"]) / 10)
    assert steers["interval"][0] < steers["estimate"] < steers["interval"][1]
    assert claims["broken"]["estimate"] is None
    assert "empty.json" in claims["broken"]["message"]


def test_a_verdict_does_not_depend_on_what_else_runs(suite: Path, pytester: pytest.Pytester) -> None:
    write(suite, PASSING)
    whole = {claim["name"]: claim for claim in run_report(pytester)}
    (alone,) = run_report(pytester, "-k", "not_anti_steered")
    for key in ("estimate", "interval", "verdict", "p_pass", "items", "multipliers"):
        assert alone.get(key) == whole["not_anti_steered"].get(key), key


def test_holm_takes_a_pass_back_and_looks_at_all_claims_of_the_file(suite: Path, pytester: pytest.Pytester) -> None:
    write(suite, "  - steers: {steerability: 0}\n")
    (found,) = run_report(pytester)
    # A threshold that the claim passes by itself with p between .025 and .05: below the interval's low end by a hair.
    threshold = found["interval"][0] - 1e-6
    others = "".join(f"  - steers: {{name: far-{i}, steerability: 50}}\n" for i in range(3))
    write(suite, f"  - steers: {{steerability: {threshold}}}\n{others}")
    by_itself = {claim["name"]: claim["verdict"] for claim in run_report(pytester)}
    assert by_itself["steers"] == "pass"
    result = pytester.runpytest("--steer-report=out.json", "--steer-holm")
    adjusted = {claim["name"]: claim for claim in json.loads((suite / "out.json").read_text())["claims"]}
    assert adjusted["steers"]["verdict"] == "inconclusive"
    assert adjusted["steers"]["holm"]["verdict_alone"] == "pass"
    assert adjusted["steers"]["holm"]["p_pass_adjusted"] == pytest.approx(4 * adjusted["steers"]["p_pass"])
    assert "the evidence is enough for this claim alone" in adjusted["steers"]["message"]
    assert adjusted["far-0"]["verdict"] == "fail"
    result.stdout.fnmatch_lines(["4 judged with Holm's adjustment: *at most 0.05*"])
    (selected,) = run_report(pytester, "--steer-holm", "-k", "steers and not far")
    assert selected["verdict"] == "inconclusive"


def test_the_option_wins_over_the_file_and_the_ini_key_over_nothing(suite: Path, pytester: pytest.Pytester) -> None:
    write(suite, "  - ppl_delta_below: {limit: 1000000}\n", head="model: package:no_such_package\n" + HEAD)
    assert pytester.runpytest().ret == 1
    assert pytester.runpytest("--steer-model", "builtin:tiny").ret == 0
    (suite / "pytest.ini").write_text("[pytest]\nsteer_model = builtin:tiny\n")
    assert pytester.runpytest().ret == 0


def test_profile_dev_looks_at_twenty_texts(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "neutral.txt").write_text("\n".join(f"Text number {i} goes like this." for i in range(30)))
    write(suite, "  - ppl_delta_below: {limit: 1000000}\n")
    assert [run_report(pytester, *options)[0]["n"] for options in ((), ("--steer-profile=dev",))] == [30, 20]


def test_profile_dev_draws_items_in_rounds_unless_the_claim_says_otherwise(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "test.json").write_text(json.dumps(lettered(48, start=8)))
    (suite / "few.json").write_text(json.dumps(lettered(7)))
    write(
        suite,
        "  - steers: {name: clear, steerability: 50}\n"
        "  - not_anti_steered: {name: share, share: 0.5}\n"
        "  - not_anti_steered: {name: open, share: 0.5, confidence: 0.999999}\n"
        "  - steers: {name: asked, steerability: 50, sequential: true}\n"
        "  - steers: {name: fixed, steerability: 50, sequential: false}\n"
        "  - steers: {name: bootstrap, steerability: 50, interval: bootstrap}\n"
        "  - steers: {name: few, steerability: 50, data: {test: few.json}}\n"
        "  - steers: {name: left-open, steerability: 50, sequential: profile}\n",
    )
    dev = {claim["name"]: claim for claim in run_report(pytester, "--steer-profile=dev")}
    for name in ("clear", "share", "open", "asked", "left-open"):
        drawn = dev[name]["details"]["sequential"]
        assert drawn["available"] == 40
        assert drawn["used"] == dev[name]["n"] == drawn["looks"][-1]
        assert dev[name]["interval_method"].startswith("sequential")
        assert "of 40, drawn in rounds (8" in dev[name]["message"] or dev[name]["verdict"] == "pass"
    assert dev["clear"]["n"] == dev["asked"]["n"] == dev["left-open"]["n"] < 20
    assert (dev["open"]["n"], dev["open"]["verdict"]) == (40, "inconclusive")
    # All claims draw the same items in the same order, and not from the top of the file.
    ids = [item["id"] for item in dev["open"]["items"]]
    assert [item["id"] for item in dev["clear"]["items"]] == ids[: dev["clear"]["n"]]
    assert any(int(own) >= 40 for own in ids)
    for name, n, method in (("fixed", 20, "t"), ("bootstrap", 20, "bootstrap"), ("few", 7, "t")):
        assert "sequential" not in dev[name]["details"]
        assert (dev[name]["n"], dev[name]["interval_method"]) == (n, method)
    full = {claim["name"]: claim for claim in run_report(pytester, "-k", "clear or open or asked")}
    assert {name for name, claim in full.items() if "sequential" in claim["details"]} == {"asked"}
    assert full["asked"]["details"]["sequential"]["available"] == full["clear"]["n"] == 48


def test_what_a_reader_has_to_know_is_said_of_passing_claims_too(suite: Path, pytester: pytest.Pytester) -> None:
    items = json.loads((suite / "test.json").read_text())
    (suite / "test.json").write_text(json.dumps(items + items[:3]))
    claims = PASSING + "  - steers: {name: seen, steerability: -50, data: {test: train.json}}\n"
    write(suite, claims, head="contexts: {system: ['', 'Be brief.']}\n" + HEAD)
    result = pytester.runpytest()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            "warning: c: steers, not_anti_steered: 3 of these 13 items repeat another one*",
            "warning: c: ppl_delta_below: this promise can hardly fail: limit 1e+06 lets*",
            "warning: c: seen: 8 of these 8 items ask a question that the vector was extracted from*",
        ]
    )
    result.stdout.fnmatch_lines(
        ["warning: c: steers, not_anti_steered, ppl_delta_below and 1 more: the file names contexts*"]
    )


def test_scores_are_kept_in_a_folder_that_the_user_names(suite: Path, pytester: pytest.Pytester) -> None:
    write(suite, "  - steers: {steerability: -50, controls: 0}\n")
    assert not (suite / "kept").exists()
    (first, *_), (second, *_) = run_report(pytester, "--steer-cache=kept"), run_report(pytester, "--steer-cache=kept")
    assert (suite / "kept").is_dir()
    assert second["items"] == first["items"]
    (suite / "kept").joinpath("scores-2.sqlite").write_bytes(b"damaged on purpose")
    (third, *_) = run_report(pytester, "--steer-cache=kept")
    assert third["estimate"] == pytest.approx(first["estimate"], abs=1e-5)


def test_claims_have_the_marker(suite: Path, pytester: pytest.Pytester) -> None:
    write(suite, PASSING)
    pytester.makepyfile(
        "import pytest, pytest_steer\nfrom pytest_steer import assert_steers\nfrom hypothesis import given, strategies\n"
        "def test_nothing(): assert 1 + 1 == 2\n"
        "def test_named(): assert_steers\n"
        "def test_of_the_module(): pytest_steer.assert_kl_below\n"
        "@given(strategies.booleans())\ndef test_given(drawn): assert_steers\n"
        "@pytest.fixture\ndef mine(steer_model): return steer_model\n"
        "def test_of_a_fixture(mine): mine\n"
        "def test_with(steering): steering\n"
        "def helper(): assert_steers\n"
        "def test_by_a_helper(): helper\n"
    )
    pytester.runpytest("-m", "not steer").assert_outcomes(passed=2, deselected=8)
    listed = pytester.runpytest("--strict-markers", "-m", "steer", "--collect-only", "-q").outlines
    assert {line.partition("::")[2] for line in listed if ".py::" in line} == {
        "test_named", "test_of_the_module", "test_given", "test_of_a_fixture", "test_with",
    }  # fmt: skip
    assert "8/10 tests collected (2 deselected)" in listed[-1]


def test_a_report_that_cannot_be_written_ends_the_run_with_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import os\n\n\ndef test_in_the_way():\n    os.mkdir('out.json')\n")
    result = pytester.runpytest_inprocess("--steer-report=out.json", "--steer-report=two.json")
    assert result.ret == 4
    result.stdout.fnmatch_lines(["--steer-report: *out.json cannot be written: Is a directory", "report: *two.json"])
    result.stdout.no_fnmatch_line("report: *out.json")
    result.stdout.fnmatch_lines(["ERROR --steer-report - not all of it could be written", "*1 passed, 1 error in *"])
    assert sorted(path.name for path in pytester.path.iterdir() if "json" in path.name) == ["out.json", "two.json"]
