"""Data that says less than it seems: too few items, repeats, twins, clusters, single weights, skewness, low confidence.

The model's slopes are known: an item of (one, other) has the slope c(one) - c(other).
"""

from __future__ import annotations

import json
from dataclasses import replace

import builders
import jsonschema
import numpy as np
import pytest
from evidence import evidence_of, said
from reports import records
from scipy import stats

from pytest_steer import (
    ContrastItem,
    SteerError,
    SteeringFailure,
    SteeringInconclusive,
    TaskItem,
    assert_generalizes,
    assert_holds_in_contexts,
    assert_kl_below,
    assert_leaves_alone,
    assert_not_anti_steered,
    assert_performs_task,
    assert_ppl_delta_below,
    assert_promotes,
    assert_steers,
    assert_steers_at_cost,
    assert_suppresses,
    extract,
)
from pytest_steer.claims.kinds.steers import Steers
from pytest_steer.claims.running import evidence_of as run_claim
from pytest_steer.core.errors import DataError
from pytest_steer.data import as_items
from pytest_steer.prompting import Context
from pytest_steer.report import build_report, claim_table, report_schema
from pytest_steer.stats import mean_bootstrap, mean_t, mean_transformed_t, share, share_of_clusters
from pytest_steer.steering import custom

C = {"up": 1.0, "down": -0.5, "half": 0.5, "low": -20.0}
TEXTS = [f"t{i} down half up w{i} x{i}" for i in range(10)]


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(("Question:", "Answer:", *C), {"Answer:": 2.0}, {}, C)


def item(number, one="up", other="down", **meta):
    return ContrastItem(f"q{number} w{number} v{number}", (one,), (other,), str(number), meta)


def items(count, **more):
    return [item(number, "up" if number % 3 else "half", **more) for number in range(count)]


def of(claim, linear, *data, **arguments):
    return evidence_of(claim, linear.model, linear.vector(), *data, **arguments)


# --- a floor for n ---------------------------------------------------------------------------------------------------------

MEANS = {
    "steers": (assert_steers, lambda n: (items(n),), {"steerability": 0.1}),
    "promotes": (assert_promotes, lambda n: (items(n),), {"nats": 0.01}),
    "suppresses": (assert_suppresses, lambda n: (items(n),), {"nats": 0.01}),
    "generalizes": (
        assert_generalizes,
        lambda n: (items(n),),
        {"retention": 0.5, "contexts": {"filled": Context(filler=1)}},
    ),
    "other data": (
        assert_generalizes,
        lambda _: (items(12),),
        {"retention": 0.5, "data_sets": {"other": [item(number) for number in range(100, 107)]}},
    ),
    "leaves_alone": (assert_leaves_alone, lambda n: ({"other": items(n)},), {"band": 10.0}),
    "steers_at_cost": (assert_steers_at_cost, lambda n: (items(n), TEXTS), {"effect": 0.01, "budget": 0.05}),
    "ppl_delta_below": (assert_ppl_delta_below, lambda n: (TEXTS[:n],), {"limit": 50.0}),
    "kl_below": (assert_kl_below, lambda n: (TEXTS[:n],), {"limit": 50.0}),
    "kl_below of items": (assert_kl_below, lambda n: (items(n),), {"limit": 50.0}),
    "holds_in_contexts": (
        assert_holds_in_contexts,
        lambda n: (items(n + 4),),
        {"steerability": 0.1, "contexts": {"filler": [1]}, "batch": 4, "max_contexts": 2},
    ),
}


@pytest.mark.parametrize("name", MEANS)
def test_a_mean_over_seven_is_not_judged_unless_the_claim_says_so(linear, name):
    claim, data, promised = MEANS[name]
    found = of(claim, linear, *data(7), **promised)
    assert (found.verdict, found.min_n) == ("inconclusive", 8)
    assert found.estimate is not None
    assert (found.p_pass, found.p_fail) == (1.0, 1.0)
    assert said(found, "n = 7 is below min_n 8: so few")
    assert f"  not enough evidence: measure at least 8 {found.unit}" in found.message
    allowed = of(claim, linear, *data(7), **promised, min_n=2)
    assert (allowed.verdict, allowed.min_n) == ("pass", 2)
    assert said(allowed, "min_n 2 lets n = 7 decide, where 8 is usual")
    assert (allowed.estimate, allowed.interval) == (found.estimate, found.interval)
    if name != "other data":
        assert of(claim, linear, *data(8), **promised).verdict == "pass"


