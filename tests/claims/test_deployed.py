"""The deployed multiplier beside the grid, and ``direction``: on models whose effects are known in closed form."""

from __future__ import annotations

from functools import partial

import builders
import numpy as np
import pytest
from evidence import evidence_of

from pytest_steer import (
    ContrastItem,
    SteerError,
    assert_generalizes,
    assert_holds_in_contexts,
    assert_not_anti_steered,
    assert_ppl_delta_below,
    assert_steers,
    assert_steers_at_cost,
    contexts,
    propensity_curve,
)
from pytest_steer.claims.judging import adjusted
from pytest_steer.model import engine_of
from pytest_steer.prompting import Context

C = {"up": 1.0, "down": -0.5, "more": 1.5}
PAIRS = [("up", "down"), ("more", "down"), ("up", "down"), ("more", "up"), ("more", "down")] * 2
ITEMS = [ContrastItem("more " * (n + 1), (one,), (other,), str(n)) for n, (one, other) in enumerate(PAIRS)]
SLOPES = np.array([C[one] - C[other] for one, other in PAIRS])


@pytest.fixture(scope="module")
def linear() -> builders.Linear:
    return builders.Linear(("Question:", "Answer:", *C), {"Answer:": 2.0}, {}, C)


@pytest.fixture(scope="module")
def turning() -> tuple[builders.Gated, list[ContrastItem]]:
    """A model whose propensity is m up to m = 50, and 100 - m from there on."""
    good, bad = ("tea", "soup", "bread"), ("mud", "rust", "dust")
    words = ("Question:", "Answer:", "A", "B", "(", "A)", "B)", "(A)", "(B)", "?", "angry", *good, *bad)
    items = [ContrastItem(f"? (A) {one} (B) {other}", ("A",), ("B",), f"{one} {other}") for one in good for other in bad]
    return builders.Gated(words, good, bad), items


def test_a_deployed_multiplier_off_the_grid_is_measured_and_changes_no_digit_of_the_slope(linear):
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    items = [(f"Question {index}?", "(A)", "(B)") for index in range(9)]
    curve = propensity_curve(model, items, vector)
    found = evidence_of(assert_steers, model, vector, items, steerability=-50, multiplier=5)
    assert found.multipliers == curve.multipliers.tolist()
    assert [[*item.propensity] for item in found.items] == curve.values.tolist()
    assert [item.slope for item in found.items] == curve.slopes.tolist()
    effects = propensity_curve(model, items, vector, multipliers=[0, 5]).effects(5)
    assert found.details["deployed"]["mean_effect"] == pytest.approx(effects.mean())
    assert found.compared.deployed.effect == pytest.approx(effects.mean())
    # On the grid nothing new is measured.
    before = engine_of(model).forwards
    evidence_of(assert_steers, model, vector, items, steerability=-60, multiplier=0.5)
    assert engine_of(model).forwards == before
    # In closed form.
    deployed = assert_steers(linear.model, linear.vector(), ITEMS, steerability=0.4, multiplier=50).details["deployed"]
    assert deployed["mean_effect"] == pytest.approx(50 * SLOPES.mean(), rel=1e-5)
    assert (deployed["multiplier"], deployed["moves"]) == (50.0, "up")


def test_a_deployed_effect_against_the_slope_makes_a_pass_inconclusive(turning):
    gated, items = turning
    claim = partial(evidence_of, assert_steers, gated.model, gated.vector(), items, steerability=0.9)
    found = claim(multiplier=150)
    assert (found.verdict.value, found.estimate) == ("inconclusive", pytest.approx(1))
    assert found.details["deployed"]["mean_effect"] == pytest.approx(-50)
    assert (
        "the slope over the multipliers says up for the deployed multiplier 150, and there the mean effect is -50"
        in found.message
    )
    assert "deployed at multiplier 150 the model moves down" in found.message
    assert "items would decide" not in found.message
    # Holm's adjustment makes no pass of it.
    (found,) = adjusted([found])
    assert found.verdict.value == "inconclusive"
    # A smaller one, still above the grid, agrees.
    assert claim(multiplier=80).details["deployed"]["mean_effect"] == pytest.approx(20)
    assert claim(multiplier=80).passed
    # No effect at all, where the slope is proven, is a contradiction too.
    assert claim(multiplier=100).verdict.value == "inconclusive"
    # What is refuted stays refuted; a share of slopes is a claim about the slope too.
    refuted = evidence_of(assert_steers, gated.model, gated.vector(), items, steerability=4, multiplier=150)
    assert refuted.verdict.value == "fail"
    share = evidence_of(assert_not_anti_steered, gated.model, gated.vector(), items, share=0.6, multiplier=150)
    assert (share.verdict.value, share.withheld.code) == ("inconclusive", "deployed-contradicts-slope")


