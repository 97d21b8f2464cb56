"""What is read off a propensity curve: against numpy.polyfit, scipy and hand-made values."""

from __future__ import annotations

import warnings
from dataclasses import replace

import builders
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_steer import ContrastItem, Items, PropensityCurve, perplexity, propensity_curve
from pytest_steer.core.errors import SteerError, SteerWarning
from pytest_steer.measures import MULTIPLIERS, check_multipliers, check_slope_grid, explained, strata
from pytest_steer.prompting import Context

quickly = settings(deadline=None, derandomize=True, database=None, max_examples=100)
grids = st.lists(st.integers(-12, 12).map(lambda n: n / 4), min_size=2, max_size=8, unique=True)


def curve(values, multipliers, labels=None):
    values = np.array(values, dtype=float)
    labels = labels if labels is not None else ["A"] * len(values)
    other = {"A": "(B)", "B": "(A)", "Yes": "No", "No": "Yes", "C": "(A)", None: "never"}
    answer = {"A": "(A)", "B": "(B)", "Yes": "Yes", "No": "No", "C": "(C)", None: "ever"}
    items = [ContrastItem(f"{i}?", (answer[label],), (other[label],), str(i)) for i, label in enumerate(labels)]
    return PropensityCurve(values, np.array(multipliers, dtype=float), Items(items))


@st.composite
def curves(draw, least=2):
    grid = draw(grids.filter(lambda g: len(g) >= least))
    shape = (draw(st.integers(1, 4)), len(grid))
    return curve(draw(hnp.arrays(float, shape, elements=st.integers(-40, 40).map(lambda n: n / 8))), grid)


@quickly
@given(curves())
def test_slopes_are_least_squares_slopes_and_their_mean_is_the_slope_of_the_means(made):
    want = [np.polyfit(made.multipliers, row, 1)[0] for row in made.values]
    np.testing.assert_allclose(made.slopes, want, rtol=0, atol=1e-9)
    of_means = np.polyfit(made.multipliers, made.values.mean(0), 1)[0]
    assert made.steerability == pytest.approx(of_means, abs=1e-9)
    np.testing.assert_allclose(made.mean, made.values.mean(0))


@quickly
@given(curves(least=3))
def test_curvatures_are_those_of_the_least_squares_parabola(made):
    want = [np.polyfit(made.multipliers, row, 2)[0] for row in made.values]
    np.testing.assert_allclose(made.curvatures, want, rtol=1e-7, atol=1e-8)


@quickly
@given(curves())
def test_monotonicity_is_kendalls_tau(made):
    """tau-a counts ties as 0; scipy's tau-b divides by fewer pairs where there are ties."""
    n = len(made.multipliers)
    for row, tau in zip(made.values, made.monotonicity, strict=True):
        pairs = [(i, j) for i in range(n) for j in range(i)]
        signs = [np.sign(row[i] - row[j]) * np.sign(made.multipliers[i] - made.multipliers[j]) for i, j in pairs]
        assert tau == pytest.approx(sum(signs) / len(pairs))
        if len(set(row)) == n:
            assert tau == pytest.approx(scipy.stats.kendalltau(made.multipliers, row).statistic)


@pytest.mark.parametrize(
    ("values", "anti"),
    [
        ([[0.0, 1.0]], [False]),
        ([[1.0, 0.0]], [True]),
        ([[0.5, 0.5]], [True]),
        ([[0.0, 1e-12]], [False]),
        ([[1e-12, 0.0]], [True]),
    ],
)
def test_a_tie_is_anti_steerable(values, anti):
    """Tan et al. 2024: slope <= 0."""
    assert curve(values, [0, 1]).anti_steerable.tolist() == anti


@quickly
@given(
    st.lists(st.floats(-5, 5).map(lambda x: round(x, 2)), min_size=2, max_size=8, unique=True),
    st.lists(st.floats(-30, 30), min_size=1, max_size=4),
)
def test_an_intervention_without_any_effect_has_slope_zero_on_every_grid(grid, constants):
    """Rounding must not turn a tie, which counts as anti-steerable, into a positive slope."""
    made = curve(np.repeat(np.array(constants)[:, None], len(grid), axis=1), grid)
    assert made.slopes.tolist() == [0.0] * len(constants)
    assert made.anti_steerable.all()


def test_effects_are_paired_with_zero():
    made = curve([[1, 2, 5], [4, 2, 2]], [-1, 0, 2])
    assert made.effects(2).tolist() == [3, 0]
    assert made.effects(-1.0).tolist() == [-1, 2]
    assert made.effects(0).tolist() == [0, 0]
    with pytest.raises(SteerError, match="the effect at 1 needs the multipliers 1 and 0 among"):
        made.effects(1)
    with pytest.raises(SteerError, match="the effect at 2 needs the multipliers 2 and 0"):
        curve([[1, 2]], [1, 2]).effects(2)


def test_too_few_multipliers():
    for grid in ([1.0], [1.0, 1.0]):
        with pytest.raises(SteerError, match="cannot give a slope: at least two different ones are needed"):
            _ = curve([[0.0] * len(grid)], grid).slopes
        with pytest.raises(SteerError):  # and not NaN
            _ = curve([[0.0] * len(grid)], grid).monotonicity
        with pytest.raises(SteerError, match="cannot give a slope"):
            check_slope_grid(grid)
    assert curve([[0, 1]], [0, 1]).curvatures is None
    assert curve([[0, 1, 1]], [0, 1, 1]).curvatures is None


