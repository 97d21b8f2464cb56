"""``pytest-steer sweep``: what is typed, what is printed and written, and that the printed claim file works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import plain
import pytest

from pytest_steer import Items, SteeringVector, load_model, read_items
from pytest_steer.cli.main import main
from pytest_steer.cli.sweep import style_of

DATA = Path(__file__).resolve().parents[2] / "example_suites" / "builtin" / "data"


@pytest.fixture
def folder(suite: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The suite's folder with data of the built-in model: 30 items of approval and a third of its training texts."""
    monkeypatch.chdir(suite)
    items = json.loads((DATA / "approval_test.json").read_text())[:30]
    texts = json.loads((DATA / "approval_train.json").read_text())
    (suite / "items.json").write_text(json.dumps(items))
    (suite / "texts.json").write_text(json.dumps({side: texts[side][:30] for side in ("positive", "negative")}))
    (suite / "texts.txt").write_text("\n".join((DATA / "neutral.txt").read_text().splitlines()[:12]))
    return suite


APPROVAL = ["sweep", "--data", "items.json", "--train", "texts.json", "--method", "mean_difference", "--positions", "all"]


def snippet_in(output: str) -> str:
    lines = output.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("# Layer and multiplier"))
    end = next((at for at, line in enumerate(lines[start:], start) if not line), len(lines))
    return "\n".join(lines[start:end]) + "\n"