def test_two_items_of_one_value_prove_nothing(linear):
    found = of(assert_steers, linear, [item(0), item(1)], steerability=0.1)
    assert (found.verdict, found.interval) == ("inconclusive", (1.5, 1.5))
    assert found.message.count("n = 2 is below min_n 8") == 1
    assert "bounds by t at 0.95 each side: n = 2 is below min_n 8" in found.message


def test_a_share_has_a_floor_only_where_one_is_given(linear):
    claim = {"share": 0.9}
    assert of(assert_not_anti_steered, linear, items(4), **claim).verdict == "pass"
    found = of(assert_not_anti_steered, linear, items(4), **claim, min_n=5)
    assert (found.verdict, found.min_n) == ("inconclusive", 5)
    tasks = [TaskItem(f"x{number}", "up") for number in range(6)]
    assert of(assert_performs_task, linear, tasks, accuracy=0.05, positions="all").min_n is None


def test_a_cost_over_few_texts_does_not_refute(linear):
    direction = 4.0 * linear.vector().directions[0]
    fixed = custom(lambda hidden, s, layer: hidden + s.sign() * direction, layers=[0], strength="ignored", name="adding")
    given = (linear.model, fixed, items(12))
    with pytest.raises(SteeringFailure):
        assert_steers_at_cost(*given, TEXTS[:8], effect=0.1, budget=0.05)
    with pytest.raises(SteeringInconclusive) as raised:
        assert_steers_at_cost(*given, TEXTS[:7], effect=0.1, budget=0.05)
    assert said(raised.value.evidence, "n = 7 is below min_n 8: so few texts")


@pytest.mark.parametrize(("min_n", "reason"), [(1, "at least 2"), (2.5, "a whole number"), ("8", "a whole number")])
def test_a_floor_is_a_whole_number_from_two_on(linear, min_n, reason):
    with pytest.raises(SteerError, match=f"min_n must be {reason}"):
        assert_steers(linear.model, linear.vector(), items(8), steerability=0.1, min_n=min_n)


def test_rounds_begin_at_the_floor(linear):
    found = of(assert_steers, linear, items(40), steerability=0.1, sequential=True, min_n=20)
    assert found.details["sequential"]["looks"] == [20]
    assert of(assert_steers, linear, items(40), steerability=0.1, sequential=True).details["sequential"]["looks"][0] == 8


# --- one item is one item --------------------------------------------------------------------------------------------------


def rewritten(one):
    """The same item with other white space and other Unicode forms of nothing."""
    return ContrastItem(f" {one.question.replace(' ', '  ')}\n", (one.matching[0] + " ",), one.not_matching, one.id + "b")


def test_repeats_are_left_out_before_measuring(linear):
    once = items(12)
    twice = [*once, *map(rewritten, once)]
    for claim, more in (
        (assert_steers, {"steerability": 0.1}),
        (assert_not_anti_steered, {"share": 0.5}),
        (assert_generalizes, {"retention": 0.5, "contexts": {"filled": Context(filler=1)}}),
    ):
        found, alone = (of(claim, linear, data, **more) for data in (twice, once))
        assert (found.n, found.estimate, found.interval) == (12, alone.estimate, alone.interval)
        assert len(found.items) == 12
        assert said(found, "12 of these 24 items repeat another one (white space aside) and are left out: 12 are distinct")
    cost = of(assert_steers_at_cost, linear, twice, TEXTS * 2, effect=0.01, budget=0.05)
    assert (cost.n, cost.own.neutral.n) == (12, 10)
    assert said(cost, "12 of these 24 items repeat")
    assert said(cost, "10 of these 20 texts repeat")
    searched = of(
        assert_holds_in_contexts, linear, twice, steerability=0.1, contexts={"filler": [1]}, batch=4, max_contexts=2
    )
    assert searched.n == 8


def test_repeated_texts_and_pairs_are_left_out(linear):
    with pytest.raises(DataError, match=r"has 1 text\(s\); an interval needs at least two"):
        assert_ppl_delta_below(linear.model, linear.vector(), ["down half up", " down  half up "] * 50, limit=50.0)
    found = of(assert_ppl_delta_below, linear, TEXTS * 3, limit=50.0)
    assert (found.n, len(found.details["texts"])) == (10, 10)
    assert said(found, "20 of these 30 texts repeat another one")
    tasks = [TaskItem(f"x{number}", "up") for number in range(12)]
    alone = of(assert_performs_task, linear, tasks, accuracy=0.05, positions="all")
    found = of(assert_performs_task, linear, [*tasks, TaskItem(" x3", "up ")], accuracy=0.05, positions="all")
    assert (found.n, found.interval) == (12, alone.interval)
    assert said(found, "1 of these 13 tasks repeat another one")


