"""``generalizes``: against slopes known in closed form, against a plain implementation, and what it refuses."""

from __future__ import annotations

import math
import re

import builders
import jsonschema
import numpy as np
import plain
import pytest
import torch
from evidence import shown
from scipy import stats

from pytest_steer import (
    Context,
    ContrastItem,
    Noise,
    OtherData,
    SteerError,
    SteeringFailure,
    SteeringInconclusive,
    SteeringVector,
    assert_generalizes,
    propensity_curve,
)
from pytest_steer.core.block import Table
from pytest_steer.core.columns import in_columns
from pytest_steer.core.errors import DataError, MeasurementError
from pytest_steer.report import build_report, report_schema
from pytest_steer.stats import Verdict
from pytest_steer.steering import as_intervention, custom

GRID = [-1.0, 0.0, 1.0]

# In this model the slope of an item is c(matching label) - c(other label), whatever else its prompt says. Labels that
# items have as given: C and D, E and F, G and H; in other contexts 1 and 2, or a and b.
C = {"C": 1.0, "D": 0.25, "E": 2.0, "F": 0.5, "G": 1.5, "H": 0.5, "1": 0.75, "2": 0.25, "a": 0.125, "b": 0.0}


@pytest.fixture(scope="module")
def linear():
    words = ("Question:", "Answer:", "(", *C)
    return builders.Linear(words, {"(": 2.0}, {"C": 0.5, "1": 0.25}, C)


def item(first, second, number, right=0):
    labels = (f"({first})", f"({second})")
    return ContrastItem(
        f"So {number}?\n({first}) x{number}\n({second}) y{number}", (labels[right],), (labels[1 - right],), str(number)
    )


PAIRS = [("C", "D"), ("E", "F"), ("G", "H")] * 4
ITEMS = [item(*pair, number) for number, pair in enumerate(PAIRS)]
SLOPES = np.array([C[first] - C[second] for first, second in PAIRS])


def fieller(shifted, base, confidence, side):
    """One bound in closed form, from the definition: (mean s - r mean b)^2 = t^2 (v_s - 2 r c + r^2 v_b)."""
    n = len(base)
    t2 = stats.t.ppf(confidence, n - 1) ** 2
    (vs, c), (_, vb) = np.cov(shifted, base) / n
    a, b = shifted.mean(), base.mean()
    roots = np.roots([b * b - t2 * vb, -2 * (a * b - t2 * c), a * a - t2 * vs])
    return roots.real.min() if side == "low" else roots.real.max()


def claim(linear, retention=0.5, **arguments):
    try:
        return assert_generalizes(
            linear.model, linear.vector(), arguments.pop("items", ITEMS), retention=retention, multipliers=GRID, **arguments
        )
    except SteeringFailure as failure:
        return failure.evidence


def test_slopes_ratios_and_bounds_are_what_the_model_was_built_for(linear):
    contexts = {"numbers": Context(option_labels="1/2"), "small": Context(option_labels="a/b")}
    found = claim(linear, 0.3, contexts=contexts)
    base, (numbers, small) = found.details["base"], found.details["settings"]
    assert base["slopes"] == pytest.approx(SLOPES)
    assert numbers["slopes"] == pytest.approx(np.full(12, 0.5))
    assert small["slopes"] == pytest.approx(np.full(12, 0.125))
    assert numbers["retention"] == pytest.approx(0.5 / SLOPES.mean())
    assert small["retention"] == pytest.approx(0.125 / SLOPES.mean())
    for row, constant in ((numbers, 0.5), (small, 0.125)):
        expected = [fieller(np.full(12, constant), SLOPES, 0.95, side) for side in ("low", "high")]
        assert row["interval"] == pytest.approx(expected, rel=1e-5)
    assert (numbers["verdict"], small["verdict"]) == ("pass", "fail")
    assert found.verdict is Verdict.FAIL
    assert found.details["worst"] == "small"
    assert found.estimate == small["retention"]
    adjusted = fieller(np.full(12, 0.125), SLOPES, 1 - 0.05 / 2, "high")
    assert found.interval == pytest.approx((small["interval"][0], adjusted), rel=1e-5)
    assert (found.n, found.interval_method) == (12, "fieller")


