"""Random controls: slopes in closed form, the rank among them, and what they are shown beside."""

from __future__ import annotations

import builders
import numpy as np
import pytest
import torch

from pytest_steer import (
    Context,
    ContrastItem,
    SteeringFailure,
    SteeringVector,
    TaskItem,
    assert_beats,
    assert_generalizes,
    assert_holds_in_contexts,
    assert_kl_below,
    assert_not_anti_steered,
    assert_performs_task,
    assert_promotes,
    assert_steers,
    assert_suppresses,
    extract,
    kl_divergence,
    task_accuracy,
)
from pytest_steer.core.errors import SteerError
from pytest_steer.core.evidence import Verdict
from pytest_steer.measures import Subject, kl_at_answers, random_controls
from pytest_steer.steering import ablate, add_keeping_norm

WORDS = ("Question:", "Answer:", "up", "down", "much")
B, C = {"up": 0.5, "down": -0.25}, {"up": 1.0, "down": -0.5, "much": 1.0}
PAIRS = [("up", "down"), ("much", "down"), ("up", "much")]
ITEMS = [ContrastItem(" ".join(["much"] * (n + 1)), (PAIRS[n % 3][0],), (PAIRS[n % 3][1],), str(n)) for n in range(9)]
GRID = [0.0, 1.0]


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(WORDS, {"Answer:": 2.0, "<unk>": 1.0}, B, C)


def evidence(check, *arguments, **more):
    try:
        return check(*arguments, **({} if check is assert_kl_below else {"multipliers": GRID}), **more)
    except SteeringFailure as failure:
        return failure.evidence


def each(direction):
    """v0 (b(matching) - b(other)) + v1 (c(matching) - c(other)) of the three pairs."""
    return [
        direction[0] * (B.get(one, 0.0) - B.get(other, 0.0)) + direction[1] * (C[one] - C[other]) for one, other in PAIRS
    ]


def slope(direction):
    """Of the mean item."""
    return float(np.mean(each(direction)))


def test_the_vector_is_ranked_among_random_directions_of_its_norm(linear):
    vector = linear.vector(size=0.5)
    found = evidence(assert_steers, linear.model, vector, ITEMS, steerability=9, controls=7, seed=3)
    controls = found.details["controls"]
    drawn = [extract.random_direction(vector, seed=3 + number).directions[0].tolist() for number in range(7)]
    assert all(np.linalg.norm(direction) == pytest.approx(0.5) for direction in drawn)
    assert controls["steerabilities"] == pytest.approx([slope(direction) for direction in drawn], abs=1e-6)
    at_least = sum(slope(direction) >= slope([0.0, 0.5]) for direction in drawn)
    assert controls["p"] == (1 + at_least) / 8
    assert controls["steerability"] == pytest.approx(slope([0.0, 0.5]))
    assert f"is number {1 + at_least} of 8 (p = {controls['p']:.3g})" in found.message
    assert "controls at multipliers 0, 1: 7 random directions of equal norm, on 9 items, have steerability" in found.message
    same = evidence(assert_not_anti_steered, linear.model, vector, ITEMS, share=0.5, controls=7, seed=3)
    assert same.details["controls"] == controls


def test_where_no_effect_can_be_told_from_zero_there_are_controls(linear):
    mixed = [*ITEMS[3:6], *(ContrastItem("much", one.not_matching, one.matching, f"turned {one.id}") for one in ITEMS[:3])]
    none = evidence(assert_steers, linear.model, linear.vector(), mixed, steerability=0.5, min_n=2)
    drawn = [extract.random_direction(linear.vector(), seed=number).directions[0].tolist() for number in range(19)]
    signs = [1.0] * 3 + [-1.0] * 3
    assert none.details["controls"]["steerabilities"] == pytest.approx(
        [float(np.mean([sign * one for sign, one in zip(signs, each(direction) * 2, strict=True)])) for direction in drawn],
        abs=1e-6,
    )
    assert "controls at multipliers 0, 1: 19 random directions" in none.message
    assert "controls" not in evidence(assert_steers, linear.model, linear.vector(), ITEMS, steerability=9).details
    left_out = evidence(assert_steers, linear.model, linear.vector(), mixed, steerability=0.5, min_n=2, controls=0)
    assert "controls" not in left_out.details
    assert "`controls: 19` measures as many random directions" in left_out.message
    kept = evidence(assert_steers, linear.model, add_keeping_norm(linear.vector()), ITEMS, steerability=9, controls=2)
    assert kept.details["controls"]["count"] == 2
    with pytest.raises(SteerError, match="controls: 'ablate' adds no vector"):
        random_controls(linear.model, Subject(vector=ablate(linear.vector(), layers=[0])), None, 2, seed=0)


