"""``steers_at_cost``: against closed forms, against plain loops, and what becomes of what cannot be dosed down to the cost."""

from __future__ import annotations

import math
import re
from pathlib import Path

import builders
import jsonschema
import numpy as np
import plain
import pytest
import torch
from evidence import shown
from scipy import stats

from pytest_steer import (
    ContrastItem,
    SteerError,
    SteeringFailure,
    SteeringInconclusive,
    assert_steers_at_cost,
    extract,
    load_model,
    multipliers_at_cost,
    read_items,
    read_texts,
)
from pytest_steer.claims.kinds.steers_at_cost import judge_over_budget
from pytest_steer.core.block import Table
from pytest_steer.core.errors import DataError, MeasurementError, VectorError
from pytest_steer.measures import Deployed
from pytest_steer.report import build_report, report_schema
from pytest_steer.stats import Verdict, mean_t
from pytest_steer.steering import custom

# The model of test_known_answers: propensity 2 (b+ - b-) + m (c+ - c-).
WORDS = ("Question:", "Answer:", "(", "up", "down", "still", "much")
A = {"Answer:": 2.0}
B = {"up": 0.5, "down": -0.25, "still": 1.0}
C = {"up": 1.0, "down": -0.5, "still": 0.0, "much": 1.0}
PAIRS = [("up", "down"), ("up", "still"), ("still", "down"), ("much", "down"), ("much", "still"), ("down", "still")] * 4
ITEMS = [ContrastItem(f"much {'still ' * (i // 6)}w{i}", (one,), (other,), str(i)) for i, (one, other) in enumerate(PAIRS)]
SLOPES = np.array([C[one] - C[other] for one, other in PAIRS])
BASE = np.array([2.0 * (B.get(one, 0.0) - B.get(other, 0.0)) for one, other in PAIRS])
SAME = [ContrastItem(f"much w{i}", ("up",), ("down",), str(i)) for i in range(8)]  # of one propensity
TEXTS = [f"{'still ' * n}down much still" for n in range(10)]


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(WORDS, A, B, C)


def told(found):
    """Its warnings, other than those about items and texts of the same few words and about their skewed effects."""
    return [text for text in found.warnings if "nine words of ten" not in text and "are skewed" not in text]


def rises(m, texts=TEXTS):
    """By how much each text's mean NLL is above log V: all tokens from the third on have log sum_j exp(m c_j) - m c_t."""
    words = ("<unk>", *WORDS)
    partition = math.log(sum(math.exp(m * C.get(j, 0.0)) for j in words)) - math.log(len(words))
    tokens = [text.split() for text in texts]
    return np.array([sum(partition - m * C.get(t, 0.0) for t in own[2:]) / (len(own) - 1) for own in tokens])


def claim(linear, vector=None, texts=TEXTS, **arguments):
    vector = linear.vector() if vector is None else vector
    given = {"effect": 0.2, "budget": 0.05, **arguments}
    try:
        return assert_steers_at_cost(linear.model, vector, given.pop("items", ITEMS), texts, **given)
    except SteeringFailure as failure:
        return failure.evidence


def adding(size, strength="ignored"):
    """h + size e1, or - size e1 where the multiplier is below 0, whatever its size."""
    direction = size * torch.eye(8)[1]
    return custom(lambda hidden, s, layer: hidden + s.sign() * direction, layers=[0], strength=strength, name="adding")


def bounds(values, confidence=0.95):
    return stats.t.interval(2 * confidence - 1, len(values) - 1, values.mean(), stats.sem(values))


