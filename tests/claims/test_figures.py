"""The figures of each kind of claim, from evidence that was measured: what is drawn is what the record says."""

from __future__ import annotations

import builders
import pytest
from evidence import evidence_of, shown

from pytest_steer import (
    ContrastItem,
    Question,
    TaskItem,
    assert_beats,
    assert_capability_delta_below,
    assert_generalizes,
    assert_holds_in_contexts,
    assert_hooks_are_sound,
    assert_kl_below,
    assert_leaves_alone,
    assert_not_anti_steered,
    assert_performs_task,
    assert_ppl_delta_below,
    assert_promotes,
    assert_steers,
    assert_steers_at_cost,
    assert_suppresses,
)
from pytest_steer.claims import kind_of
from pytest_steer.claims.kinds.baselines import Baseline
from pytest_steer.core.block import Curve, Distribution, EffectAgainstCost, Intervals, Items
from pytest_steer.core.registry import names
from pytest_steer.prompting import Context

ITEMS = [ContrastItem(f"Question {n} about {'abc'[n % 3] * (n + 1)}?", ("(B)",), ("(A)",), str(n)) for n in range(12)]
OTHERS = [ContrastItem(f"Other {'xyz'[n % 3] * (n + 2)} thing?", ("(B)",), ("(A)",), str(n)) for n in range(12)]
TEXTS = [f"Text {'abcd'[n % 4] * (n + 1)} goes on, and then it ends here." for n in range(12)]
CURVE, SLOPES = (Curve, "Propensity curve"), (Distribution, "Slopes of the items")


MEASURED = {
    "steers": lambda given: evidence_of(assert_steers, *given, ITEMS, steerability=0.1),
    "not_anti_steered": lambda given: evidence_of(assert_not_anti_steered, *given, ITEMS, share=0.5, by="effect"),
    "ppl_delta_below": lambda given: evidence_of(assert_ppl_delta_below, *given, TEXTS, limit=1.0),
    "kl_below": lambda given: evidence_of(assert_kl_below, *given, TEXTS, limit=1.0, curve=True),
    "generalizes": lambda given: evidence_of(
        assert_generalizes, *given, ITEMS, retention=0.5, contexts={"polite": Context(system="Be polite.")},
        data_sets={"others": OTHERS},
    ),
    "holds_in_contexts": lambda given: evidence_of(
        assert_holds_in_contexts, *given, ITEMS, steerability=-50, contexts={"system": ["Be polite.", "Be rude."]}, min_n=2
    ),
    "leaves_alone": lambda given: evidence_of(assert_leaves_alone, *given, {"others": OTHERS, "more": ITEMS}, band=0.5),
    "steers_at_cost": lambda given: evidence_of(assert_steers_at_cost, *given, ITEMS, TEXTS, effect=0.1, budget=0.05),
    "promotes": lambda given: evidence_of(assert_promotes, *given, ITEMS, nats=0.1),
    "suppresses": lambda given: evidence_of(assert_suppresses, *given, ITEMS, nats=0.1),
    "beats": lambda given: evidence_of(assert_beats, *given, ITEMS, baseline=Baseline.random(3)),
    "capability_delta_below": lambda given: evidence_of(
        assert_capability_delta_below, *given, [Question(f"q{n}", ("yes", "no"), n % 2) for n in range(12)], limit=0.5
    ),
    "performs_task": lambda given: evidence_of(
        assert_performs_task, *given, [TaskItem(f"in{n}", f"out{n}") for n in range(12)], accuracy=0.1
    ),
    "hooks_are_sound": lambda given: evidence_of(assert_hooks_are_sound, *given),
}  # fmt: skip


class Measured(dict):
    """Kind of claim to its evidence, each measured once, on the same small model."""

    def __missing__(self, check):
        self[check] = MEASURED[check]((builders.random_model("llama"), builders.random_vector(1)))
        return self[check]


@pytest.fixture(scope="module")
def measured():
    return Measured()


FIGURES = {
    "steers": [CURVE, SLOPES],
    "not_anti_steered": [CURVE, (Distribution, "Effects on the items")],
    "ppl_delta_below": [(Distribution, "What each text loses")],
    "kl_below": [(Curve, "Divergence over the multiplier"), (Distribution, "Divergence by text")],
    "generalizes": [(Intervals, "Contexts and data sets"), CURVE, SLOPES],
    "holds_in_contexts": [(Intervals, "Contexts"), CURVE, SLOPES],
    "leaves_alone": [(Intervals, "Other behaviours"), CURVE, (Distribution, "Effects on the items")],
    "steers_at_cost": [(EffectAgainstCost, "Effect against cost"), CURVE, (Distribution, "Effects on the items")],
    "promotes": [(Curve, "Both sides"), SLOPES],
    "suppresses": [(Curve, "Both sides"), SLOPES],
    "beats": [(Intervals, "What the vector does more than each baseline"), CURVE, SLOPES],
    "capability_delta_below": [(Distribution, "What each question loses or gains")],
    "performs_task": [(Intervals, "Accuracy")],
    "hooks_are_sound": [],
}


def figures_of(evidence):
    return [one for one in evidence.blocks if isinstance(one, (Curve, Distribution, Intervals, EffectAgainstCost))]