def test_controls_of_no_effect_are_on_at_most_32_items_spread_evenly(linear):
    none = evidence(assert_steers, linear.model, linear.vector(), half_turned(58), steerability=0.5)
    controls, used = none.details["controls"], range(0, 58, 2)
    assert controls["n"] == len(used) == 29
    drawn = [extract.random_direction(linear.vector(), seed=number).directions[0].tolist() for number in range(19)]
    due = [float(np.mean([each(direction)[at % 3] * (1 if at % 4 < 2 else -1) for at in used])) for direction in drawn]
    assert controls["steerabilities"] == pytest.approx(due, abs=1e-6)


def half_turned(count):
    """Half of the items have the opposite effect, so the mean is about 0 and no direction has an effect."""
    items = []
    for number in range(count):
        one = PAIRS[number % 3]
        answers = one if number % 4 < 2 else one[::-1]
        items.append(ContrastItem(" ".join(["much"] * (number + 1)), (answers[0],), (answers[1],), str(number)))
    return items


def slopes_of(items, vector, count=19):
    """The mean slope of each random direction of the vector's norm on some items."""
    drawn = [extract.random_direction(vector, seed=number).directions[0].tolist() for number in range(count)]
    pairs = [(item.matching[0], item.not_matching[0]) for item in items]
    return [
        float(np.mean([v[0] * (B.get(one, 0.0) - B.get(other, 0.0)) + v[1] * (C[one] - C[other]) for one, other in pairs]))
        for v in drawn
    ]


def test_every_claim_about_items_that_shows_no_effect_has_controls(linear):
    mixed = half_turned(24)
    base = evidence(assert_steers, linear.model, linear.vector(), mixed, steerability=0.5).details["controls"]
    for check, promise in (
        (assert_not_anti_steered, {"share": 0.1}),
        (assert_promotes, {"nats": 0.5}),
        (assert_suppresses, {"nats": 0.5}),
    ):
        found = evidence(check, linear.model, linear.vector(), mixed, **promise)
        assert found.details["controls"] == base
        assert "controls at multipliers 0, 1: 19 random directions" in found.message
        assert "controls" not in evidence(check, linear.model, linear.vector(), ITEMS, **promise).details


def test_a_search_of_contexts_without_an_effect_has_controls_in_the_context_that_decides(linear):
    def found(items):
        contexts, promise = {"distractor": [None, "much {question}"]}, {"steerability": 9, "batch": 8, "max_contexts": 3}
        return evidence(assert_holds_in_contexts, linear.model, linear.vector(), items, contexts=contexts, **promise)

    none, mixed = found(half_turned(24)), half_turned(24)
    fresh = [mixed[int(item.id)] for item in none.items]
    assert len(fresh) == 16
    assert none.details["controls"]["steerabilities"] == pytest.approx(slopes_of(fresh, linear.vector()), abs=1e-6)
    assert "controls at multipliers 0, 1: 19 random directions of equal norm, on 16 items" in none.message
    steered = found([ContrastItem("much " * (n + 1), ("up",), ("down",), str(n)) for n in range(12)])
    assert steered.verdict is not Verdict.PASS
    assert "controls" not in steered.details


