"""``not_anti_steered``: what counts as moved the wrong way, on a model whose slopes are known in closed form."""

from __future__ import annotations

import builders
import pytest

from pytest_steer import ContrastItem, SteeringFailure, SteeringInconclusive, assert_not_anti_steered
from pytest_steer.core.run_context import Effort, RunContext, running

C = {"up": 1.0, "down": -0.5, "much": 1.0}
# Three rise, two fall, and one does not move at all.
PAIRS = [("up", "down"), ("much", "down"), ("up", "down"), ("down", "up"), ("down", "much"), ("up", "much")]
ITEMS = [ContrastItem(f"much w{number}", (one,), (other,), str(number)) for number, (one, other) in enumerate(PAIRS)]


@pytest.mark.parametrize(("by", "wrong"), [("slope", 3), ("effect", 2)])
def test_an_item_that_does_not_move_counts_by_its_slope_only(by, wrong):
    linear = builders.Linear(("Question:", "Answer:", *C), {"Answer:": 2.0}, {}, C)
    try:
        found = assert_not_anti_steered(linear.model, linear.vector(), ITEMS, share=0.5, by=by)
    except (SteeringFailure, SteeringInconclusive) as decided:
        found = decided.evidence
    assert found.estimate == pytest.approx(wrong / 6)
    assert found.details["anti_steered_items"] == wrong


@pytest.mark.parametrize(("said", "drawn"), [(None, True), (False, False)])
@pytest.mark.parametrize("is_dev", [True, False])
def test_the_profile_decides_whether_items_are_drawn_in_rounds_as_in_a_claim_file(
    said: bool | None, drawn: bool, is_dev: bool
) -> None:
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    items = [(f"Question {index}?", "(A)", "(B)") for index in range(9)]
    with running(RunContext(effort=Effort(in_rounds=is_dev))):
        try:
            found = assert_not_anti_steered(model, vector, items, share=0.999, sequential=said, multipliers=[0, 1])
        except (SteeringFailure, SteeringInconclusive) as decided:
            found = decided.evidence
    assert ("sequential" in found.details) == (drawn and is_dev)