def test_twins_but_for_case_and_near_twins_are_warned_about(linear):
    long = [ContrastItem(f"{'word ' * 20}q{i} w{i} v{i}", ("up",), ("down",), str(i)) for i in range(8)]
    cased = [*items(8), replace(items(8)[2], question="Q2 W2 V2", id="8")]
    found = of(assert_steers, linear, cased, steerability=0.1)
    assert found.n == 9
    assert said(found, "2 of these 9 items differ in nothing but case from another one (such as 'q2 w2 v2')")
    near = [*long, replace(long[0], question=long[0].question + " indeed", id="8")]
    found = of(assert_steers, linear, near, steerability=0.1)
    assert said(found, "2 of these 9 items share nine words of ten with another one")
    clean = of(assert_steers, linear, items(9), steerability=0.1)
    assert not said(clean, "another one")


@pytest.mark.parametrize("change", [str.upper, lambda text: f"  {text}\n", lambda text: f"Answer this: {text}"])
def test_test_items_are_found_in_the_training_data_whatever_they_are_put_in(change):
    model = builders.random_model("llama")
    trained = items(8)
    asked = [replace(one, question=change(one.question)) for one in trained[:3]] + [item(n) for n in range(20, 29)]
    with pytest.raises(SteeringInconclusive) as raised:
        assert_steers(model, extract.caa(model, trained, layer=1), asked, steerability=0.0, min_n=50, multipliers=(0.0, 1.0))
    assert said(raised.value.evidence, "3 of these 12 items ask a question that the vector was extracted from")


# --- what belongs together -------------------------------------------------------------------------------------------------

