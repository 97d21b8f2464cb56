import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_steer.stats import FalseVerdicts, expected_false_verdicts, holm

exactly = settings(
    deadline=None, derandomize=True, database=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)

p_values = st.lists(st.floats(0, 1), max_size=12)


# Holm


def test_holm_by_hand():
    # sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, and the last is raised to the one before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], rel=1e-15)


def test_holm_of_few_and_of_ties():
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm(iter([0.02, 0.02])) == [0.04, 0.04]
    assert holm([0.6, 0.7]) == [1, 1]


def holm_rejects(ps, alpha):
    """Holm's procedure as he wrote it: go up the sorted p-values and stop at the first above alpha / (claims left)."""
    rejected = set()
    for step, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if ps[index] > alpha / (len(ps) - step):
            break
        rejected.add(index)
    return rejected


@exactly
@given(p_values, st.floats(0.001, 0.5))
def test_holm_decides_as_the_step_down_procedure(ps, alpha):
    adjusted = holm(ps)
    if all(abs(p - alpha) > 1e-9 for p in adjusted):
        assert {i for i, p in enumerate(adjusted) if p <= alpha} == holm_rejects(ps, alpha)


def test_holm_controls_the_chance_of_any_false_pass():
    runs, claims, alpha = 3000, 10, 0.05
    uniform = np.random.default_rng(0).uniform(size=(runs, claims))
    rate = np.mean([min(holm(row)) <= alpha for row in uniform])
    assert rate <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / runs)
    assert np.mean(uniform.min(axis=1) <= alpha) > 0.3  # ... which is needed


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.1, "0.5", None])
def test_holm_names_a_wrong_p_value(wrong):
    with pytest.raises(ValueError, match=r"p_values\[1\] was .*; expected a number"):
        holm([0.1, wrong])


# What to expect of a suite


def test_forty_claims_of_the_reference():
    expected = expected_false_verdicts([0.95] * 40)
    assert expected == FalseVerdicts(claims=40, passes=2.0, fails=2.0, chance_of_any=pytest.approx(0.8715, abs=5e-5))


def test_claims_of_different_confidence():
    # P(no false one) = .9 * .99
    expected = expected_false_verdicts(c for c in (0.9, 0.99))
    assert expected.passes == pytest.approx(0.11)
    assert expected.fails == pytest.approx(0.11)
    assert expected.chance_of_any == pytest.approx(1 - 0.891)


def test_no_claims():
    assert expected_false_verdicts([]) == FalseVerdicts(claims=0, passes=0, fails=0, chance_of_any=0)


def test_expected_counts_are_those_of_a_simulation():
    confidences = [0.9, 0.95, 0.8]
    z = np.random.default_rng(1).normal(size=(20_000, 3))
    false_passes = z >= stats.norm.ppf(confidences)
    expected = expected_false_verdicts(confidences)
    assert false_passes.sum(axis=1).mean() == pytest.approx(expected.passes, abs=0.016)
    assert false_passes.any(axis=1).mean() == pytest.approx(expected.chance_of_any, abs=0.014)


def test_wrong_confidence():
    with pytest.raises(ValueError, match="confidence was 95"):
        expected_false_verdicts([0.95, 95])
