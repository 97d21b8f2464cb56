"""Assertions and fixtures in ordinary tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pytest_steer import (
    SteerError,
    SteeringFailure,
    SteeringVector,
    assert_not_anti_steered,
    assert_ppl_delta_below,
    assert_steers,
    extract,
    load_model,
    perplexity,
    propensity_curve,
    read_items,
)
from pytest_steer.core.run_context import RunContext, running
from pytest_steer.stats import mean_bootstrap
from pytest_steer.steering import custom

TEST_FILE = """
import pytest
from pytest_steer import assert_steers, assert_ppl_delta_below, extract, read_items

@pytest.fixture(scope="module")
def vector(steer_model):
    return extract.caa(steer_model, read_items("train.json"), layer=1)

def test_holds(steer_model, vector):
    evidence = assert_steers(steer_model, vector, read_items("test.json"), steerability=-50, multipliers=[-1, 0, 1])
    assert evidence.verdict == "pass"

def test_fails(steer_model, vector):
    assert_steers(steer_model, vector, read_items("test.json"), steerability=50, multipliers=[-1, 0, 1])

def test_error(steer_model, vector):
    assert_ppl_delta_below(steer_model, vector, ["only one text"], limit=0.1)

def test_fixture_steers(steer_model, steering, vector):
    inputs = steer_model.tokenizer("How was it?", return_tensors="pt")
    plain = steer_model.hf(**inputs).logits
    with steering(steer_model, vector, multiplier=2.0, positions="all"):
        steered = steer_model.hf(**inputs).logits
    assert not (plain == steered).all()
    assert (steer_model.hf(**inputs).logits == plain).all()

def test_load_model_is_cached(steer_model, steer_load_model):
    assert steer_load_model("builtin:tiny") is steer_model
"""


def test_in_ordinary_tests(suite: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_claims=TEST_FILE)
    result = pytester.runpytest("--steer-report=out.json")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(["E*SteeringFailure: steers: FAIL *", "E*run again: pytest test_claims.py::test_fails"])
    result.stdout.no_fnmatch_line("*assertions.py:*: in assert_steers*")
    claims = json.loads((suite / "out.json").read_text())["claims"]
    assert [(claim["id"], claim["verdict"]) for claim in claims] == [
        ("test_claims.py::test_holds", "pass"),
        ("test_claims.py::test_fails", "fail"),
        ("test_claims.py::test_error", "error"),
    ]


FAILING = """
import pytest, torch
from pytest_steer import assert_ppl_delta_below, assert_steers, extract, perplexity, read_items, SteeringVector
from pytest_steer.steering import custom

@pytest.fixture(scope="module")
def vector(steer_model):
    return SteeringVector({1: torch.ones(steer_model.width)})

@pytest.fixture
def broken(steer_model):
    return extract.caa(steer_model, read_items("test.json"), layer=77)

def test_fails(steer_model, vector):
    assert_steers(steer_model, vector, read_items("test.json"), steerability=50, multipliers=[-1, 0, 1])

def test_error_in_the_engine(steer_model, vector):
    large = SteeringVector({1: 10 * vector.directions[1]})
    assert_steers(steer_model, large, read_items("test.json"), steerability=1, multiplier=3e38, multipliers=[0, 3e38])

def test_error_before_a_model_runs(steer_model, vector):
    assert_steers(steer_model, vector, "test.json", steerability=1)

def test_error_of_a_scope(steer_model, vector):
    assert_ppl_delta_below(steer_model, vector, ["One text.", "Two texts."], limit=1, positions="first")

def test_error_of_a_measure(steer_model, vector):
    perplexity(steer_model, ["A text."], SteeringVector({1: 10 * vector.directions[1]}), multiplier=3e38)

def test_error_of_a_fixture(broken):
    pass

def test_error_with_a_cause(steer_model):
    def mine(hidden, strength, layer):
        raise TypeError("a fault of mine")
    perplexity(steer_model, ["A text."], custom(mine, layers=1, strength="linear", name="mine"))