# --- what is measured ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.95, 0.99])
@pytest.mark.parametrize("deployed", [1.0, 0.125])
def test_everything_is_what_the_model_was_built_for(linear, confidence, deployed):
    found = claim(linear, multiplier=deployed, confidence=confidence)
    m = found.multiplier
    assert 0.049 <= math.expm1(rises(m).mean()) <= 0.05
    effects = m * SLOPES
    assert found.estimate == pytest.approx(effects.mean(), abs=1e-5)
    assert found.interval == pytest.approx(bounds(effects, confidence), abs=1e-5)
    assert (found.check, found.statistic, found.n, found.unit) == ("steers_at_cost", "effect at equal cost", 24, "items")
    assert found.multipliers == [0.0, m]
    assert found.curve == pytest.approx([BASE.mean(), BASE.mean() + effects.mean()], abs=1e-5)
    details = found.details
    assert details["multiplier_at_cost"] == m
    assert details["cost"] == pytest.approx(math.expm1(rises(m).mean()), abs=1e-5)
    assert details["cost_interval"] == pytest.approx(np.expm1(bounds(rises(m), confidence)).tolist(), abs=1e-5)
    assert (details["cost_confidence"], details["budget"], details["over_budget"]) == (confidence, 0.05, False)
    assert (details["reached"], details["standardised"]) == ("cost", False)
    assert details["sd_unsteered"] == pytest.approx(BASE.std(ddof=1), abs=1e-6)
    assert details["mean_effect"] == found.estimate
    assert details["effects"] == pytest.approx(effects.tolist(), abs=1e-5)
    assert details["anti_steerable_share"] == pytest.approx((SLOPES < 0).mean()) == pytest.approx(1 / 6)
    for multiplier, cost in details["looked_at"]:
        assert cost == pytest.approx(math.expm1(rises(multiplier).mean()), abs=1e-5)
    assert details["deployed"]["multiplier"] == deployed
    assert details["deployed"]["cost"] == pytest.approx(math.expm1(rises(deployed).mean()), abs=1e-5)
    assert details["deployed"]["mean_effect"] == pytest.approx(deployed * SLOPES.mean(), abs=1e-5)
    assert not told(found)
    assert found.vector.relative_dose == pytest.approx(m / 2.0)  # of the norm of "Answer:" under a vector of length 1


def test_standardised_it_is_glass_delta_with_the_deviation_taken_as_known(linear):
    raw, found = claim(linear), claim(linear, standardised=True)
    sd = BASE.std(ddof=1)
    assert found.multiplier == raw.multiplier
    assert found.estimate == pytest.approx(raw.estimate / sd, rel=1e-5)
    assert found.interval == pytest.approx([bound / sd for bound in raw.interval], rel=1e-5)
    assert found.details["mean_effect"] == raw.details["mean_effect"]
    assert found.statistic == "standardised effect at equal cost"
    between = (raw.interval[0] + found.interval[0]) / 2
    kinds = {raw.interval[0] > between, found.interval[0] > between}
    assert kinds == {True, False}
    verdicts = [claim(linear, effect=between, standardised=choice).verdict for choice in (False, True)]
    assert verdicts == [
        Verdict.PASS if evidence.interval[0] >= between else Verdict.INCONCLUSIVE for evidence in (raw, found)
    ]


def test_verdicts_are_on_either_side_of_the_interval(linear):
    found = claim(linear)
    low, high = found.interval
    assert claim(linear, effect=low - 1e-3).verdict is Verdict.PASS
    assert claim(linear, effect=high + 1e-3).verdict is Verdict.FAIL
    with pytest.raises(SteeringInconclusive) as raised:
        assert_steers_at_cost(linear.model, linear.vector(), ITEMS, TEXTS, effect=(low + high) / 2 - 0.01, budget=0.05)
    effects = found.multiplier * SLOPES
    d = 0.01 / effects.std(ddof=1)
    n = next(n for n in range(2, 10**6) if stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, d * math.sqrt(n)) >= 0.8)
    assert raised.value.evidence.items_needed == pytest.approx(n, rel=0.01)


def test_the_bootstrap_is_over_items_too(linear):
    found = claim(linear, interval="bootstrap")
    assert found.interval_method == "bootstrap"
    assert found.interval == pytest.approx(claim(linear).interval, abs=0.05)


def test_a_deployed_multiplier_below_zero_is_searched_there(linear):
    found = claim(linear, multiplier=-1.0, max_multiplier=16.0)
    assert found.multiplier < 0
    assert all(multiplier < 0 for multiplier, _ in found.details["looked_at"])
    assert found.estimate == pytest.approx(found.multiplier * SLOPES.mean(), abs=1e-5)
    assert found.details["anti_steerable_share"] == pytest.approx(5 / 6)
    assert found.verdict is Verdict.FAIL


