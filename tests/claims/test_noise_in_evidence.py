"""The noise floor in the evidence: measured on the claim's own probes, and a warning where the interval is narrower."""

from __future__ import annotations

import math
import time

import builders
import jsonschema
import numpy as np
import plain
import pytest
import torch
from evidence import evidence_of
from reports import records

from pytest_steer import (
    ContrastItem,
    TaskItem,
    assert_generalizes,
    assert_holds_in_contexts,
    assert_kl_below,
    assert_not_anti_steered,
    assert_performs_task,
    assert_ppl_delta_below,
    assert_promotes,
    assert_steers,
    assert_steers_at_cost,
    contexts,
    wrap_model,
)
from pytest_steer.measures import NoiseFloor, answer_likelihoods, noise_floor, propensity_curve
from pytest_steer.model import engine_of
from pytest_steer.prompting import Context
from pytest_steer.report import build_report, claim_table, report_schema
from pytest_steer.report.claim_table import claim_warnings
from pytest_steer.steering import as_intervention

GRID = (-1.0, 0.0, 1.0)
TYPES = [pytest.param(t, id=str(t)) for t in (torch.float32, torch.bfloat16, torch.float16)]
TEXTS = [builders.LONG, "Tea is hot. Ice is not, and it never was.", "A short one.", "Rain falls where it will fall."]


def model_of(dtype, family="llama"):
    return wrap_model(builders.random_hf(family).to(dtype), builders.tokenizer(), family)


def lettered(n):
    return [
        ContrastItem(
            f"Case {i}: {builders.LONG}\n(A) Slow\n(B) Quick", *((("(A)",), ("(B)",))[:: 1 if i % 2 else -1]), str(i)
        )
        for i in range(n)
    ]


def worded(n):
    return [ContrastItem(f"Case {i}?", ("surely so",), ("no way at all",), f"w{i}") for i in range(n)]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("items", [lettered(8), worded(8)], ids=["lettered", "worded"])
def test_the_floor_is_the_larger_of_noise_and_rounding(dtype, items):
    model, vector = model_of(dtype), builders.random_vector(1, norm=3.0)
    curve = propensity_curve(model, items, vector, multipliers=GRID)
    floor = noise_floor(model, curve.probes, as_intervention(vector), 1.0)
    assert floor.score == max(floor.between_batches, floor.rounding)
    # One rounding of the logits that were read, and noise of no more than a few.
    logits = max(
        float(np.abs(plain.logits(model.hf, list(p.ids[: p.reads.start + 1]))[-1].numpy()).max()) for p in curve.probes
    )
    eps = torch.finfo(dtype).eps
    assert eps * 2.0 ** (math.floor(math.log2(logits)) - 8) <= floor.rounding <= eps * logits
    assert floor.between_batches <= 8 * eps * logits
    assert floor.coarse == (dtype is not torch.float32)
    assert (floor.unit, floor.tokens) == (("logits", 1.0) if items[0].question.endswith("Quick") else ("nats", floor.tokens))
    if floor.unit == "nats":
        assert floor.tokens == np.mean([len(p.ids) - p.score_from for p in curve.probes])
        assert floor.answer == floor.score / math.sqrt(floor.tokens)


def test_the_floor_of_slopes_and_effects():
    floor = NoiseFloor(0.01, 0.04, "nats", 4.0, True)
    assert floor.answer == 0.02
    assert floor.effect == 0.04
    # Propensities with independent errors of sd s have slopes of sd s / sqrt(sum of squares).
    assert floor.slope([-1.0, 0.0, 1.0]) == pytest.approx(math.sqrt(2) * 0.02 / math.sqrt(2))
    assert floor.slope([0.0, 2.0]) == pytest.approx(math.sqrt(2) * 0.02 / math.sqrt(2))


def test_it_is_measured_once_and_again_when_weights_change():
    model, vector = model_of(torch.bfloat16), builders.random_vector(1)
    calls = []
    model.hf.register_forward_pre_hook(lambda *_: calls.append(1))
    first = assert_steers(model, vector, lettered(8), steerability=-50, multipliers=GRID).noise
    ran = len(calls)
    assert assert_steers(model, vector, lettered(8), steerability=-60, multipliers=GRID).noise == first
    assert len(calls) - ran < 10  # the receipt's sample alone
    forwards = engine_of(model).forwards
    assert forwards == 8 * len(GRID)  # what is measured for the floor is no score of the claim
    with torch.no_grad():
        model.hf.get_output_embeddings().weight.mul_(4)
    assert assert_steers(model, vector, lettered(8), steerability=-500, multipliers=GRID).noise.rounding > first.rounding


