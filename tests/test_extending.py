"""docs/extending.md: what the page says to write is written into a folder and run there."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import builders
import numpy as np
import pytest
from forked import run_module
from small_suite import DATA, small_suite

from pytest_steer import (
    Axis,
    Context,
    ContrastItem,
    Items,
    Model,
    SteeringVector,
    contexts,
    load_model,
    read_items,
    wrap_model,
)
from pytest_steer.cli.main import main
from pytest_steer.core import registry
from pytest_steer.core.errors import DataError, SteerError, VectorError
from pytest_steer.data import as_items
from pytest_steer.extend import AboutItems, Ask, Mean, Measurement, Param, Promise, assertion, claim
from pytest_steer.extract import method
from pytest_steer.extract.kinds import method_kind
from pytest_steer.extract.training import Training
from pytest_steer.files import read_suite
from pytest_steer.files.inputs import make_steering
from pytest_steer.prompting.options import find_options

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(?:python|yaml)\n# (?P<file>[\w./]+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def no_line_is_broken() -> Iterator[None]:
    """So many columns that a message stands on one line in what the processes below print."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "1000")
        yield


def run(folder: Path, *arguments: str) -> tuple[str, list[dict]]:
    """What pytest prints in a folder, and the claims of its report."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    done = run_module(
        "pytest", "-p", "no:cacheprovider", "-q", "--steer-report=out.json", *arguments, cwd=folder, env=environment
    )
    report = folder / "out.json"
    return done.stdout + done.stderr, json.loads(report.read_text())["claims"] if report.is_file() else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("extending")
    (made / "pytest.ini").write_text("[pytest]\n")
    for found in BLOCK.finditer((ROOT / "docs" / "extending.md").read_text(encoding="utf-8")):
        (made / found["file"]).write_text(found["text"], encoding="utf-8")
    data = small_suite(made / "builtin") / "data"
    for name in ("train", "test"):
        (data / f"cheer_{name}.json").rename(made / f"{name}.json")
    (data / "neutral.txt").rename(made / "neutral.txt")
    shutil.rmtree(made / "builtin")
    items = json.loads((made / "test.json").read_text())
    (made / "test.toml").write_text(
        "\n".join("[[items]]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in i.items()) for i in items)
    )
    (made / "mood.vec").write_text(f"2 {VALUES}\n3 {VALUES}\n")
    return made


VALUES = " ".join(str((place % 7 - 3) / 2) for place in range(96))


WRONG = """\
model: builtin:tiny
data: {test: test.json}
vector: {extract: {method: mean_difference, data: train.json}, layer: 3}
claims:
  - flips: {share: 50}
  - flips: {name: b, shar: 0.5}
  - flip: {share: 0.5}
  - steers: {name: m, steerability: 0, vector: {extract: {method: medain, data: train.json}, layer: 3}}
  - steers: {name: s, steerability: 0, vector: {extract: {method: median, data: train.json, scale: 0}, layer: 3}}
  - steers: {name: i, steerability: 0, intervention: {kind: halvd, extract: {method: median, data: train.json}, layer: 3}}
  - generalizes: {name: g, retention: 0.1, contexts: {c: {greetin: Hello}}}
"""


def test_the_page_runs_and_mistakes_in_it_are_named(folder: Path) -> None:
    (folder / "wrong.steer.yaml").write_text(WRONG)
    said, claims = run(folder, "--steer-report=out.csv")
    by_name = {claim["name"]: claim for claim in claims}
    mine, searched, read, spared = (claim for claim in claims if claim["suite"] == "mine")
    assert (read["vector"]["layer"], read["vector"]["source"]["format"]) == (3, "vec")
    assert len(read["items"]) == len(json.loads((folder / "test.json").read_text()))
    table = list(csv.reader((folder / "out.csv").open()))
    assert table[0] == ["claim", "verdict", "estimate"]
    assert [row[:2] for row in table[1:]] == [[claim["id"], claim["verdict"]] for claim in claims]
    assert [row[2] for row in table[1:]] == ["" if one["estimate"] is None else str(one["estimate"]) for one in claims]
    assert (mine["vector"]["method"], mine["vector"]["operation"]) == ("median", "added")
    assert {"greeting"} == {name for row in searched["details"]["contexts"] for name in row["context"]}
    assert mine["check"] == "flips"
    assert mine["verdict"] in ("pass", "fail", "inconclusive")
    assert mine["statistic"] == "share of answers that flip"
    flipped = [item["propensity"][0] <= 0 < item["propensity"][1] for item in mine["items"]]
    assert mine["estimate"] == pytest.approx(sum(flipped) / len(flipped))
    assert spared["n"] == len(spared["details"]["lost"]) == len((folder / "neutral.txt").read_text().splitlines())
    assert spared["estimate"] == sum(lost <= 0.1 for lost in spared["details"]["lost"]) / spared["n"]
    assert "wrong.steer.yaml:5: claims[0].flips.share: must be greater than 0 and less than 1, but is 50" in said
    assert "Did you mean 0.5 (50 %)?" in said
    assert "wrong.steer.yaml:6: claims[1].flips.shar: unknown key 'shar'" in said
    assert "wrong.steer.yaml:7: claims[2].flip: unknown claim 'flip'" in said
    assert "Did you mean 'flips'?" in said
    assert by_name["b"]["verdict"] == "error"
    for line, word, meant in ((8, "medain", "median"), (10, "halvd", "halved"), (11, "greetin", "greeting")):
        assert re.search(rf"wrong\.steer\.yaml:{line}: .*'{word}'.*\n  Did you mean '{meant}'\?", said), word
    assert re.search(r"wrong\.steer\.yaml:9: .*scale: must be greater than 0, but is 0", said)


ODD = """\
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np