def test_on_a_trained_model_it_is_what_plain_loops_give():
    model = load_model("builtin:tiny")
    data = Path(__file__).parents[2] / "example_suites" / "builtin" / "data"
    items, texts = read_items(data / "quiz_test.json")[:5], read_texts(data / "neutral.txt")[:5]
    vector = extract.caa(model, read_items(data / "quiz_train.json"), layer=1)
    try:
        found = assert_steers_at_cost(model, vector, items, texts, effect=0.0, budget=0.1, multiplier=2.0)
    except SteeringFailure as failure:
        found = failure.evidence
    m = found.multiplier
    values = plain.curve(model.hf, model.tokenizer, items, vector.directions, [0.0, m, 2.0], "after_prompt")
    effects = values[:, 1] - values[:, 0]
    assert found.details["effects"] == pytest.approx(effects.tolist(), abs=2e-4)
    assert found.interval == pytest.approx(bounds(effects), abs=1e-3)
    assert found.details["deployed"]["mean_effect"] == pytest.approx((values[:, 2] - values[:, 0]).mean(), abs=2e-4)
    assert found.details["sd_unsteered"] == pytest.approx(values[:, 0].std(ddof=1), abs=2e-4)
    nll = np.array(
        [[plain.nll(model.hf, model.tokenizer, text, vector.directions, one)[0] for one in (0.0, m)] for text in texts]
    )
    assert found.details["cost"] == pytest.approx(math.expm1((nll[:, 1] - nll[:, 0]).mean()), abs=2e-5)
    at = multipliers_at_cost(model, texts, {"v": Deployed(vector, 2.0)}, budget=0.1)["v"]
    assert (at.multiplier, at.cost, at.reached) == (m, found.details["cost"], found.details["reached"])


# --- where the cost is not reached, or cannot be ----------------------------------------------------------------------------


def test_a_cost_that_is_not_reached_is_announced_and_the_largest_multiplier_is_judged(linear):
    found = claim(linear, linear.vector(0, 0.01), max_multiplier=4.0, effect=0.001)
    assert (found.multiplier, found.details["reached"], found.verdict) == (4.0, "most", Verdict.PASS)
    share = f"+{100 * math.expm1(rises(0.04).mean()):.1f}%"
    assert told(found) == [
        f"perplexity stays within the budget up to the largest multiplier tried (4, {share}); judged at 4"
    ]


def test_beyond_the_deployed_one_an_interpolated_strength_is_not_looked_at(linear):
    direction = 0.05 * torch.eye(8)[1]
    change = custom(lambda h, s, layer: h + s * direction, layers=[0], strength="interpolated", name="towards")
    found = claim(linear, change, effect=0.001)
    assert (found.multiplier, found.details["reached"]) == (1.0, "most")
    assert told(found)[0].endswith("judged at 1. The strength is interpolated, so no larger multiplier is tried")


def test_a_fixed_strength_within_the_cost_is_judged_by_its_effect(linear):
    size = 0.1
    assert math.expm1(rises(size).mean()) < 0.05
    for effect, verdict in ((0.0, Verdict.PASS), (0.2, Verdict.FAIL)):
        found = claim(linear, adding(size), effect=effect)
        assert found.estimate == pytest.approx(size * SLOPES.mean(), abs=1e-5)
        assert (found.verdict, found.details["reached"], found.details["over_budget"]) == (verdict, "fixed", False)
        assert not told(found)


def test_a_fixed_strength_that_is_proven_to_cost_more_fails_whatever_its_effect(linear):
    size = 2.0
    found = claim(linear, adding(size), effect=0.2)
    effects = size * SLOPES
    assert found.interval[0] > 0.2  # the effect alone would pass
    assert found.estimate == pytest.approx(effects.mean(), abs=1e-5)
    assert found.verdict is Verdict.FAIL
    own = rises(size)
    low, high = np.expm1(bounds(own, 0.975))
    assert low > 0.05
    assert found.details["cost_interval"] == pytest.approx([low, high], rel=1e-4)
    assert found.details["cost_confidence"] == pytest.approx(0.975)
    t = stats.ttest_1samp(own, math.log1p(0.05))
    assert found.p_pass == pytest.approx(t.pvalue / 2 if t.statistic < 0 else 1 - t.pvalue / 2)
    assert found.p_fail == pytest.approx(2 * t.pvalue / 2, rel=1e-3)
    share = f"+{100 * math.expm1(own.mean()):.1f}%"
    assert told(found) == [
        f"'adding' has one fixed strength, which exceeds the perplexity budget ({share} against +5%); judged there on effect and cost "
        "together"
    ]
    assert "each side: the cost exceeds the budget" in found.message