def test_one_of_many_settings_fails_at_a_level_divided_by_their_number(linear):
    one = {"numbers": Context(option_labels="1/2")}
    alone = claim(linear, 0.5, contexts=one).details["settings"][0]
    threshold = (alone["interval"][1] + fieller(np.full(12, 0.5), SLOPES, 1 - 0.05 / 8, "high")) / 2
    assert claim(linear, threshold, contexts=one).verdict is Verdict.FAIL
    eight = one | {f"typed {n}": Context(noise=Noise(typos=0.1, seed=n)) for n in range(7)}
    found = claim(linear, threshold, contexts=eight)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert [row["verdict"] for row in found.details["settings"]] == ["inconclusive", *["pass"] * 7]
    row = found.details["settings"][0]
    assert row["p_fail"] == pytest.approx(8 * claim(linear, threshold, contexts=one).details["settings"][0]["p_fail"])


def test_swapped_options_turn_the_slopes_round(linear):
    found = claim(linear, contexts={"swapped": Context(option_order="swapped")})
    row = found.details["settings"][0]
    assert row["slopes"] == pytest.approx(-SLOPES)
    assert row["retention"] == pytest.approx(-1)
    assert row["interval"] == pytest.approx([-1, -1], abs=1e-6)
    assert found.verdict is Verdict.FAIL


def test_a_context_that_changes_nothing_holds_exactly_all_of_it(linear):
    found = claim(linear, 0.999, contexts={"filled": Context(filler=2)})
    assert found.verdict is Verdict.PASS
    assert (found.estimate, *found.interval) == pytest.approx((1, 1, 1), abs=1e-9)


def test_other_data_is_unpaired(linear):
    other = [item(*pair, 100 + number) for number, pair in enumerate([("G", "H"), ("C", "D")] * 3 + [("G", "H")])]
    slopes = np.array([1.0, 0.75] * 3 + [1.0])
    found = claim(linear, 0.5, data_sets={"other": other}, min_n=7)
    row = found.details["settings"][0]
    assert (row["interval_method"], row["n"], found.n) == ("fieller, unpaired", 7, 7)
    assert row["retention"] == pytest.approx(slopes.mean() / SLOPES.mean())
    welch = stats.ttest_ind(slopes, 0.5 * SLOPES, equal_var=False, alternative="greater").pvalue
    base = stats.ttest_1samp(SLOPES, 0, alternative="greater").pvalue
    assert row["p_pass"] == pytest.approx(max(welch, base), rel=1e-4)
    assert found.verdict is Verdict.PASS
    low = row["interval"][0]
    at_bound = stats.ttest_ind(slopes, low * SLOPES, equal_var=False, alternative="greater").pvalue
    assert at_bound == pytest.approx(0.05, rel=1e-4)


def test_tans_relative_steerability_is_held_against_the_data_sets_own_vector(linear):
    """Along 2 e0 + e1 the slope of an item is c(matching) - c(other) + 2 (b(matching) - b(other)); b is 0.5 for C, 0 for others."""
    own = SteeringVector({0: 2.0 * torch.eye(8)[0] + torch.eye(8)[1]})
    slopes = SLOPES + np.array([1.0 if pair[0] == "C" else 0.0 for pair in PAIRS])
    data_sets = {"other": OtherData(ITEMS, own), "same": OtherData(ITEMS, linear.vector(size=2.0))}
    found = claim(linear, None, tan_relative=0.4, data_sets=data_sets, items=ITEMS[:2])
    other, same = found.details["settings"]
    assert other["own_vector"]["slopes"] == pytest.approx(slopes)
    assert other["own_vector"]["hash"] == as_intervention(own).hash
    assert other["slopes"] == pytest.approx(SLOPES)
    assert other["tan_relative"] == pytest.approx(SLOPES.mean() / slopes.mean())
    assert other["interval"] == pytest.approx([fieller(SLOPES, slopes, 0.95, side) for side in ("low", "high")], rel=1e-5)
    assert same["tan_relative"] == pytest.approx(0.5)
    assert (found.verdict, found.n, found.statistic) == (Verdict.PASS, 12, "least relative steerability (Tan) of 2")
    assert not any("whatever the model does" in warning for warning in found.warnings)
    itself = claim(linear, None, tan_relative=0.4, data_sets={"itself": OtherData(ITEMS, linear.vector())}, items=ITEMS[:2])
    assert sum("itself: its own vector is the claim's vector" in warning for warning in itself.warnings) == 1
    assert "of its own vector" in shown(found, Table).headers
    turned = {"other": OtherData(ITEMS, linear.vector(size=-1.0))}
    with pytest.raises(MeasurementError, match="on other, its own vector steers the other way"):
        claim(linear, None, tan_relative=0.4, data_sets=turned)


