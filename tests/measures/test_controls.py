"""Random controls: slopes in closed form, the rank among them, and what they are shown beside."""

from __future__ import annotations

import builders
import numpy as np
import pytest

from pytest_steer import ContrastItem, SteeringFailure, assert_not_anti_steered, assert_steers, extract
from pytest_steer.errors import SteerError
from pytest_steer.measures import Subject, random_controls
from pytest_steer.steering import ablate, add_keeping_norm

WORDS = ("Question:", "Answer:", "up", "down", "much")
B, C = {"up": 0.5, "down": -0.25}, {"up": 1.0, "down": -0.5, "much": 1.0}
PAIRS = [("up", "down"), ("much", "down"), ("up", "much")]
ITEMS = [ContrastItem("much", (one,), (other,), str(number)) for number, (one, other) in enumerate(PAIRS)]
GRID = [0.0, 1.0]


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(WORDS, {"Answer:": 2.0, "<unk>": 1.0}, B, C)


def evidence(check, *arguments, **more):
    try:
        return check(*arguments, multipliers=GRID, **more)
    except SteeringFailure as failure:
        return failure.evidence


def slope(direction):
    """Of the mean item: v0 (b(matching) - b(other)) + v1 (c(matching) - c(other))."""
    each = [
        direction[0] * (B.get(one, 0.0) - B.get(other, 0.0)) + direction[1] * (C[one] - C[other]) for one, other in PAIRS
    ]
    return float(np.mean(each))


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
    assert "controls: 7 random directions of equal norm have steerability" in found.message
    same = evidence(assert_not_anti_steered, linear.model, vector, ITEMS, share=0.5, controls=7, seed=3)
    assert same.details["controls"] == controls


def test_where_no_effect_can_be_told_from_zero_controls_are_offered(linear):
    mixed = [*ITEMS, *(ContrastItem("much", one.not_matching, one.matching, f"turned {one.id}") for one in ITEMS)]
    offer = "`controls: 19` measures as many random directions"
    assert offer in evidence(assert_steers, linear.model, linear.vector(), mixed, steerability=0.5).message
    assert offer not in evidence(assert_steers, linear.model, linear.vector(), ITEMS * 3, steerability=9).message
    kept = evidence(assert_steers, linear.model, add_keeping_norm(linear.vector()), ITEMS, steerability=9, controls=2)
    assert kept.details["controls"]["count"] == 2
    with pytest.raises(SteerError, match="controls: 'ablate' adds no vector"):
        random_controls(linear.model, Subject(vector=ablate(linear.vector(), layers=[0])), None, 2, seed=0)