LABELS = np.repeat(np.arange(12), 4)
TOGETHER = [item(i, "up" if (i // 4) % 2 else "half" if i % 2 else "down", "down" if i % 2 or (i // 4) % 2 else "half", about=f"topic {i // 4}") for i in range(48)]  # fmt: skip


def test_intervals_are_over_clusters_and_n_counts_them(linear):
    slopes = np.array([C[one.matching[0]] - C[one.not_matching[0]] for one in TOGETHER])
    for interval, inferred in (
        ("t", mean_t(slopes, clusters=LABELS)),
        ("bootstrap", mean_bootstrap(slopes, clusters=LABELS)),
        ("transformed_t", mean_transformed_t(slopes, clusters=LABELS)),
    ):
        found = of(assert_steers, linear, TOGETHER, steerability=0.5, cluster="about", interval=interval)
        assert found.interval == pytest.approx((inferred.low, inferred.high), abs=1e-6)
        assert (found.n, found.unit, found.interval_method) == (12, "clusters", inferred.method)
        assert found.details["clusters"] == {"key": "about", "items": 48, "largest": 4}
        assert "  n = 12 clusters (48 items), bounds by clustered" in found.message
        jsonschema.validate(build_report([found.to_dict()], seed=0, profile="ci", started=0.0), report_schema())
    wrong = of(assert_not_anti_steered, linear, TOGETHER, share=0.5, cluster="about")
    inferred = share_of_clusters(slopes <= 0, LABELS)
    assert wrong.interval == pytest.approx((inferred.low, inferred.high))
    assert wrong.n == 12
    cost = of(assert_steers_at_cost, linear, TOGETHER, TEXTS, effect=0.01, budget=0.05, cluster="about")
    at = cost.details["multiplier_at_cost"]
    effect = mean_t(slopes * at, clusters=LABELS)
    assert cost.interval == pytest.approx((effect.low, effect.high), abs=1e-5)
    assert (cost.n, cost.details["clusters"]["items"]) == (12, 48)
    assert cost.compared.at_cost.interval == pytest.approx(cost.interval)
    ratio = of(assert_generalizes, linear, TOGETHER, retention=0.5, contexts={"filled": Context(filler=1)}, cluster="about")
    means = slopes.reshape(12, 4).mean(1)
    base = stats.ttest_1samp(means, 0, alternative="greater").confidence_interval(0.95)
    assert ratio.details["base"]["interval"][0] == pytest.approx(base.low, abs=1e-5)
    assert (ratio.n, ratio.estimate) == (12, pytest.approx(1.0))


def test_a_search_keeps_clusters_whole(linear):
    found = of(
        assert_holds_in_contexts, linear, TOGETHER, steerability=0.1, contexts={"filler": [1]}, batch=6, max_contexts=2,
        cluster="about",
    )  # fmt: skip
    batch = {int(one) // 4 for one in found.details["batch"]}
    judged = {int(one.id) // 4 for one in found.items}
    assert not batch & judged
    assert (len(found.details["batch"]), found.n, len(found.items)) == (8, 10, 40)


def test_a_cluster_of_one_item_each_changes_nothing(linear):
    alone = of(assert_steers, linear, items(12), steerability=0.1)
    named = of(
        assert_steers, linear, [replace(one, meta={"about": one.id}) for one in items(12)], steerability=0.1, cluster="about"
    )
    assert (named.interval, named.n, named.unit) == (alone.interval, 12, "items")


@pytest.mark.parametrize(
    ("data", "arguments", "error", "message"),
    [
        (TOGETHER, {"cluster": "abuot"}, DataError, "none of its 48 items has the key 'abuot'.*did you mean 'about'"),
        ([*TOGETHER, item(99)], {"cluster": "about"}, DataError, "item 99 has no 'about', which cluster names"),
        ([*TOGETHER, item(99, about=[1])], {"cluster": "about"}, DataError, r"item 99: 'about' is \[1\]"),
        (
            [replace(one, meta={"about": 1}) for one in TOGETHER],
            {"cluster": "about"},
            DataError,
            "all items are one cluster",
        ),
        (items(12), {"cluster": "about"}, DataError, "none of its 12 items has the key 'about'.*there are none"),
        (TOGETHER, {"cluster": "about", "sequential": True}, SteerError, "12 clusters of items that belong together"),
    ],
)
def test_clusters_that_cannot_be_used(linear, data, arguments, error, message):
    with pytest.raises(error, match=message):
        assert_steers(linear.model, linear.vector(), data, steerability=0.1, **arguments)


@pytest.mark.parametrize("line", ["\n", " "])
def test_items_that_differ_in_swapped_options_are_clustered(line):
    model, vector = builders.random_model("llama"), builders.random_vector(1)

    def lettered(number, first, second, letter, other):
        return ContrastItem(f"Case {number}?{line}(A) {first}{line}(B) {second}", (letter,), (other,), f"{number}{letter}")

    pairs = [(f"tea{n}", f"ice{n}") for n in range(9)]
    data = [lettered(n, *pair, "(A)", "(B)") for n, pair in enumerate(pairs)]
    data += [lettered(n, *pair[::-1], "(B)", "(A)") for n, pair in enumerate(pairs[:4])]
    found = run_claim(Steers(vector, as_items(data), steerability=0.0, multipliers=(-1.0, 0.0, 1.0)), model)
    assert (found.n, found.unit, len(found.items)) == (9, "clusters", 13)
    assert said(found, "13 items are counted as 9 clusters: some ask one question with its options in another order")
    slopes = np.array([one.slope for one in found.items])
    inferred = mean_t(slopes, clusters=[*range(9), *range(4)])
    assert found.interval == pytest.approx((inferred.low, inferred.high))


# --- beside the verdict ----------------------------------------------------------------------------------------------------


def test_the_share_of_items_that_keep_the_promise_is_beside_every_mean(linear):
    found = of(assert_steers, linear, items(12), steerability=1.2)  # slopes of 1.5, and 1 of every third
    exact = share(8, 12)
    assert found.details["on_promised_side"] == {
        "items": 8, "of": 12, "share": pytest.approx(8 / 12), "interval": [pytest.approx(exact.low), pytest.approx(exact.high)],
    }  # fmt: skip
    assert f"  8 of 12 keep the promise by themselves: 67% [{exact.low:.0%}, {exact.high:.0%}]" in found.message
    below = of(assert_ppl_delta_below, linear, TEXTS, limit=50.0)
    assert below.details["on_promised_side"]["items"] == 10
    assert "on_promised_side" in of(assert_steers_at_cost, linear, items(12), TEXTS, effect=0.01, budget=0.05).details
    assert "on_promised_side" not in of(assert_not_anti_steered, linear, items(12), share=0.5).details


def rows_of(slopes, sign):
    """Items of these slopes."""
    made = {1.5: ("up", "down"), 1.0: ("half", "down"), 0.5: ("up", "half")}
    return [item(number, *made[slope][::sign]) for number, slope in enumerate(slopes)]


@pytest.mark.parametrize(("sign", "verdict"), [(1, "pass"), (-1, "fail")])
def test_an_item_that_decides_is_named(linear, sign, verdict):
    slopes = np.array([1.0, 0.5] * 8 + [1.5])
    bounds = np.array([mean_t(np.delete(slopes, index)).low for index in range(17)])
    one, *others = np.sort(bounds)
    assert bounds.argmin() == 16
    found = of(assert_steers, linear, rows_of(slopes, sign), steerability=sign * (one + others[0]) / 2)
    assert found.verdict == verdict
    assert found.warnings == [f"one of them decides: without item 16, it would not {verdict}"]
    # Between the bounds without single items and the one with all of them, many decide.
    at = mean_t(slopes).low - 1e-4
    assert np.sum(bounds < at) > 3
    close = of(assert_steers, linear, rows_of(slopes, sign), steerability=sign * at)
    words = f"the verdict is close: without any one of {np.sum(bounds < at)} of the 17 items, it would not {verdict}"
    assert close.warnings == [words]
    assert not of(assert_steers, linear, rows_of(slopes, sign), steerability=sign * 0.1 if sign > 0 else 5).warnings


def test_a_ratio_is_looked_at_as_the_difference_that_it_tests(linear):
    data = rows_of([1.0, 0.5] * 8 + [1.5], 1)
    found = of(assert_generalizes, linear, data, retention=0.9, contexts={"filled": Context(filler=1)})
    assert found.details["on_promised_side"]["items"] == 17
    one = of(assert_generalizes, linear, rows_of([1.0] * 9, 1), retention=0.9, contexts={"filled": Context(filler=1)})
    assert said(one, "all 9 values are equal")


def test_the_other_intervals_look_at_the_extremes(linear):
    slopes = np.array([0.5] * 11 + [1.5] * 4)
    at = mean_bootstrap(slopes).low
    assert at > 0.5
    found = of(assert_steers, linear, rows_of(slopes, 1), steerability=at - 1e-6, interval="bootstrap")
    assert said(found, "without item 11, it would not pass")


def test_values_that_are_all_equal_are_said_to_be(linear):
    found = of(assert_steers, linear, [item(n) for n in range(10)], steerability=0.1)
    assert found.verdict == "pass"
    assert said(found, "all 10 values are equal, so the interval has no width; up to 26% of all items could be others")
    assert pytest.approx(0.259, abs=1e-3) == 1 - 0.05 ** (1 / 10)


def test_skewness_that_puts_t_out_is_said(linear):
    data = [item(n, "up", "down") for n in range(28)] + [item(28, "low", "up"), item(29, "half", "up")]
    found = of(assert_steers, linear, data, steerability=-5)
    assert found.verdict == "pass"
    assert said(found, "the values are skewed (-5")
    assert said(found, "with n = 30, a pass that should be wrong in 0.05 of cases is wrong in about 0.15")
    assert not said(of(assert_steers, linear, data, steerability=-5, interval="transformed_t"), "skewed")
    # The long tail is on the side of the other bound.
    assert not said(of(assert_steers, linear, data, steerability=5), "skewed")


def test_a_verdict_at_low_confidence_says_so(linear):
    found = of(assert_steers, linear, items(12), steerability=0.1, confidence=0.51)
    assert found.message.startswith("steers: PASS at 51 %  steerability")
    record = found.to_dict()
    assert (record["verdict"], record["confidence"]) == ("pass", 0.51)
    assert claim_table(records([record])).splitlines()[-1].endswith("  at 51 % confidence")
    usual = of(assert_steers, linear, items(12), steerability=0.1, confidence=0.9)
    assert usual.message.startswith("steers: PASS  steerability")
    assert claim_table(records([usual.to_dict()])).splitlines()[-1].startswith("  pass  ")
    json.dumps(record)


# --- ids -------------------------------------------------------------------------------------------------------------------


def test_items_that_share_an_id_are_a_warning(linear):
    same = [replace(one, id="x") if number in (2, 5, 7) else one for number, one in enumerate(items(10))]
    for data, words in (
        (same, ["3 of these 10 items share their id with another one (such as 'x', of 3)"]),
        (items(10), []),
    ):
        found = of(assert_steers, linear, data, steerability=0.1)
        assert [one.split(", so")[0] for one in found.warnings if "share their id" in one] == words
