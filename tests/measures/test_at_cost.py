"""Multipliers at equal cost and the effects there: closed forms, plain loops, one by one, and what is not monotone or finite."""

from __future__ import annotations

import math
from pathlib import Path

import builders
import numpy as np
import plain
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from pytest_steer import ContrastItem, Deployed, SteeringVector, effects_at, load_model, multipliers_at_cost
from pytest_steer.core.errors import DataError, MeasurementError, SteerError, VectorError
from pytest_steer.measures import deviation, standardised
from pytest_steer.measures.at_cost import LEAST, STEPS, CostSearch
from pytest_steer.measures.propensity import LARGEST
from pytest_steer.model.engine import Engine, engine_of
from pytest_steer.steering import ablate, custom, rotate

quickly = settings(deadline=None, derandomize=True, database=None, max_examples=200)
NEUTRAL = Path(__file__).parents[2] / "example_suites" / "builtin" / "data" / "neutral.txt"


# --- the search alone ----------------------------------------------------------------------------------------------------


def searched(cost_at, deployed=1.0, strength="linear", *, cost=0.05, most=8.0, tolerance=0.02):
    search = CostSearch(deployed, strength, cost, most, tolerance)
    while (multiplier := search.next) is not None:
        assert multiplier not in search.looked_at, "looked at twice"
        assert len(search.looked_at) <= 10 + 1 + 12
        search.saw(multiplier, cost_at(multiplier))
    return search


@quickly
@given(
    st.floats(0.05, 20), st.floats(0.3, 6), st.floats(1e-3, 1), st.sampled_from([1.0, -1.0, 0.3, -7.0]), st.floats(1.0, 20.0)
)
def test_of_a_power_law_the_crossing_is_found(at_one, power, budget, deployed, most):
    """cost(m) = budget * (|m / deployed| * at_one) ** power, which meets the budget at |m / deployed| = 1 / at_one."""
    search = searched(lambda m: budget * (abs(m / deployed) * at_one) ** power, deployed, cost=budget, most=most)
    multiplier, cost, reached = search.found
    assert math.copysign(1, multiplier) == math.copysign(1, deployed)
    assert cost == search.looked_at[multiplier] <= budget
    crossing = 1 / at_one
    if crossing > most * (1 + 1e-9):
        assert multiplier == pytest.approx(most * deployed)
        assert reached == ("cost" if cost >= 0.98 * budget else "most")
        return
    assert reached == "cost" or multiplier == pytest.approx(most * deployed)
    # Within the tolerance, or else the next of the 256 steps (of at most the crossing itself) is beyond.
    assert cost >= 0.98 * budget or abs(multiplier / deployed) >= crossing * (1 - 1 / STEPS)


@quickly
@given(st.randoms(use_true_random=False))
def test_whatever_the_costs_it_ends_below_a_multiplier_that_is_too_dear(random):
    costs: dict[float, float] = {}

    def cost_at(multiplier):
        return costs.setdefault(multiplier, random.choice([-1.0, 1e-300, 0.01, 0.0489, 0.0501, 0.06, 1e9, math.inf]))

    search = searched(cost_at)
    multiplier, cost, reached = search.found
    if reached == "cost":
        assert cost <= 0.05
        beyond = [m for m, own in costs.items() if own > 0.05 and m > multiplier]
        assert min(beyond) <= multiplier * (1 + 1 / STEPS)
    elif reached == "most":
        assert multiplier == 8.0
        assert cost <= 0.05
    else:
        assert reached == "least"
        assert multiplier == LEAST
        assert min(costs.values()) > 0.05


def test_the_first_crossing_is_taken_at_the_resolution_of_the_doubling():
    """Beyond the budget between 2.5 and 5, within it from there on: the larger multipliers are not looked at."""
    search = searched(lambda m: 0.2 if 2.5 < m < 5 else 0.01)
    multiplier, _, reached = search.found
    assert reached == "cost"
    assert 2.5 * (1 - 1 / STEPS) <= multiplier <= 2.5
    # Between two that are looked at nothing is seen, and so is what lies below a deployed one within the budget.
    assert searched(lambda m: 0.2 if 2.5 < m < 3.5 or m < 0.9 else 0.01).found == (8.0, 0.01, "most")
    # From a deployed one beyond it, the search goes down.
    assert 2.4 < searched(lambda m: 0.2 if 2.5 < m < 5 else 0.01, 4.0).found[0] <= 2.5