def test_a_keyword_that_is_misspelt(steer_model, vector):
    assert_steers(steer_model, vector, read_items("test.json"), steerability=50, postions="all")

def test_error_in_a_property(steer_model, vector):
    from hypothesis import given, settings, strategies
    @settings(max_examples=2, deadline=None, database=None)
    @given(strategies.just(50))
    def prove(steerability):
        assert_steers(steer_model, vector, read_items("test.json"), steerability=steerability, multipliers=[-1, 0, 1])
    prove()
"""


@pytest.mark.parametrize(
    "style", ["auto", "line", *(pytest.param(style, marks=pytest.mark.nightly) for style in ("long", "short"))]
)
def test_no_frame_of_ours_is_shown(suite: Path, pytester: pytest.Pytester, style: str) -> None:
    pytester.makepyfile(test_claims=FAILING)
    result = pytester.runpytest("--tb", style, "--steer-report=out.json")
    result.assert_outcomes(failed=8, errors=1)
    result.stdout.no_fnmatch_line("*pytest_steer/*.py*")
    result.stdout.no_fnmatch_line("*torch/nn*")
    if style != "line":
        result.stdout.fnmatch_lines(
            ["*assert_steers(steer_model, vector, *steerability=50*", "E*SteeringFailure: steers: FAIL*"]
        )
        result.stdout.fnmatch_lines(["*SteerError: multiplier*3e+38*"])
        result.stdout.fnmatch_lines(["*TypeError: a fault of mine"])
    claims = json.loads((suite / "out.json").read_text())["claims"]
    verdicts = {claim["id"].partition("::")[2]: claim["verdict"] for claim in claims}
    assert verdicts == {
        "test_fails": "fail",
        "test_error_in_the_engine": "error",
        "test_error_before_a_model_runs": "error",
        "test_error_of_a_scope": "error",
        "test_error_in_a_property": "fail",
    }


def test_a_model_that_is_not_there_fails_without_a_traceback(suite: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(steer_load_model): steer_load_model('builtin:tinny')")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Did you mean 'builtin:tiny'?*"])
    result.stdout.no_fnmatch_line("*loading.py*")


@pytest.fixture(scope="module")
def model():
    return load_model("builtin:tiny")


@pytest.fixture
def vector(model, suite: Path) -> SteeringVector:
    return extract.caa(model, read_items(suite / "train.json"), layer=1)


@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_intervals_are_those_of_scipy_at_the_claims_confidence(
    model, vector: SteeringVector, suite: Path, confidence: float
) -> None:
    items, grid = read_items(suite / "test.json"), [-1, 0, 1]
    slopes = propensity_curve(model, items, vector, multipliers=grid).slopes
    evidence = assert_steers(model, vector, items, steerability=-50, multipliers=grid, confidence=confidence)
    want = stats.t.interval(2 * confidence - 1, len(slopes) - 1, slopes.mean(), stats.sem(slopes))
    assert evidence.interval == pytest.approx(want)
    wrong = int((slopes <= 0).sum())
    anti = assert_not_anti_steered(model, vector, items, share=0.999, multipliers=grid, confidence=confidence)
    high = stats.binomtest(wrong, len(slopes), alternative="less").proportion_ci(confidence).high
    low = stats.binomtest(wrong, len(slopes), alternative="greater").proportion_ci(confidence).low
    assert anti.interval == pytest.approx((low, high))
    texts = (suite / "neutral.txt").read_text().splitlines()
    rises = perplexity(model, texts, vector).per_text - perplexity(model, texts).per_text
    cost = assert_ppl_delta_below(model, vector, texts, limit=1e6, confidence=confidence)
    want = np.expm1(stats.t.interval(2 * confidence - 1, len(rises) - 1, rises.mean(), stats.sem(rises)))
    assert cost.interval == pytest.approx(tuple(want))
    assert (cost.percent, anti.percent) == (True, False)


def test_what_is_drawn_follows_the_seed_of_the_run(model, vector: SteeringVector, suite: Path) -> None:
    items, grid = read_items(suite / "test.json"), [-1, 0, 1]
    slopes = propensity_curve(model, items, vector, multipliers=grid).slopes
    for seed in (0, 5):
        with running(RunContext(seed=seed)):
            evidence = assert_steers(model, vector, items, steerability=-50, multipliers=grid, interval="bootstrap")
        want = mean_bootstrap(slopes, confidence=0.95, seed=seed)
        assert evidence.interval == pytest.approx((want.low, want.high), abs=1e-12)
    assert want.low != mean_bootstrap(slopes, confidence=0.95, seed=0).low
    # A seed that is given wins.
    given = assert_steers(model, vector, items, steerability=-50, multipliers=grid, interval="bootstrap", seed=5)
    assert given.interval == evidence.interval


def bounds(values: np.ndarray, confidence: float) -> tuple[float, ...]:
    """Student's, one-sided each."""
    return stats.t.interval(2 * confidence - 1, len(values) - 1, values.mean(), stats.sem(values))