def test_a_deployed_effect_against_the_slope_withholds_a_pass_in_contexts_too(turning):
    gated, items = turning
    given, space = (gated.model, gated.vector(), items), {"contexts": contexts(option_order=["as_given"]), "max_contexts": 1}
    for multiplier, verdict in ((80, "pass"), (150, "inconclusive")):
        held = evidence_of(
            assert_holds_in_contexts, *given, **space, batch=2, min_n=2, steerability=0.9, multiplier=multiplier
        )
        brief = {"brief": Context(system="tea")}
        left = evidence_of(assert_generalizes, *given, retention=0.9, contexts=brief, multiplier=multiplier)
        for found in (held, left):
            assert found.verdict.value == verdict
            assert (found.withheld is not None) == (verdict == "inconclusive")
            assert found.withheld is None or found.withheld.code == "deployed-contradicts-slope"


def test_a_negative_deployed_multiplier_is_a_warning_unless_it_is_meant(linear):
    plain = assert_steers(linear.model, linear.vector(), ITEMS, steerability=0.4, multiplier=-1)
    assert plain.details["deployed"]["moves"] == "down"
    (warning,) = [text for text in plain.warnings if "negative multiplier -1" in text]
    assert "the model moves down" in warning
    assert "`direction: lowers`" in warning
    assert "warning: deployed at the negative multiplier -1, the model moves down" in plain.message
    meant = assert_steers(linear.model, linear.vector(), ITEMS, steerability=0.4, multiplier=-1, direction="lowers")
    assert (meant.estimate, meant.statistic) == (plain.estimate, "steerability")
    assert not [text for text in meant.warnings if "negative multiplier" in text]
    assert "deployed at multiplier -1 the model moves down" in meant.message
    assert "; direction: lowers" in meant.message


@pytest.mark.parametrize(("size", "multiplier", "statistic"), [(1, -2, "steerability"), (-1, 2, "negative steerability")])
def test_lowers_promises_that_propensity_falls_towards_the_deployed_multiplier(linear, size, multiplier, statistic):
    vector, how = linear.vector(size=size), {"multiplier": multiplier, "direction": "lowers"}
    found = assert_steers(linear.model, vector, ITEMS, steerability=0.4, **how)
    assert (found.statistic, found.estimate) == (statistic, pytest.approx(SLOPES.mean(), rel=1e-4))
    # The vector the other way round raises, and the promise is broken.
    other = linear.vector(size=-size)
    broken = evidence_of(assert_steers, linear.model, other, ITEMS, steerability=0.4, **how)
    assert (broken.verdict.value, broken.details["deployed"]["moves"]) == ("fail", "up")
    for by in ("slope", "effect"):
        settings = {"by": by, "share": 0.6, **how}
        assert assert_not_anti_steered(linear.model, vector, ITEMS, **settings).estimate == 0
        assert evidence_of(assert_not_anti_steered, linear.model, other, ITEMS, **settings).estimate == 1


def test_lowers_in_the_other_claims_about_items(linear):
    vector, how = linear.vector(size=-1), {"direction": "lowers"}
    swapped = {"contexts": {"swapped": Context(option_order="as_given")}}
    found = assert_generalizes(linear.model, vector, ITEMS, retention=0.9, **swapped, **how)
    assert found.estimate == pytest.approx(1, rel=1e-4)
    with pytest.raises(SteerError, match="deploy it at a negative multiplier, or delete that"):
        assert_generalizes(linear.model, linear.vector(), ITEMS, retention=0.9, **swapped, **how)
    space = contexts(option_order=["as_given"])
    for promise, value in (("steerability", 0.1), ("effect", 0.1), ("anti_steerable_share", 0.9)):
        held = evidence_of(
            assert_holds_in_contexts,
            linear.model,
            vector,
            ITEMS,
            contexts=space,
            max_contexts=1,
            batch=2,
            **{promise: value},
            **how,
        )
        assert (held.estimate > 0.4) == (promise != "anti_steerable_share")
        assert held.details["deployed"]["moves"] in ("down", "neither way")
    texts = ["more up", "up down more"]
    at_cost = evidence_of(assert_steers_at_cost, linear.model, vector, ITEMS, texts, effect=0.1, budget=0.5, **how)
    assert at_cost.estimate == pytest.approx(SLOPES.mean() * at_cost.details["multiplier_at_cost"], rel=1e-3)
    assert at_cost.statistic == "negative effect at equal cost"


