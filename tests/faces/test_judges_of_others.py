"""A judge of somebody else's, from a conftest.py, in claim files as ours are. It is the one of docs/judges.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_steer import registry

PAGE = Path(__file__).parents[2] / "docs" / "judges.md"
SUITE = """\
model: builtin:tiny
vector: {extract: {method: mean_difference, data: train.json}, layer: 2, positions: all}
multiplier: 1
data: {prompts: prompts.txt}
claims:
  - generates: {name: own, share: 0.01, judge: {warmth: 1}, max_new_tokens: 8}
  - generates: {name: misspelt, share: 0.5, judge: {warmht: 1}, max_new_tokens: 8}
"""


@pytest.fixture
def folder(pytester):
    blocks = PAGE.read_text(encoding="utf-8").split("```python\n# warmth.py\n")
    pytester.makepyfile(warmth=blocks[1].partition("```")[0], conftest="import warmth")
    items = [{"question": f"Do you like hat {at}?", "matching": "Yes", "not_matching": "No"} for at in range(4)]
    (pytester.path / "train.json").write_text(json.dumps(items))
    (pytester.path / "prompts.txt").write_text("Mary made the hat. Do you like it?\nDo you like the house?\nIs it good?\n")
    (pytester.path / "own.steer.yaml").write_text(SUITE)
    yield pytester
    if "warmth" in registry.names("judge"):
        registry.forget("judge", "warmth")


def test_it_judges_a_claim_and_a_misspelt_one_is_told_its_name(folder):
    result = folder.runpytest("-p", "no:cacheprovider", "--steer-report", "report.json")
    claims = {one["name"]: one for one in json.loads((folder.path / "report.json").read_text())["claims"]}
    record = claims["own"]["replies"]["judge"]
    assert (record["judge"], record["at_least"]) == ("warmth", 1)
    assert sum(claims["own"]["replies"]["counts"]["steered"].values()) == 3
    assert claims["own"]["verdict"] in ("fail", "inconclusive")
    result.stdout.fnmatch_lines(["*unknown key 'warmht'*", "*Did you mean 'warmth'?*"])
