"""Likelihoods of answers: against a plain loop on several families, closed forms, and the paper's normalisation written out."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import builders
import numpy as np
import plain
import pytest

from pytest_steer import (
    AnswerLikelihoods,
    ContrastItem,
    Items,
    answer_likelihoods,
    load_model,
    propensity_curve,
    read_items,
    wrap_model,
)
from pytest_steer.core.errors import DataError, MeasurementError, SteerError
from pytest_steer.measures import by_quartile, normalised_changes
from pytest_steer.model import engine_of
from pytest_steer.prompting import Context

GRID = (-1.0, 0.0, 1.5)
DATA = Path(__file__).parents[2] / "example_suites" / "builtin" / "data"
KINDS = {"lettered": builders.LETTERED, "worded": builders.WORDED}

# --- equal to the plain way ----------------------------------------------------------------------------------------------


@cache
def expected(family, kind, scope, summed=False):
    """[side, item, multiplier]"""
    model, vector = builders.random_model(family), builders.random_vector(1)
    return np.array(
        [
            [plain.likelihoods(model.hf, model.tokenizer, item, vector.directions, m, scope, summed) for m in GRID]
            for item in KINDS[kind]
        ]
    ).transpose(2, 0, 1)


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scope", ["all", "after_prompt", "last"])
def test_both_sides_equal_a_plain_loop(family, kind, scope):
    model, vector = builders.random_model(family), builders.random_vector(1)
    found = answer_likelihoods(model, KINDS[kind], vector, multipliers=GRID, positions=scope)
    want = expected(family, kind, scope)
    np.testing.assert_allclose([found.matching, found.not_matching], want, rtol=0, atol=1e-4)
    assert np.abs(want[:, :, 2] - want[:, :, 1]).max() > 0.02  # steering moves these models, or nothing would be tested
    curve = propensity_curve(model, KINDS[kind], vector, multipliers=GRID, positions=scope)
    np.testing.assert_allclose(found.curve.values, curve.values, atol=1e-4)
    assert found.curve.labels == curve.labels


def test_summed_answers_are_the_sum_of_their_tokens():
    model = builders.random_model("llama")
    found = answer_likelihoods(
        model, builders.WORDED, builders.random_vector(1), multipliers=GRID, context=Context(answers="sum")
    )
    np.testing.assert_allclose(
        [found.matching, found.not_matching], expected("llama", "worded", "after_prompt", True), rtol=0, atol=1e-4
    )
    assert np.abs(found.matching - expected("llama", "worded", "after_prompt")[0]).max() > 0.5


def test_the_built_in_model_equals_a_plain_loop():
    model, items = (
        load_model("builtin:tiny"),
        [*read_items(DATA / "cheer_test.json")[:2], *read_items(DATA / "quiz_test.json")[:2]],
    )
    vector = builders.random_vector(1, width=96, norm=8.0)
    found = answer_likelihoods(model, items, vector, multipliers=GRID, positions="all")
    want = np.array(
        [[plain.likelihoods(model.hf, model.tokenizer, item, vector.directions, m, "all") for m in GRID] for item in items]
    )
    np.testing.assert_allclose(np.stack([found.matching, found.not_matching], -1), want, rtol=0, atol=1e-4)
    assert np.abs(want[:, 2] - want[:, 1]).max() > 0.02


# --- in closed form ------------------------------------------------------------------------------------------------------

WORDS = ("Question:", "Answer:", "(", "up", "down", "still", "much", "A", "B")
A = {"Answer:": 2.0, "(": 2.0}
B = {"up": 0.5, "down": -0.25, "still": 1.0}
C = {"up": 1.0, "down": -0.5, "much": 1.0, "A": 1.0}


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(WORDS, A, B, C)


def loglikelihood(linear, word, m, a=2.0):
    logits = {w: a * B.get(w, 0.0) + m * C.get(w, 0.0) for w in linear.words}
    return logits[word] - math.log(sum(map(math.exp, logits.values())))


@pytest.mark.parametrize("m", [0.0, 1.5])
def test_likelihoods_of_a_linear_model(linear, m):
    items = [
        ContrastItem("much", ("up",), ("down",), "one token each"),
        ContrastItem("much", ("(A)",), ("(B)",), "labels"),
        ContrastItem("much", ("up still",), ("down",), "two tokens"),
        ContrastItem("much", ("up", "still"), ("down",), "alternatives"),
    ]
    found = answer_likelihoods(linear.model, items, linear.vector(), multipliers=[m])
    after = loglikelihood(linear, "still", m, a=0.0)  # after "up", whose embedding is 0
    want = [
        loglikelihood(linear, "up", m),
        loglikelihood(linear, "A", m),
        (loglikelihood(linear, "up", m) + after) / 2,
        np.logaddexp(loglikelihood(linear, "up", m), loglikelihood(linear, "still", m)),
    ]
    np.testing.assert_allclose(found.matching[:, 0], want, atol=1e-6)
    other = [loglikelihood(linear, word, m) for word in ("down", "B", "down", "down")]
    np.testing.assert_allclose(found.not_matching[:, 0], other, atol=1e-6)


def test_changes_are_paired_with_zero():
    made = AnswerLikelihoods(
        np.array([[-3.0, -2.0, -1.5]]), np.array([[-1.0, -1.0, -4.0]]), np.array([-1.0, 0.0, 2.0]), Items([])
    )
    assert [side.tolist() for side in made.changes(2)] == [[0.5], [-3.0]]
    assert made.curve.values.tolist() == [[-2.0, -1.0, 2.5]]
    with pytest.raises(SteerError, match=r"multiplier 1 was not measured: it is not among \[-1.0, 0.0, 2.0\]"):
        made.changes(1.0)


def test_answers_of_several_tokens_share_their_scores_with_propensity():
    base = builders.random_model("llama")
    model = wrap_model(base.hf, base.tokenizer, "shared")
    propensity_curve(model, builders.WORDED, builders.random_vector(1), multipliers=GRID)
    before = engine_of(model).forwards
    several = [item for item in builders.WORDED if item.id == "worded"]
    answer_likelihoods(model, several, builders.random_vector(1), multipliers=GRID)
    assert engine_of(model).forwards == before


def test_what_cannot_be_measured(linear):
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    with pytest.raises(DataError, match="there are no items to measure"):
        answer_likelihoods(model, [], vector)
    item = ContrastItem("much", ("up",), ("down",), "0")
    with pytest.raises(MeasurementError, match="item 0: the model gives NaN or infinity at multiplier 1e"):
        answer_likelihoods(linear.model, [item], linear.vector(size=100.0), multipliers=[1e38])


# --- quartiles and the paper's scale ---------------------------------------------------------------------------------------


def test_quartiles_are_of_the_base_likelihood():
    base = np.array([-1.0, -5.0, -3.0, -7.0, -2.0, -8.0, -4.0, -6.0, -9.0])
    matching, other = base * 10, -base
    parts = [[-9, -8, -7], [-6, -5], [-4, -3], [-2, -1]]  # the first ones are larger by one
    found = by_quartile(base, matching, other)
    assert [(one.name, one.n) for one in found] == [("lowest", 3), ("second", 2), ("third", 2), ("highest", 2)]
    for one, part in zip(found, parts, strict=True):
        mean = sum(part) / len(part)
        assert (one.base, one.matching_change, one.not_matching_change) == pytest.approx((mean, 10 * mean, -mean))
    assert by_quartile(base[:3], matching[:3], other[:3]) == ()


def as_the_papers_code_has_it(promoted, suppressed):
    """One item at a time, with Python's lists: rescale each condition by its largest value, sort by the unsteered one, cut."""
    scores = []
    (base_up, up), (base_down, down) = promoted, suppressed
    top, steered_top = max([*base_up, *base_down]), max([*up, *down])
    rises = [(b, s / -steered_top - b / -top) for b, s in zip(base_up, up, strict=True)]
    falls = [(b, b / -top - s / -steered_top) for b, s in zip(base_down, down, strict=True)]
    rises.sort()
    falls.sort(reverse=True)
    for quarter in range(1, 5):
        cut = int(len(rises) * quarter / 4)
        scores.append([sum(value for _, value in side[:cut]) / cut for side in (rises, falls)])
    return np.array(scores).T