def test_a_fixed_strength_whose_cost_lies_across_is_inconclusive(linear):
    # Half of the texts fall in perplexity, half of them rise.
    texts = [f"{word} {text}" for text in ("down much much much", "down down down down") for word in ("a", "b", "c", "d")]
    size = 1.5
    own = rises(size, texts)
    low, high = np.expm1(bounds(own, 0.975))
    assert low < 0.05 < math.expm1(own.mean())
    with pytest.raises(SteeringInconclusive) as raised:
        assert_steers_at_cost(linear.model, adding(size), ITEMS, texts, effect=0.2, budget=0.05)
    found = raised.value.evidence
    assert found.interval[0] > 0.2
    assert found.details["cost_interval"] == pytest.approx([low, high], rel=1e-4)
    assert found.items_needed is None
    assert "the interval of the cost lies across the budget" in found.message
    assert "not enough evidence that the cost is within the budget: measure more neutral texts" in found.message
    # An effect that is too small refutes the claim by itself.
    assert claim(linear, adding(size), texts=texts, effect=5.0).verdict is Verdict.FAIL


def test_where_even_the_smallest_multiplier_is_too_dear(linear):
    change = adding(2.0, "linear")  # no dose of it is small
    found = claim(linear, change, effect=0.2)
    assert (found.details["reached"], found.multiplier, found.verdict) == ("least", 2.0**-10, Verdict.FAIL)
    assert found.estimate == pytest.approx(2.0 * SLOPES.mean(), abs=1e-5)
    assert told(found)[0].startswith("the smallest multiplier tried, 0.000976562, already exceeds the perplexity budget")


def inference(mean, error, confidence=0.95):
    """Of two values, which have one degree of freedom: mean +- error has the standard error ``error``."""
    return mean_t([mean - error, mean + error], confidence=confidence)


@pytest.mark.parametrize(
    ("effect", "cost", "verdict"),
    [
        ((1.0, 0.001), (0.5, 0.001), Verdict.FAIL),  # a good effect, too dear
        ((-1.0, 0.001), (0.5, 0.001), Verdict.FAIL),
        ((-1.0, 0.001), (0.1, 0.5), Verdict.FAIL),  # too small an effect, whatever the cost
        ((1.0, 0.001), (0.1, 0.5), Verdict.INCONCLUSIVE),
        ((1.0, 5.0), (0.1, 0.5), Verdict.INCONCLUSIVE),
        ((1.0, 0.001), (0.0, 0.001), Verdict.PASS),  # both are proven
        ((1.0, 5.0), (0.0, 0.001), Verdict.INCONCLUSIVE),
    ],
)
def test_beyond_the_cost_both_have_to_hold(effect, cost, verdict):
    found = judge_over_budget(inference(*effect), 0.0, inference(*cost, 0.975), 0.05)
    p_effect = stats.t.sf(effect[0] / effect[1], 1)
    p_cost = stats.t.cdf((cost[0] - math.log1p(0.05)) / cost[1], 1)
    assert found[0] is verdict
    assert found[1] == pytest.approx(max(p_effect, p_cost))
    assert found[2] == pytest.approx(min(1.0, 2 * min(1 - p_effect, 1 - p_cost)))


def test_a_refutation_by_the_cost_is_exactly_its_interval_at_half_the_level():
    effect = inference(1.0, 0.001)
    for cost in (0.3, 0.35, 0.4, 0.45, 0.5, 0.7):
        dear = inference(cost, 0.03, 0.975)
        failed = judge_over_budget(effect, 0.0, dear, 0.05)[0] is Verdict.FAIL
        assert failed == (dear.low >= math.log1p(0.05))
    assert failed


# --- what cannot be finite, and what is refused -----------------------------------------------------------------------------


def bounded(limit):
    direction = torch.eye(8)[1]

    def transform(hidden, strength, layer):
        return torch.where(strength.abs() > limit, torch.nan, hidden + strength * direction)

    return custom(transform, layers=[0], strength="linear", name="bounded")