def test_answers_in_other_units_are_announced(linear):
    worded = [ContrastItem(f"So {number}?", ("C",), ("H H",)) for number in range(4)]
    assert any("other: its answers" in text for text in claim(linear, data_sets={"other": worded}).warnings)
    alike = claim(linear, contexts={"filled": Context(filler=1)}).warnings
    assert not [text for text in alike if "its answers" in text]


def test_the_base_can_be_another_context(linear):
    found = claim(linear, 0.2, base=Context(option_labels="1/2"), contexts={"small": Context(option_labels="a/b")})
    assert found.details["base"]["slopes"] == pytest.approx(np.full(12, 0.5))
    assert found.estimate == pytest.approx(0.25)
    assert found.details["base"]["context"] == {"option_labels": "1/2"}
    assert found.verdict is Verdict.PASS


def test_a_base_that_does_not_steer_is_an_error_and_not_a_ratio(linear):
    noise = [item("C", "D", number, right=number % 2) for number in range(10)]
    with pytest.raises(
        MeasurementError, match=r"context the vector's steerability is 0 \[-0\.\d+, 0\.\d+\], which cannot be told from 0"
    ):
        claim(linear, items=noise, contexts={"filled": Context(filler=1)})
    turned = [item("C", "D", number, right=1) for number in range(10)]
    with pytest.raises(MeasurementError, match="in the base context the vector steers the other way"):
        claim(linear, items=turned, contexts={"filled": Context(filler=1)})


def test_an_inconclusive_one_says_how_many_items_would_decide(linear):
    items = [item(*pair, number, right=number % 6 == 5) for number, pair in enumerate(PAIRS * 2)]
    contexts = {"numbers": Context(option_labels="1/2")}
    # matching is the second of the pair in one of six, in the base and in the other context: 1/2 slopes are +-.5
    signs = np.array([-1 if number % 6 == 5 else 1 for number in range(24)])
    base, shifted = np.tile(SLOPES, 2) * signs, 0.5 * signs
    retention = round(shifted.mean() / base.mean() - 0.05, 2)
    found = claim(linear, retention, items=items, contexts=contexts)
    assert found.verdict is Verdict.INCONCLUSIVE
    difference = shifted - retention * base
    effect = difference.mean() / difference.std(ddof=1)
    n = next(n for n in range(2, 10_000) if stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, effect * math.sqrt(n)) >= 0.8)
    assert found.items_needed == pytest.approx(n, abs=1)  # the slopes are float32's
    with pytest.raises(SteeringInconclusive):
        assert_generalizes(linear.model, linear.vector(), items, retention=retention, contexts=contexts, multipliers=GRID)


