"""The record ``units``: for each kind of claim the mean of its values is the estimate, whatever the order of the data."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pytest_steer import load_model
from pytest_steer.against.pairing import fault_of
from pytest_steer.claims import evidence_of
from pytest_steer.core.evidence import Direction, Evidence
from pytest_steer.core.record import record_of
from pytest_steer.core.registry import names
from pytest_steer.files import read_suite
from pytest_steer.files.build import Builder
from pytest_steer.stats.estimators import Mean, Ratio, Rise

DATA = Path(__file__).parents[2] / "example_suites" / "builtin" / "data"

CLAIMS = """
  - steers: {name: slopes, steerability: 0.5}
  - steers: {name: lowered, steerability: 0.5, direction: lowers, multiplier: -1}
  - not_anti_steered: {share: 0.2}
  - not_anti_steered: {name: by-effect, share: 0.2, by: effect}
  - promotes: {nats: 0.01}
  - suppresses: {nats: 0.01}
  - ppl_delta_below: {limit: 0.5}
  - ppl_delta_below: {name: arithmetic, limit: 0.5, aggregate: arithmetic}
  - kl_below: {limit: 1}
  - kl_below: {name: at-answers, limit: 1, on: items}
  - kl_below: {name: worst-decile, limit: 1, quantile: 0.9}
  - steers_at_cost: {effect: 0.1, budget: 0.05}
  - performs_task: {accuracy: 0.5, data: {test: TASKS}}
  - capability_delta_below: {limit: 0.1, questions: questions.jsonl}
  - beats: {name: beats-prompt, baseline: {prompt: ["You agree with everything."]}}
  - beats: {name: beats-random, baseline: {random: 3}}
  - generalizes: {retention: 0.5, contexts: {brief: {system: Be brief.}}}
  - generalizes: {name: two-settings, retention: 0.5, contexts: {brief: {system: Be brief.}, polite: {system: Be polite.}}}
  - leaves_alone: {name: one, band: 0.5, behaviours: {other: other.json}}
  - leaves_alone: {name: two, band: 0.5, behaviours: {other: other.json, more: more.json}}
  - holds_in_contexts: {steerability: 0.1, max_contexts: 3}
  - hooks_are_sound: {max_batches: 2}
  - generates: {share: 0.1, judge: {regex: "[aeiou]"}, max_new_tokens: 4}
  - generates: {name: gained, share: 0.1, against_base: true, judge: {regex: "Yes"}, max_new_tokens: 4}
  - stays_fluent: {measure: distinct_2, limit: 0.1, max_new_tokens: 4}
  - no_cliff: {budget: 0.5, max_multiplier: 1, max_new_tokens: 4}
  - drifts_less: {limit: 0.5, judge: {regex: "Yes"}, max_new_tokens: 4, data: {prompts: turns.jsonl}}