def test_wrong_directions(linear):
    with pytest.raises(SteerError, match="direction is raises or lowers, not 'down'"):
        assert_steers(linear.model, linear.vector(), ITEMS, steerability=0.4, direction="down")
    with pytest.raises(TypeError, match="direction"):
        assert_ppl_delta_below(linear.model, linear.vector(), ["a b", "b a"], limit=0.5, direction="lowers")


def test_a_deployed_effect_below_the_promise_per_unit_is_said(turning):
    """100 - m from 50 on: 20 at 80, a quarter of it per unit, where the slope up to 1 is 1."""
    gated, items = turning
    near = {"steerability": 0.9, "multipliers": [0.0, 1.0]}
    found = evidence_of(assert_steers, gated.model, gated.vector(), items, **near, multiplier=80.0)
    assert found.verdict.value == "pass"
    assert found.details["deployed"]["mean_effect"] == pytest.approx(20.0, abs=1e-3)
    said = [line for line in found.warnings if line.startswith("at the deployed multiplier 80 the mean effect is 20")]
    assert len(said) == 1
    found = evidence_of(assert_steers, gated.model, gated.vector(), items, **near, multiplier=2.0)
    assert not any(line.startswith("at the deployed multiplier") for line in found.warnings)


@pytest.mark.parametrize(("size", "share"), [(-1, "0.00"), (1, "1.00")])
def test_the_block_of_a_claim_that_lowers_has_the_numbers_that_are_judged(linear, size, share):
    vector, how = linear.vector(size=size), {"multiplier": 2, "direction": "lowers"}
    slope = -size * SLOPES.mean()
    anti = evidence_of(assert_not_anti_steered, linear.model, vector, ITEMS, share=0.01, **how)
    assert anti.statistic == "share that does not fall"
    assert anti.estimate == float(share) == anti.details["anti_steerable_share"]
    steers = evidence_of(assert_steers, linear.model, vector, ITEMS, steerability=9.0, **how)
    assert steers.estimate == pytest.approx(slope, rel=1e-4)
    for found in (anti, steers):
        (line,) = [line for line in found.message.splitlines() if "monotonicity" in line]
        assert line.startswith(f"  negative steerability {slope:.3g}, share that does not fall {share}, ")
        assert "anti-steerable" not in found.message
    for promise in ({"anti_steerable_share": 0.01}, {"steerability": 9.0}):
        found = evidence_of(
            assert_holds_in_contexts, linear.model, vector, ITEMS, contexts=contexts(option_order=["as_given"]), max_contexts=1, batch=2,
            **promise, **how,
        )  # fmt: skip
        assert f", share that does not fall {share}, " in found.message
        assert "anti-steerable" not in found.message
    effect = evidence_of(assert_not_anti_steered, linear.model, vector, ITEMS, share=0.01, by="effect", **how)
    assert (effect.statistic, effect.estimate) == ("share that rises", float(share))
    assert f"slopes of 0 or more {share}" in effect.message


def test_strata_of_a_claim_that_lowers_have_the_numbers_that_are_judged():
    items = [(f"Question {index}?", f"({'AB'[index % 2]})", f"({'BA'[index % 2]})") for index in range(9)]
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    found = evidence_of(assert_not_anti_steered, model, vector, items, share=0.01, multiplier=1, direction="lowers")
    slopes = {label: [item.slope for item in found.items if item.label == label] for label in "AB"}
    for stratum in found.strata:
        own = slopes[stratum.label]
        assert stratum.anti_steerable_share == np.mean([slope >= 0 for slope in own])
        line = next(line for line in found.message.splitlines() if f"matching answer {stratum.label}" in line)
        assert line.split()[3:6] == [
            str(len(own)),
            f"{-np.mean(own):.3g}",
            f"{np.mean([slope >= 0 for slope in own]):.2f}",
        ]
    assert found.estimate == np.mean([slope >= 0 for own in slopes.values() for slope in own])
    assert 0 < found.estimate < 1
