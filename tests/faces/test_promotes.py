"""Claims about the likelihood of answers through pytest: files and assertions, what is shown, and the report."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from pytest_steer.report import report_schema

HEAD = """
model: builtin:tiny
vector:
  extract: {method: caa, data: train.json}
  layer: 1
multipliers: [-1, 0, 1]
data: {test: open.json}
claims:
"""
ANSWERS = [("It was merry.", "It was dreary."), ("Yes, it was fine and bright.", "No."), ("We sang", "We wept at the mill")]


@pytest.fixture
def both(suite: Path) -> Path:
    """Open items and, in another order, lettered ones of most of the same questions."""
    opened, letters = [], []
    for n in range(12):
        question, (one, other) = f"How was trip number {n} at the lake?", ANSWERS[n % 3]
        opened.append({"question": question, "matching": one, "not_matching": other})
        first, second = (one, other) if n % 2 else (other, one)
        letters.append(
            {
                "question": f"{question}\n\nChoices:\n (A) {first}\n (B) {second}",
                "answer_matching_behavior": "(A)" if n % 2 else "(B)",
                "answer_not_matching_behavior": "(B)" if n % 2 else "(A)",
            }
        )
    (suite / "open.json").write_text(json.dumps(opened))
    (suite / "letters.json").write_text(json.dumps(letters[:1:-1]))
    return suite


def claims_of(pytester: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, list[dict]]:
    result = pytester.runpytest("--steer-report=out.json", "--steer-model=builtin:tiny", *options)
    written = json.loads((Path(pytester.path) / "out.json").read_text())
    jsonschema.validate(written, report_schema())
    return result, written["claims"]


@pytest.mark.parametrize(
    ("letters", "words"),
    [
        ([{"question": "How?"}] * 2, "c.steer.yaml:9: claims[[]0].promotes.beside: *letters.json: item 0: only a question"),
        ([{"question": "How?", "matching": "(A)", "not_matching": "(B)"}], "*letters.json: has 1 item(s)"),
        ([{"input": "up", "output": "down"}, {"input": "hot", "output": "cold"}], "*asked in different forms"),
    ],
)
def test_what_cannot_stand_beside(both: Path, pytester: pytest.Pytester, letters: list[dict], words: str) -> None:
    (both / "letters.json").write_text(json.dumps(letters))
    (both / "c.steer.yaml").write_text(HEAD + "  - promotes: {nats: 0.05, beside: letters.json}\n")
    result, (found,) = claims_of(pytester)
    assert found["verdict"] == "error"
    result.stdout.fnmatch_lines([f"promotes: ERROR  {words}*"])


def test_a_matrix_of_methods(both: Path, pytester: pytest.Pytester) -> None:
    matrix = HEAD.replace("claims:", "matrix: {method: {caa: {}, mean_difference: {}}}\nclaims:").replace(
        "method: caa, ", ""
    )
    (both / "c.steer.yaml").write_text(matrix + "  - promotes: 5\n")
    result, found = claims_of(pytester)
    assert [claim["name"] for claim in found] == ["promotes[caa]", "promotes[mean_difference]"]
    lines = [line for line in str(result.stdout).split("\n") if line.startswith("open ")]
    rows, sides = lines[:2], lines[2:]
    for claim, line in zip(found, sides, strict=True):
        own = [claim["details"]["sides"][side]["change"] for side in ("matching", "not_matching")]
        scaled = [claim["details"]["normalised"][name][-1] for name in ("promoted", "suppressed")]
        assert all(f" {value:.3g}" in line for value in [*own, *scaled])
    assert all(f"{claim['compared']['deployed']['effect']:.3g}" in row for claim, row in zip(found, rows, strict=True))
