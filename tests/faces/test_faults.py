"""Whatever is raised while a claim is measured is that claim's verdict, on one screen, and nothing else is lost."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from support import builders

from pytest_steer.report import report_schema

from .conftest import HEAD, steering_items

RAISED = """
import torch

def deeper(n):
    return deeper(n + 1)

class Panic(BaseException):  # as of Rust
    pass

class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

def fail(how):
    if how == "long":
        raise ValueError("y" * 100_000)
    if how == "lines":
        raise ValueError("line\\n" * 5_000)
    if how == "controls":
        raise ValueError("\\x1b[31mred\\x00 \\u202egniht")
    if how == "recursion":
        deeper(0)
    if how == "memory":
        raise MemoryError
    if how == "oom":
        raise torch.OutOfMemoryError("CUDA out of memory")
    if how == "exit":
        raise SystemExit(3)
    if how == "library":
        torch.nn.functional.embedding(torch.tensor([9]), torch.zeros(3, 3))
    if how == "panic":
        raise Panic("at the disco")
    if how == "unprintable":
        raise Unprintable
    if how == "fail":
        import pytest
        pytest.fail("by hand")
    if how == "xfail":
        import pytest
        pytest.xfail("by hand")
    if how == "skip":
        import pytest
        pytest.skip("by hand")
    if how == "import":
        import pytest
        pytest.importorskip("no_such_module")
    if how == "unittest":
        import unittest
        raise unittest.SkipTest("by hand")
"""
SAYS = {
    "long": "ValueError: yyy",
    "lines": "ValueError: line",
    "controls": "ValueError: \x1b[31mred\x00 \u202egniht (raised in fail, raising.py:",
    "recursion": "RecursionError: maximum recursion depth exceeded",
    "memory": "MemoryError (raised in fail, raising.py:",
    "oom": "OutOfMemoryError: CUDA out of memory (raised in fail, raising.py:",
    "exit": "SystemExit: 3 (raised in fail, raising.py:",
    "library": "IndexError: index out of range in self (raised in embedding, functional.py:",
    "panic": "Panic: at the disco (raised in fail, raising.py:",
    "unprintable": "Unprintable: (a message that cannot be printed) (raised in fail, raising.py:",
    "fail": "Failed: by hand (raised in ",
    "xfail": "XFailed: by hand (raised in ",
    "skip": "Skipped: by hand (raised in ",
    "import": "Skipped: could not import 'no_such_module'",
    "unittest": "SkipTest: by hand (raised in fail, raising.py:",
}
CLAIM = '''
from typing import Annotated

from raising import fail
from pytest_steer.extend import Claim, Param, claim

@claim("raises", title="It raises", main="way")
class Raises(Claim):
    """It raises."""

    way: Annotated[str, Param("In which way.", example="long")]

    def measure(self, ask):
        fail(self.way)
'''
ASSERTIONS = """
import pytest, torch
from raising import fail
from pytest_steer import SteeringVector, assert_steers, read_items

@pytest.mark.parametrize("how", %r)
def test_it(steer_model, how):
    def mine(*_):
        fail(how)
    vector = SteeringVector({1: torch.ones(steer_model.width)})
    assert_steers(steer_model, vector, read_items("test.json"), steerability=1.0, apply=mine)
