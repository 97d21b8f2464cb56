"""Random controls: slopes in closed form, the rank among them, and what they are shown beside."""

from __future__ import annotations

import builders
import numpy as np
import pytest

from pytest_steer import (
    ContrastItem,
    SteeringFailure,
    assert_not_anti_steered,
    assert_promotes,
    assert_steers,
    assert_suppresses,
    extract,
)
from pytest_steer.errors import SteerError
from pytest_steer.measures import Subject, random_controls
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
        return check(*arguments, multipliers=GRID, **more)
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
    many = []
    for number in range(58):
        one = PAIRS[number % 3]
        answers = one if number % 4 < 2 else one[::-1]
        many.append(ContrastItem(" ".join(["much"] * (number + 1)), (answers[0],), (answers[1],), str(number)))
    # Half of the items have the opposite effect, so the mean is about 0 and no direction has an effect.
    none = evidence(assert_steers, linear.model, linear.vector(), many, steerability=0.5)
    controls, used = none.details["controls"], range(0, 58, 2)
    assert controls["n"] == len(used) == 29
    drawn = [extract.random_direction(linear.vector(), seed=number).directions[0].tolist() for number in range(19)]
    due = [float(np.mean([each(direction)[at % 3] * (1 if at % 4 < 2 else -1) for at in used])) for direction in drawn]
    assert controls["steerabilities"] == pytest.approx(due, abs=1e-6)


def test_every_claim_about_items_that_shows_no_effect_has_controls(linear):
    mixed = []
    for number in range(24):
        one = PAIRS[number % 3]
        answers = one if number % 4 < 2 else one[::-1]
        mixed.append(ContrastItem(" ".join(["much"] * (number + 1)), (answers[0],), (answers[1],), str(number)))
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