def test_costs_that_fall_are_within_any_budget():
    assert searched(lambda m: -0.01 * m).found == (8.0, -0.08, "most")
    multiplier, cost, reached = searched(lambda m: -0.01 if m < 3 else 0.01 * m**2).found
    assert (cost, reached) == (-0.01, "cost")
    assert 3 * (1 - 1 / STEPS) <= multiplier < 3


@pytest.mark.parametrize(("most", "last"), [(1.0, 1.0), (3.0, 3.0), (8.0, 8.0), (1.3, 1.3)])
def test_the_largest_is_looked_at_and_nothing_beyond(most, last):
    search = searched(lambda m: 0.0001 * m, -2.0, most=most)
    assert search.found[0] == pytest.approx(-2.0 * last)
    assert max(map(abs, search.looked_at)) == pytest.approx(2.0 * last)
    assert max(map(abs, searched(lambda m: 0.0001, 1e38).looked_at)) == LARGEST


@pytest.mark.parametrize("strength", ["interpolated", "angle"])
def test_beyond_the_deployed_one_only_a_linear_strength_is_looked_at(strength):
    assert searched(lambda m: 0.01 * m**2, 0.8, strength).looked_at.keys() == {0.8}
    assert searched(lambda m: 0.01 * m**2, 0.8, strength).found[2] == "most"
    multiplier, cost, reached = searched(lambda m: 0.2 * m**2, 0.8, strength).found
    assert reached == "cost"
    assert multiplier == pytest.approx(0.5, rel=0.01)
    assert 0.049 <= cost <= 0.05


@pytest.mark.parametrize("cost", [0.001, 0.3])
def test_of_an_ignored_strength_nothing_is_searched(cost):
    search = searched(lambda m: cost, -1.0, "ignored")
    assert search.found == (-1.0, cost, "fixed")
    assert search.looked_at == {-1.0: cost}


def test_where_even_the_smallest_is_too_dear():
    search = searched(lambda m: 0.3 + m, 2.0)
    assert search.found == (2.0 * LEAST, 0.3 + 2.0 * LEAST, "least")
    assert len(search.looked_at) == 11


# --- on models with known answers ----------------------------------------------------------------------------------------

WORDS = ("Question:", "Answer:", "(", "up", "down", "still", "much", "A", "B", "C")
A = {"Answer:": 2.0, "(": 2.0}
B = {"up": 0.5, "down": -0.25, "still": 1.0, "A": 0.75}
C = {"up": 1.0, "down": -0.5, "still": 0.0, "much": 1.0, "A": 1.0, "B": 0.25, "C": 0.25}
TEXTS = ["down still much down", "still B down", "much A B C down down"]


@pytest.fixture
def linear():
    return builders.Linear(WORDS, A, B, C)


def rise(m, first=False, texts=TEXTS, words=("<unk>", *WORDS)):
    """exp(d) - 1 in closed form, see test_known_answers.test_perplexity: every token from the third on (from the second on
    if the first is steered) has NLL = log sum_j exp(m c_j) - m c_t; the others, and unsteered all, have log V."""
    partition = math.log(sum(math.exp(m * C.get(j, 0.0)) for j in words))
    differences = []
    for text in texts:
        tokens = text.split()
        own = [partition - m * C.get(t, 0.0) - math.log(len(words)) for t in tokens[1 if first else 2 :]]
        differences.append(sum(own) / (len(tokens) - 1))
    return math.expm1(sum(differences) / len(differences))