def test_an_overflow_at_the_deployed_multiplier_is_no_number(linear):
    found = claim(linear, bounded(0.6), effect=0.01, multiplier=1.0)
    assert found.multiplier == claim(linear, multiplier=1.0).multiplier < 0.6
    assert found.details["deployed"] == {
        "multiplier": 1.0,
        "cost": None,
        "mean_effect": None,
        "direction": "raises",
        "moves": None,
    }
    assert found.details["looked_at"][0] == [1.0, None]
    report = build_report([found.to_dict()], seed=0, profile="ci", started=0.0)
    jsonschema.validate(report, report_schema())
    failed = claim(linear, bounded(0.6), effect=10.0, multiplier=1.0)
    assert re.search(r"perplexity .* overflow", failed.message)
    assert "at the deployed multiplier 1 mean effect -" in failed.message


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"budget": 0.0}, SteerError, "budget must be greater than 0"),
        ({"max_multiplier": 0.9}, SteerError, "max_multiplier must be at least 1"),
        ({"items": ITEMS[:1]}, DataError, r"has 1 item\(s\); an interval needs at least two"),
        ({"texts": TEXTS[:1]}, DataError, r"texts: has 1 text\(s\); an interval needs at least two"),
        ({"texts": ["down much", "up"]}, DataError, r"texts: text 1: has 1 token\(s\)"),
        ({"items": SAME, "standardised": True}, MeasurementError, "do not vary, so there is no scale"),
        ({"vector": builders.random_vector(0)}, VectorError, "width"),
        ({"multiplier": 0.0}, SteerError, "must not be 0"),
    ],
)
def test_what_cannot_be_measured(linear, arguments, error, message):
    with pytest.raises(error, match=message):
        claim(linear, **arguments)


def test_items_that_do_not_vary_have_an_effect_that_is_not_standardised(linear):
    found = claim(linear, items=SAME)
    assert found.details["sd_unsteered"] == 0.0
    assert "(- standard deviations" in claim(linear, items=SAME, effect=10.0).message


# --- what is shown ---------------------------------------------------------------------------------------------------------


def test_the_message_holds_the_multipliers_looked_at_and_the_worst_items(linear):
    found = claim(linear, effect=10.0, multiplier=1.0)
    m = found.multiplier
    words = re.sub(" {2,}", "  ", found.message)
    cost = f"+{100 * math.expm1(rises(m).mean()):.1f}%"
    for line in (
        f"steers_at_cost: FAIL  effect at equal cost {m * SLOPES.mean():.3g} ",
        f"judged at multiplier {m:.3g}: perplexity {cost} [",
        "] at 0.95 each side, over 10 texts; budget +5%",
        f"positions after_prompt, norm 1; multiplier {m:.3g}",
        f"  mean effect {m * SLOPES.mean():.3g} ({m * SLOPES.mean() / BASE.std(ddof=1):.3g} standard deviations of the unsteered "
        f"propensities), anti-steerable share 0.17; at the deployed multiplier 1 mean effect {SLOPES.mean():.3g}",
        f"[5] effect {-0.5 * m:.3g}, propensity -2.50, {-2.5 - 0.5 * m:.2f}",
    ):
        assert line in words
    looked_at = sorted(found.details["looked_at"])
    assert shown(found, Table).rows == [
        ["multiplier", *(f"{multiplier:.4g}" for multiplier, _ in looked_at)],
        ["perplexity", *(f"{own:+.1%}" for _, own in looked_at)],
    ]
    assert "strata" not in found.message
    jsonschema.validate(build_report([found.to_dict()], seed=0, profile="ci", started=0.0), report_schema())


def test_the_message_of_a_pass_says_at_which_multiplier(linear):
    lines = [line for line in claim(linear).message.splitlines() if "nine words of ten" not in line]
    assert len(lines) == 5
    assert lines[3].startswith("  judged at multiplier ")
    assert lines[4].startswith("  PNE ")


def test_pne_is_that_of_von_ruette(linear):
    """[p(a) - p(0)] / [PPL(a) / PPL(0)]: unsteered each word is as likely as any other, so that the mean perplexities cancel."""
    found = claim(linear)
    m = found.multiplier
    base, steered = ((1 / (1 + np.exp(-values))).mean() for values in (BASE, BASE + m * SLOPES))
    ratio = np.exp(rises(m)).mean()
    want = (steered - base) / ratio
    assert found.details["pne"] == pytest.approx(want, rel=1e-4)
    assert found.compared.at_cost.pne == found.details["pne"]
    assert found.details["matching_probability"] == pytest.approx({"base": base, "steered": steered}, rel=1e-4)
    assert found.details["mean_perplexity_ratio"] == pytest.approx(ratio, rel=1e-4)
    at_deployed = (1 / (1 + np.exp(-BASE - SLOPES))).mean() - base
    assert found.compared.deployed.pne == pytest.approx(at_deployed / np.exp(rises(1.0)).mean(), rel=1e-4)
    assert (
        f"  PNE {found.details['pne']:.3g}: probability of the matching answer {base:.3f} unsteered, {steered:.3f} steered"
        in (found.message)
    )
