"""``pytest-steer init``: the file that it writes runs, and says what was seen."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from forked import run_module
from ruamel.yaml import YAML
from small_suite import small_suite

from pytest_steer import SteeringVector, extract, load_model, perplexity, propensity_curve, read_items, read_texts
from pytest_steer.cli.main import main
from pytest_steer.data import read_contrast_texts
from pytest_steer.files.schema import full_schema

MADE = ["--train", "data/approval_train.json", "--test", "data/approval_test.json"]
KINDS = ["steers", "not_anti_steered", "ppl_delta_below"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(small_suite(tmp_path / "builtin", items=45, texts=45))
    return Path()


def check_it_runs(file: str) -> None:
    """pytest measures each claim, and each is inconclusive since it has no threshold."""
    done = run_module("pytest", "-q", "-p", "no:cacheprovider", file, "--steer-report", "seen.json")
    assert done.returncode == 1, done.stdout + done.stderr
    claims = json.loads(Path("seen.json").read_text())["claims"]
    assert [one["check"] for one in claims] == KINDS
    for claim in claims:
        assert (claim["verdict"], claim["threshold"]) == ("inconclusive", None)
        assert "no threshold yet" in claim["message"]


def test_with_options_the_file_runs(folder: Path, capsys) -> None:
    options = ["--layer", "1", "--positions", "all", "--neutral", "data/neutral.txt", "--out", "mine.steer.yaml", "--yes"]
    assert main(["init", *MADE, *options]) == 0
    printed = capsys.readouterr()
    assert "written: mine.steer.yaml\nwritten: claim.schema.json\n" in printed.out
    assert "measuring 2 of 3: not_anti_steered, on at most 40 items" in printed.err
    text = Path("mine.steer.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=./claim.schema.json\n")
    schema = json.loads(Path("claim.schema.json").read_text())
    assert schema == json.loads(json.dumps(full_schema()))
    jsonschema.validate(YAML(typ="safe", pure=True).load(text), schema)
    assert main(["validate", "mine.steer.yaml"]) == 0
    check_it_runs("mine.steer.yaml")


def test_what_was_seen_is_what_is_there(folder: Path) -> None:
    assert main(["init", *MADE, "--layer", "1", "--positions", "all", "--neutral", "data/neutral.txt", "--yes"]) == 0
    text = Path("first.steer.yaml").read_text()
    seen = dict(re.findall(r"- (\w+): \{\w+: \}  # seen: (\S+) \[", text))
    assert [*seen] == KINDS
    assert len(re.findall(r" on 40 (?:items|texts)$", text, re.M)) == 3
    model = load_model("builtin:tiny")
    vector = extract.mean_difference(model, *read_contrast_texts("data/approval_train.json"), layer=1)
    items, texts = read_items("data/approval_test.json")[:40], read_texts("data/neutral.txt")[:40]
    curve = propensity_curve(model, items, vector, positions="all")
    assert float(seen["steers"]) == pytest.approx(np.mean(curve.slopes), rel=0.01)
    assert float(seen["not_anti_steered"].rstrip("%")) == pytest.approx(np.mean(curve.slopes <= 0), abs=0.001)
    steered, base = (perplexity(model, texts, vector, multiplier=strength).per_text for strength in (1.0, 0.0))
    assert float(seen["ppl_delta_below"].rstrip("%")) / 100 == pytest.approx(np.expm1(np.mean(steered - base)), abs=0.001)


def test_what_no_option_says_is_asked_for(folder: Path) -> None:
    """By stdin, with defaults taken by an empty line, and an answer that is none asked for again."""
    answers = [
        "asked.steer.yaml", "", "", "data/gone.json", "data/approval_train.json", "", "1", "data/approval_test.json", "data/neutral.txt",
    ]  # fmt: skip
    done = run_module("pytest_steer", "init", input="\n".join([*answers, ""]))
    assert done.returncode == 0, done.stderr
    written = YAML(typ="safe", pure=True).load(Path("asked.steer.yaml").read_text())
    assert written["model"] == "builtin:tiny"
    made = {"method": "mean_difference", "data": "data/approval_train.json"}
    assert written["vector"] == {"extract": made, "layer": 1, "positions": "after_prompt"}
    assert written["data"] == {"test": "data/approval_test.json", "neutral": "data/neutral.txt"}


def test_device_and_dtype_reach_the_model_and_not_the_file(folder: Path, capsys, monkeypatch) -> None:
    from pytest_steer.model import loading

    load, seen = loading.load_model, []

    def watched(name, *, dtype, device, **options):
        seen.append((dtype, device))
        return load(name, dtype=dtype, device=device, **options)

    monkeypatch.setattr(loading, "load_model", watched)
    options = ["--layer", "1", "--neutral", "data/neutral.txt", "--yes", "--device", "cpu", "--dtype", "bfloat16"]
    assert main(["init", *MADE, *options]) == 0
    assert set(seen) == {("bfloat16", "cpu")}
    text = Path("first.steer.yaml").read_text()
    assert "bfloat16" not in text
    assert "cpu" not in text


@pytest.mark.nightly
def test_a_saved_vector_and_another_folder(folder: Path, capsys) -> None:
    """Paths are seen from the claim file."""
    Path("claims").mkdir()
    saved = ["--vector", "vectors/approval.safetensors", "--test", "data/approval_test.json"]
    assert main(["init", *saved, "--out", "claims/a.steer.yaml", "--yes"]) == 0
    written = YAML(typ="safe", pure=True).load(Path("claims/a.steer.yaml").read_text())
    (layer,) = SteeringVector.load("vectors/approval.safetensors").layers
    assert written["vector"] == {"file": "../vectors/approval.safetensors", "layer": layer, "positions": "after_prompt"}
    assert written["data"] == {"test": "../data/approval_test.json", "neutral": "builtin:neutral"}
    assert Path("claims/claim.schema.json").exists()
    assert "warning: builtin:tiny reads these texts worse than chance" in capsys.readouterr().err
    check_it_runs("claims/a.steer.yaml")


def test_nothing_is_overwritten(folder: Path, capsys) -> None:
    Path("first.steer.yaml").write_text("mine\n")
    assert main(["init", *MADE, "--yes"]) == 4
    assert "first.steer.yaml exists, and is not overwritten" in capsys.readouterr().err
    assert Path("first.steer.yaml").read_text() == "mine\n"
    assert not Path("claim.schema.json").exists()
    Path("claim.schema.json").write_text("{}")
    assert main(["init", *MADE, "--out", "b.steer.yaml", "--layer", "1", "--yes"]) == 0
    assert "kept: claim.schema.json, which differs" in capsys.readouterr().out
    assert Path("claim.schema.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*MADE, "--layer", "99", "--yes"], "99"),
        (["--train", "data/approval_train.json", "--yes"], "--test is missing"),
        (["--test", "data/approval_test.json", "--yes"], "--vector or --train is missing"),
        ([*MADE, "--vector", "vectors/approval.safetensors"], "Delete --train and --method, or delete --vector"),
        ([*MADE[:2], "--test", "data/neutral.txt", "--layer", "1", "--yes"], "data/neutral.txt"),
        ([*MADE, "--dtype", "int8", "--yes"], "int8"),
    ],
)
def test_a_wrong_answer_leaves_no_file(folder: Path, capsys, arguments, message) -> None:
    assert main(["init", *arguments]) == 4
    assert message in capsys.readouterr().err
    assert not list(Path().glob("first*"))
    assert not Path("claim.schema.json").exists()