def test_a_sweep_from_options_to_a_claim_file_that_passes(folder, capsys, pytester):
    more = [
        "--neutral",
        "texts.txt",
        "--test-out",
        "test_items.json",
        "--vector-out",
        "v.safetensors",
        "--out",
        "sweep.json",
    ]
    assert main([*APPROVAL, *more, "--heatmap", "map.svg", "--multipliers", "-1", "0.5,1", "--keep", "0.4"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "\x1b" not in printed.out
    record = json.loads((folder / "sweep.json").read_text())
    measured = [layer for layer in record["layers"] if layer["note"] != "pruned"]
    assert (len(record["layers"]), len(measured)) == (6, 3)
    assert record["multipliers"] == [-1, 0, 0.5, 1]

    # The test items and the validation items are all items, each once.
    items, test = read_items("items.json"), read_items("test_items.json")
    assert (len(test), record["validation"]["n"]) == (21, 9)
    ids = {item.id for item in test}
    validation = Items([item for item in items if item.id not in ids])
    assert validation.hash == record["validation"]["hash"]

    # What was measured, and what was chosen, from a plain implementation.
    model, vector = load_model("builtin:tiny"), SteeringVector.load("v.safetensors")
    texts = json.loads((folder / "texts.json").read_text())
    neutral = (folder / "texts.txt").read_text().splitlines()
    base = plain.perplexity([plain.nll(model.hf, model.tokenizer, text) for text in neutral])
    for layer in measured:
        number = layer["layer"]
        want = plain.mean_difference(model.hf, model.tokenizer, texts["positive"], texts["negative"], number)
        np.testing.assert_allclose(vector.directions[number].numpy(), want.numpy(), atol=1e-4)
        directions = {number: vector.directions[number]}
        values = plain.curve(model.hf, model.tokenizer, validation, directions, record["multipliers"], "all")
        assert layer["steerability"] == pytest.approx(plain.slopes(values, record["multipliers"]).mean(), abs=1e-3)
        np.testing.assert_allclose(layer["effects"], (values - values[:, 1:2]).mean(0), atol=1e-3)
        steered = plain.perplexity([plain.nll(model.hf, model.tokenizer, text, directions, 1.0) for text in neutral])
        assert layer["perplexity_change"][3] == pytest.approx(steered / base - 1, abs=1e-4)
    choice = record["choice"]
    assert choice["layer"] == max(measured, key=lambda layer: layer["steerability"])["layer"]
    assert f"chosen: layer {choice['layer']}, multiplier {choice['multiplier']:g}" in printed.out
    assert "test it on items that the sweep did not see" in printed.out
    ElementTree.parse(folder / "map.svg")

    (folder / "chosen.steer.yaml").write_text(snippet_in(printed.out))
    assert "test: test_items.json" in snippet_in(printed.out)
    result = pytester.runpytest_inprocess("chosen.steer.yaml", "-q", "--steer-report", "r.json")
    result.assert_outcomes(passed=3)
    claims = json.loads((folder / "r.json").read_text())["claims"]
    assert claims[0]["data"]["n"] == 21
    assert not any(claim["warnings"] for claim in claims)


def test_caa_takes_its_items_from_the_same_file(folder, capsys, pytester):
    items = json.loads((DATA / "cheer_test.json").read_text())[:40]
    (folder / "cheer.json").write_text(json.dumps(items))
    arguments = ["sweep", "--data", "cheer.json", "--layers", "1,3-4", "--top", "1", "--test-out", "t.json"]
    assert main([*arguments, "--vector-out", "v.safetensors", "--split", "50/20/30", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert "caa from 20 items, positions after_prompt; 8 validation items, 12 test items" in printed
    vector = SteeringVector.load("v.safetensors")
    assert vector.layers == (1, 3, 4)
    assert not set(vector.metadata["item_hashes"]) & set(read_items("t.json").item_hashes)
    (folder / "chosen.steer.yaml").write_text(snippet_in(printed))
    result = pytester.runpytest_inprocess("chosen.steer.yaml", "-q", "--steer-report", "r.json")
    outcomes = result.parseoutcomes()
    assert outcomes.get("errors", 0) == 0
    assert sum(outcomes.get(kind, 0) for kind in ("passed", "failed")) == 2
    for claim in json.loads((folder / "r.json").read_text())["claims"]:
        assert claim["verdict"] in ("pass", "fail", "inconclusive")
        assert claim["n"] == 12


def test_files_that_were_not_asked_for_are_named(folder, capsys):
    before = sorted(os.listdir())
    assert main([*APPROVAL, "--top", "1", "--multipliers=1"]) == 0
    printed = capsys.readouterr().out
    assert "To have them, add: --test-out test.json" in printed
    assert "--vector-out" not in printed.partition("To have them")[2]
    assert "extract: {method: mean_difference, data: texts.json}" in printed
    assert sorted(os.listdir()) == before


def test_no_layer_keeps_the_limits(folder, capsys):
    flipped = [
        item | {"answer_matching_behavior": "No", "answer_not_matching_behavior": "Yes"}
        for item in json.loads((folder / "items.json").read_text())
    ]
    (folder / "items.json").write_text(json.dumps(flipped))
    assert main([*APPROVAL, "--top", "2"]) == 1
    printed = capsys.readouterr().out
    assert "chosen: none" in printed
    assert printed.count("does not steer") == 2
    assert "claims:" not in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["sweeep"], "invalid choice: 'sweeep'"),
        (["sweep"], "--data"),
        (["sweep", "--data", "nothing.json"], "nothing.json: no such file"),
        (["sweep", "--data", "."], ".: is a folder"),
        (["sweep", "--data", "texts.json"], "texts.json: expected a list of entries"),
        (["sweep", "--data", "items.json", "--model", "builtin:tny"], "Did you mean 'builtin:tiny'"),
        (["sweep", "--data", "items.json", "--method", "mean_difference"], "takes its texts from --train"),
        (["sweep", "--data", "items.json", "--train", "items.json"], "30 questions of items.json are also in items.json"),
        (["sweep", "--data", "items.json", "--train", "texts.json"], "for texts: --method mean_difference"),
        (["sweep", "--data", "items.json", "--split", "40/60"], "--split: train/validation/test"),
        ([*APPROVAL, "--split", "1/1/1"], "--split: validation/test"),
        ([*APPROVAL, "--split", "1/x"], "1/x: three numbers above 0"),
        ([*APPROVAL, "--split", "1/-1"], "1/-1: three numbers above 0"),
        (
            [*APPROVAL, "--split", "1/100"],
            "items.json: 30 items with 30 different questions are too few to split: validation 0",
        ),
        ([*APPROVAL, "--layers", "0-9"], "has 6 decoder blocks"),
        ([*APPROVAL, "--layers", "3-1"], "3-1: numbers and ranges"),
        ([*APPROVAL, "--layers", "0-99999999999"], "no model has 99999999999"),
        ([*APPROVAL, "--multipliers", "nan"], "nan: numbers"),
        ([*APPROVAL, "--multipliers", "0"], "other than 0"),
        ([*APPROVAL, "--keep", "0"], "0: a share above 0"),
        ([*APPROVAL, "--top", "0"], "0: a whole number from 1 on"),
        ([*APPROVAL, "--top", "1", "--keep", "1"], "not allowed with"),
        ([*APPROVAL, "--anti-steerable", "1.5"], "anti-steerable share is between 0 and 1"),
        ([*APPROVAL, "--ppl-limit", "-1"], "rise of perplexity is above 0"),
        ([*APPROVAL, "--seed", "-1"], "-1: a whole number from 0 on"),
        ([*APPROVAL, "--out", "sweep.txt"], "sweep.txt: the name has to end in .json"),
        ([*APPROVAL, "--heatmap", "no/map.svg"], "the folder no does not exist"),
        ([*APPROVAL, "--device", "abacus"], "device 'abacus' cannot be used here"),
        ([*APPROVAL, "--neutral", "empty.txt"], "empty.txt: the file holds no texts"),
    ],
)
def test_wrong_usage_is_exit_code_4_and_one_message(folder, capsys, arguments, words):
    (folder / "empty.txt").write_text("\n")
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    assert code == 4
    assert words in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_warnings_are_lines(folder, capsys):
    items = [
        item | {"question": f"{item['question']} {n}"}
        for n, item in enumerate(json.loads((folder / "train.json").read_text()))
    ]
    for item in items:
        item |= {"answer_matching_behavior": "(A)", "answer_not_matching_behavior": "(B)"}
    (folder / "unbalanced.json").write_text(json.dumps(items))
    main(["sweep", "--data", "test.json", "--train", "unbalanced.json", "--top", "1", "--multipliers", "1"])
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith("warning: unbalanced.json: the matching answer is 'A' in 8 of 8 items")


class Stream:
    def __init__(self, tty: bool, encoding: str = "utf-8") -> None:
        self.tty, self.encoding = tty, encoding

    def isatty(self) -> bool:
        return self.tty


def test_colour_only_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert style_of(Stream(False)) == "plain"
    assert style_of(Stream(True)) == "colour"
    monkeypatch.setenv("NO_COLOR", "1")
    assert style_of(Stream(True)) == "shades"
    assert style_of(Stream(True, "ascii")) == "plain"
    monkeypatch.setenv("TERM", "dumb")
    assert style_of(Stream(True)) == "plain"


def test_help_is_quick_and_imports_nothing_heavy():
    script = (
        "import sys\nfrom pytest_steer.cli.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    code = stop.code\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'hypothesis', 'pytest'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy)); sys.exit(code)"
    )
    started = time.perf_counter()
    for arguments, words in (
        (["--help"], "sweep"),
        (["sweep", "--help"], "--anti-steerable"),
        (["--version"], "pytest-steer 0"),
    ):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
        assert "heavy: []" in done.stdout
    assert time.perf_counter() - started < 10
