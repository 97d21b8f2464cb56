"""``not_anti_steered``: what counts as moved the wrong way, on a model whose slopes are known in closed form."""

from __future__ import annotations

import builders
import pytest

from pytest_steer import ContrastItem, SteeringFailure, SteeringInconclusive, assert_not_anti_steered

C = {"up": 1.0, "down": -0.5, "much": 1.0}
# Three rise, two fall, and one does not move at all.
PAIRS = [("up", "down"), ("much", "down"), ("up", "down"), ("down", "up"), ("down", "much"), ("up", "much")]
ITEMS = [ContrastItem("much", (one,), (other,), str(number)) for number, (one, other) in enumerate(PAIRS)]


@pytest.mark.parametrize(("by", "wrong"), [("slope", 3), ("effect", 2)])
def test_an_item_that_does_not_move_counts_by_its_slope_only(by, wrong):
    linear = builders.Linear(("Question:", "Answer:", *C), {"Answer:": 2.0}, {}, C)
    try:
        found = assert_not_anti_steered(linear.model, linear.vector(), ITEMS, share=0.5, by=by)
    except (SteeringFailure, SteeringInconclusive) as decided:
        found = decided.evidence
    assert found.estimate == pytest.approx(wrong / 6)
    assert found.details["anti_steered_items"] == wrong
