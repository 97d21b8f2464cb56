"""A promise that can hardly fail, and a slope far from the deployed multiplier, are findings, whatever the verdict is."""

from __future__ import annotations

from typing import Any

import builders
import pytest
from evidence import evidence_of
from reports import codes_of, noted

import pytest_steer

ITEMS = [(f"Question {n}?", "(A)", "(B)") for n in range(6)]
# What each is measured on, its promise, a number that nearly any vector keeps, another one, what else it takes.
KINDS: dict[str, tuple[tuple[Any, ...], str, float, float, dict[str, Any]]] = {
    "steers": ((ITEMS,), "steerability", -5, -0.5, {}),
    "not_anti_steered": ((ITEMS,), "share", 0.999, 0.5, {}),
    "ppl_delta_below": ((builders.TEXTS,), "limit", 100, 0.9, {}),
    "holds_in_contexts": ((ITEMS,), "effect", -5, -0.5, {"contexts": {"system": ["", "Be brief."]}, "max_contexts": 2, "batch": 2}),
    "steers_at_cost": ((ITEMS, builders.TEXTS), "effect", -5, -0.5, {"budget": 0.2, "max_multiplier": 2}),
    "beats": ((ITEMS,), "margin", -5, -0.5, {"baseline": pytest_steer.Baseline.random(2)}),
    "kl_below": ((builders.TEXTS,), "limit", 12, 0.9, {}),
}  # fmt: skip


def claimed(kind: str, *data: Any, **settings: Any) -> dict[str, Any]:
    assertion = getattr(pytest_steer, f"assert_{kind}")
    return evidence_of(
        assertion, builders.random_model("llama"), builders.random_vector(1), *data, min_n=2, **settings
    ).to_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_a_promise_that_can_hardly_fail(kind: str) -> None:
    data, key, weak, honest, more = KINDS[kind]
    (said,) = noted(claimed(kind, *data, **{key: weak}, **more), "weak-promise")
    assert f"{key} {weak:g} lets " in said
    assert noted(claimed(kind, *data, **{key: honest}, **more), "weak-promise") == []


@pytest.mark.parametrize(
    ("multipliers", "multiplier", "says"),
    [
        ([0, 1e-2], 1, "the largest multiplier of the slope is 0.01 and the deployed one is 1, more than 10 times as large"),
        ([0, -0.01], -1, "the largest multiplier of the slope is 0.01 and the deployed one is -1, more than 10 times as large"),
        ([0, 2, 3], 0.1, "the smallest multiplier of the slope other than 0 is 2 and the deployed one is 0.1, more than 10 times as small"),
        ([0, 0.1], 1, None),
        ([0, 0.01, 2], 1, None),
        ([0, 1], 0.1, None),
    ],
)  # fmt: skip
def test_a_slope_far_from_the_deployed_multiplier(multipliers: list[float], multiplier: float, says: str | None) -> None:
    run = {"multipliers": multipliers, "multiplier": multiplier}
    found = noted(claimed("steers", ITEMS, steerability=-0.5, **run), "deployed-far-from-grid")
    assert len(found) == (says is not None)
    assert says is None or found[0].startswith(says)
    by_effect = claimed("not_anti_steered", ITEMS, share=0.5, by="effect", **run)
    assert "deployed-far-from-grid" not in codes_of(by_effect)