def test_a_setting_without_an_effect_has_controls_there(linear):
    """In the base the vector steers, so the base has none."""
    vector, mixed = linear.vector(), half_turned(40)
    none = evidence(assert_generalizes, linear.model, vector, ITEMS, retention=0.5, data_sets={"mixed": mixed})
    assert none.details["deployed"]["moves"] == "up"
    controls = none.details["controls"]
    assert controls["n"] == 20
    assert controls["steerabilities"] == pytest.approx(slopes_of(mixed[::2], vector), abs=1e-6)
    assert "controls in mixed at multipliers 0, 1: 19 random directions" in none.message
    less = evidence(
        assert_generalizes, linear.model, vector, ITEMS, retention=2, contexts={"plain": Context(template="plain")}
    )
    assert less.verdict is Verdict.FAIL
    assert "controls" not in less.details


def test_no_difference_to_a_baseline_has_controls(linear):
    def found(baseline, items=ITEMS):
        try:
            return assert_beats(linear.model, linear.vector(), items, baseline=baseline)
        except SteeringFailure as failure:
            return failure.evidence

    equal = found(linear.vector())
    assert equal.details["controls"]["steerabilities"] == pytest.approx(slopes_of(ITEMS, linear.vector()), abs=1e-6)
    assert "controls at multipliers 0, 1: 19 random directions of equal norm, on 9 items" in equal.message
    # Twice the vector is proven to do more, and random directions are the control themselves.
    for lost in (found(linear.vector(size=2.0)), found("random", half_turned(24))):
        assert lost.verdict is not Verdict.PASS
        assert "controls" not in lost.details


@pytest.mark.parametrize("on", ["texts", "items"])
def test_a_divergence_that_cannot_be_told_from_rounding_has_controls(linear, on):
    """Along an axis that the unembedding does not read nothing moves; a random direction has a part along those that it reads."""
    blind = SteeringVector({0: torch.eye(8)[5]})
    data = [" ".join(["much", "up"] * (number + 1)) for number in range(12)] if on == "texts" else half_turned(12)
    none = assert_kl_below(linear.model, blind, data, limit=0.1)
    controls, some = none.details["controls"], data[::2]
    drawn = [extract.random_direction(blind, seed=number) for number in range(3)]
    due = [
        kl_divergence(linear.model, some, one).value
        if on == "texts"
        else kl_at_answers(linear.model, some, one, multipliers=[1.0])[0].value
        for one in drawn
    ]
    assert controls == {"count": 3, "seed": 0, "n": 6, "kl": pytest.approx(due, rel=1e-4)}
    assert min(due) > 1e-4
    assert f"controls: 3 random directions of equal norm, on 6 {on}, have a divergence of" in none.message
    assert "controls" not in assert_kl_below(linear.model, linear.vector(), data, limit=9).details


def test_a_task_on_which_accuracy_does_not_move_has_controls():
    """After "A:" the model says "up" unsteered, and "down" at 1."""
    inputs = [f"x{number}" for number in range(40)]
    words = ("Q:", "A:", *inputs, "up", "down")
    linear = builders.Linear(
        words, {"A:": 1.0, "up": -1.0, "down": -1.0}, {"up": 2.0, "<unk>": -1.0}, {"down": 3.0, "<unk>": 3.0}
    )

    def found(vector, output):
        tasks = [TaskItem(word, output) for word in inputs]
        try:
            return assert_performs_task(linear.model, vector, tasks, accuracy=0.5), tasks
        except SteeringFailure as failure:
            return failure.evidence, tasks

    blind = SteeringVector({0: 2 * torch.eye(8)[5]})
    none, tasks = found(blind, "down")
    drawn = [extract.random_direction(blind, seed=number) for number in range(19)]
    due = [task_accuracy(linear.model, tasks[::2], one).first_token_accuracy for one in drawn]
    at_least = sum(share >= 0 for share in due)
    assert none.details["controls"] == {
        "count": 19, "seed": 0, "n": 20, "accuracy": 0.0, "accuracies": due, "p": (1 + at_least) / 20,
    }  # fmt: skip
    assert 0 < sum(due) < 19
    assert (
        "controls: 19 random directions of equal norm, on 20 tasks, have accuracy 0.00 to 1.00; the vector's, 0.00, is number 20 of 20"
        in none.message
    )
    lost, _ = found(linear.vector(), "up")  # from all right to none
    assert lost.verdict is Verdict.FAIL
    assert "controls" not in lost.details
