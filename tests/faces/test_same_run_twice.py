"""The same run twice gives the same report: byte for byte, but for what docs/report.md leaves out."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import HEAD

CLAIMS = """
  - steers: {steerability: 0.1}
  - not_anti_steered: {share: 0.3}
  - ppl_delta_below: {limit: 0.05}
  - kl_below: {limit: 0.5}
  - holds_in_contexts: {steerability: 0.1, max_contexts: 4, batch: 4}
  - steers_at_cost: {effect: 0.1, budget: 0.2}
  - steers: {name: known, steerability: 50, xfail: {reason: weak, expires: 2999-12-31}}
  - hooks_are_sound: {max_batches: 2}
"""
CONTEXTS = "contexts: {option_order: [as_given, swapped], system: ['', 'Be brief.']}\n"
TESTS = """
from pytest_steer import assert_steers, extract, read_items

def test_claim(steer_model):
    vector = extract.caa(steer_model, read_items("train.json"), layer=1)
    assert_steers(steer_model, vector, read_items("test.json"), steerability=-50)
    assert_steers(steer_model, vector, read_items("test.json"), steerability=-40)
"""
pytestmark = pytest.mark.nightly  # seven runs of ten claims each
PLAIN = ("-p", "no:cacheprovider", "--steer-report=r.json")


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in ("seconds", "started")}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def without_work(report: dict[str, Any]) -> dict[str, Any]:
    """Without what depends on which scores were known already: how many were computed, and how, in this run or by this process."""
    for claim in report["claims"]:
        for part, keys in (
            ("receipt", ("ways", "path")),
            ("soundness", ("forwards", "batches")),
            ("details", ("forwards",)),
        ):
            for key in keys:
                (claim[part] or {}).pop(key, None)
        claim["message"] = re.sub(r"^  scores: .* computed, .*\n", "", claim["message"], flags=re.MULTILINE)
    return report


@pytest.fixture
def run(suite: Path, pytester: pytest.Pytester) -> Any:
    (suite / "pytest.ini").write_text("[pytest]\n")
    (suite / "c.steer.yaml").write_text(CONTEXTS + HEAD + CLAIMS)
    (suite / "test_a.py").write_text(TESTS)

    def measured(*options: str) -> dict[str, Any]:
        pytester.runpytest_subprocess(*PLAIN, *options)
        found: dict[str, Any] = without_times(json.loads((suite / "r.json").read_text()))
        assert len(found["claims"]) == 10
        assert not [claim["error"] for claim in found["claims"] if claim["error"]]
        return found

    return measured


def difference(one: Any, other: Any, where: str = "", *, within: float = 0.0) -> list[str]:
    """Where two reports differ, numbers by more than ``within``; with any of it, texts may differ in their numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        if list(one) != list(other):
            return [f"{where}: keys {list(one)} {list(other)}"]
        return [said for key in one for said in difference(one[key], other[key], f"{where}.{key}", within=within)]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [said for at, pair in pairs for said in difference(*pair, f"{where}[{at}]", within=within)]
    if within and isinstance(one, float) and isinstance(other, float):
        return [] if math.isclose(one, other, rel_tol=within, abs_tol=within) else [f"{where}: {one!r} {other!r}"]
    if within and isinstance(one, str) and isinstance(other, str):
        one, other = (re.sub(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", "0", text) for text in (one, other))
    return [] if json.dumps(one) == json.dumps(other) else [f"{where}: {one!r:.80} {other!r:.80}"]


def test_alone_and_again(run: Any) -> None:
    assert difference(run(), run()) == []


def test_with_a_cache_that_is_cold_and_warm(run: Any) -> None:
    plain, cold, warm = (without_work(run(*options)) for options in ((), ("--steer-cache=kept",), ("--steer-cache=kept",)))
    assert difference(plain, cold) == []
    assert difference(cold, warm) == []


def test_by_two_workers(run: Any) -> None:
    """A worker that measures other claims before one has other scores in memory, so the rest of them are computed in other batches."""
    pytest.importorskip("xdist")
    assert difference(without_work(run()), without_work(run("-n", "2")), within=1e-5) == []