@pytest.mark.parametrize(("budget", "deployed"), [(0.05, 1.0), (0.2, 0.125), (0.01, 2.0), (0.05, -1.0), (0.5, 1.0)])
def test_the_multiplier_is_that_of_the_closed_form(linear, budget, deployed):
    found = multipliers_at_cost(
        linear.model, TEXTS, {"v": Deployed(linear.vector(), deployed)}, budget=budget, max_multiplier=32.0
    )["v"]
    assert found.reached == "cost"
    assert found.looked_at[0][0] == deployed
    for multiplier, cost in found.looked_at:
        assert cost == pytest.approx(rise(multiplier), abs=1e-5)
    assert dict(found.looked_at)[found.multiplier] == found.cost
    assert found.cost <= budget
    # Where 1/256 of the last doubling moves the cost by more than the tolerance, the next step is beyond the budget.
    beyond = min(abs(multiplier) for multiplier, cost in found.looked_at if cost > budget)
    assert found.cost >= 0.98 * budget or beyond <= abs(found.multiplier) * (1 + 1 / STEPS)
    sign = math.copysign(1, deployed)
    start = sign * 1e-3 if rise(sign * 1e-3) < budget else 0.0
    crossing = brentq(lambda m: rise(m) - budget, start, 32.0 * deployed)
    assert 0.98 * abs(crossing) <= abs(found.multiplier) <= abs(crossing)


def test_the_largest_multiplier_may_be_the_deployed_one(linear):
    found = multipliers_at_cost(linear.model, TEXTS, {"v": Deployed(linear.vector(size=0.01))}, max_multiplier=1.0)["v"]
    assert (found.multiplier, found.reached) == (1.0, "most")


def test_the_first_position_counts_where_it_is_steered(linear):
    """Then the second token's NLL has the multiplier too."""
    both = multipliers_at_cost(
        linear.model,
        TEXTS,
        {
            "all but the first": Deployed(linear.vector(), 1.0, "all"),
            "all": Deployed(linear.vector(), 1.0, "all", include_first=True),
            "a text has no prompt": Deployed(linear.vector(), 1.0, "after_prompt", include_first=True),
        },
    )
    assert list(both) == ["all but the first", "all", "a text has no prompt"]
    for name, first in (("all", True), ("all but the first", False)):
        assert both[name].cost == pytest.approx(rise(both[name].multiplier, first), abs=1e-5)
        assert 0.049 <= both[name].cost <= 0.05
    assert both["all"].multiplier != both["all but the first"].multiplier
    assert both["all but the first"] == both["a text has no prompt"]


def bounded(size, limit, strength="linear"):
    """h + m v, and NaN beyond a multiplier."""
    direction = size * torch.eye(8)[1]

    def transform(hidden, strength, layer):
        return torch.where(strength.abs() > limit, torch.nan, hidden + strength * direction)

    return custom(transform, layers=[0], strength=strength, name="bounded")


def test_a_multiplier_that_overflows_is_too_dear_and_ends_no_search(linear):
    deployed = {
        "early": Deployed(bounded(0.01, 1.3)),
        "plain": Deployed(linear.vector()),
        "late": Deployed(bounded(0.01, 3.7), -1.0),
        "never": Deployed(bounded(1.0, 100.0)),
    }
    found = multipliers_at_cost(linear.model, TEXTS, deployed)
    alone = multipliers_at_cost(linear.model, TEXTS, {"plain": deployed["plain"]})["plain"]
    assert found["plain"] == alone
    assert found["never"].multiplier == alone.multiplier
    for name, limit in (("early", 1.3), ("late", 3.7)):
        one = found[name]
        assert one.reached == "cost"
        assert limit * (1 - 1 / STEPS) <= abs(one.multiplier) <= limit
        assert one.cost == pytest.approx(rise(0.01 * one.multiplier), abs=1e-5)
        assert all((cost == math.inf) == (abs(multiplier) > limit) for multiplier, cost in one.looked_at)


def test_nothing_but_nan_is_an_error_and_not_a_cost(linear):
    with pytest.raises(MeasurementError, match=r"bounded: the model gives NaN or infinity at every multiplier.*\(1, 0\.5, "):
        multipliers_at_cost(linear.model, TEXTS, {"v": Deployed(bounded(1.0, 0.0))})
    with pytest.raises(MeasurementError, match=r"every multiplier that was looked at \(1\)"):
        multipliers_at_cost(linear.model, TEXTS, {"v": Deployed(bounded(1.0, 0.0, "ignored"))})


