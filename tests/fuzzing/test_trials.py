"""The table of contexts tried: shares of axes against closed forms, and combinations that are likely to be bad."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pytest_steer import Context, contexts
from pytest_steer.fuzzing.trials import Search, Trial, Trials, axis_shares, recombined, simplicity, without
from pytest_steer.fuzzing.worst_context import find_worst
from pytest_steer.prompting.contexts import identity
from pytest_steer.stats import Direction

SYSTEMS = [None, "b", "c"]
ORDERS = ["as_given", "swapped"]


def factorial(estimate) -> list[Trial]:
    """Every combination once, with an estimate that is a function of (system's number, order's number)."""
    return [
        Trial(Context(system=SYSTEMS[i], option_order=ORDERS[j]), estimate(i, j), "drawn")
        for i, j in itertools.product(range(3), range(2))
    ]


def test_shares_of_a_full_design_are_the_main_effects_of_the_analysis_of_variance() -> None:
    """y = a_i + b_j: variance 2/3 s^2 from the systems (-s, 0, s), t^2 from the orders (-t, t)."""
    s, t = 0.3, 0.5
    order, system = axis_shares(factorial(lambda i, j: 2.0 + s * (i - 1) + t * (2 * j - 1)))
    assert (order.axis, system.axis) == ("option_order", "system")
    total = 2 / 3 * s**2 + t**2
    assert order.share == pytest.approx(t**2 / total)
    assert system.share == pytest.approx(2 / 3 * s**2 / total)
    assert [(one.value, one.n, round(one.mean, 9)) for one in order.values] == [(None, 3, 1.5), ("swapped", 3, 2.5)]
    assert [(one.value, one.n, round(one.mean, 9)) for one in system.values] == [
        (None, 2, 1.7),
        ("b", 2, 2.0),
        ("c", 2, 2.3),
    ]


def test_what_only_a_combination_does_belongs_to_no_axis_alone() -> None:
    """y = u_i w_j with sum u = sum w = 0: both main effects are 0."""
    for share in axis_shares(factorial(lambda i, j: (i - 1) * (2 * j - 1))):
        assert share.share == pytest.approx(0)


def test_one_combination_of_six() -> None:
    """y = 1 but 0 in one cell: mean 5/6, total 5/36 * 6 / 6; order means 1, 2/3; system means 1, 1, 1/2."""
    found = {share.axis: share.share for share in axis_shares(factorial(lambda i, j: float((i, j) != (2, 1))))}
    total = 6 * (5 / 6) * (1 / 6)
    assert found["option_order"] == pytest.approx(6 * (1 / 6) ** 2 / total)
    assert found["system"] == pytest.approx((4 * (1 / 6) ** 2 + 2 * (1 / 3) ** 2) / total)


def test_values_that_occur_once_are_one_group() -> None:
    """Else an axis of free text, never twice the same, would explain everything."""
    trials = [Trial(Context(system=f"text {i}"), y, "drawn") for i, y in enumerate([1.0, -2.0, 0.5, 0.5])]
    trials += [Trial(Context(option_order=order), y, "drawn") for order, y in (("as_given", 1.0), ("swapped", 2.0))]
    shares = {share.axis: share.share for share in axis_shares(trials)}
    ys = np.array([1.0, -2.0, 0.5, 0.5, 1.0, 2.0])
    between = 4 * (ys[:4].mean() - ys.mean()) ** 2 + 2 * (ys[4:].mean() - ys.mean()) ** 2
    assert shares["system"] == pytest.approx(between / ((ys - ys.mean()) ** 2).sum())


def test_no_shares_where_nothing_differs() -> None:
    assert axis_shares(factorial(lambda i, j: 0.25)) == []
    assert axis_shares([]) == []


def test_a_context_is_measured_once_and_new_ones_together() -> None:
    asked: list[list[Context]] = []

    def measure(contexts) -> list[float]:
        asked.append(list(contexts))
        return [float(len(context.system or "")) for context in contexts]

    trials = Trials(measure, 1.5, Direction.AT_LEAST)
    a, bb, ccc = Context(system="a"), Context(system="bb"), Context(system="ccc")
    assert trials.estimates([a, bb, a], "drawn") == [1, 2, 1]
    assert trials.estimates([bb, ccc], "climbed") == [2, 3]
    assert asked == [[a, bb], [ccc]]
    assert [(row.context, row.how) for row in trials.rows] == [(a, "drawn"), (bb, "drawn"), (ccc, "climbed")]
    assert trials.asked == 5
    assert trials.worst.context == a
    assert [trials.breaks(row.estimate) for row in trials.rows] == [True, False, False]
    assert Trials(measure, 1.5, Direction.AT_MOST).badness(2.0) == 0.5


def test_recombination_proposes_the_worst_of_an_additive_landscape_first() -> None:
    """Five of six cells are known; the missing one has both bad values."""
    trials = [
        t
        for t in factorial(lambda i, j: 1.0 - 0.3 * i - 0.5 * j)
        if t.context != Context(system="c", option_order="swapped")
    ]
    assert recombined(trials, lambda y: -y, 3, read=Context.from_dict) == [Context(system="c", option_order="swapped")]
    # Two unknown ones, the worse first, and no more than asked for.
    fewer = [t for t in trials if t.context != Context(system="b", option_order="swapped")]
    both = recombined(fewer, lambda y: -y, 5, read=Context.from_dict)
    assert both == [Context(system="c", option_order="swapped"), Context(system="b", option_order="swapped")]
    assert recombined(fewer, lambda y: -y, 1, read=Context.from_dict) == both[:1]
    assert recombined(factorial(lambda i, j: 1.0), lambda y: -y, 5, read=Context.from_dict) == []
    assert recombined([Trial(Context(), 1.0, "listed")], lambda y: -y, 5, read=Context.from_dict) == []


def test_what_is_left_is_recombined_in_three_rounds_of_one_size() -> None:
    sizes: list[int] = []

    class Counted(Trials):
        def estimates(self, contexts, how) -> list[float]:
            wanted = list(contexts)
            sizes.extend([len(wanted)] if how == "recombined" else [])
            return super().estimates(wanted, how)

    trials = Counted(lambda contexts: [float(len(identity(one))) for one in contexts], -1.0, Direction.AT_LEAST)
    space = contexts(system=[f"Be {i}." for i in range(12)], opening=[f"It is {i} (" for i in range(12)])
    find_worst(trials, Search(space=space, free=True), max_contexts=60, seed=0)
    assert len(trials.rows) == 1 + 60
    assert len(sizes) == 3
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) >= 12


def test_simpler_is_fewer_axes_then_less_text() -> None:
    ordered = [
        Context(), Context(system=""), Context(system="x"), Context(option_order="swapped"),
        Context(system="", option_order="swapped"),
    ]  # fmt: skip
    assert sorted(dict.fromkeys(ordered[::-1], 0), key=simplicity) == ordered
    assert without(ordered[-1], "system", Context.from_dict) == Context(option_order="swapped")