"""


def check(claims: dict[str, dict], shown: list[str]) -> None:
    for how, says in SAYS.items():
        claim = claims[how]
        assert claim["verdict"] == "error", how
        assert says in claim["error"]
        assert says in claim["message"]
        assert len(claim["error"]) < 2_200, how
        assert claim["error"].count("\n") < 26, how
    for how in ("skip", "import", "unittest"):
        assert "A claim cannot skip itself" in claims[how]["error"]
    assert "more characters]" in claims["long"]["error"]
    assert "more characters]" in claims["lines"]["error"]
    text = "\n".join(shown)
    assert r"ValueError: \x1b[31mred\x00 \u202egniht" in text
    assert not {"\x1b", "\x00", "\u202e"} & set(text)
    assert max(map(len, shown)) < 2_300
    assert sum(line.strip("E ") == "line" for line in shown) <= 3 * 24


def test_what_a_claim_raises_is_its_error_in_files(suite: Path, pytester: pytest.Pytester, registered_here_only) -> None:
    (suite / "raising.py").write_text(RAISED)
    (suite / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(suite)!r})\n{CLAIM}")
    entries = "".join(f"  - raises: {{way: {how}, name: {how}}}\n" for how in SAYS)
    (suite / "c.steer.yaml").write_text(f"holm: true{HEAD}{entries}  - steers: -50\n")
    broken = builders.random_model("llama")
    broken.hf.save_pretrained(suite / "other")
    builders.word_tokenizer((*(f"w{n}" for n in range(999)), "Yes", "No")).save_pretrained(suite / "other")
    (suite / "items.json").write_text(json.dumps(steering_items(8, 0)))
    head = HEAD.replace("train.json", "items.json").replace("test.json", "items.json")
    (suite / "d.steer.yaml").write_text(f"model: other{head}  - steers: -50\n  - not_anti_steered: 0.9\n")
    result = pytester.runpytest("--steer-report=out.json", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=len(SAYS) + 2)
    report = json.loads((suite / "out.json").read_text())
    jsonschema.validate(report, report_schema())
    claims = {claim["name"]: claim for claim in report["claims"] if claim["suite"] == "c"}
    check(claims, result.outlines)
    assert claims["steers"]["verdict"] == "pass"
    others = [claim for claim in report["claims"] if claim["suite"] == "d"]
    assert [claim["verdict"] for claim in others] == ["error", "error"]
    assert all("The tokenizer belongs to another model" in claim["error"] for claim in others), others
    assert len(result.outlines) < 400


def test_what_an_assertion_meets_is_its_error(suite: Path, pytester: pytest.Pytester, monkeypatch) -> None:
    (suite / "raising.py").write_text(RAISED)
    (suite / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(suite)!r})\n")
    (suite / "test_it.py").write_text(ASSERTIONS % list(SAYS))
    result = pytester.runpytest("--steer-report=out.json", "-p", "no:cacheprovider", "--tb=short", "--disable-warnings")
    result.assert_outcomes(failed=len(SAYS))
    report = json.loads((suite / "out.json").read_text())
    check({claim["id"].partition("[")[2][:-1]: claim for claim in report["claims"]}, result.outlines)
    result.stdout.fnmatch_lines(["*raise MemoryError"])  # the user's own line
    result.stdout.no_fnmatch_line("*pytest_steer/*.py*")
    result.stdout.no_fnmatch_line("*site-packages*")


LONG = """
import torch
from pytest_steer.prompting import axis
from pytest_steer.steering import Intervention, custom, intervention

@intervention("breaks", does="broken")
def breaks(vector) -> Intervention:
    def change(hidden, strength, layer):
        if strength.abs().max() > 0:
            raise %s("z" * 100_000)
        return hidden
    return custom(change, layers=vector.layers, strength="linear", name="breaks")

@axis("long", ["a", "b"], about="It breaks.")
def long(item, value):
    raise ValueError("z" * 100_000)
"""
BY_ASSERTION = """
import pytest
from pytest_steer import Context, assert_steers, extract, read_items
from pytest_steer.steering import custom

def change(hidden, strength, layer):
    if strength.abs().max() > 0:
        raise %(kind)s("z" * 100_000)
    return hidden

def apply(multiplier):
    raise %(kind)s("z" * 100_000)

@pytest.mark.parametrize("how", ["breaks", "applies", "axis"])
def test_it(steer_model, how):
    vector = extract.caa(steer_model, read_items("train.json"), layer=1)
    more = {"applies": {"apply": apply}, "axis": {"context": Context(long="a")}}.get(how, {})
    breaks = custom(change, layers=1, strength="linear", name="breaks")
    assert_steers(steer_model, breaks if how == "breaks" else vector, read_items("test.json"), steerability=0.1, **more)