def test_a_model_that_is_broken_unsteered_is_an_error(linear):
    with torch.no_grad():
        linear.model.hf.get_output_embeddings().weight[3, 3] = torch.nan
    with pytest.raises(MeasurementError, match="at multiplier 0"):
        multipliers_at_cost(linear.model, TEXTS, {"v": Deployed(linear.vector()), "w": Deployed(linear.vector(1))})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"budget": 0.0}, SteerError, "budget has to be a positive number"),
        ({"max_multiplier": 0.5}, SteerError, "max_multiplier has to be a number from 1 on"),
        ({"tolerance": 0.0}, SteerError, "tolerance has to be between 0 and 1"),
        ({"texts": []}, DataError, "at least one text"),
        ({"texts": ["up"]}, DataError, r"text 0: has 1 token\(s\)"),
        ({"vector": builders.random_vector(0)}, VectorError, "width"),
    ],
)
def test_what_cannot_be_searched(linear, arguments, error, message):
    vector = arguments.pop("vector", linear.vector())
    with pytest.raises(error, match=message):
        multipliers_at_cost(linear.model, arguments.pop("texts", TEXTS), {"v": Deployed(vector)}, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"multiplier": 0.0}, "other than 0"),
        ({"multiplier": math.nan}, "other than 0"),
        ({"positions": "some"}, "positions is one of"),
    ],
)
def test_what_cannot_be_deployed(linear, arguments, message):
    with pytest.raises(SteerError, match=message):
        Deployed(linear.vector(), **arguments)


# --- on a trained model ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny():
    model = load_model("builtin:tiny")
    known, model.kept[engine_of] = engine_of(model), Engine(model)  # what other tests measured is not remembered here
    yield model
    model.kept[engine_of] = known


@pytest.fixture
def texts():
    return NEUTRAL.read_text().splitlines()[:6]


def test_costs_are_those_of_a_plain_loop(tiny, texts):
    vector = builders.random_vector(2, width=tiny.width, norm=8.0)
    found = multipliers_at_cost(tiny, texts, {"v": Deployed(vector, -0.5)})["v"]
    assert found.reached == "cost"

    def nll(m):
        return np.array([plain.nll(tiny.hf, tiny.tokenizer, text, vector.directions, m)[0] for text in texts])

    base = nll(0.0)
    for multiplier, cost in found.looked_at:
        assert cost == pytest.approx(math.expm1((nll(multiplier) - base).mean()), abs=2e-5)
    assert 0.049 <= found.cost <= 0.05


def kinds_of_strength(width):
    """Interventions of all kinds of strength, at several layers and from several positions on."""
    directions = {layer: torch.randn(width, generator=torch.Generator().manual_seed(layer)) for layer in range(5)}
    half = custom(lambda h, s, layer: h * (1 - 0.9 * s), layers=[4], strength="interpolated", name="shrink")
    return {
        **{f"add {layer}": Deployed(builders.random_vector(layer, width=width, norm=8.0)) for layer in (0, 2, 5)},
        "add to all": Deployed(builders.random_vector(1, width=width, norm=8.0), 1.0, "all", include_first=True),
        "backwards": Deployed(builders.random_vector(3, width=width, norm=8.0), -4.0, "last"),
        "ablate": Deployed(ablate(SteeringVector({3: directions[3]}))),
        "rotate": Deployed(rotate({2: (directions[2], directions[4])}), 0.9),
        "shrink": Deployed(half),
    }


def test_in_lockstep_is_one_by_one_in_one_run_each_round(tiny, texts, monkeypatch):
    deployed = kinds_of_strength(tiny.width)
    runs = []
    run_pairs = Engine.run_pairs
    monkeypatch.setattr(Engine, "run_pairs", lambda self, *asked: runs.append(asked) or run_pairs(self, *asked))
    found = multipliers_at_cost(tiny, texts, deployed)
    own = max(len(one.looked_at) for name, one in found.items() if name != "add to all")
    assert len(runs) == own + len(found["add to all"].looked_at)
    for name, one in deployed.items():
        tiny.kept[engine_of] = Engine(tiny)
        alone = multipliers_at_cost(tiny, texts, {name: one})[name]
        assert (alone.multiplier, alone.reached) == (found[name].multiplier, found[name].reached), name
        np.testing.assert_allclose(np.array(alone.looked_at), np.array(found[name].looked_at), atol=2e-5)
    assert {one.reached for one in found.values()} >= {"cost", "fixed"}
    assert found["ablate"].looked_at == ((1.0, found["ablate"].cost),)
    assert abs(found["rotate"].multiplier) <= 0.9
    assert abs(found["shrink"].multiplier) <= 1.0


