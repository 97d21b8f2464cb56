"""docs/extending.md: what the page says to write is written into a folder and run there."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import builders
import pytest
from forked import run_module

from pytest_steer import Context, Items, Model, SteeringVector, registry, wrap_model
from pytest_steer.data import as_items
from pytest_steer.errors import SteerError
from pytest_steer.extract import method
from pytest_steer.extract.kinds import Training, method_kind

ROOT = Path(__file__).parent.parent
DATA = ROOT / "example_suites" / "builtin" / "data"
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
    for name in ("train", "test"):
        (made / f"{name}.json").write_text((DATA / f"cheer_{name}.json").read_text(encoding="utf-8"))
    shutil.copy(DATA / "neutral.txt", made)
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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from pytest_steer import Items
from pytest_steer.claims import claim, measure_items
from pytest_steer.evidence import Direction
from pytest_steer.measures import Subject
from pytest_steer.parameters import Param
from pytest_steer.stats import mean_t


@claim("odd", title="Odd", main="least")
@dataclass(frozen=True, kw_only=True)
class Odd:
    \"\"\"The mean effect is at least `least`.\"\"\"

    subject: Subject
    items: Items
    least: Annotated[float, Param("The least effect.", example=0.1)]
    words: Annotated[tuple[str, ...], Param("Words.", example=["a"])] = ()
    file: Annotated[Path | None, Param("A file.", example="x.txt")] = None
    weights: Annotated[dict[str, float] | None, Param("Weights.", example={"a": 1.0})] = None
    name: str = "odd"

    def measure(self, model):
        assert (self.words, self.file.name, self.weights) == (("a", "b"), "test.json", {"a": 2})
        Odd(subject=self.subject, items=self.items, least=np.float32(0.5), words=("a",), file=Path("x"))
        _, _, evidence = measure_items(
            model, self.subject, self.items, [0.0, 1.0], check="odd", name=self.name, statistic="effect",
            direction=Direction.AT_LEAST, threshold=self.least, values=lambda curve: curve.effects(1.0), infer=mean_t, by_effect=True,
        )
        return evidence
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
        ODD.replace('"odd"', '"unfilled"').replace("    items: Items\n", "    items: Items\n    things: Items\n")
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
        ODD.replace('float, Param("The least effect.", example=0.1)', 'str, Param("The least effect.")').replace(
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

    def steer(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_module("pytest_steer", *arguments, cwd=tmp_path, env=environment)

    shown = steer("list").stdout
    for kind, name, module in (("vector", "vec", "vec"), ("data", "toml", "toml_data"), ("report", "csv", "report_csv")):
        section = shown.partition(f"{kind} formats\n")[2].partition("\n\n")[0]
        assert re.search(rf"^  {name} .*\({module}\)$", section, re.MULTILINE), shown
    swept = steer(
        "sweep",
        "--data",
        "test.toml",
        "--vector",
        "mood.vec",
        "--layers",
        "2,3",
        "--multipliers",
        "0,1",
        "--model",
        "builtin:tiny",
    )
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
    assert "out.odd cannot be written: the report format 'odd' of conftest failed: KeyError: 'claims'" in done
    assert "out.number cannot be written: the report format 'number' of conftest gave int, not text or bytes" in done
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
from dataclasses import dataclass
from typing import Annotated

from pytest_steer import Items
from pytest_steer.claims import claim
from pytest_steer.evidence import Direction, Evidence, Verdict
from pytest_steer.measures import Subject
from pytest_steer.parameters import Param


def faulty(kind, measure, **said):
    @claim(kind, title="Faulty", main="x")
    @dataclass(frozen=True, kw_only=True)
    class Faulty:
        \"\"\"Faulty.\"\"\"

        subject: Subject
        items: Items
        x: Annotated[float, Param("X.", example=0.1)]

        def measure(self, model):
            return measure()

    for part, value in said.items():
        setattr(Faulty, part, staticmethod(lambda evidence: value))


def made(**values):
    usual = {"verdict": Verdict.PASS, "threshold": 0.3, "n": 5, "model": {}, "vector": {}, "data": {}, "interval": (0.5, 0.7)}
    return Evidence(check="another", name="n", estimate=0.6, **{**usual, **values})


faulty("raises", lambda: 1 / 0)
faulty("leaves", lambda: exit(0))
faulty("gives_none", lambda: None)
faulty("gives_text", lambda: made(verdict="pass"))
faulty("gives_nan", lambda: made(threshold=math.nan))
faulty("says_none", made, headline=None)
faulty("adds_none", made, extra=None)
faulty("lies", made, extra={"verdict": "pass", "estimate": 0.9})
faulty("boasts", made, headline="boasts: it is fine")
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
    "gives_none": "measure of the claim 'gives_none' gave NoneType, not Evidence",
    "gives_text": "the evidence of the claim 'gives_text' has no Verdict, but 'pass'",
    "gives_nan": "says pass, and has the estimate 0.6 [0.5, 0.7] where at least nan is promised",
    "says_none": "headline of the claim 'says_none' gave NoneType",
    "adds_none": "extra of the claim 'adds_none' gave NoneType",
    "lies": "extra of the claim 'lies' gives 'estimate', which evidence has itself",
    "boasts": "headline of the claim 'boasts' lacks the verdict, PASS",
    "turns_round": "has the interval [0.9, 0.1], whose ends are the wrong way round",
    "hides": "details.x is a object: a report holds numbers, texts, lists and mappings only",
    "is_bare": "the evidence of the claim 'is_bare' has no vector",
    "is_odd": "a report cannot hold this evidence: model",
    "contradicts": "says pass, and has the estimate 0.6 [0.5, 0.7] where at least 0.55 is promised",
    "exceeds": "says pass, and has the estimate 0.6 [0.5, 0.7] where at most 0.3 is promised",
    "is_one": "rests on 1 items, and an interval needs two",
    "errs": "is an error without a reason",
}


WRONG_DECLARATIONS = {
    "@claim('c', title='C')\nclass Bare:\n    def measure(self, model): ...": "the claim 'c' is declared by a dataclass: write",
    "@claim('c', title='C')\n@dataclass\nclass C:\n    subject: Subject": "the claim 'c' needs a method measure",
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
        "from dataclasses import dataclass",
        "from pytest_steer import Intervention, SteeringVector, axis",
        "from pytest_steer.claims import claim",
        "from pytest_steer.data import data_format",
        "from pytest_steer.extract import method",
        "from pytest_steer.measures import Subject",
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
        training = Training(as_items([("Is it?", "Yes", "No")] * 2), None, None, Path("a.json"), 0)
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
        training = Training(as_items([("Is it?", "Yes", "No")] * 2), None, None, Path("a.json"), 0)
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