def test_what_a_claim_says_in_a_comparison(model, vector: SteeringVector, suite: Path) -> None:
    """A claim about the slope has the bounds that it was judged by, another one Student's of the slopes, and it is asked second."""
    items, grid = read_items(suite / "test.json"), [-1, 0, 1]
    curve = propensity_curve(model, items, vector, multipliers=grid)
    with running(RunContext(seed=3)):
        of_slope = assert_steers(model, vector, items, steerability=-50, multipliers=grid, interval="bootstrap").compared
    other = assert_not_anti_steered(model, vector, items, share=0.999, multipliers=grid, confidence=0.9).compared
    resampled = mean_bootstrap(curve.slopes, confidence=0.95, seed=3)
    assert (of_slope.rank, other.rank) == (0, 1)
    assert of_slope.steerability_interval == pytest.approx([resampled.low, resampled.high])
    assert other.steerability_interval == pytest.approx(bounds(curve.slopes, 0.9))
    effects = curve.values[:, 2] - curve.values[:, 1]
    for found in (of_slope, other):
        assert found.steerability == pytest.approx(curve.slopes.mean())
        assert (found.n, found.spread) == (len(items), pytest.approx(np.std(curve.values[:, 1], ddof=1)))
        assert (found.deployed.effect, found.deployed.multiplier) == (pytest.approx(effects.mean()), 1.0)
        assert found.deployed.wrong_way == pytest.approx((effects < 0).mean())
    assert of_slope.deployed.interval == pytest.approx(bounds(effects, 0.95))
    assert other.deployed.interval == pytest.approx(bounds(effects, 0.9))


def test_failure_carries_the_evidence_and_equals_its_like(model, vector: SteeringVector, suite: Path) -> None:
    items = read_items(suite / "test.json")
    failures = []
    for threshold in (50, 60):
        with pytest.raises(SteeringFailure) as raised:
            assert_steers(model, vector, items, steerability=threshold, multipliers=[-1, 1])
        failures.append(raised.value)
    assert failures[0] == failures[1]
    assert failures[0].evidence.threshold == 50
    assert failures[0].evidence.to_dict()["verdict"] == "fail"
    with pytest.raises(SteeringFailure) as raised:
        assert_steers(model, vector, items, steerability=50, multipliers=[-1, 1], name="other")
    assert raised.value != failures[0]


def test_a_multiplier_of_0_is_refused(model, vector: SteeringVector, suite: Path) -> None:
    with pytest.raises(SteerError, match="steers: multiplier must not be 0"):
        assert_steers(model, vector, read_items(suite / "test.json"), steerability=0.3, multiplier=0)


def test_a_function_that_fails_says_how_it_is_called(model, suite: Path) -> None:
    with pytest.raises(SteerError, match=r"'shrink' failed at layer 2: TypeError.*is called with \(hidden"):
        propensity_curve(
            model,
            read_items(suite / "test.json"),
            custom(lambda h: h * 0.9, layers=2, strength="linear", name="shrink"),
            multipliers=[-1, 1],
        )