from pytest_steer.extend import Ask, Mean, Measurement, OverItems, Param, Promise, claim


@claim("odd", title="Odd", main="least")
class Odd(OverItems):
    \"\"\"The mean effect is at least `least`.\"\"\"

    least: Annotated[Promise, Param("The least effect.", example=0.1)]
    words: Annotated[tuple[str, ...], Param("Words.", example=["a"])] = ()
    file: Annotated[Path | None, Param("A file.", example="x.txt")] = None
    weights: Annotated[Mapping[str, float] | None, Param("Weights.", example={"a": 1.0})] = None

    def measure(self, ask: Ask) -> Measurement:
        assert (self.words, self.file.name, self.weights) == (("a", "b"), "test.json", {"a": 2})
        Odd(self.vector, self.items, least=np.float32(0.5), words=("a",), file=Path("x"))
        curve = ask.propensity(self.sampled_items.units, [0.0, 1.0])
        return Measurement(
            sample=self.sampled_items, values=curve.effects(1.0), estimator=Mean(), statistic="effect", probes=curve.probes, curve=curve,
        )
"""


HEAD = (
    "model: builtin:tiny\nvector: {extract: {method: mean_difference, data: train.json}, layer: 3}\ndata: {test: test.json}\n"
    "claims:\n"
)


@pytest.fixture(scope="module")
def strange(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict]]:
    """One run of three claim files: the page's beside an extension that is broken, every type of parameter, and a field that nothing
    fills in."""
    made = tmp_path_factory.mktemp("strange") / "copy"
    shutil.copytree(folder, made)
    info = made / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pytest_steer]\nworse = no_such_module\nexits = exits\nflips = flips\n")
    (made / "exits.py").write_text("raise SystemExit(3)\n")
    (made / "odd.py").write_text(ODD)
    (made / "unfilled.py").write_text(
        ODD.replace('"odd"', '"unfilled"').replace("    least:", "    things: Mapping[str, str]\n    least:")
    )
    with (made / "conftest.py").open("a") as file:
        file.write("import odd\nimport unfilled\n")
    (made / "odd.steer.yaml").write_text(
        HEAD + "  - odd: {least: 0.1, words: [a, b], file: test.json, weights: {a: 2}}\n"
        "  - odd: {name: lost, least: 0.1, file: nowhere.json}\n"
    )
    (made / "unfilled.steer.yaml").write_text(HEAD + "  - unfilled: {least: 0.1}\n")
    return run(made, "mine.steer.yaml", "odd.steer.yaml", "unfilled.steer.yaml")


def test_an_extension_that_cannot_be_loaded_is_one_error_and_the_rest_runs(strange: tuple[str, list[dict]]) -> None:
    said, claims = strange
    assert "extension worse (no_such_module): ERROR" in said
    assert "No module named 'no_such_module'" in said
    assert "extension exits (exits): ERROR" in said
    assert "SystemExit: 3" in said
    rest = [claim["verdict"] == "error" for claim in claims if claim["suite"] not in ("odd", "unfilled")]
    assert rest == [True, True, False, False, False, False]


def test_parameters_of_every_type_reach_the_claim_and_a_missing_file_is_an_error(strange: tuple[str, list[dict]]) -> None:
    said, claims = strange
    verdicts = {claim["name"]: claim["verdict"] for claim in claims}
    assert verdicts["odd"] == "pass", said
    assert verdicts["lost"] == "error"
    assert "odd.steer.yaml:6: claims[1].odd.file: there is no file" in said


def test_a_declaration_without_an_example_is_an_error_of_its_own_module(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "bare.py").write_text(
        ODD.replace('Promise, Param("The least effect.", example=0.1)', 'str, Param("The least effect.")').replace(
            '"odd"', '"bare"'
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        SteerError, match=re.escape("bare: 'least' of the claim 'bare' needs an example: Param(..., example=...)")
    ):
        importlib.import_module("bare")


def test_a_field_that_nothing_fills_in_is_named(strange: tuple[str, list[dict]]) -> None:
    said, _ = strange
    assert "unfilled.steer.yaml:5: unfilled: nothing fills in 'things' of the claim 'unfilled'" in said


def test_two_conftests_do_not_replace_each_others_axis(tmp_path: Path) -> None:
    """Both are modules of one name, and what the second registers would stand in the first one's claims too."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "conftest.py").write_text(
            "from pytest_steer import axis\n\n\n@axis('tone', ['rude'], about='A tone.')\ndef tone(item, value):\n    return item\n"
        )
    said, _ = run(tmp_path, "one", "two")
    one, two = (tmp_path / name / "conftest.py" for name in ("one", "two"))
    assert f"{two}: the axis 'tone' is already registered by {one}: give yours another name" in said