"""


def texts_in(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in texts_in(one)]


@pytest.mark.parametrize(("kind", "soundness"), [("OSError", "true"), ("RuntimeError", "false")])
def test_no_part_of_a_report_is_longer_than_a_screen(
    suite: Path, pytester: pytest.Pytester, registered_here_only, kind: str, soundness: str
) -> None:
    (suite / "pytest.ini").write_text(f"[pytest]\nsteer_no_soundness = {soundness}\n")
    (suite / "conftest.py").write_text(LONG % kind)
    broken = "intervention: {kind: breaks, extract: {method: caa, data: train.json}, layer: 1}"
    (suite / "c.steer.yaml").write_text(
        "contexts: {long: [a, b]}"
        + HEAD
        + f"  - steers: {{steerability: 0.1, {broken}}}\n  - ppl_delta_below: {{limit: 0.1, {broken}}}\n"
        "  - holds_in_contexts: {effect: 0.5, max_contexts: 2, batch: 2}\n"
        f"  - hooks_are_sound: {{max_batches: 2, {broken}}}\n"
    )
    (suite / "test_it.py").write_text(BY_ASSERTION % {"kind": kind})
    result = pytester.runpytest("--steer-report=out.json", "-p", "no:cacheprovider", "--tb=short", "--disable-warnings")
    claims = json.loads((suite / "out.json").read_text())["claims"]
    assert len(claims) == 7
    assert {claim["verdict"] for claim in claims} <= {"error", "fail"}
    assert all("zzz" in claim["message"] for claim in claims)
    assert max(map(len, texts_in(claims))) < 2_500
    assert max(map(len, result.outlines)) < 2_300


TUPLES = """
from dataclasses import dataclass
from typing import Annotated
from pytest_steer.extend import Mean, OverCurve, Param, assertion, claim

@dataclass(frozen=True)
class Tuple(Mean):
    def infer(self, values, clusters=None, *, confidence, direction):
        return float(values.mean()), -1.0, 1.0

@claim("tuples", title="A tuple", main="least")
class Tuples(OverCurve):
    \"\"\"It infers a tuple.\"\"\"

    least: Annotated[float, Param("The least.", example=0.1)]

    def measure(self, ask):
        estimator = Tuple(sequential=self.in_rounds())
        return self.over_curve(ask, lambda curve: curve.slopes, estimator, statistic="slope", moved=lambda floor, curve: 0.0)

assert_tuples = assertion(Tuples)
"""
TUPLES_CALLED = """
import pytest
from conftest import assert_tuples
from pytest_steer import extract, read_items

@pytest.mark.parametrize("sequential", [False, True])
def test_it(steer_model, sequential):
    vector = extract.caa(steer_model, read_items("train.json"), layer=1)
    assert_tuples(steer_model, vector, read_items("test.json"), least=0.1, sequential=sequential)
"""


def test_an_inference_that_is_a_tuple_is_named(suite: Path, pytester: pytest.Pytester, registered_here_only) -> None:
    (suite / "conftest.py").write_text(TUPLES)
    (suite / "c.steer.yaml").write_text(
        HEAD + "  - tuples: {name: a, least: 0.1}\n  - tuples: {name: b, least: 0.1, sequential: true}\n"
    )
    (suite / "test_it.py").write_text(TUPLES_CALLED)
    pytester.runpytest("--steer-report=out.json", "-p", "no:cacheprovider")
    claims = json.loads((suite / "out.json").read_text())["claims"]
    assert len(claims) == 4
    for claim in claims:
        assert claim["verdict"] == "error"
        assert "infer gave tuple, not an Inference" in claim["error"]
        assert "AttributeError" not in claim["message"]
