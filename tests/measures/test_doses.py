"""Doses that are lost in rounding are an error of every measure and claim; small effects of real doses are measurements."""

from __future__ import annotations

import builders
import plain
import pytest
import torch

from pytest_steer import (
    SteerError,
    SteeringFailure,
    TaskItem,
    assert_not_anti_steered,
    assert_ppl_delta_below,
    assert_steers,
    perplexity,
    propensity_curve,
    steering,
    task_accuracy,
    wrap_model,
)
from pytest_steer.measures import Deployed, effects_at, multipliers_at_cost
from pytest_steer.model import engine_of
from pytest_steer.steering import as_intervention

VECTOR = builders.random_vector(1)
ITEMS = [(f"Question {index}?", "(A)", "(B)") for index in range(9)]
TEXTS = [*builders.TEXTS]
TASKS = [TaskItem("one", "Yes"), TaskItem("two", "No")]
LOST = "so rounding would be measured and not steering"


def model_of(dtype: torch.dtype = torch.float32) -> object:
    return wrap_model(builders.random_hf("llama").to(dtype), builders.tokenizer(), "random llama")


@pytest.mark.parametrize(
    "grid", [[0, 1e-8], [0, 1e-12], [0, 1e-300], [1e-300, 1], [1, 1.0000000000000002], [-1e-7, 1e-7]], ids=str
)
def test_multipliers_whose_dose_is_lost_in_rounding_are_an_error(grid):
    model = builders.random_model("llama")
    with pytest.raises(SteerError, match=LOST):
        propensity_curve(model, ITEMS, VECTOR, multipliers=grid)
    said = LOST if max(grid) - min(grid) > 1e-200 else "further apart than these"
    for claim, promise in ((assert_steers, {"steerability": -5}), (assert_not_anti_steered, {"share": 0.9})):
        with pytest.raises(SteerError, match=said):
            claim(model, VECTOR, ITEMS, multipliers=grid, **promise)


def test_every_measure_and_claim_at_one_multiplier_refuses_it_too():
    model, tiny = builders.random_model("llama"), {"multiplier": 1e-8}
    for measure in (
        lambda: perplexity(model, TEXTS, VECTOR, **tiny),
        lambda: task_accuracy(model, TASKS, VECTOR, **tiny),
        lambda: effects_at(model, ITEMS, {0: (Deployed(VECTOR), 1e-8)}),
        lambda: multipliers_at_cost(model, TEXTS, {0: Deployed(VECTOR, **tiny)}),
        lambda: assert_ppl_delta_below(model, VECTOR, TEXTS, limit=0.5, **tiny),
        lambda: assert_not_anti_steered(model, VECTOR, ITEMS, share=0.9, by="effect", **tiny),
    ):
        with pytest.raises(SteerError, match=f"multiplier 1e-08: .*{LOST}"):
            measure()
    # What the deployed strength does is told by no number of another one.
    with pytest.raises(SteerError, match=LOST):
        assert_steers(model, VECTOR, ITEMS, steerability=-5, **tiny)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_smallest_multiplier_depends_on_the_precision_and_the_message_says_it(dtype):
    model, sequences = model_of(dtype), []
    curve = propensity_curve(model, ITEMS, VECTOR, multipliers=[0, 1])
    for probe in curve.probes:
        hidden = plain.outputs(model.hf, list(probe.ids))[1].float()
        sequences.append(hidden[probe.steer_from :].norm(dim=-1))
    norm, eps = float(torch.cat(sequences).median()), torch.finfo(dtype).eps
    relative = engine_of(model).doses.relative(curve.probes, as_intervention(VECTOR), 2.0)
    assert relative == pytest.approx(2 * VECTOR.norms[1] / norm, rel=0.05)
    least = (64 if dtype is torch.float32 else 0.5) * eps / (relative / 2)
    propensity_curve(model, ITEMS, VECTOR, multipliers=[0, 1.05 * least])
    with pytest.raises(SteerError, match=f"Use at least {least:.2g}") as refused:
        propensity_curve(model, ITEMS, VECTOR, multipliers=[0, 0.95 * least])
    assert ("--steer-dtype float32" in str(refused.value)) == (dtype is not torch.float32)


def test_interventions_of_all_kinds_have_a_dose():
    model, direction = model_of(), VECTOR.directions[1]
    probes = propensity_curve(model, ITEMS, None, multipliers=[0]).probes
    added = engine_of(model).doses.relative(probes, as_intervention(VECTOR), 0.5)

    def function(hidden, strength, layer):
        return hidden + strength * direction.to(hidden)

    own = steering.custom(function, layers=1, strength="linear", name="own")
    gate = steering.gated_by_probe(as_intervention(VECTOR), {1: torch.zeros(builders.WIDTH)}, {1: 1.0})
    for same in (own, gate, steering.add_keeping_norm(VECTOR)):
        assert engine_of(model).doses.relative(probes, same, 0.5) == pytest.approx(added, rel=0.02)
        with pytest.raises(SteerError, match=LOST):
            propensity_curve(model, ITEMS, same, multipliers=[0, 1e-8])
    # A gate that never opens, and a strength that means nothing, have none.
    shut = steering.gated_by_probe(as_intervention(VECTOR), {1: torch.zeros(builders.WIDTH)}, {1: -1.0})
    assert engine_of(model).doses.relative(probes, shut, 1.0) is None
    with pytest.raises(SteerError, match=LOST):
        propensity_curve(model, ITEMS, shut, multipliers=[0, 1e-8])
    ablated = steering.ablate(VECTOR)
    assert engine_of(model).doses.relative(probes, ablated, 1e-8) is None


def test_a_real_dose_with_a_small_effect_is_a_measurement():
    """Along an axis that the unembedding of the answers does not read: the dose is large, the effect exactly 0."""
    linear = builders.Linear(("Question:", "Answer:", "a", "b"), {"Answer:": 2.0}, {"a": 1.0}, {})
    items = [("a" * (index + 1), "a", "b") for index in range(9)]
    with pytest.raises(SteeringFailure, match="promised more"):  # than 0, which a vector that moves nothing does not keep
        assert_steers(linear.model, linear.vector(), items, steerability=0.0)
    found = assert_steers(linear.model, linear.vector(), items, steerability=-0.1)
    assert (found.estimate, found.interval) == (0.0, (0.0, 0.0))


def test_a_verdict_that_rounding_can_have_made_is_an_error():
    """All slopes are 1 but for rounding, which moves all of them alike: the interval knows nothing of it."""
    linear = builders.Linear(("Question:", "Answer:", "a", "b"), {"Answer:": 2.0}, {"a": 40.0}, {"a": 1.0})
    items = [(" ".join("a" * (index + 1)), "a", "b") for index in range(9)]
    grid = {"multipliers": [0, 2e-4]}  # a dose that is above the rounding of the hidden states
    found = assert_steers(linear.model, linear.vector(), items, steerability=-1, **grid)
    (low, high), room = found.interval, found.noise.statistic
    assert found.estimate == pytest.approx(1, abs=room)
    assert room > 10 * (high - low)
    for threshold in (low - 0.1 * room, high + 0.1 * room):
        with pytest.raises(SteerError, match=r"the verdict would rest on rounding.*Measure at larger multipliers"):
            assert_steers(linear.model, linear.vector(), items, steerability=threshold, **grid)
    assert assert_steers(linear.model, linear.vector(), items, steerability=low - 1.1 * room, **grid).passed
    # Of a real dose the same distance is none of rounding's.
    assert assert_steers(linear.model, linear.vector(), items, steerability=0.999).passed
