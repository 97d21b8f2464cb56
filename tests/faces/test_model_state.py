"""Models that are not whole, in training, or hooked by others: the same error in claim files, fixtures and assertions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from reports import codes_of, noted
from safetensors.torch import load_file, save_file

import pytest_steer
from pytest_steer.cli.main import main

from .conftest import HEAD

CLAIM = HEAD + "  - steers: {steerability: -100}\n"
ITEMS = 'read_items("test.json")'


@pytest.fixture
def model_folder(suite: Path) -> Path:
    """The built-in model, saved beside the claim file."""
    model = pytest_steer.load_model("builtin:tiny")
    folder = suite / "m"
    model.hf.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def change(folder: Path, without: str | None = None, more: str | None = None) -> None:
    weights = load_file(folder / "model.safetensors")
    if without is not None:
        del weights[without]
    if more is not None:
        weights[more] = torch.ones(3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def everywhere(pytester: pytest.Pytester, suite: Path, line: str = "", allow: str = "", *options: str) -> pytest.RunResult:
    """A claim file, a fixture with an assertion and one with a measure, all on the model in ``m``."""
    (suite / "a.steer.yaml").write_text(f"model: ./m\n{line}{CLAIM}")
    (suite / "test_a.py").write_text(
        f"""
from pytest_steer import assert_steers, extract, perplexity, read_items

def test_assertion(steer_load_model):
    model = steer_load_model("./m"{allow})
    items = {ITEMS}
    assert_steers(model, extract.caa(model, items[:4], layer=1), items[4:], steerability=-100, min_n=2)

def test_measure(steer_load_model):
    model = steer_load_model("./m"{allow})
    perplexity(model, ["Some text.", "Another."], None)
"""
    )
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", *options)


def test_missing_weights_are_an_error_in_every_face(pytester: pytest.Pytester, suite: Path, model_folder: Path) -> None:
    name = next(name for name in sorted(load_file(model_folder / "model.safetensors")) if "mlp" in name)
    change(model_folder, without=name)
    result = everywhere(pytester, suite)
    result.assert_outcomes(failed=3)
    assert str(result.stdout).count(f"lack 1 weight of LlamaForCausalLM: {name}.") >= 3


def test_unexpected_weights_are_an_error_until_each_face_allows_them(
    pytester: pytest.Pytester, suite: Path, model_folder: Path
) -> None:
    change(model_folder, more="mtp.norm.weight")
    result = everywhere(pytester, suite)
    result.assert_outcomes(failed=3)
    assert str(result.stdout).count('`allow_unexpected: ["^mtp."]` beside `model:`') >= 3
    report = suite / "r.json"
    everywhere(
        pytester, suite, 'allow_unexpected: ["^mtp."]\n', ', allow_unexpected=["^mtp."]', "--steer-report", str(report)
    ).assert_outcomes(passed=3)
    for claim in json.loads(report.read_text())["claims"]:
        assert claim["model"]["unexpected"] == ["mtp.norm.weight"]
        (said,) = noted(claim, "another-model")
        assert "mtp.norm.weight" in said


def test_the_option_and_the_ini_key_allow_them_for_the_fixture_of_the_model_under_test(
    pytester: pytest.Pytester, suite: Path, model_folder: Path
) -> None:
    change(model_folder, more="mtp.norm.weight")
    (suite / "test_a.py").write_text("def test_it(steer_model):\n    assert steer_model.unexpected\n")
    run = ("-p", "no:cacheprovider", "--steer-model", "./m")
    pytester.runpytest_inprocess(*run).assert_outcomes(errors=1)
    pytester.runpytest_inprocess(*run, "--steer-allow-unexpected", "^mtp.").assert_outcomes(passed=1)
    (suite / "pytest.ini").write_text("[pytest]\nsteer_allow_unexpected =\n    ^other.\n    ^mtp.\n")
    pytester.runpytest_inprocess(*run).assert_outcomes(passed=1)
    result = pytester.runpytest_inprocess(*run, "--steer-allow-unexpected", "*")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--steer-allow-unexpected: '[*]' is not a regular expression*"])


def test_commands_take_the_pattern_too(
    suite: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(suite)
    change(model_folder, more="mtp.norm.weight")
    command = ["sweep", "--model", "./m", "--data", "test.json", "--layers", "1", "--multipliers", "1"]
    assert main(command) == 4
    assert "has no place for: mtp.norm.weight" in capsys.readouterr().err
    main([*command, "--allow-unexpected", "^mtp."])
    said = capsys.readouterr().out
    assert "no place" not in said
    if "claims:" in said:
        assert 'allow_unexpected: ["^mtp."]' in said
    (suite / "a.steer.yaml").write_text(f'model: ./m\nallow_unexpected: ["^mtp."]\n{CLAIM}')
    assert main(["compare-methods", "a.steer.yaml"]) == 0
    assert "leaves out 1 weight of its files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            "steer_model.blocks[0].register_forward_hook(lambda m, i, out: out * 2)",
            "hooks of others change what it computes",
        ),
        ("steer_model.hf.lm_head.to('meta')", "on the device 'meta'"),
    ],
    ids=["hook", "meta"],
)
def test_a_model_that_a_test_has_spoiled_is_refused_by_all_that_come_after(
    pytester: pytest.Pytester, suite: Path, spoil: str, said: str
) -> None:
    (suite / "b.steer.yaml").write_text(CLAIM)
    (suite / "test_a.py").write_text(
        f"""