def test_formats_of_others_work_wherever_ours_do(folder: Path, tmp_path: Path) -> None:
    """As a second vector, as training data, as texts and on the command line; and a file that they cannot read is named."""
    for name in ("vec.py", "toml_data.py", "report_csv.py", "mood.vec", "test.toml"):
        (tmp_path / name).write_text((folder / name).read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "ours-1.dist-info").mkdir()
    (tmp_path / "ours-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1\n")
    (tmp_path / "ours-1.dist-info" / "entry_points.txt").write_text(
        "[pytest_steer]\nvec = vec\ntoml = toml_data\nreport = report_csv\n"
    )
    (tmp_path / "texts.toml").write_text('[[items]]\ntext = "The sea is calm."\n[[items]]\ntext = "It is late."\n')
    (tmp_path / "bad.vec").write_text("3 one two\n")
    (tmp_path / "bad.toml").write_text("[[items]]\nq = 7\n")
    (tmp_path / "a.steer.yaml").write_text(
        "model: builtin:tiny\nvector: {extract: {method: caa, data: test.toml}, layer: 3}\n"
        "data: {test: test.toml, neutral: texts.toml}\nclaims:\n"
        "  - ppl_delta_below: {limit: 90}\n"
        "  - steers: {name: turned, steerability: 0, intervention: {kind: add, file: mood.vec, layer: 3}}\n"
        "  - steers: {name: damaged, steerability: 0, vector: {file: bad.vec}}\n"
        "  - ppl_delta_below: {name: rotated, limit: 90, intervention: {kind: rotate, toward: mood.vec, extract: {method: caa, data: test.toml}, layer: 3}, multiplier: 0.1}\n"
    )
    (tmp_path / "b.steer.yaml").write_text(
        "model: builtin:tiny\nvector: {file: mood.vec, layer: 3}\ndata: {test: bad.toml}\nclaims:\n  - steers: {steerability: 0}\n"
    )
    said, claims = run(tmp_path, "--steer-report=out.csv")
    assert {claim["name"]: claim["verdict"] == "error" for claim in claims} == {
        "ppl_delta_below": False, "turned": False, "damaged": True, "rotated": False, "steers": True,
    }, said  # fmt: skip
    assert "bad.vec: the format 'vec' of vec cannot read it: ValueError: could not" in said
    assert "could not convert string to float: 'one'" in said
    assert "bad.toml: items[0]: unknown keys" in said
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + len(claims)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    sweep = ("sweep", "--data", "test.toml", "--vector", "mood.vec", "--layers", "2,3", "--multipliers", "0,1")
    swept = run_module("pytest_steer", *sweep, cwd=tmp_path, env=environment)
    assert swept.returncode in (0, 1), swept.stderr
    assert "2" in swept.stdout


