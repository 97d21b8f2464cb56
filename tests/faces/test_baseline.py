"""``--steer-baseline``, ``no_regression``, ``--steer-update-baseline`` and ``pytest-steer compare``, on the built-in model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import torch
from page_reports import report_of as made_up
from page_reports import slopes
from page_reports import steers as of_slopes
from reports import noted
from small_suite import small_suite

from pytest_steer import load_model
from pytest_steer.cli.main import main
from pytest_steer.report import report_schema, write_report

SUITE = """
vector: {extract: {method: mean_difference, data: texts.json}, layer: 1, positions: all}
multipliers: [-1, 0, 1]
data: {test: items.json, neutral: neutral.txt}
claims:
  - steers: {steerability: 0.9}
  - not_anti_steered: {share: 0.25}
  - ppl_delta_below: {limit: 0.9}
"""
HELD = "  - no_regression: {tolerance: 0.05, of: steers}\n"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The built-in model as it is, perturbed a little and a lot."""
    root = tmp_path_factory.mktemp("checkpoints")
    for name in ("same", "little", "lot"):
        model = load_model("builtin:tiny")
        draw = torch.Generator().manual_seed(0)
        state = {}
        for key, weight in model.hf.state_dict().items():
            noise = {"same": 0.0, "little": 1e-3, "lot": 0.5}[name]
            state[key] = weight + noise * weight.std() * torch.randn(weight.shape, generator=draw)
        weights = {key: value.clone() for key, value in model.hf.state_dict().items()}
        try:
            model.hf.load_state_dict(state)
            model.hf.save_pretrained(root / name)
        finally:
            model.hf.load_state_dict(weights)
        model.tokenizer.save_pretrained(root / name)
    return root


@pytest.fixture
def release(suite, tmp_path):
    """A folder with claims that the built-in model keeps."""
    data = small_suite(tmp_path / "builtin", items=24) / "data"
    for name, file in (("items.json", "approval_test.json"), ("texts.json", "approval_train.json")):
        (data / file).rename(suite / name)
    (suite / "a.steer.yaml").write_text(SUITE)
    return suite


def run(pytester, report, *arguments):
    result = pytester.runpytest("--steer-report", report, *arguments)
    return result, json.loads((Path(pytester.path) / report).read_text()) if report else None


@pytest.fixture(scope="module")
def kept():
    """Reports of the suite as it is, by the options of the run."""
    return {}


def earlier(pytester, kept, *options, name="old.json"):
    """Writes the report of an earlier run, which is measured once for all tests."""
    if options not in kept:
        run(pytester, name, *options)
        kept[options] = Path(name).read_bytes()
    Path(name).write_bytes(kept[options])