from pytest_steer import assert_steers, perplexity, read_items, SteeringVector
import torch

def test_spoils(steer_model):
    {spoil}

def test_measure(steer_model):
    perplexity(steer_model, ["Some text.", "Another."], None)

def test_assertion(steer_model):
    vector = SteeringVector({{1: torch.ones(steer_model.width)}})
    assert_steers(steer_model, vector, {ITEMS}, steerability=-100)

def test_steering(steer_model, steering):
    with steering(steer_model, SteeringVector({{1: torch.ones(steer_model.width)}})):
        steer_model.hf(input_ids=torch.tensor([[5, 6, 7]]))
"""
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", "test_a.py", "b.steer.yaml")
    result.assert_outcomes(passed=1, failed=4)
    assert str(result.stdout).count(said) >= 4


def test_a_hook_that_looks_on_is_in_the_report_of_every_claim(pytester: pytest.Pytester, suite: Path) -> None:
    (suite / "b.steer.yaml").write_text(CLAIM)
    (suite / "test_a.py").write_text(
        f"""
from pytest_steer import assert_steers, read_items, SteeringVector
import torch

def look_on(module, inputs, output):
    pass

def test_assertion(steer_model):
    steer_model.blocks[0].register_forward_hook(look_on)
    vector = SteeringVector({{1: torch.ones(steer_model.width)}})
    assert_steers(steer_model, vector, {ITEMS}, steerability=-100)
"""
    )
    report = suite / "r.json"
    run = ("-p", "no:cacheprovider", "-p", "no:xdist", "test_a.py", "b.steer.yaml", "--steer-report", str(report))
    result = pytester.runpytest_inprocess(*run)
    result.assert_outcomes(passed=2)
    claims = json.loads(report.read_text())["claims"]
    assert len(claims) == 2
    for claim in claims:
        assert claim["model"]["hooks"] == ["model.layers.0: forward hook look_on"]
        (said,) = noted(claim, "another-model")
        assert "look_on" in said
    result.stdout.fnmatch_lines(["*warning: *has hooks of others on it*look_on*"])


@pytest.mark.parametrize("puts_back", [True, False])
def test_weights_that_a_test_left_changed_are_said_beside_later_verdicts(
    pytester: pytest.Pytester, suite: Path, puts_back: bool
) -> None:
    (suite / "a.steer.yaml").write_text(HEAD + "  - steers: {name: before, steerability: -0.5}\n")
    (suite / "test_b.py").write_text(
        "from pytest_steer import assert_steers, extract, read_items\n"
        "def test_changes(steer_model):\n"
        "    weight = steer_model.blocks[2].mlp.down_proj.weight.data\n"
        "    kept = weight.clone()\n"
        f"    weight.mul_(3)\n    {'weight.copy_(kept)' if puts_back else ''}\n"
        "def test_claims(steer_model):\n"
        f"    items = {ITEMS}\n"
        "    vector = extract.caa(steer_model, read_items('train.json'), layer=1)\n"
        "    assert_steers(steer_model, vector, items, steerability=-0.5, name='assertion')\n"
    )
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: {name: after, steerability: -0.5}\n")
    options = ["--steer-report=out.json", "--steer-model=builtin:tiny", "-p", "no:cacheprovider"]
    pytester.runpytest_inprocess("a.steer.yaml", "test_b.py", "c.steer.yaml", *options)
    claims = json.loads((suite / "out.json").read_text())["claims"]
    said = {claim["name"]: "another-model" in codes_of(claim) for claim in claims}
    changed = not puts_back
    assert said == {"before": False, "assertion": changed, "after": changed}
