"""``pytest-steer sweep``: what is typed, what is printed and written, and that the printed claim file works."""

from __future__ import annotations

import io
import json
import os
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import plain
import pytest

from pytest_steer import Items, SteeringVector, extract, load_model, perplexity, read_items
from pytest_steer.cli.main import main
from pytest_steer.cli.output import colours
from pytest_steer.files import read_suite
from pytest_steer.stats import mean_t
from pytest_steer.studies.sweep import read_parts

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
    more = ["--neutral", "texts.txt", "--write", "chosen.steer.yaml", "--out", "sweep.json", "--heatmap", "map.svg"]
    assert main([*APPROVAL, *more, "--multipliers", "-1,0.5,1", "--keep", "0.4"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "\x1b" not in printed.out
    record = json.loads((folder / "sweep.json").read_text())
    measured = [layer for layer in record["layers"] if layer["note"] != "pruned"]
    assert (len(record["layers"]), len(measured)) == (6, 3)
    assert record["multipliers"] == [-1, 0, 0.5, 1]

    # The test items and the validation items are all items, each once.
    items, test = read_items("items.json"), read_items("chosen.test.json")
    assert (len(test), record["validation"]["n"]) == (21, 9)
    ids = {item.id for item in test}
    validation = Items([item for item in items if item.id not in ids])
    assert validation.hash == record["validation"]["hash"]

    # What was measured, and what was chosen, from a plain implementation.
    model, vector = load_model("builtin:tiny"), SteeringVector.load("chosen.safetensors", layer="all")
    texts = json.loads((folder / "texts.json").read_text())
    given, test_texts = (folder / "texts.txt").read_text().splitlines(), json.loads(Path("chosen.neutral.json").read_text())
    neutral = [text for text in given if text not in test_texts]
    assert (len(neutral), len(test_texts)) == (4, 8)
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

    assert (folder / "chosen.steer.yaml").read_text() == snippet_in(printed.out)
    assert printed.out.endswith("judge it: pytest chosen.steer.yaml\n")
    result = pytester.runpytest_inprocess("chosen.steer.yaml", "-q", "--steer-report", "r.json")
    result.assert_outcomes(passed=3)
    claims = json.loads((folder / "r.json").read_text())["claims"]
    assert claims[0]["data"]["n"] == 21
    assert not any(claim["findings"] for claim in claims)


def test_caa_takes_its_items_from_the_same_file(folder, capsys, pytester):
    items = json.loads((DATA / "cheer_test.json").read_text())[:40]
    (folder / "cheer.json").write_text(json.dumps(items))
    arguments = ["sweep", "--data", "cheer.json", "--layers", "1,3-4", "--top", "1", "--write", "t.steer.yaml"]
    assert main([*arguments, "--split", "50/20/30", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert "caa from 20 items, positions after_prompt\n8 validation items; 12 test items are not looked at\n" in printed
    vector = SteeringVector.load("t.safetensors", layer="all")
    assert vector.layers == (1, 3, 4)
    assert not set(vector.metadata["item_hashes"]) & set(read_items("t.test.json").item_hashes)
    result = pytester.runpytest_inprocess("t.steer.yaml", "-q", "--steer-report", "r.json")
    outcomes = result.parseoutcomes()
    assert outcomes.get("errors", 0) == 0
    assert sum(outcomes.get(kind, 0) for kind in ("passed", "failed")) == 2
    for claim in json.loads((folder / "r.json").read_text())["claims"]:
        assert claim["verdict"] in ("pass", "fail", "inconclusive")
        assert claim["n"] == 12


def test_nothing_is_written_that_was_not_asked_for(folder, capsys):
    before = sorted(os.listdir())
    assert main([*APPROVAL, "--top", "1", "--multipliers=1"]) == 0
    printed = capsys.readouterr().out
    assert "data: {test: chosen.test.json}" in printed
    assert printed.endswith("the files that it names, add: --write chosen.steer.yaml\n")
    assert sorted(os.listdir()) == before


@pytest.mark.filterwarnings("ignore::pytest_steer.core.errors.SteerWarning")  # the data of the last vector mean nothing
def test_a_saved_vector_is_swept_at_its_layers(folder, capsys, pytester):
    assert main([*APPROVAL, "--layers", "0-2", "--keep", "1", "--multipliers=1", "--write", "one.steer.yaml"]) == 0
    first = capsys.readouterr().out
    saved = ["sweep", "--data", "items.json", "--vector", "one.safetensors", "--positions", "all", "--multipliers=1"]
    assert main([*saved, "--keep", "1", "--write", "two.steer.yaml", "--out", "out.json"]) == 0
    second = capsys.readouterr().out
    assert second.startswith("builtin:tiny: one.safetensors, positions all\n9 validation items; 21 test items")
    assert second.splitlines()[3:10] == first.splitlines()[3:10]
    assert Path("two.steer.yaml").read_text() == Path("one.steer.yaml").read_text().replace("one.", "two.")
    assert main([*saved, "--layers", "1", "--out", "out.json"]) == 0
    assert [layer["layer"] for layer in json.loads(Path("out.json").read_text())["layers"]] == [1]
    capsys.readouterr()
    assert main([*saved, "--layers", "4"]) == 4
    assert "the vector has no direction for layer 4; it has [0, 1, 2]" in capsys.readouterr().err
    # Items that a vector was made from say nothing about it.
    extract.caa(load_model("builtin:tiny"), read_items("test.json")[:4], layer=1).save("caa.safetensors")
    assert main(["sweep", "--data", "test.json", "--vector", "caa.safetensors"]) == 4
    assert "4 questions of test.json are also in caa.safetensors" in capsys.readouterr().err


def test_weak_training_data_is_named_before_the_long_part(folder, capsys, monkeypatch):
    texts = json.loads((folder / "texts.json").read_text())
    mixed = texts["positive"] + texts["negative"]
    (folder / "texts.json").write_text(json.dumps({"positive": mixed[::2], "negative": mixed[1::2]}))

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("pytest_steer.studies.sweep"), "sweep", stop)
    assert main([*APPROVAL, "--layers", "1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("warning: the vector's own training data support it weakly: layer 1: d'")
    assert error.endswith("\ninterrupted\n")
    assert error.count("support it weakly") == 1


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
        (["sweep"], "Missing option '--data'"),
        (["sweep", "--data", "nothing.json"], "nothing.json: there is no such file"),
        (["sweep", "--data", "."], ".: is a folder. Name a file in it"),
        (["sweep", "--data", "texts.json"], "texts.json: expected a list of contrast items, found two lists of texts"),
        (["sweep", "--data", "items.json", "--model", "builtin:tny"], "Did you mean 'builtin:tiny'"),
        (["sweep", "--data", "items.json", "--method", "icv"], "method 'icv' has no layer to choose"),
        (["sweep", "--data", "items.json", "--train", "items.json"], "30 questions of items.json are also in items.json"),
        (["sweep", "--data", "items.json", "--train", "texts.json"], "caa compares two answers to one question"),
        (["sweep", "--data", "items.json", "--split", "40/60"], "Write train/validation/test: --split 40/20/40"),
        (
            [*APPROVAL, "--vector", "items.json"],
            "--vector is a vector that is made already. Delete --train, --method and --set",
        ),
        ([*APPROVAL, "--split", "1/1/1"], "Write validation/test: --split 30/70"),
        ([*APPROVAL, "--split", "1/x"], "'1/x'. Write three numbers above 0"),
        (
            [*APPROVAL, "--split", "1/100"],
            "items.json: 30 items with 30 different questions are too few to split: validation 0",
        ),
        ([*APPROVAL, "--layers", "0-9"], "has 6 decoder blocks"),
        ([*APPROVAL, "--layers", "3-1"], "'3-1'. Write numbers and ranges"),
        ([*APPROVAL, "--layers", "0-99999999999"], "no model has 99999999999"),
        ([*APPROVAL, "--multipliers", "nan"], "'nan'. Write numbers"),
        ([*APPROVAL, "--multipliers", "0"], "other than 0"),
        ([*APPROVAL, "--keep", "0"], "0.0 is not in the range 0<x<=1"),
        ([*APPROVAL, "--top", "1", "--keep", "1"], "--keep and --top exclude each other"),
        ([*APPROVAL, "--budget", "nan"], "'nan' is not a finite number"),
        ([*APPROVAL, "--out", "sweep.txt"], "sweep.txt: the name has to end in .json"),
        ([*APPROVAL, "--heatmap", "no/map.svg"], "the folder no does not exist"),
        ([*APPROVAL, "--write", "chosen.yaml"], "chosen.yaml: the name has to end in .steer.yaml or .steer.yml"),
        ([*APPROVAL, "--write", "taken.steer.yaml"], "taken.test.json exists, and is not overwritten"),
        ([*APPROVAL, "--cache", "items.json"], "'items.json' is a file"),
        ([*APPROVAL, "--stride", "8"], "--stride is about neutral texts, and there are none. Write --neutral TEXTS too"),
        ([*APPROVAL, "--neutral", "texts.txt", "--leave-out", "("], "'(' is not a regular expression"),
        ([*APPROVAL, "--neutral", "texts.txt", "--leave-out", "."], "no text is left: all 12 are left out (matching '.')"),
        ([*APPROVAL, "--neutral", "empty.txt"], "empty.txt: the file holds no texts"),
        ([*APPROVAL, "--neutral", "one.txt"], "one.txt: 1 texts, 1 of them different, are too few to split"),
    ],
)
def test_wrong_usage_is_exit_code_4_and_one_message(folder, capsys, arguments, words):
    for name, text in (("empty.txt", "\n"), ("one.txt", "One text."), ("taken.test.json", "mine")):
        (folder / name).write_text(text)
    assert main(arguments) == 4
    printed = capsys.readouterr()
    assert words in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_longer_neutral_texts_are_cut_or_refused_before_anything_is_measured(folder, capsys):
    model = load_model("builtin:tiny")
    limit = model.max_positions
    short = (folder / "texts.txt").read_text().splitlines()
    long = [f"{' '.join(short)} " * (1 + limit // 40) + f"The hat has {n} doors." for n in range(8)]
    (folder / "long.json").write_text(json.dumps([*long, "Sorry, no."]))
    given = [*APPROVAL, "--neutral", "long.json", "--top", "1", "--layers", "1", "--multipliers=1"]
    assert main(given) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"builtin:tiny takes at most {limit}. To score it in windows, write window {limit}" in " ".join(
        printed.err.split()
    )

    cut = ["--window", "64", "--stride", "32", "--leave-out", "(?i)sorry", "--budget", "9", "--out", "s.json"]
    assert main([*given, *cut, "--write", "c.steer.yaml"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "texts: 1 of 9 left out, matching '(?i)sorry'" in printed
    params = {entry.kind: entry.params for entry in read_suite("c.steer.yaml").entries}["ppl_delta_below"]
    assert (params["limit"], params["window"], params["stride"]) == (9, 64, 32)
    judged_on = json.loads((folder / "c.neutral.json").read_text())
    chosen_on = [text for text in long if text not in judged_on]
    assert (len(chosen_on), len(judged_on)) == (2, 6)
    vector = SteeringVector.load(folder / "c.safetensors").at("all")
    known = [perplexity(model, chosen_on, own, positions="all", window=64, stride=32).value for own in (None, vector.at(1))]
    (layer,) = (one for one in json.loads((folder / "s.json").read_text())["layers"] if one["note"] != "pruned")
    assert layer["perplexity_change"][1] == pytest.approx(known[1] / known[0] - 1, rel=1e-6)


def test_neutral_completions_are_written_as_they_are_read(folder, capsys):
    texts = [
        {"prompt": f"Is the hat {what}?", "completion": f"It is {what}."} for what in ("red", "old", "new", "wet", "dry")
    ]
    (folder / "replies.json").write_text(json.dumps(texts))
    given = [*APPROVAL, "--neutral", "replies.json", "--top", "1", "--layers", "1", "--multipliers=1", "--budget", "9"]
    assert main([*given, "--write", "c.steer.yaml"]) == 0
    written = json.loads((folder / "c.neutral.json").read_text())
    assert len(written) >= 2
    assert all(entry in texts for entry in written)


def test_warnings_are_lines(folder, capsys):
    items = [
        item | {"question": f"{item['question'].replace('which one', 'what do you take')} {n}"}
        for n, item in enumerate(json.loads((folder / "train.json").read_text()))
    ]
    for item in items:
        item |= {"answer_matching_behavior": "(A)", "answer_not_matching_behavior": "(B)"}
    (folder / "unbalanced.json").write_text(json.dumps(items))
    main(["sweep", "--data", "test.json", "--train", "unbalanced.json", "--top", "1", "--multipliers", "1"])
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith("warning: unbalanced.json: the matching answer is 'A' in 8 of 8 items")


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["", "NO_COLOR", "dumb"])
def test_colour_only_on_a_terminal(monkeypatch, variables):
    for name, value in ({"TERM": "xterm", "NO_COLOR": ""} | variables).items():
        monkeypatch.setenv(name, value)
    screen = io.StringIO()
    screen.isatty = lambda: True
    for stream, coloured in ((screen, not variables), (io.StringIO(), False)):
        click.echo(click.style("+1.00", bg=166), file=stream, color=colours())
        assert ("\x1b[48;5;166m" in stream.getvalue()) == coloured
        assert click.unstyle(stream.getvalue()) == "+1.00\n"


def test_the_effect_of_vectors_from_fewer_pairs(folder, capsys):
    more = ["--multipliers", "-1,1", "--top", "1", "--layers", "1", "--pairs", "30,4,10", "--draws", "2", "--out", "s.json"]
    assert main([*APPROVAL, *more]) == 0
    printed = capsys.readouterr().out
    record = json.loads((folder / "s.json").read_text())["data_efficiency"]
    assert (record["layer"], record["multiplier"]) == (1, 1)
    assert [(one["pairs"], one["draws"]) for one in record["sizes"]] == [(4, 2), (10, 2), (30, 1)]
    assert "effect of vectors from fewer training pairs, at layer 1 and multiplier 1, on the validation items" in printed

    model, texts = load_model("builtin:tiny"), json.loads((folder / "texts.json").read_text())
    parts = read_parts(Path("items.json"), (30, 70), train=Path("texts.json"), seed=0)
    for one in record["sizes"]:
        effects, cosines = [], []
        for draw in range(one["draws"]):
            order = np.random.default_rng(draw).permutation(30)[: one["pairs"]]
            chosen = [[texts[side][index] for index in order] for side in ("positive", "negative")]
            directions = {1: plain.mean_difference(model.hf, model.tokenizer, *chosen, 1)}
            whole = plain.mean_difference(model.hf, model.tokenizer, texts["positive"], texts["negative"], 1)
            values = plain.curve(model.hf, model.tokenizer, parts.validation, directions, [0, 1], "all")
            effects.append(values[:, 1] - values[:, 0])
            cosines.append(float(directions[1] @ whole / directions[1].norm() / whole.norm()))
        assert one["effect_by_draw"] == pytest.approx([each.mean() for each in effects], abs=1e-3)
        assert one["effect"] == pytest.approx(np.mean(effects), abs=1e-3)
        assert one["wrong_way"] == np.mean(np.array(effects) <= 0)
        assert one["cosines"] == pytest.approx(cosines, abs=1e-4)
        assert one["interval"][0] < one["effect"] < one["interval"][1]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--pairs", "8,64"], "--pairs 64: there are 30 training pairs in texts.json. Write numbers from 1 to 30"),
        (["--pairs", "0,8"], "'0,8'. Write whole numbers from 1 on with commas between them, such as 8,16,32"),
        (["--draws", "2"], "--draws goes with --pairs"),
    ],
)
def test_numbers_of_pairs_that_cannot_be(folder, capsys, more, words):
    assert main([*APPROVAL, *more]) == 4
    assert words in capsys.readouterr().err


def test_repeats_are_left_out_and_clusters_stay_in_one_part(folder, capsys, pytester):
    items = [{**item, "about": n // 3} for n, item in enumerate(json.loads((folder / "items.json").read_text()))]
    (folder / "items.json").write_text(json.dumps([*items, *items[:5]]))
    (folder / "texts.txt").write_text(2 * ((folder / "texts.txt").read_text() + "\n"))
    more = ["--neutral", "texts.txt", "--top", "1", "--multipliers=1", "--cluster", "about"]
    assert main([*APPROVAL, *more, "--out", "s.json", "--write", "c.steer.yaml"]) == 0
    printed = capsys.readouterr()
    assert "5 of these 35 items repeat another one (white space aside) and are left out: 30 are distinct" in printed.err
    assert "12 of these 24 texts repeat another one" in printed.err
    assert "9 validation items (3 clusters), 4 validation texts; 21 test items (7 clusters) and 8 test texts" in printed.out
    assert "data: {test: c.test.json, neutral: c.neutral.json, cluster: about}" in printed.out
    test = read_items("c.test.json")
    abouts = {item.meta["about"] for item in test}
    assert (len(test), len(abouts)) == (21, 7)
    record = json.loads((folder / "s.json").read_text())
    assert (record["validation"]["n"], record["validation"]["unit"], record["validation"]["clusters"]["items"]) == (
        3,
        "clusters",
        9,
    )
    (measured,) = [layer for layer in record["layers"] if layer["note"] != "pruned"]
    model, vector = load_model("builtin:tiny"), SteeringVector.load("c.safetensors", layer="all")
    chosen = [item for item in read_items("items.json")[:30] if item.meta["about"] not in abouts]
    at = {measured["layer"]: vector.directions[measured["layer"]]}
    slopes = plain.slopes(plain.curve(model.hf, model.tokenizer, chosen, at, [0, 1], "all"), [0, 1])
    bounds = mean_t(slopes, clusters=[item.meta["about"] for item in chosen])
    assert measured["interval"] == pytest.approx([bounds.low, bounds.high], abs=1e-3)
    result = pytester.runpytest_inprocess("c.steer.yaml", "-q", "--steer-report", "r.json")
    assert result.ret in (0, 1)
    assert {(one["n"], one["unit"]) for one in json.loads((folder / "r.json").read_text())["claims"]} == {
        (7, "clusters"),
        (8, "texts"),
    }