def test_slopes_are_those_of_a_plain_implementation():
    model = builders.random_model("llama")
    vector = builders.random_vector(1)
    # A random model steers at random: the sides are chosen so that every slope is above 0.
    questions = [f"Which of these {number}?\n(A) Slow {number}\n(B) Quick {number}" for number in range(6)]
    given = [ContrastItem(q, ("(A)",), ("(B)",), str(number)) for number, q in enumerate(questions)]
    curve = propensity_curve(model, given, vector, multipliers=GRID)
    items = [
        one if slope > 0 else ContrastItem(one.question, one.not_matching, one.matching, one.id)
        for one, slope in zip(given, curve.slopes, strict=True)
    ]
    context = Context(filler=2, system="Be brief.", option_order="swapped")
    try:
        found = assert_generalizes(model, vector, items, retention=0.01, contexts={"c": context}, multipliers=GRID)
    except SteeringFailure as failure:
        found = failure.evidence
    row = found.details["settings"][0]
    before = "The road runs along the river for a while. A clock hangs on the wall of the station.\n\n"
    put = [
        ContrastItem(
            f"{before}Which of these {number}?\n(A) Quick {number}\n(B) Slow {number}",
            one.not_matching,
            one.matching,
            one.id,
        )
        for number, one in enumerate(items)
    ]
    values = plain.curve(model.hf, model.tokenizer, put, vector.directions, GRID, "after_prompt", system="Be brief.")
    assert row["slopes"] == pytest.approx(plain.slopes(values, GRID), abs=1e-4)


def test_the_message_and_the_report_hold_every_setting(linear):
    other = [item(*pair, number) for number, pair in enumerate(PAIRS[:5])]
    with in_columns(200):
        found = claim(linear, 0.5, contexts={"small": Context(option_labels="a/b")}, data_sets={"other": other}, min_n=5)
    for words in (
        "generalizes: FAIL  least retention of 2 ",
        "promised at least 0.5",
        "(base)  12",
        "small  12  0.125",
        "fail  Context(option_labels='a/b')",
        "other  5",
        "in the worst setting, small:",
        "other: 5 of its 5 items ask a question of the base data too",
    ):
        assert words in re.sub(" {2,}", "  ", found.message)
    report = build_report([found.to_dict()], seed=0, profile="ci", started=0.0)
    jsonschema.validate(report, report_schema())
    assert report["claims"][0]["details"]["settings"][0]["context"] == {"option_labels": "a/b"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, SteerError, "needs contexts or data_sets"),
        ({"retention": None, "data_sets": {"a": ITEMS}}, SteerError, "promises one of retention .* and tan_relative"),
        ({"tan_relative": 0.5, "data_sets": {"a": ITEMS}}, SteerError, "promises one of retention .* and tan_relative"),
        ({"retention": None, "tan_relative": 0.5, "contexts": {"a": Context()}}, SteerError, "move `contexts` to a claim"),
        (
            {"retention": None, "tan_relative": 0.5, "data_sets": {"a": ITEMS}},
            SteerError,
            "the data set's own vector: write `a: {test: F",
        ),
        ({"data_sets": {"a": OtherData(ITEMS, SteeringVector({0: torch.ones(8)}))}}, SteerError, "give its items alone"),
        ({"retention": 0.0, "contexts": {"a": Context()}}, SteerError, "retention must be"),
        ({"retention": math.nan, "contexts": {"a": Context()}}, SteerError, "retention must be"),
        ({"contexts": {"a": Context()}, "data_sets": {"a": ITEMS}}, SteerError, "name of a context and of a data set"),
        ({"data_sets": {"a": ITEMS[:1]}}, DataError, r"has 1 item\(s\); an interval needs at least two"),
        ({"items": ITEMS[:1], "contexts": {"a": Context()}}, DataError, "an interval needs at least two"),
        ({"contexts": {"shots": Context(few_shot=12, examples=ITEMS)}}, DataError, "in shots: item 0: few_shot=12 needs"),
    ],
)
def test_what_cannot_be_measured(linear, arguments, error, message):
    with pytest.raises(error, match=message):
        claim(linear, **arguments)


def test_an_intervention_without_a_slope_is_refused(linear):
    change = custom(lambda hidden, strength, layer: hidden, layers=[0], strength="ignored", name="nothing")
    with pytest.raises(SteerError, match="a slope over multipliers has no meaning"):
        assert_generalizes(linear.model, change, ITEMS, retention=0.5, contexts={"a": Context()}, multipliers=GRID)