@pytest.mark.parametrize("dtype", TYPES)
def test_every_kind_of_claim_has_its_floor(dtype):
    model, vector, items = model_of(dtype), builders.random_vector(1, norm=3.0), lettered(8)
    grid = {"multipliers": GRID}
    found = [
        evidence_of(assert_steers, model, vector, items, steerability=-50, **grid),
        evidence_of(assert_not_anti_steered, model, vector, items, share=0.5, **grid),
        evidence_of(assert_not_anti_steered, model, vector, items, share=0.5, by="effect", **grid),
        evidence_of(assert_ppl_delta_below, model, vector, TEXTS, limit=0.5),
        evidence_of(assert_promotes, model, vector, worded(8), nats=5, **grid),
        evidence_of(assert_steers_at_cost, model, vector, items, TEXTS, effect=0.1, budget=0.05),
        evidence_of(
            assert_holds_in_contexts, model, vector, items, steerability=-5, max_contexts=4,
            contexts=contexts(system=["", "Be odd."]), **grid
        ),
        evidence_of(assert_kl_below, model, vector, TEXTS, limit=0.5),
        evidence_of(assert_performs_task, model, vector, [TaskItem(f"x{i}", "Yes") for i in range(6)], accuracy=0.5),
    ]  # fmt: skip
    for evidence in found:
        noise = evidence.noise
        assert 0 < noise.rounding <= noise.score
        if dtype is torch.float32:
            assert noise.score < 1e-4
            assert not noise.interval_is_narrower
            assert not any("rounding" in warning for warning in evidence.warnings)
    steers, by_slope, by_effect, ppl, promotes, *_ = found
    slope = math.sqrt(2) * steers.noise.score / math.sqrt(2)
    assert steers.noise.statistic == pytest.approx(slope)
    slopes = np.array([item.slope for item in by_slope.items])
    assert by_slope.noise.statistic == (np.abs(slopes) < slope).mean()
    effects = np.array(by_effect.details["effects"])
    assert by_effect.noise.statistic == (np.abs(effects) < 2 * by_effect.noise.score).mean()
    counts = [len(model.tokenizer(text)["input_ids"]) - 1 for text in TEXTS]
    rise = math.expm1(math.sqrt(2) * ppl.noise.score / math.sqrt(np.mean(counts)))
    assert ppl.noise.statistic == pytest.approx(rise)
    assert ppl.noise.unit == promotes.noise.unit == "nats"
    tokens = np.mean([len(probe.reads) for probe in answer_likelihoods(model, worded(8), vector, **grid).probes])
    assert tokens > 1
    assert promotes.noise.statistic == pytest.approx(math.sqrt(2 / tokens) * promotes.noise.score)
    report = build_report([evidence.to_dict() for evidence in found], seed=0, profile="ci", started=time.time())
    jsonschema.validate(report, report_schema())
    for claim in report["claims"]:
        assert claim["noise"]["score"] > 0


@pytest.mark.parametrize("dtype", TYPES)
def test_a_narrow_interval_is_warned_about_in_16_bits(dtype):
    # Only the last token of the prompt counts, so that all slopes are the same and the interval has no width.
    linear = builders.Linear(
        ("Question:", "Answer:", "up", "down"), {"Answer:": 2.0}, {"up": 1.0}, {"up": 1.0, "down": -1.0}
    )
    model = wrap_model(linear.model.hf.to(dtype), linear.tokenizer, "linear")
    items = [ContrastItem(f"word{i}", ("up",), ("down",), str(i)) for i in range(8)]
    evidence = evidence_of(assert_steers, model, linear.vector(), items, steerability=-50, multipliers=GRID)
    low, high = evidence.interval
    assert high - low < evidence.noise.score
    said = [warning for warning in evidence.warnings if "narrower than the rounding" in warning]
    kind = str(dtype).removeprefix("torch.")
    record = evidence.to_dict()
    if dtype is torch.float32:
        assert not said
        assert "rounding" not in claim_table(records([record]))
        return
    (warning,) = said
    assert f"in {kind} a score is known to" in warning
    assert "--steer-dtype float32" in warning
    assert evidence.noise.interval_is_narrower
    assert f"  warning: {warning}" in evidence.message.splitlines()[:5]  # beside the verdict
    assert claim_table(records([record])).splitlines()[-1].strip() == "within rounding"
    assert any(warning in line for line in claim_warnings(records([record])))


def test_generalizes_has_its_floor_too():
    words = ("Question:", "Answer:", "red", "blue", "Answer: (", "(", "A", "B")
    a = {"red": 1.0, "blue": 2.0}
    linear = builders.Linear(words, a, {}, {"A": 1.0, "B": -1.0})
    data = [ContrastItem(f"red {'blue ' * i}", ("A",), ("B",), str(i)) for i in range(4)]
    found = evidence_of(
        assert_generalizes, linear.model, linear.vector(), data, retention=0.5,
        contexts={"odd": Context(system="red")}, multipliers=GRID, positions="last",
    )  # fmt: skip
    steerability = found.details["base"]["steerability"]
    assert found.noise.statistic == pytest.approx(found.noise.score / steerability)