def test_the_grid_of_tan():
    assert MULTIPLIERS == (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
    # The point at 0 has no weight on it.
    values = np.random.default_rng(0).normal(size=(1, 7))
    moved = values.copy()
    moved[0, 3] += 100
    assert curve(moved, MULTIPLIERS).slopes == pytest.approx(curve(values, MULTIPLIERS).slopes)


@pytest.mark.parametrize("bad", [[], [float("nan")], [0, float("inf")], ["x"], None, 3, [None]])
def test_multipliers_are_a_list_of_finite_numbers(bad):
    with pytest.raises(SteerError, match="multipliers are a list of"):
        check_multipliers(bad)


# --- strata --------------------------------------------------------------------------------------------------------------


def test_strata_show_a_vector_for_a_letter():
    made = curve([[0, 1], [0, 3], [1, 0], [0, 0], [0, 9], [0, 5]], [0, 1], ["A", "A", "B", "B", None, "Yes"])
    found = {s.label: s for s in strata(made)}
    assert list(found) == ["A", "B", "Yes"]
    assert (found["A"].n, found["A"].steerability, found["A"].anti_steerable_share) == (2, 2.0, 0.0)
    assert (found["B"].n, found["B"].steerability, found["B"].anti_steerable_share) == (2, -0.5, 1.0)
    assert (found["Yes"].n, found["Yes"].steerability) == (1, 5.0)


def test_strata_of_letters_over_yes_and_no():
    """Two letters times two words; the sums of squares of the slopes 1, 3 | 5, 7 | 2, 4 | 8, 10 around their means, by hand."""
    slopes = [1, 3, 5, 7, 2, 4, 8, 10]
    items = []
    for number in range(8):
        letter, word = "AABBAABB"[number], ("Yes", "Yes", "No", "No", "No", "No", "Yes", "Yes")[number]
        other, opposite = {"A": "B", "B": "A"}[letter], {"Yes": "No", "No": "Yes"}[word]
        text = {letter: word, other: opposite}
        items.append(
            ContrastItem(f"{number}?\n(A) {text['A']}\n(B) {text['B']}", (f"({letter})",), (f"({other})",), str(number))
        )
    made = PropensityCurve(np.array([[0.0, s] for s in slopes]), np.array([0.0, 1.0]), Items(items))
    found = {s.label: (s.n, s.steerability) for s in strata(made)}
    assert found == {
        "A": (4, 2.5), "B": (4, 7.5), "No": (4, 4.5), "Yes": (4, 5.5),
        "A, Yes": (2, 2.0), "B, No": (2, 6.0), "A, No": (2, 3.0), "B, Yes": (2, 9.0),
    }  # fmt: skip
    # The total is 68; between letters 8 * 2.5^2, between words 8 * 0.5^2, between cells 2 * (3^2 + 1^2 + 2^2 + 4^2).
    assert explained(made) == pytest.approx({"letter": 50 / 68, "yes_no": 2 / 68, "both": 60 / 68})
    alone = curve([[0, 1], [0, 3], [0, 2], [0, 2], [0, 2]], [0, 1], ["Yes", "Yes", "No", "No", None])
    assert explained(alone) == {"yes_no": 0.0}
    assert explained(curve([[0, 1], [0, 3]], [0, 1], [None, None])) == {}


def test_strata_go_by_the_letter_that_was_shown():
    """Swapped and relabelled, the answer that was behind (A) stands behind the second label."""
    model = builders.random_model("llama")
    items = builders.LETTERED[:2]  # matching: A, B
    for context, want in (
        (Context(), ["A", "B"]),
        (Context(option_order="swapped"), ["B", "A"]),
        (Context(option_order="swapped", option_labels="1/2"), ["2", "1"]),
    ):
        made = propensity_curve(model, items, builders.random_vector(1), context=context)
        assert list(made.labels) == want
        found = {s.label: s.steerability for s in strata(made)}
        assert {label: found[label] for label in want} == pytest.approx(dict(zip(want, made.slopes, strict=True)))


def test_strata_of_one_item_explain_nothing():
    values = [[0, slope] for slope in (1, 3, 8)]
    assert explained(curve(values, [0, 1], ["A", "B", "C"])) == {}
    assert explained(curve(values[:2], [0, 1], ["A", "B"])) == {}
    # Of those with more, as if the others were not there.
    more = [*values, [0, 2], [0, 5]]
    both = explained(curve([*more[:2], *more[3:]], [0, 1], ["A", "B", "A", "B"]))
    assert explained(curve(more, [0, 1], ["A", "B", "C", "A", "B"])) == both
    assert both["letter"] == pytest.approx(6.25 / 8.75)


def test_repeats_keep_their_rows_and_are_warned_of():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    items = [ContrastItem(f"Is it {n % 3}?", ("Yes",), ("No",), str(n)) for n in range(5)]
    with pytest.warns(SteerWarning, match="2 of these 5 items repeat another one.*3 are distinct") as caught:
        found = propensity_curve(
            model,
            [*items[:3], *(replace(one, question=f" {one.question}") for one in items[3:])],
            vector,
            multipliers=[0, 1],
        )
    assert caught[0].filename == __file__
    assert (found.values.shape, found.n_distinct) == ((5, 2), 3)
    texts = ["so it is here", "and so it was", "so  it is here "]
    with pytest.warns(SteerWarning, match="1 of these 3 texts repeat another one.*2 are distinct") as caught:
        cost = perplexity(model, texts, vector)
    assert caught[0].filename == __file__
    assert (cost.per_text.shape, cost.n_distinct) == ((3,), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert propensity_curve(model, items[:3], vector, multipliers=[0, 1]).n_distinct == 3
        assert perplexity(model, texts[:2]).n_distinct == 2