def test_a_report_format_that_fails_is_named_and_the_other_reports_are_written(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from pytest_steer.report import report_format\n\n\n@report_format('odd', suffixes=['.odd'])\n"
        "def odd(report):\n    report.clear()\n    return report['claims']\n\n\n"
        "@report_format('number', suffixes=['.number'])\ndef number(report):\n    return 7\n"
    )
    (tmp_path / "test_a.py").write_text("def test_a():\n    pass\n")
    done, _ = run(tmp_path, "--steer-report=out.odd", "--steer-report=out.number", "--steer-report=two.json")
    assert (
        "out.odd cannot be written: the report format 'odd' of conftest failed: KeyError: 'claims' (raised in odd, conftest.py:7). Correct it there, or write another format too, such as out.json"
        in done
    )
    assert (
        "out.number cannot be written: the report format 'number' of conftest gave int, not text or bytes. Let it return"
        in done
    )
    assert "in a folder that has room" not in done
    assert not (tmp_path / "out.odd").exists()
    assert [line.rpartition("/")[2] for line in done.splitlines() if line.startswith("report: ")] == ["out.json", "two.json"]
    assert json.loads((tmp_path / "two.json").read_text())["claims"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "'mine', suffixes=['.json']",
            "the suffix .json already belongs to the data format 'json', which .*json_file registers",
        ),
        ("'json', suffixes=['.mine']", "the data format 'json' is already registered by .*json_file"),
        ("'mine', suffixes=['mine']", "'mine' is no suffix of a data format: write it in lower case, with its dot"),
        ("'mine', suffixes='.mine'", "needs a list of suffixes"),
    ],
)
def test_a_format_that_cannot_be_registered_says_why(tmp_path: Path, monkeypatch, arguments: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(
        f"from pytest_steer.data import data_format\n\n\n@data_format({arguments})\ndef read(file):\n    return []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SteerError, match=f"mine: .*{message}"):
        importlib.import_module("mine")


FAULTY = """\
import math
from collections.abc import Iterable
from dataclasses import field
from typing import Annotated

from pytest_steer.claims.base import Steering
from pytest_steer.core.evidence import Evidence, Verdict
from pytest_steer.extend import Direction, Param, Promise, claim


def faulty(kind, measure, **said):
    @claim(kind, title="Faulty", main="x")
    class Faulty(Steering):
        \"\"\"Faulty.\"\"\"

        items: Iterable = field(kw_only=False)
        x: Annotated[Promise, Param("X.", example=0.1)]

        def conclude(self, model):
            return measure()

    for part, value in said.items():
        setattr(Faulty, part, staticmethod(lambda evidence: value))


def made(**values):
    vector = {"method": "x", "layer": 3, "positions": "all", "norm": None, "relative_dose": None}
    usual = {"verdict": Verdict.PASS, "threshold": 0.3, "n": 5, "model": {}, "vector": vector, "data": {"source": "x"}, "interval": (0.5, 0.7)}
    return Evidence(check="another", name="n", estimate=0.6, **{**usual, **values})


faulty("raises", lambda: 1 / 0)
faulty("leaves", lambda: exit(0))
faulty("gives_none", lambda: None)
faulty("gives_text", lambda: made(verdict="pass"))
faulty("gives_nan", lambda: made(threshold=math.nan))
faulty("says_number", made, headline=7)
faulty("adds_none", made, extra=None)
faulty("lies", made, extra={"verdict": "pass", "estimate": 0.9})
faulty("turns_round", lambda: made(interval=(0.9, 0.1), threshold=0.0))
faulty("hides", lambda: made(details={"x": object()}))
faulty("is_bare", lambda: made(vector=None))
faulty("is_odd", made)
faulty("contradicts", lambda: made(threshold=0.55))
faulty("exceeds", lambda: made(direction=Direction.AT_MOST))
faulty("is_one", lambda: made(n=1))
faulty("errs", lambda: made(verdict=Verdict.ERROR))
"""
FAULTS = {
    "raises": "ZeroDivisionError: division by zero (raised in <lambda>, faulty.py:",
    "leaves": "SystemExit: 0 (raised in",
    "gives_none": "conclude of the claim 'gives_none' gave NoneType, not Evidence",
    "gives_text": "the evidence of the claim 'gives_text' has no Verdict, but 'pass'",
    "gives_nan": "says pass, and has the estimate 0.6 [0.5, 0.7] where at least nan is promised",
    "says_number": "headline of the claim 'says_number' gave int, not text",
    "adds_none": "extra of the claim 'adds_none' gave NoneType, not a dictionary",
    "lies": "extra of the claim 'lies' gave 'estimate', which evidence has itself",
    "turns_round": "has the interval [0.9, 0.1], whose ends are the wrong way round",
    "hides": "details.x is a object: a report holds numbers, texts, lists and mappings only",
    "is_bare": "the evidence of the claim 'is_bare' has no vector",
    "is_odd": "'dict' object has no attribute",  # a record of its model that is none
    "contradicts": "says pass, and has the estimate 0.6 [0.5, 0.7] where at least 0.55 is promised",
    "exceeds": "says pass, and has the estimate 0.6 [0.5, 0.7] where at most 0.3 is promised",
    "is_one": "rests on 1 items, and an interval needs two",
    "errs": "is an error without a reason",
}


WRONG_DECLARATIONS = {
    "@claim('c', title='C')\nclass Bare:\n    def measure(self, ask): ...": "the claim 'c' is declared by a subclass of",
    "@claim('c', title='C')\nclass C(OverItems):\n    'C.'": "the claim 'c' needs a method: def measure",
    "@claim('c', title='C', main='shar')\nclass C(OverItems):\n    share: Annotated[Promise, Param('S.', example=1.0)]\n    def measure(self, ask): ...": "the claim 'c': main names 'shar', which is no parameter of C: did you mean 'share'",
    "@claim('c', title='C', only_with={'window': 'text'})\nclass C(OverTexts):\n    window: Annotated[int, Param('W.')]\n    def measure(self, ask): ...": "the claim 'c': only_with names 'text', which is no parameter of C: did you mean 'texts'",
    "@claim('c', title='C', either=('texts', 'item'))\nclass C(OverTexts):\n    window: Annotated[int, Param('W.')]\n    def measure(self, ask): ...": "the claim 'c': either names 'item', which is no field with data of C",
    "@method('m', takes='items')\ndef m(model) -> SteeringVector: ...": r"m\(\) is called with \(model, data\), and its function takes \(model\)",
    "@method('m', takes='items')\ndef m(model, data): ...": "say what the method 'm' gives",
    "@intervention('i', does='x')\ndef i() -> Intervention: ...": r"i\(\) is called with \(vector\), and its function takes no argument",
    "@axis('a', ['b'])\ndef a(item): ...": r"the axis 'a' is called with \(item, value\), and its function takes \(item\)",
    "@axis('a', ['b'], on='turns')\ndef a(item, value): ...": r"the axis 'a' is called with \(item, value, examples\)",
    "@data_format('d', suffixes=['.d'])\ndef d(): ...": r"the data format 'd' is called with \(path\)",
    "@report_format('r', suffixes=['.r'])\ndef r(report, more): ...": r"the report format 'r' is called with \(report\)",
    "@axis('a', ['b'])\ndef a(item, value): ...\n@axis('a', ['c'])\ndef b(item, value): ...": "registers the axis 'a' twice",
}


@pytest.mark.parametrize("text", WRONG_DECLARATIONS)
def test_a_wrong_declaration_is_an_error_of_its_own_module(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "from pytest_steer import Intervention, SteeringVector, axis",
        "from typing import Annotated",
        "from pytest_steer.extend import OverItems, OverTexts, Param, Promise, claim",
        "from pytest_steer.data import data_format",
        "from pytest_steer.extract import method",
        "from pytest_steer.report import report_format",
        "from pytest_steer.steering import intervention",
        text,
    ]
    (tmp_path / "wrong_mine.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SteerError, match=rf"^wrong_mine.*{WRONG_DECLARATIONS[text]}"):
        importlib.import_module("wrong_mine")
    assert "wrong_mine" not in sys.modules
    if "a" in registry.names("axis"):  # the first of the two
        registry.forget("axis", "a")


def test_a_method_that_gives_another_layer_is_named() -> None:
    @method("elsewhere", takes="items")
    def elsewhere(model: Model, data: Items, *, layer: int) -> SteeringVector:
        return SteeringVector({layer + 1: [1.0, 2.0]})

    try:
        training = Training(as_items([("Is it?", "Yes", "No")] * 2), Path("a.json"), 0)
        with pytest.raises(
            SteerError, match=r"the method 'elsewhere' gave one for layers \[4\], and layers \[3\] were asked"
        ):
            method_kind("elsewhere").extract(
                builders.random_model("llama"), training, layers=[3], context=Context(), seed=0, settings={}
            )
    finally:
        registry.forget("method", "elsewhere")


def test_a_method_that_changes_the_model_is_named() -> None:
    @method("trains", takes="items")
    def trains(model: Model, data: Items, *, layer: int) -> SteeringVector:
        next(model.hf.parameters()).data.mul_(1.05)
        return SteeringVector({layer: [1.0, 2.0]})

    try:
        model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
        training = Training(as_items([("Is it?", "Yes", "No")] * 2), Path("a.json"), 0)
        with pytest.raises(SteerError, match=r"the method 'trains' changed the model's weights"):
            method_kind("trains").extract(model, training, layers=[3], context=Context(), seed=0, settings={})
    finally:
        registry.forget("method", "trains")


def test_a_module_that_is_loaded_again_registers_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "again_mine.py").write_text(
        "from pytest_steer import axis\n\n\n@axis('again', ['b'])\ndef a(item, value): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("again_mine")
    first = registry.find("axis", "again")
    try:
        assert importlib.reload(module).a is registry.find("axis", "again") is not first
    finally:
        registry.forget("axis", "again")


def test_a_faulty_claim_is_one_error_in_table_and_report_and_the_rest_runs(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    shutil.copytree(folder, made)
    (made / "faulty.py").write_text(FAULTY)
    (made / "conftest.py").write_text("import faulty\n")
    claims = "".join(f"  - {kind}: 0.1\n" for kind in FAULTS)
    (made / "faulty.steer.yaml").write_text(f"holm: true\n{HEAD}{claims}  - steers: -1\n")
    said, records = run(made, "faulty.steer.yaml")
    found = {record["check"]: record for record in records}
    assert list(found) == [*FAULTS, "steers"], said
    assert found.pop("steers")["verdict"] == "pass"
    for line, (kind, reason) in enumerate(FAULTS.items(), start=6):
        assert found[kind]["verdict"] == "error"
        assert reason in found[kind]["error"]
        assert kind == "is_odd" or f"faulty.steer.yaml:{line}: " in found[kind]["error"]
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes modules that a package installs and names in its entry points; what they register is forgotten afterwards."""
    before = {kind: registry.things(kind) for kind in registry.KINDS}
    written: list[str] = []

    def install(**modules: str) -> None:
        info = tmp_path / "installed-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[pytest_steer]\n" + "".join(f"{name} = {name}\n" for name in modules))
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        written.extend(modules)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(registry, "_loaded", False)

    yield install
    for kind in registry.KINDS:
        for name in registry.things(kind).keys() - before[kind].keys():
            registry.forget(kind, name)
    for name in written:
        sys.modules.pop(name, None)


LANGUAGE = """\
from dataclasses import replace

from pytest_steer import axis


@axis("language", ["German", "French"], about="The language of the answer.")
def language(item, value):
    return replace(item, question=f"{item.question} Answer in {value}.")
"""


@pytest.mark.parametrize("first", ["Context(language='German')", "contexts(language=['German'])", "Context().language"])
def test_contexts_know_an_installed_axis_before_anything_else_loads_it(installed: Callable[..., None], first: str) -> None:
    installed(language_mine=LANGUAGE)
    assert "language_mine" not in sys.modules
    eval(first, {"Context": Context, "contexts": contexts})
    put = Context(language="German").put(ContrastItem("Is it?", ("Yes",), ("No",), "0"))
    assert put.question == "Is it? Answer in German."
    with pytest.raises(DataError, match="unknown context axis 'langage': did you mean 'language'"):
        Context(langage="German")


SHIFTED = """\
from typing import Annotated

from pytest_steer import Model, SteeringVector
from pytest_steer.extract import Data, method, read_contrast
from pytest_steer.core.parameters import Param


@method("shifted", takes="contrast")
def shifted(model: Model, data: Data, *, layer: int, scale: Annotated[float, Param("Its length.", example=2.0, above=0)]) -> SteeringVector:
    "The difference of the means, made longer; without a record of its own."
    found = read_contrast(model, data, layer=layer)
    return SteeringVector({at: scale * (found.positive[at].mean(0) - found.negative[at].mean(0)) for at in found.layers})
"""


def test_a_sweep_and_a_comparison_pass_the_settings_of_a_method(
    installed: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(shifted_mine=SHIFTED)
    train, test, out = str(DATA / "cheer_train.json"), str(DATA / "cheer_test.json"), tmp_path / "out.json"
    made = ["sweep", "--data", test, "--train", train, "--method", "shifted", "--layers", "3", "--multipliers", "0.5,1"]
    assert main(made) == 4
    assert "the method shifted needs its setting 'scale': Its length. Write --set scale=2.0" in capsys.readouterr().err
    assert main([*made, "--set", "scale=0"]) == 4
    assert "the method shifted: scale must be greater than 0, but is 0" in capsys.readouterr().err
    assert main([*made, "--set", "scal=3"]) == 4
    assert "has no parameter 'scal': did you mean 'scale'?" in capsys.readouterr().err
    assert main([*made, "--set", "scale"]) == 4
    assert "Write a setting of the method and its value, such as scale=2.0" in capsys.readouterr().err
    norms = []
    for scale in (1, 3):
        assert main([*made, "--pairs", "8", "--draws", "1", "--set", f"scale={scale}", "--out", str(out)]) in (0, 1)
        assert "shifted from 100 texts" in capsys.readouterr().out
        norms.append(json.loads(out.read_text()))
    assert norms[1]["settings"] == {"scale": 3}
    (tmp_path / "c.steer.yaml").write_text(
        f"model: builtin:tiny\nmatrix: {{method: {{short: {{extract: {{scale: 1}}}}, long: {{extract: {{scale: 3}}}}}}}}\n"
        f"vector: {{extract: {{method: shifted, data: {train}}}, layer: 3}}\ndata: {{test: {test}}}\nclaims:\n  - steers: 0\n"
    )
    assert main(["compare-methods", str(tmp_path / "c.steer.yaml"), "--max-items", "6", "--out", str(out)]) == 0
    short, long = json.loads(out.read_text())["models"][0]["rows"]
    assert long["steerability"] > short["steerability"]


SAE = """\
from typing import Annotated

import numpy as np
import torch

from pytest_steer.data import data_format
from pytest_steer.core.parameters import Param
from pytest_steer.steering import Stored, source, vector_format


@vector_format("sae", suffixes=[".sae.npz", ".decoder"])
def read(file, *, row: Annotated[int, Param("Which feature of the decoder.", example=17, at_least=0)], scale: float = 1.0):
    "A row of an SAE's decoder, [features, width]."
    with np.load(file) as arrays:
        return Stored({int(arrays["layer"]): torch.from_numpy(arrays["decoder"][row])}, source("sae", "as the array 'layer' says", row=row))


@data_format("chats", suffixes=[".chat.jsonl"])
def read_chats(file):
    "One question a line, in capitals."
    for number, line in enumerate(file.read_text().splitlines()):
        yield f"line {number + 1}", {"question": line.upper(), "matching": "Yes", "not_matching": "No"}
"""


def test_a_longer_suffix_wins_and_a_vector_format_takes_settings(
    installed: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(sae_mine=SAE)
    decoder = np.random.default_rng(0).normal(size=(20, 96)).astype(np.float32)
    for name in ("a.sae.npz", "b.npz"):
        np.savez(tmp_path / name, layer=3, decoder=decoder)
    shutil.copy(tmp_path / "b.npz", tmp_path / "c.decoder")  # whose bytes are those of an .npz
    (tmp_path / "q.chat.jsonl").write_text("Is it?\nWas it?\n")
    assert [item.question for item in read_items(tmp_path / "q.chat.jsonl")] == ["IS IT?", "WAS IT?"]
    for name in ("a.sae.npz", "c.decoder"):
        vector = SteeringVector.load(tmp_path / name, row=17)
        assert np.array_equal(vector.directions[3].numpy(), decoder[17])
    for given, message in [
        ({}, "needs 'row'. Which feature of the decoder. Write `row: 17` beside `file` (in Python row=17)"),
        ({"row": -1}, "row must be at least 0, but is -1"),
        ({"row": 17, "rwo": 1}, "has no parameter 'rwo': did you mean 'row'?"),
    ]:
        with pytest.raises(VectorError, match=re.escape(message)):
            SteeringVector.load(tmp_path / "a.sae.npz", **given)
    with pytest.raises(VectorError, match="the format 'npz' has no parameter 'row'"):
        SteeringVector.load(tmp_path / "b.npz", row=17)
    file = tmp_path / "a.steer.yaml"
    head = f"model: builtin:tiny\ndata: {{test: {DATA / 'cheer_test.json'}}}\n"
    file.write_text(
        f"{head}vector: {{file: a.sae.npz, row: 17}}\nclaims:\n  - steers: 0\n"
        "  - steers: {name: b, steerability: 0, intervention: {kind: ablate, file: c.decoder, row: 2}}\n"
    )
    first, second = read_suite(str(file)).entries
    model = load_model("builtin:tiny")
    assert np.array_equal(make_steering(model, first.vector, 0).directions[3].numpy(), decoder[17])
    assert second.vector.reading == {"row": 2}
    assert first.vector.key != dataclasses.replace(first.vector, reading={"row": 18}).key
    assert make_steering(model, second.vector, 0).layers == (3,)
    for entry, message in {
        "{file: a.sae.npz}": "vector: 'row' is missing\n  Add `row: 17`. Which feature of the decoder.",
        "{file: a.sae.npz, row: -1}": "vector.row: must be at least 0, but is -1",
        "{file: b.npz, layer: 3, row: 1}": "vector.row: unknown key 'row'",
    }.items():
        file.write_text(f"{head}vector: {entry}\nclaims:\n  - steers: 0\n")
        assert main(["validate", str(file)]) == 4
        assert message in capsys.readouterr().out


@pytest.mark.parametrize("order", ["as_given", "swapped"])
def test_words_that_an_axis_puts_around_a_question_are_no_part_of_its_options(order: str) -> None:
    def around(item: ContrastItem, value: str) -> ContrastItem:
        return dataclasses.replace(item, question=f"{value} {item.question} {value}")

    words = Axis("words", ["Be brief."], around)
    question = "(A) Stay\n(B) Go\n"
    for given in (question.strip(), f"Stay or go?\n{question.strip()}"):
        item = ContrastItem(given, (" (A)",), (" (B)",), "0")
        put = Context({words: "Be brief."}, option_order=order).put(item)
        texts = ["Stay", "Go"] if order == "as_given" else ["Go", "Stay"]
        assert [(one["label"], one["text"]) for one in find_options(put.question)] == [*zip("AB", texts, strict=True)]
        assert put.question.endswith(f"(B) {texts[1]}\nBe brief.")
        assert put.question.startswith("Be brief. \n(A)" if given.startswith("(A)") else "Be brief. Stay or go?")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "direction",
            "at_most",
            "has the direction 'at_most': write `direction=Direction.AT_LEAST` or `direction=Direction.AT_MOST`",
        ),
        ("estimator", "mean", "has the estimator 'mean': write `estimator=Mean()`"),
        ("estimator", Mean, "write `estimator=Mean()`"),
        ("values", [1.0], "has the values [1.0]: write `values=numpy.array(...)`, one row per unit"),
        (
            "values",
            np.zeros(3),
            "has 3 values for 2 items: give one row of `values` for each, or say with `units=Counted(...)`",
        ),
        ("moved", 0.1, "has moved=0.1: write a function of the noise floor"),
        ("findings", ["weak"], "has the finding 'weak': make it of a code"),
    ],
)
def test_a_wrong_field_of_a_measurement_is_named_with_what_to_write(field: str, value: object, message: str) -> None:
    @claim("mistaken", title="Mistaken", main="least")
    class Mistaken(AboutItems):
        """The mean effect is at least `least`."""

        least: Annotated[Promise, Param("The least effect.", example=0.1)]

        def measure(self, ask: Ask) -> Measurement:
            curve = ask.propensity(self.sampled_items.units, [0.0, 1.0])
            made = Measurement(
                sample=self.sampled_items,
                values=curve.effects(1.0),
                estimator=Mean(),
                statistic="effect",
                probes=curve.probes,
            )
            return dataclasses.replace(made, **{field: value})

    items = [("Is it?", "Yes", "No"), ("Was it?", "Yes", "No")]
    try:
        with pytest.raises(SteerError, match=r"^test_extending: the measurement of the claim 'mistaken' ") as caught:
            assertion(Mistaken)(builders.random_model("llama"), builders.random_vector(1), items, least=0.1)
    finally:
        registry.forget("claim", "mistaken")
    assert message in str(caught.value)


def test_commands_load_the_conftests_that_pytest_would(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    shutil.copytree(folder, made)
    (made / "src").mkdir()
    (made / "spared.py").rename(made / "src" / "spared.py")
    (made / "pytest.ini").write_text("[pytest]\npythonpath = src\n")
    inner = made / "inner"
    inner.mkdir()
    (inner / "conftest.py").write_text(
        "from pytest_steer import axis\n\nprint('hello')\n\n\n@axis('tone', ['rude'])\ndef tone(item, value):\n    return item\n"
    )
    (inner / "a.steer.yaml").write_text(
        "model: builtin:tiny\nvector: {extract: {method: median, data: ../train.json}, layer: 3}\ndata: {test: ../test.json}\n"
        "contexts: {tone: [as_given, rude]}\nclaims:\n  - flips: {share: 0.05}\n"
    )

    def steer(*arguments: str, cwd: Path = made) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        return run_module("pytest_steer", *arguments, cwd=cwd, env=environment)

    shown = steer("list").stdout
    for name in ("flips", "median", "greeting"):
        assert re.search(rf"^  {name} .*\({name}\)$", shown, re.MULTILINE), shown
    assert "tone" not in shown
    schema = json.loads(steer("schema", cwd=inner).stdout)  # and what the conftest prints is not in it
    assert {"flips", "spared"} <= schema["$defs"]["kinds"].keys()
    assert {"tone", "greeting"} <= schema["$defs"]["axes"]["properties"].keys()
    assert "no errors" in steer("validate", "inner/a.steer.yaml").stdout
    (inner / "conftest.py").write_text("import nowhere\n")
    broken = steer("validate", "inner/a.steer.yaml")
    assert broken.returncode == 4
    assert "broken extension: inner/conftest.py: ModuleNotFoundError: No module named 'nowhere'" in broken.stderr
    assert "unknown key 'tone'" in broken.stdout
    listed = steer("list", cwd=inner)
    assert (listed.returncode, listed.stderr.count("broken extension: ")) == (1, 1)


@pytest.mark.nightly
def test_the_commands_that_measure_know_a_conftest(folder: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    for command in (
        ("show", "mine.steer.yaml"),
        ("compare-methods", "mine.steer.yaml", "--max-items", "6"),
        ("sweep", "--data", "test.toml", "--train", "train.json", "--method", "median", "--layers", "2,3", "--top", "1"),
    ):
        done = run_module("pytest_steer", *command, cwd=folder, env=environment)
        assert done.returncode in (0, 1), done.stderr
        assert "broken extension" not in done.stderr
