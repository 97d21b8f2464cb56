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
from dataclasses import dataclass
from typing import Annotated

from raising import fail
from pytest_steer.claims import claim
from pytest_steer.parameters import Param

@claim("raises", title="It raises", main="how")
@dataclass(frozen=True, kw_only=True)
class Raises:
    """It raises."""

    how: Annotated[str, Param("In which way.", example="long")]
    name: str = "raises"

    def measure(self, model):
        fail(self.how)
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


@pytest.mark.parametrize("holm", [False, True])
def test_what_a_claim_raises_is_its_error_in_files(
    suite: Path, pytester: pytest.Pytester, registered_here_only, holm
) -> None:
    (suite / "raising.py").write_text(RAISED)
    (suite / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(suite)!r})\n{CLAIM}")
    entries = "".join(f"  - raises: {{how: {how}, name: {how}}}\n" for how in SAYS)
    (suite / "c.steer.yaml").write_text(f"holm: {str(holm).lower()}{HEAD}{entries}  - steers: -50\n")
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
