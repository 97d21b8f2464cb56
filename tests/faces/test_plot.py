"""``pytest-steer plot``: the numbers of the picture, what is drawn, and what cannot be."""

from __future__ import annotations

import json
import re
import struct
import sys
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import plain
import pytest
from scipy import stats

from pytest_steer import SteeringVector, load_model, read_items, read_texts
from pytest_steer.cli.main import main
from pytest_steer.files import read_suite
from pytest_steer.files.inputs import Inputs

from .conftest import HEAD

HAS_ALTAIR = all(map(find_spec, ("altair", "vl_convert")))
needs_altair = pytest.mark.skipif(not HAS_ALTAIR, reason="pictures need the extra: pip install pytest-steer[page]")
CLAIMS = """
  - steers: {name: small, steerability: 0.1, multiplier: 0.5}
  - ppl_delta_below: {name: deployed, limit: 0.5}
"""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def folder(suite: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(suite)
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    return suite


def plotted(*options: str) -> dict:
    assert main(["plot", "c.steer.yaml", "--out", "n.json", *options]) == 0
    return json.loads(Path("n.json").read_text())


def the_vector(model) -> SteeringVector:
    suite = read_suite("c.steer.yaml")
    return Inputs(model).steering(suite.entries[0].vector)


def bounds(values: np.ndarray) -> tuple[float, float]:
    half = stats.t.ppf(0.95, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def test_the_numbers_are_those_of_the_plain_way(folder, capsys, monkeypatch):
    found = plotted("--multipliers", "20,-10")
    (line,) = found["lines"]
    # The deployed multipliers of both claims are added, and 0.
    assert [one["multiplier"] for one in line["points"]] == [-10, 0, 0.5, 1, 20]
    assert [one["is_deployed"] for one in line["points"]] == [False, False, True, True, False]
    assert (line["n_items"], line["n_texts"]) == (10, len(read_texts("neutral.txt")))

    model = load_model("builtin:tiny")
    directions, grid = the_vector(model).directions, [-10, 0, 0.5, 1, 20]
    curve = plain.curve(model.hf, model.tokenizer, read_items("test.json"), directions, grid, "after_prompt")
    texts = read_texts("neutral.txt")
    losses = [[plain.nll(model.hf, model.tokenizer, text, directions, m)[0] for m in grid] for text in texts]
    rises = np.array(losses) - np.array(losses)[:, [1]]
    for at, one in enumerate(line["points"]):
        if one["multiplier"] == 0:
            assert (one["effect"], one["cost"]) == (0, 0)
            continue
        effects = curve[:, at] - curve[:, 1]
        assert one["effect"] == pytest.approx(effects.mean(), abs=1e-4)
        np.testing.assert_allclose(one["effect_interval"], bounds(effects), atol=1e-3)
        assert one["cost"] == pytest.approx(np.expm1(rises[:, at].mean()), abs=1e-4)
        np.testing.assert_allclose(one["cost_interval"], np.expm1(bounds(rises[:, at])), atol=1e-3)
    assert abs(line["points"][-1]["effect"]) > 0.05
    assert abs(line["points"][-1]["cost"]) > 0.05
    printed = capsys.readouterr().out
    assert re.search(r"^caa\n  -10 .*\n(  .*\n)*  1 .* deployed\n", printed, re.M)
    monkeypatch.setenv("COLUMNS", "50")
    plotted("--multipliers", "20,-10")
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 50
    assert "written: n.json" in printed


def test_the_divergence_is_that_of_two_forwards(folder):
    (line,) = plotted("--cost", "kl", "--multipliers", "20")["lines"]
    model, texts = load_model("builtin:tiny"), read_texts("neutral.txt")
    directions, found = the_vector(model).directions, []
    for text in texts:
        ids = plain.ids_of(model.tokenizer, text, True)
        base, steered = (plain.logits(model.hf, ids, directions, m, 1).double().log_softmax(-1) for m in (0.0, 20.0))
        found.append(float((base.exp() * (base - steered)).sum(-1)[:-1].mean()))
    assert line["points"][-1]["multiplier"] == 20
    assert line["points"][-1]["cost"] == pytest.approx(np.mean(found), rel=1e-3)
    assert line["points"][-1]["cost"] > 1e-3


@needs_altair
def test_what_is_drawn(folder):
    from pytest_steer.report.effect_cost import PNG_SCALE, SIZE

    found = plotted("--out", "c.svg", "--out", "c.png", "--multipliers", "2,-1")
    drawn = ET.fromstring(Path("c.svg").read_text())
    assert drawn.tag == f"{SVG}svg"
    assert (drawn[0].tag, drawn[1].tag, drawn.get("role")) == (f"{SVG}title", f"{SVG}desc", "img")
    assert drawn[0].text == "c: what steering does to builtin:tiny, and what it costs"
    words = {text.text for text in drawn.iter(f"{SVG}text")} | {text.text for text in drawn.iter(f"{SVG}tspan")}
    assert "Cost: rise of perplexity (square root of its logarithm)" in words
    assert {"-1", "0", "0.5", "1", "2"} <= words
    # Every point says its numbers to a screen reader, and there is a ring around each deployed one.
    said = [one.get("aria-label") for one in drawn.iter(f"{SVG}path") if (one.get("aria-label") or "").startswith("caa: ")]
    points = found["lines"][0]["points"]
    assert [re.search(r"multiplier (\S+?)( \(deployed\))?, effect", one).groups() for one in said] == [
        (f"{one['multiplier']:g}", " (deployed)" if one["is_deployed"] else None) for one in points
    ]
    assert all(f"effect {one['effect']:.3g}," in text for one, text in zip(points, said, strict=True) if one["multiplier"])
    assert len([one for one in drawn.iter(f"{SVG}path") if one.get("stroke") == "#000000"]) == 2
    head = Path("c.png").read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert struct.unpack(">II", head[16:]) == tuple(PNG_SCALE * size for size in SIZE)


@needs_altair
def test_points_stand_where_their_numbers_say(folder):
    """From the pixels back to the numbers, by the first and the last point: up is linear, to the right the root of the logarithm."""
    points = plotted("--out", "c.svg", "--multipliers=-2,2,4")["lines"][0]["points"]
    marks = [
        list(map(float, re.match(r"translate\((\S+?),(\S+?)\)", one.get("transform")).groups()))
        for one in ET.fromstring(Path("c.svg").read_text()).iter(f"{SVG}path")
        if (one.get("aria-label") or "").startswith("caa: ")
    ]
    x = np.array([np.sign(one["cost"]) * np.sqrt(abs(np.log1p(one["cost"]))) for one in points])
    y = np.array([one["effect"] for one in points])
    for values, pixels in ((x, np.array(marks)[:, 0]), (-y, np.array(marks)[:, 1])):
        assert np.corrcoef(values, pixels)[0, 1] > 0.99999


@needs_altair
def test_hostile_names_stay_text(folder):
    text = "suite: '<script>alert(1)</script> & \\x1b[2J'\n".replace("'", '"') + HEAD + CLAIMS
    (folder / "c.steer.yaml").write_text(text)
    plotted("--out", "c.svg")
    drawn = ET.fromstring(Path("c.svg").read_text())
    assert drawn[0].text.startswith("<script>alert(1)</script> & ")
    assert not list(drawn.iter(f"{SVG}script"))


def test_long_texts_are_scored_in_windows(folder):
    """The cost against `perplexity` with the same windows, which is tested against a plain forward of each."""
    from pytest_steer import perplexity

    (folder / "neutral.txt").write_text("\n".join(f"{n} is a number and no word at all, " * 4 for n in range(3)))
    (whole,), (cut,) = (plotted("--multipliers", "20", *more)["lines"] for more in ((), ("--window", "12", "--stride", "6")))
    model, texts = load_model("builtin:tiny"), read_texts("neutral.txt")
    steered, base = (
        perplexity(model, texts, the_vector(model), multiplier=m, positions="after_prompt", window=12, stride=6)
        for m in (20, 0)
    )
    assert cut["points"][-1]["cost"] == pytest.approx(np.expm1((steered.per_text - base.per_text).mean()), rel=1e-4)
    assert cut["points"][-1]["cost"] != pytest.approx(whole["points"][-1]["cost"], rel=1e-3)


def reported(folder: Path, names=("a", "b", "c")) -> Path:
    """A report of three claims; the first two are about the same items."""
    from made_reports import claim, report

    grid, curve = [-1.0, 0.0, 1.0], [0.1, 0.4, 0.9]
    band = [[0.0, 0.2], [0.3, 0.5], [0.8, 1.0]]
    made = [
        claim(name=names[0], multipliers=grid, curve=curve, curve_interval=band, multiplier=1.0),
        claim(name=names[1], multipliers=grid, curve=curve, curve_interval=band, multiplier=-1.0),
        claim(name=names[2], multipliers=[0.0, 2.0], curve=[0.4, -0.25], curve_interval=None, multiplier=2.0),
        claim(name="texts", multipliers=None, curve=None),
    ]
    path = folder / "old.json"
    path.write_text(json.dumps(report(*made)))
    return path


@pytest.fixture
def report(folder):
    return reported(folder)


def test_the_curves_of_a_report_are_those_in_it(report, capsys):
    assert main(["plot", "old.json", "--out", "n.json"]) == 0
    found = json.loads(Path("n.json").read_text())
    assert found["schema"] == "pytest-steer/curves/1"
    first, second = found["curves"]
    assert (first["claims"], first["deployed"], second["claims"]) == (["a", "b"], [1.0, -1.0], ["c"])
    assert [one["propensity"] for one in first["points"]] == [0.1, 0.4, 0.9]
    assert [one["interval"] for one in first["points"]] == [[0.0, 0.2], [0.3, 0.5], [0.8, 1.0]]
    assert second["points"][1] == {"multiplier": 2.0, "propensity": -0.25, "interval": [None, None]}
    printed = capsys.readouterr().out
    assert re.search(r"^a and 1 other\n  -1 +0\.1 \[0, 0\.2\] +deployed\n  0 +0\.4 \[0\.3, 0\.5\]\n", printed, re.M)
    assert re.search(r"^c\n  0 +0\.4\n  2 +-0\.25 +deployed\n", printed, re.M)
    assert main(["plot", "old.json", "--out", "n.json", "--claims", "c"]) == 0
    assert [one["claims"] for one in json.loads(Path("n.json").read_text())["curves"]] == [["c"]]


@needs_altair
def test_the_curves_of_a_report_are_drawn_where_their_numbers_say(report):
    assert main(["plot", "old.json", "--out", "c.svg", "--out", "c.png"]) == 0
    drawn = ET.fromstring(Path("c.svg").read_text())
    assert (drawn[0].tag, drawn[1].tag, drawn.get("role")) == (f"{SVG}title", f"{SVG}desc", "img")
    marks = {
        one.get("aria-label"): list(map(float, re.match(r"translate\((\S+?),(\S+?)\)", one.get("transform")).groups()))
        for one in drawn.iter(f"{SVG}path")
        if " at multiplier " in (one.get("aria-label") or "")
    }
    places = {(-1, 0.1), (0, 0.4), (1, 0.9), (2, -0.25)}
    found = np.array([
        [*map(float, re.search(r": (\S+) at multiplier (\S+)$", said).groups()), *place] for said, place in marks.items()
    ])  # fmt: skip
    assert {(x, y) for y, x, *_ in found.tolist()} == places
    assert np.corrcoef(found[:, 1], found[:, 2])[0, 1] > 0.99999
    assert np.corrcoef(-found[:, 0], found[:, 3])[0, 1] > 0.99999
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_of_a_run(folder, pytester, capsys):
    pytester.runpytest("--steer-report=old.json", "c.steer.yaml")
    (claim, _) = json.loads(Path("old.json").read_text())["claims"]
    assert main(["plot", "old.json", "--out", "n.json"]) == 0
    (curve,) = json.loads(Path("n.json").read_text())["curves"]
    assert curve["claims"] == ["small"]
    assert [one["multiplier"] for one in curve["points"]] == claim["multipliers"]
    assert [one["propensity"] for one in curve["points"]] == claim["curve"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--multipliers", "1"], "--multipliers: means nothing for old.json, a report of which nothing is measured"),
        (["--model", "builtin:tiny"], "--model: means nothing for old.json"),
        (["--claims", "aa"], "old.json: has no claim 'aa': did you mean 'a'?"),
        (["--claims", "texts"], "no claim of these has a curve over multipliers"),
    ],
)
def test_what_a_report_cannot_show(report, capsys, options, words):
    assert main(["plot", "old.json", "--out", "n.json", *options]) == 4
    assert words in capsys.readouterr().err


def test_options_that_do_not_go_together(folder, capsys):
    assert main(["plot", "c.steer.yaml", "--out", "n.json", "--claims", "small"]) == 4
    assert "--claims: is for a report" in capsys.readouterr().err
    assert main(["plot", "c.steer.yaml", "--out", "n.json", "--window", "8", "--cost", "kl"]) == 4
    assert "--window: is for perplexity" in capsys.readouterr().err
    Path("other.json").write_text("{}")
    assert main(["plot", "other.json", "--out", "n.json"]) == 4
    assert "other.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "options", "code", "words"),
    [
        ({}, ["--out", "c.pdf"], 4, "the name has to end in .svg or .png or .json"),
        ({}, ["--out", "no/c.json"], 4, "the folder no does not exist"),
        ({}, [], 4, "Missing option '--out'"),
        ({}, ["--out", "c.json", "--methods", "cca"], 4, "there is no method 'cca' in the file; there are: caa"),
        (
            {", neutral: neutral.txt": ""},
            ["--out", "c.json"],
            4,
            "test: no neutral texts (data.neutral), on which the cost is measured. Add",
        ),
        ({"[-1, 0, 1]": "[-1, 0, 1e9]"}, ["--out", "c.json"], 0, ""),
        ({"layer: 1": "layer: 99"}, ["--out", "c.json"], 4, "layer"),
    ],
)
def test_what_cannot_be_plotted(folder, capsys, change, options, code, words):
    text = HEAD + "  - steers: {steerability: 0.1}\n"
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "c.steer.yaml").write_text(text)
    assert main(["plot", "c.steer.yaml", *options]) == code
    assert words in capsys.readouterr().err


def test_without_altair_it_says_what_to_install(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    assert main(["plot", "c.steer.yaml", "--out", "c.svg"]) == 4
    assert 'altair is not installed. Install them: pip install "pytest-steer[page]"' in " ".join(
        capsys.readouterr().err.split()
    )
    assert not Path("c.svg").exists()
    plotted()  # the numbers need no library