"""
UNPAIRED = {"worst-decile", "beats-random", "holds_in_contexts", "hooks_are_sound", "drifts_less"}
# The built-in model's template renders no tools.
ELSEWHERE = {"no_regression", "calls_tool"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("units")
    items = json.loads((DATA / "approval_test.json").read_text())
    (root / "test.json").write_text(json.dumps(items[:12]))
    (root / "turned.json").write_text(json.dumps(items[:12][::-1]))
    for name in ("other", "more"):
        told = json.dumps(json.loads((DATA / "approval_test.json").read_text())[20:30])
        (root / f"{name}.json").write_text(told if name == "other" else told.replace("Do you", "Did you"))
    (root / "questions.jsonl").write_text(
        "\n".join(
            json.dumps({"question": f"Which is number {n}?", "choices": [f"{n}", f"{n + 1}"], "answer": 0})
            for n in range(12)
        )
    )
    turns = [{"turns": [one["question"], "Why?"]} for one in items[:12]]
    (root / "turns.jsonl").write_text("\n".join(map(json.dumps, turns)))
    return root


def written(folder, test="test.json"):
    train = DATA / "approval_train.json"
    tasks = next(DATA.glob("*antonym*"), None) or folder / "tasks.json"
    if not tasks.exists():
        tasks.write_text(json.dumps([{"input": f"word {n}", "output": f"other {n}"} for n in range(10)]))
    file = folder / f"{Path(test).stem}.steer.yaml"
    file.write_text(
        f"model: builtin:tiny\nvector: {{extract: {{method: mean_difference, data: {train}}}, layer: 1, positions: all}}\n"
        f"multipliers: [-1, 0, 1]\ndata: {{test: {test}, neutral: builtin:neutral}}\n"
        f"contexts: {{option_order: [as_given, swapped], system: ['', Be brief.]}}\nclaims:{CLAIMS.replace('TASKS', str(tasks))}"
    )
    return read_suite(str(file))


@pytest.fixture(scope="module")
def measured(folder) -> dict[str, Evidence]:
    suite = written(folder)
    builder = Builder(load_model("builtin:tiny"))
    broken = [entry for entry in suite.entries if hasattr(entry, "error")]
    assert not broken, broken
    return {spec.name: evidence_of(builder.build(suite, spec), builder.model) for spec in suite.entries}


def test_every_kind_of_claim_is_here(measured):
    assert {evidence.check for evidence in measured.values()} | ELSEWHERE >= set(names("claim"))


def test_the_mean_of_the_values_is_the_estimate(measured):
    for name, evidence in measured.items():
        units = evidence.to_dict()["units"]
        if name in UNPAIRED:
            assert units is None, name
            assert evidence.unpaired, name
            continue
        assert units is not None, name
        assert evidence.unpaired is None, name
        assert fault_of(record_of(evidence.to_dict())) is None, name
        assert len(units["ids"]) == len(units["values"]) == len(units["names"]), name
        by_part = {}
        for part, value in zip(units["parts"] or ["all"] * len(units["ids"]), units["values"], strict=True):
            by_part.setdefault(part, []).append(value)
        worst = min if evidence.direction.value == "at_least" else max
        assert worst(np.mean(own) for own in by_part.values()) == pytest.approx(evidence.estimate, rel=1e-9, abs=1e-12), name
        keys = Counter(zip(units["parts"] or units["ids"], units["ids"], strict=True))
        assert max(keys.values()) == 1, name
    assert measured["two"].units.parts == ("other",) * 10 + ("more",) * 10
    assert measured["two-settings"].units.parts == ("brief",) * 12 + ("polite",) * 12
    assert measured["not_anti_steered"].units.kind == measured["performs_task"].units.kind == "share"
    assert measured["capability_delta_below"].units.kind == "change"


def test_the_order_of_the_data_does_not_count(folder, measured):
    suite = written(folder, "turned.json")
    builder = Builder(load_model("builtin:tiny"))
    for name in ("slopes", "promotes"):
        spec = next(entry for entry in suite.entries if entry.name == name)
        turned, units = evidence_of(builder.build(suite, spec), builder.model).units, measured[name].units
        assert turned.ids == units.ids[::-1] != units.ids
        assert turned.values == pytest.approx(units.values[::-1], abs=1e-4)


def test_values_of_a_rise_have_the_mean_and_the_spread_of_the_delta_method():
    values = np.random.default_rng(0).normal(0.05, 0.02, 50)
    found = Rise(Mean()).per_unit(values, Direction.AT_MOST)
    assert found.mean() == pytest.approx(np.expm1(values.mean()))
    assert found.std(ddof=1) == pytest.approx(np.exp(values.mean()) * values.std(ddof=1))


def test_values_of_a_ratio():
    draw = np.random.default_rng(1)
    below = draw.normal(2, 0.1, 40)
    above = 0.5 * below + draw.normal(0, 0.01, 40)
    found = Ratio().per_unit(np.stack([above, below], axis=1), Direction.AT_LEAST)
    assert found.mean() == pytest.approx(above.mean() / below.mean())
    # The jackknife leaves out one unit at a time, and knows nothing of derivatives.
    without = np.array([np.delete(above, i).mean() / np.delete(below, i).mean() for i in range(40)])
    assert found.var(ddof=1) / 40 == pytest.approx(39 / 40 * ((without - without.mean()) ** 2).sum(), rel=0.02)
