"""Rows of a comparison from what claims say of themselves: which claim is asked, and what stands where."""

from __future__ import annotations

import re

import pytest
from reports import a_claim, records

from pytest_steer.core.evidence import plain
from pytest_steer.report.matrix_rows import comparison_of, matrix_rows

OF_ITEMS = {"n": 8, "spread": 2.0, "deployed": {"multiplier": 1.0, "effect": 3.0, "interval": [2.0, 4.0], "wrong_way": 0.25}}
SLOPES = {"steerability": 1.5, "anti_steerable_share": 0.125}
OWN = OF_ITEMS | SLOPES | {"steerability_interval": [1.25, 1.75], "rank": 0}
OTHER = OF_ITEMS | SLOPES | {"steerability_interval": [1.0, 2.0], "rank": 1}
AT_COST = {
    "n": 8, "spread": 4.0, "deployed": {"multiplier": 1.0, "effect": 9.0, "cost": 0.5},
    "at_cost": {"multiplier": 0.5, "effect": 1.0, "interval": [0.5, None], "cost": 0.04, "reached": "cost"}, "budget": 0.04, "rank": 2,
}  # fmt: skip


def claim(compared, method="caa", positions="all", multiplier=1.0):
    own = a_claim()
    return own | {
        "suite": "s", "matrix": {"method": method, "behaviour": "mood"}, "compared": compared, "multiplier": multiplier,
        "vector": own["vector"] | {"hash": method, "positions": positions},
    }  # fmt: skip


def cost(value, **more):
    return claim({"deployed": {"multiplier": more.get("multiplier", 1.0), "cost": value}}, **more)


@pytest.mark.parametrize("turned", [False, True])
def test_the_claim_about_the_slope_is_asked_for_its_bounds_wherever_it_stands(turned):
    claims = [claim(OTHER), claim(AT_COST), claim(OWN)]
    (row,), tasks = matrix_rows(records(claims[::-1] if turned else claims))
    assert (row.steerability, row.steerability_interval, row.anti_steerable_share) == (1.5, (1.25, 1.75), 0.125)
    assert (row.deployed.effect, row.spread, row.deployed.cost) == (3.0, 2.0, 0.5)
    assert (row.at_cost.effect, row.at_cost.interval, row.at_cost.cost) == (1.0, (0.5, None), 0.04)
    assert tasks == []


def test_a_cost_belongs_to_the_same_vector_scope_and_strength():
    for other, known in ((cost(0.1), 0.1), (cost(0.1, positions="last"), None), (cost(0.1, multiplier=2.0), None)):
        (row,), _ = matrix_rows(records([claim(OWN), other]))
        assert row.deployed.cost == known
    (row,), _ = matrix_rows(records([claim(AT_COST), cost(0.1)]))
    assert row.deployed.cost == 0.5  # its own, on its own texts


def test_a_divergence_belongs_to_the_same_vector_scope_and_strength():
    def kl(value, **more):
        return claim({"deployed": {"multiplier": more.get("multiplier", 1.0), "kl": value}}, **more)

    for other, known in ((kl(0.1), 0.1), (kl(0.1, positions="last"), None), (kl(0.1, multiplier=2.0), None)):
        (row,), _ = matrix_rows(records([claim(OWN), other, cost(0.2)]))
        assert (row.deployed.kl, row.deployed.cost) == (known, 0.2)
    both = comparison_of(records([claim(OWN), kl(0.0123), cost(0.2)]), width=200)
    assert both.splitlines()[-1].split()[-3:] == ["+20.0%", "-", "0.0123"]
    assert "KL" in both
    assert "KL" not in comparison_of(records([claim(OWN), cost(0.2)]))


def test_an_accuracy_belongs_to_the_same_vector_scope_and_strength():
    def lost(share, **more):
        found = {"accuracy_lost": share, "accuracy_lost_interval": [0.012, None]}
        return claim({"deployed": {"multiplier": more.get("multiplier", 1.0)} | found}, **more)

    for other, known in ((lost(0.0), 0.0), (lost(0.03, positions="last"), None), (lost(0.03, multiplier=2.0), None)):
        (row,), _ = matrix_rows(records([claim(OWN), other]))
        assert row.deployed.accuracy_lost == known
        assert row.deployed.accuracy_lost_interval == ((None, None) if known is None else (0.012, None))
    both = comparison_of(records([claim(OWN), claim(OWN, method="pca"), lost(0.034)]), width=200)
    assert re.search(r"accuracy *\n.* lost *\n", both)
    assert both.splitlines()[-2].split()[-3:] == ["+3.4%", "[+1.2%,", "-]"]
    assert "accuracy" not in comparison_of(records([claim(OWN)]))


def test_further_strengths_and_budgets_have_rows_of_their_own():
    twice = OWN | {"deployed": OWN["deployed"] | {"multiplier": 2.0}}
    rows, _ = matrix_rows(
        records([claim(OWN), claim(twice, multiplier=2.0), claim(AT_COST), claim(AT_COST | {"budget": 0.5})])
    )
    assert [row.method for row in rows] == ["caa", "caa x 2", "caa for +50.0%"]


def test_both_sides_come_from_the_claims_that_measured_them():
    sides = {
        "matching_change": 0.5, "matching_interval": [0.25, None], "not_matching_change": -0.125, "not_matching_interval": [None, -0.0625],
        "promoted": 0.75, "suppressed": None,
    }  # fmt: skip
    (row,), _ = matrix_rows(records([claim(OWN), claim(OTHER | {"sides": sides})]))
    assert (row.sides.matching_change, row.sides.matching_interval) == (0.5, (0.25, None))
    assert (row.sides.not_matching_change, row.sides.not_matching_interval) == (-0.125, (None, -0.0625))
    assert plain(row.sides) == sides
    assert row.steerability_interval == (1.25, 1.75)
    (without,), _ = matrix_rows(records([claim(OWN)]))
    assert without.sides is None


def test_what_stands_in_no_matrix_or_says_nothing_is_left_out():
    lost = claim(OWN) | {"matrix": None}
    assert matrix_rows(records([lost, claim(None)])) == ([], [])