# --- effects ---------------------------------------------------------------------------------------------------------------


def items_of(pairs):
    return [ContrastItem("much", (one,), (other,), str(i)) for i, (one, other) in enumerate(pairs)]


PAIRS = [("up", "down"), ("down", "up"), ("up", "still"), ("still", "down"), ("up", "much"), ("(A)", "(B)")]


def test_effects_are_those_of_the_closed_form(linear):
    """Propensity a (b+ - b-) + m (c+ - c-): the effect is m (c+ - c-)."""
    at = {
        "three": (Deployed(linear.vector()), 3.0),
        "back": (Deployed(linear.vector(1), 1.0, "last"), -0.25),
        "none": (Deployed(linear.vector()), 0.0),
    }
    effects, unsteered = effects_at(linear.model, items_of(PAIRS), at)
    names = [tuple(word.strip("()") for word in pair) for pair in PAIRS]
    slopes = np.array([C.get(one, 0.0) - C.get(other, 0.0) for one, other in names])
    base = np.array([2.0 * (B.get(one, 0.0) - B.get(other, 0.0)) for one, other in names])
    assert list(effects) == ["three", "back", "none"]
    np.testing.assert_allclose(effects["three"], 3.0 * slopes, atol=1e-5)
    np.testing.assert_allclose(effects["back"], -0.25 * slopes, atol=1e-5)
    assert effects["none"].tolist() == [0.0] * len(PAIRS)
    np.testing.assert_allclose(unsteered, base, atol=1e-6)
    assert standardised(effects["three"], unsteered) == pytest.approx(
        3.0 * slopes.mean() / math.sqrt(((base - base.mean()) ** 2).sum() / (len(base) - 1)), rel=1e-5
    )


def test_effects_are_those_of_plain_loops_in_every_scope():
    model = builders.random_model("llama")
    items = [*builders.LETTERED, *builders.WORDED]
    scopes = [("all", False), ("all", True), ("after_prompt", False), ("last", False)]
    vectors = {layer: builders.random_vector(layer) for layer in range(3)}
    at = {(layer, *scope): (Deployed(vectors[layer], 1.0, *scope), 0.5 + layer) for layer in vectors for scope in scopes}
    effects, unsteered = effects_at(model, items, at)
    for (layer, positions, include_first), found in effects.items():
        grid = [0.0, 0.5 + layer]
        values = plain.curve(
            model.hf, model.tokenizer, items, vectors[layer].directions, grid, positions, include_first=include_first
        )
        np.testing.assert_allclose(found, values[:, 1] - values[:, 0], atol=2e-4)
        np.testing.assert_allclose(unsteered, values[:, 0], atol=2e-4)


def test_effects_that_cannot_be_measured(linear):
    deployed = Deployed(linear.vector())
    with pytest.raises(SteerError, match="no interventions"):
        effects_at(linear.model, items_of(PAIRS), {})
    with pytest.raises(DataError, match="no items to measure"):
        effects_at(linear.model, [], {"v": (deployed, 1.0)})
    with pytest.raises(SteerError, match="finite numbers"):
        effects_at(linear.model, items_of(PAIRS), {"v": (deployed, math.nan)})
    with pytest.raises(VectorError, match="width"):
        effects_at(linear.model, items_of(PAIRS), {"v": (Deployed(builders.random_vector(0)), 1.0)})
    with pytest.raises(MeasurementError, match="NaN or infinity"):
        effects_at(linear.model, items_of(PAIRS), {"v": (Deployed(bounded(1.0, 0.5)), 1.0)})


@pytest.mark.parametrize("unsteered", [[0.1, 0.1, 0.1], [2.0], []])
def test_without_a_deviation_there_is_no_standardised_effect(unsteered):
    """The deviation of three times 0.1 would be 1.7e-17 by numpy."""
    with pytest.raises(MeasurementError, match="do not vary"):
        standardised(np.ones(len(unsteered)), np.array(unsteered))
    with pytest.raises(MeasurementError, match="do not vary"):
        deviation(np.array(unsteered))