def test_normalised_changes_are_those_of_the_paper():
    draw = np.random.default_rng(3)
    for n in (4, 7, 10):
        promoted, suppressed = (tuple(-draw.uniform(0.2, 6, n) for _ in range(2)) for _ in range(2))
        found = normalised_changes(promoted, suppressed)
        np.testing.assert_allclose([found.promoted, found.suppressed], as_the_papers_code_has_it(promoted, suppressed))
    # By hand: tops -1 and -0.5, so l = -1, -2, -3, -4 and l' = -1, -2, -4, -8.
    base, steered = np.array([-1.0, -2, -3, -4]), np.array([-0.5, -1, -2, -4])
    found = normalised_changes((base, steered), (base, steered))
    assert found.promoted == pytest.approx((-4, -2.5, -5 / 3, -1.25))
    assert found.suppressed == pytest.approx((0, 0, 1 / 3, 1.25))
    assert found.scales == (1.0, 0.5)


def test_where_the_papers_scale_is_not_defined():
    base = np.array([-1.0, -2, -3, -4])
    assert normalised_changes((base[:3], base[:3]), (base[:3], base[:3])) is None
    certain = np.array([0.0, -1, -1, -1])
    assert normalised_changes((base, certain), (base, base)) is None
    assert normalised_changes((base, base), (base, base)) is not None
