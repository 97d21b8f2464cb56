"""Claims at equal cost through pytest: files and assertions, what is shown, and the report."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import plain
import pytest

from pytest_steer import extract, load_model, read_items, read_texts
from pytest_steer.report import report_schema

from .conftest import HEAD

CLAIMS = """
  - steers_at_cost: {name: holds, effect: -50, budget: 0.05}
  - steers_at_cost: {name: fails, effect: 50, budget: 0.05}
  - steers_at_cost: {name: in-deviations, effect: -50, budget: 0.02, standardised: true, interval: bootstrap, confidence: 0.9}
  - steers_at_cost: {name: unreached, effect: -50, budget: 1000, max_multiplier: 2, multiplier: 0.5}
"""


def report(pytester: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, dict[str, dict]]:
    result = pytester.runpytest("--steer-report=out.json", *options)
    written = json.loads((Path(pytester.path) / "out.json").read_text())
    jsonschema.validate(written, report_schema())
    return result, {claim["name"]: claim for claim in written["claims"]}


def test_claims_of_a_file(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "pytest.ini").write_text("[pytest]\n")  # with the check of hooks
    (suite / "c.steer.yaml").write_text(HEAD + CLAIMS)
    result, found = report(pytester)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "fails: FAIL  effect at equal cost * promised at least 50",
            "  n = 10 items, bounds by t at 0.95 each side: the interval is on the bad side",
            "  judged at multiplier *: perplexity +* [[]*, *[]] at 0.95 each side, over 12 texts; budget +5%",
            "  steered: caa at layer 1, positions after_prompt, norm *; multiplier * (* of the median hidden norm)",
            "    multiplier *",
            "    perplexity *",
            "  mean effect * (* standard deviations of the unsteered propensities), anti-steerable share *; at the deployed multiplier 1 *",
            "  worst items:",
            "    [[]*[]] effect *, propensity *, *",
            "  run again: pytest c.steer.yaml::fails",
            "  pass * holds (steers_at_cost) * effect at equal cost * >= -50 * 10",
            "  pass * in-deviations (steers_at_cost) * standardised effect at equal cost *",
            "warning: c: unreached: perplexity stays within the budget up to the largest multiplier tried (1, *",
        ]
    )
    model = load_model("builtin:tiny")
    vector = extract.caa(model, read_items(suite / "train.json"), layer=1)
    items, texts = read_items(suite / "test.json"), read_texts(suite / "neutral.txt")
    hf, tokenizer = model.hf, model.tokenizer
    bare = [plain.nll(hf, tokenizer, text)[0] for text in texts]
    for name, cost in (("holds", 0.05), ("in-deviations", 0.02), ("unreached", None)):
        claim = found[name]
        m, details = claim["multiplier"], claim["details"]
        assert details["multiplier_at_cost"] == m
        steered = [plain.nll(hf, tokenizer, text, vector.directions, m)[0] for text in texts]
        rise = np.expm1(np.mean(steered) - np.mean(bare))
        assert details["cost"] == pytest.approx(rise, abs=1e-5)
        if cost is None:
            assert (m, details["reached"]) == (1.0, "most")
        else:
            assert 0.98 * cost <= rise <= cost
            assert details["reached"] == "cost"
        unsteered, moved = plain.curve(hf, tokenizer, items, vector.directions, [0.0, m], "after_prompt").T
        scale = np.std(unsteered, ddof=1) if name == "in-deviations" else 1.0
        assert claim["estimate"] == pytest.approx((moved - unsteered).mean() / scale, abs=1e-4)
    assert found["in-deviations"]["confidence"] == 0.9
    assert found["in-deviations"]["interval_method"] == "bootstrap"
    assert found["holds"]["soundness"]["sound"]