def compare(capsys, *arguments):
    capsys.readouterr()
    code = main(["compare", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_same_run_twice_is_no_change_to_the_last_byte(pytester, release, capsys):
    _, first = run(pytester, "old.json")
    _, second = run(pytester, "new.json")
    assert [one["units"] for one in first["claims"]] == [one["units"] for one in second["claims"]]
    code, said, _ = compare(capsys, "old.json", "new.json", "--json", "--out", "against.json")
    against = json.loads(said)
    assert code == 0
    assert against == json.loads(Path("against.json").read_text())
    assert [one["outcome"] for one in against["claims"]] == ["held"] * 3
    assert [one["difference"] for one in against["claims"]] == [0.0] * 3
    assert against["claims"][0]["interval"] == [0.0, 0.0]
    assert against["notes"] == []
    code, said, _ = compare(capsys, "old.json", "new.json")
    assert (code, said.splitlines()[-1]) == (0, "3 held")


def test_half_a_character_is_compared_and_written_as_its_escape(tmp_path, capsys):
    old = made_up([of_slopes("a", slopes(9))])
    new = made_up([of_slopes("a", slopes(9)), of_slopes("half \ud83d", slopes(9))])
    for name, report in (("old.json", old), ("new.json", new)):
        write_report(tmp_path / name, report)
    code, _, _ = compare(capsys, tmp_path / "old.json", tmp_path / "new.json", "--out", tmp_path / "against.json")
    assert code == 0
    against = json.loads((tmp_path / "against.json").read_text())
    assert [one["name"] for one in against["claims"]] == ["a", "half \ud83d"]


def test_damaged_reports_are_usage_errors(pytester, release, capsys, kept):
    earlier(pytester, kept)
    text = Path("old.json").read_text()
    Path("damaged.json").write_text(text[: len(text) // 2])
    for arguments in (("damaged.json", "old.json"), ("old.json", "damaged.json"), ("missing.json", "old.json")):
        code, _, error = compare(capsys, *arguments)
        assert code == 4
        assert "damaged" in error or "no such report" in error
    assert compare(capsys, "old.json", "old.json", "--tolerance", "-1")[0] == 4
    result = pytester.runpytest("--steer-baseline", "damaged.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--steer-baseline: *damaged.json: is damaged*"])


def test_a_run_is_held_against_a_baseline(pytester, release, checkpoints, kept):
    earlier(pytester, kept, "--steer-model", str(checkpoints / "same"))
    result, report = run(pytester, "new.json", "--steer-model", str(checkpoints / "lot"), "--steer-baseline", "old.json")
    jsonschema.validate(report, report_schema())
    outcomes = {one["name"]: one["outcome"] for one in report["against"]["claims"]}
    assert outcomes["steers"] == "broken"
    baseline = report["against"]["baseline"]
    assert baseline["path"] == "old.json"
    result.stdout.fnmatch_lines(
        [
            f"steer: compared with old.json ({baseline['date'][:10]}, *sha256 {baseline['sha256'][:12]})",
            "*compared with the baseline*",
            "*steers: broken: pass -> *",
            "*2 broken*",
        ]
    )
    # A selection is held against its part of the baseline, and what was not selected is not gone.
    _, part = run(
        pytester, "part.json", "--steer-model", str(checkpoints / "same"), "--steer-baseline", "old.json", "-k", "ppl"
    )
    assert [(one["name"], one["outcome"]) for one in part["against"]["claims"]] == [("ppl_delta_below", "held")]
    assert part["against"]["not_run"] == 2
    (release / "a.steer.yaml").write_text(
        (release / "a.steer.yaml").read_text().replace("  - ppl_delta_below: {limit: 0.9}\n", "")
    )
    _, less = run(
        pytester, "less.json", "--steer-model", str(checkpoints / "same"), "--steer-baseline", "old.json", "-k", "steers"
    )
    assert {one["name"]: one["outcome"] for one in less["against"]["claims"]} == {
        "steers": "held",
        "ppl_delta_below": "gone",
    }


def test_no_regression(pytester, release, checkpoints, kept):
    earlier(pytester, kept, "--steer-model", str(checkpoints / "same"))
    with (release / "a.steer.yaml").open("a") as file:
        file.write(HELD)
    found = {}
    for name in ("same", "little", "lot"):
        result, report = run(
            pytester,
            f"{name}.json",
            "--steer-model",
            str(checkpoints / name),
            "--steer-baseline",
            "old.json",
            "-k",
            "no_regression",
        )
        (claim,) = report["claims"]
        found[name] = claim
    assert [found[name]["verdict"] for name in ("same", "little", "lot")] == ["pass", "pass", "fail"]
    assert (found["same"]["estimate"], found["same"]["interval"], found["same"]["n"]) == (0.0, [0.0, 0.0], 24)
    assert "-0" not in found["same"]["message"].partition("promised")[0]
    entry = report["claims"][0]["details"]["claims"][0]
    assert found["lot"]["estimate"] == -entry["difference"]
    assert found["lot"]["interval"] == [-entry["interval"][1], -entry["interval"][0]]
    result.stdout.fnmatch_lines(
        ["*no_regression: FAIL  loss of steers*promised at most 0.05*", "*steers: broken: pass -> *"]
    )


def test_no_regression_of_every_claim(pytester, release, checkpoints, kept):
    earlier(pytester, kept, "--steer-model", str(checkpoints / "same"))
    with (release / "a.steer.yaml").open("a") as file:
        file.write("  - no_regression: 0.2\n  - kl_below: {limit: 5}\n")
    _, report = run(pytester, "new.json", "--steer-model", str(checkpoints / "same"), "--steer-baseline", "old.json")
    claim = next(one for one in report["claims"] if one["check"] == "no_regression")
    assert (claim["verdict"], claim["statistic"]) == ("pass", "largest loss of 3 claims")
    assert any("kl_below" in text for text in noted(claim, "not-in-baseline"))
    # 24 equal flags leave room for a share that the 24 items did not show.
    assert 0.05 < claim["interval"][1] < 0.2
    _, report = run(pytester, "new.json", "--steer-model", str(checkpoints / "lot"), "--steer-baseline", "old.json")
    assert next(one for one in report["claims"] if one["check"] == "no_regression")["verdict"] == "fail"
    # A claim that is gone is no pass.
    text = (release / "a.steer.yaml").read_text().replace("  - ppl_delta_below: {limit: 0.9}\n", "")
    (release / "a.steer.yaml").write_text(text)
    result, report = run(pytester, "new.json", "--steer-model", str(checkpoints / "same"), "--steer-baseline", "old.json")
    assert next(one for one in report["claims"] if one["check"] == "no_regression")["verdict"] == "inconclusive"
    result.stdout.fnmatch_lines(["*gone since the baseline: ppl_delta_below*"])


def test_without_a_baseline_there_is_no_pass(pytester, release):
    with (release / "a.steer.yaml").open("a") as file:
        file.write(HELD)
    result, report = run(pytester, "new.json", "-k", "no_regression")
    assert (report["claims"][0]["verdict"], report["claims"][0]["estimate"]) == ("inconclusive", None)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*no_regression: INCONCLUSIVE  no baseline yet*", "*--steer-update-baseline*"])
    result = pytester.runpytest("--steer-baseline", "base.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*base.json does not exist*--steer-update-baseline*"])
    result = pytester.runpytest("--steer-update-baseline")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_unknown_names_and_other_conditions_are_errors(pytester, release, kept):
    earlier(pytester, kept)
    text = (release / "a.steer.yaml").read_text()
    (release / "a.steer.yaml").write_text(text + HELD.replace("steers", "stears"))
    result, report = run(pytester, "new.json", "--steer-baseline", "old.json", "-k", "no_regression")
    assert report["claims"][0]["verdict"] == "error"
    result.stdout.fnmatch_lines(["*there is no claim 'stears'*steers*"])
    (release / "a.steer.yaml").write_text(text.replace("positions: all", "positions: last") + HELD)
    result, report = run(pytester, "new.json", "--steer-baseline", "old.json", "-k", "no_regression")
    assert report["claims"][0]["verdict"] == "error"
    result.stdout.fnmatch_lines(["*positions: all -> last*"])


def test_a_baseline_is_made_and_replaced_only_when_asked(pytester, release, checkpoints):
    with (release / "a.steer.yaml").open("a") as file:
        file.write(HELD)
    file = Path("base.json")
    same = ("--steer-model", str(checkpoints / "same"), "--steer-baseline", "base.json")
    result = pytester.runpytest(*same, "--steer-update-baseline")
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines(["steer: this run makes the baseline base.json", "baseline: base.json is new: 4 claims"])
    first = file.read_bytes()
    result = pytester.runpytest(*same)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*no_regression (inconclusive -> pass) is left out: it is itself a*", "3 held"])
    assert file.read_bytes() == first
    result = pytester.runpytest(*same, "--steer-update-baseline", "-k", "steers")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*base.json is left as it was: 3 of its claims did not run and would be lost*"])
    result.stdout.fnmatch_lines(["ERROR --steer-update-baseline - not all of it could be written"])
    assert file.read_bytes() == first
    lot = ("--steer-model", str(checkpoints / "lot"), "--steer-baseline", "base.json")
    result = pytester.runpytest(*lot, "--steer-update-baseline", "-x")
    result.stdout.fnmatch_lines(["*base.json is left as it was: this run was not finished"])
    assert file.read_bytes() == first
    result = pytester.runpytest(*lot, "--steer-update-baseline")
    result.stdout.fnmatch_lines(["baseline: base.json replaced: 4 claims (*) by 4: *", "  steers: pass -> *"])
    assert json.loads(file.read_text())["against"] is None
    second = file.read_bytes()
    with (release / "b.steer.yaml").open("w") as broken:
        broken.write(
            (release / "a.steer.yaml")
            .read_text()
            .replace("claims:", "claims:\n  - steers: {name: gone, steerability: 0, data: {test: gone.json}}", 1)
        )
    result = pytester.runpytest(*lot, "--steer-update-baseline")
    result.stdout.fnmatch_lines(
        ["*base.json is left as it was: 1 of this run's claims could not be measured: b.steer.yaml::gone*"]
    )
    assert file.read_bytes() == second
    (release / "b.steer.yaml").unlink()
    with (release / "a.steer.yaml").open("a") as claims:
        claims.write("  - no_regression: {name: loose, of: steers, tolerance: 5}\n")
    result = pytester.runpytest(*lot, "-k", "loose")
    result.stdout.fnmatch_lines(["*this promise can hardly fail: tolerance 5 lets more be lost*"])
    assert file.read_bytes() != first


def test_a_report_never_takes_the_place_of_the_baseline_unasked(pytester, release, kept):
    earlier(pytester, kept, name="base.json")
    (release / "sub").mkdir()
    (release / "link.json").symlink_to(release / "base.json")
    before = Path("base.json").read_bytes()
    for name, *more in (("base.json",), ("./sub/../base.json",), ("link.json",), ("base.json", "--steer-update-baseline")):
        result = pytester.runpytest("--steer-report", name, "--steer-baseline", "base.json", *more)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*would replace the baseline*"])
        assert Path("base.json").read_bytes() == before


def test_nor_does_what_is_kept_of_a_report_while_the_run_goes_on(pytester, release, kept):
    earlier(pytester, kept, name="base.json")
    shutil.copy("base.json", "new.partial.json")
    result = pytester.runpytest("--steer-report", "new.json", "--steer-baseline", "new.partial.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert Path("new.partial.json").read_bytes() == Path("base.json").read_bytes()


def test_the_tolerance_of_the_block(pytester, release, kept):
    earlier(pytester, kept)
    old = json.loads(Path("old.json").read_text())
    claim = old["claims"][0]
    claim["units"]["values"] = [value + 0.01 for value in claim["units"]["values"]]
    claim["estimate"] += 0.01
    Path("old.json").write_text(json.dumps(old))
    outcomes = []
    for more in ((), ("--steer-tolerance", "0.05")):
        _, report = run(pytester, "new.json", "--steer-baseline", "old.json", "-k", "steers", *more)
        outcomes.append((report["against"]["tolerance"], report["against"]["claims"][0]["outcome"]))
    assert outcomes == [(0.0, "worse"), (0.05, "held")]
    for wrong in ("-1", "nan", "inf", "much"):
        result = pytester.runpytest(f"--steer-tolerance={wrong}")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*--steer-tolerance: takes a number from 0 on, not '{wrong}'*"])


def test_a_claim_that_the_baseline_could_not_measure_is_no_pass(pytester, release):
    items = (release / "items.json").read_text()
    (release / "items.json").unlink()
    _, old = run(pytester, "old.json", "-k", "steers")
    assert old["claims"][0]["verdict"] == "error"
    (release / "items.json").write_text(items)
    with (release / "a.steer.yaml").open("a") as file:
        file.write(HELD)
    result, report = run(pytester, "new.json", "--steer-baseline", "old.json", "-k", "no_regression")
    assert report["claims"][0]["verdict"] == "inconclusive"
    result.stdout.fnmatch_lines(["*could not be measured in the baseline: steers*"])


def test_no_regression_is_not_about_itself(pytester, release, kept):
    earlier(pytester, kept)
    with (release / "a.steer.yaml").open("a") as file:
        file.write("  - no_regression: {tolerance: 0.05, of: no_regression}\n")
    _, report = run(pytester, "new.json", "--steer-baseline", "old.json", "-k", "no_regression")
    assert report["claims"][0]["verdict"] == "error"