@pytest.mark.parametrize("check", FIGURES)
def test_every_kind_says_which_it_has(measured, check):
    assert [(type(one), one.title) for one in figures_of(measured[check])] == FIGURES[check]


def test_no_kind_is_forgotten():
    ours = {name for name in names("claim") if kind_of(name).declared.__module__.startswith("pytest_steer.")}
    # The tests of claims about replies have a model that writes known ones.
    about_replies = {"generates", "stays_fluent", "no_cliff", "drifts_less", "calls_tool"}
    assert ours <= FIGURES.keys() | about_replies | {"no_regression"}


def drawn(measured, check, place=0):
    found = measured[check]
    return found.to_dict(), found.details, figures_of(found)[place]


def test_curves(measured):
    record, _, figure = drawn(measured, "steers")
    (line,) = figure.series
    assert list(line.points) == list(zip(record["multipliers"], record["curve"], strict=True))
    assert [list(one) for one in line.band] == record["curve_interval"]
    assert figure.marked == [(1.0, "deployed")]
    _, details, figure = drawn(measured, "promotes")
    assert [[y for _, y in line.points] for line in figure.series] == [
        details["sides"][side]["at"] for side in ("matching", "not_matching")
    ]
    record, details, figure = drawn(measured, "kl_below")
    assert list(figure.series[0].points) == sorted({0.0: 0.0, **dict(map(tuple, details["curve"]))}.items())
    assert figure.promised == [record["threshold"]]


def test_distributions(measured):
    record, details, figure = drawn(measured, "steers", 1)
    assert figure.values == [item["slope"] for item in record["items"]]
    assert figure.wrong == "below"
    assert f"{sum(value <= 0 for value in figure.values) / 12:.0%} of 12 items are anti-steerable" in figure.about
    assert figure.marked == [(details["steerability"], "mean"), (0.1, "promised")]
    assert drawn(measured, "not_anti_steered", 1)[2].values == measured["not_anti_steered"].details["effects"]
    _, details, figure = drawn(measured, "ppl_delta_below")
    assert figure.values == [one["nll_steered"] - one["nll_base"] for one in details["texts"]]
    _, details, figure = drawn(measured, "kl_below", 1)
    assert figure.values == [one["kl"] for one in details["texts"]]
    _, details, figure = drawn(measured, "capability_delta_below")
    assert figure.values == [one["probability"][1] - one["probability"][0] for one in details["questions"]]


def test_intervals(measured):
    for check, found, key in (
        ("generalizes", "settings", "retention"), ("leaves_alone", "behaviours", "estimate"), ("beats", "rivals", "difference")
    ):  # fmt: skip
        _, details, figure = drawn(measured, check)
        assert {(row.name, row.estimate, row.interval) for row in figure.rows} == {
            (one["name"], one[key], tuple(one["interval"])) for one in details[found]
        }
    assert drawn(measured, "leaves_alone")[2].promised == [-0.5, 0.5]
    record, details, figure = drawn(measured, "holds_in_contexts")
    judged = [row for row in figure.rows if row.name.startswith("judged: ")]
    assert [(row.estimate, row.interval) for row in judged] == [
        (one["estimate"], tuple(one["interval"])) for one in details["judged"]
    ]
    searched = figure.rows[len(judged) :]
    assert [row.estimate for row in searched] == sorted(one["estimate"] for one in details["contexts"])
    assert {row.interval for row in searched} == {(None, None)}  # no interval over contexts of a search
    record, details, figure = drawn(measured, "performs_task")
    assert figure.rows[0].interval == tuple(record["interval"])
    assert [row.estimate for row in figure.rows[1:]] == [
        one["first_token"] for one in details["accuracies"] if one["first_token"] is not None
    ]


def test_effect_against_cost(measured):
    _, details, figure = drawn(measured, "steers_at_cost")
    points = {point.multiplier: (point.effect, point.cost) for point in figure.points}
    assert points[0.0] == (0.0, 0.0)
    assert points[details["multiplier_at_cost"]] == (details["mean_effect"], details["cost"])
    assert figure.budget == 0.05


def test_the_worst_items_stand_first(measured):
    for check in ("steers", "generalizes"):
        found = measured[check]
        listed = shown(found, Items)
        assert [one.value for one in listed.items] == sorted(item.slope for item in found.items)
        slope_of = {item.id: item.slope for item in found.items}
        assert all(slope_of[one.id] == one.value for one in listed.items)
    beaten = shown(measured["beats"], Items).items
    assert [one.value for one in beaten] == sorted(item.difference for item in measured["beats"].items)
    moved = [abs(one.value) for one in shown(measured["leaves_alone"], Items).items]
    assert moved == sorted(moved, reverse=True)


def test_a_vector_that_lowers_has_its_wrong_side_above_zero():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    found = evidence_of(assert_steers, model, vector, ITEMS, steerability=0.1, direction="lowers")
    figure = shown(found, Distribution)
    assert figure.wrong == "above"
    assert f"{sum(value >= 0 for value in figure.values) / 12:.0%} of 12 items do not fall" in figure.about
    assert (-0.1, "promised") in figure.marked
    values = [one.value for one in shown(found, Items).items]
    assert values == sorted(values, reverse=True)
