"""The tables of a comparison: what stands in which cell, from rows whose numbers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_steer.core.evidence import plain
from pytest_steer.core.record import Row, SideChanges, Strength, TaskRow
from pytest_steer.measures.compared import strength_of
from pytest_steer.report.comparison import comparison_tables


def row(behaviour: str, method: str, effect: float, at_cost: float | None, spread: float = 2.0) -> Row:
    return Row(
        behaviour=behaviour,
        method=method,
        n=40,
        spread=spread,
        deployed=Strength(1.0, effect, (effect - 0.5, effect + 0.5), 0.125, 0.08, pne=0.31),
        at_cost=None if at_cost is None else Strength(0.625, at_cost, (at_cost - 0.25, None), 0.25, 0.0496, "cost", 0.22),
        steerability=effect / 2,
        steerability_interval=(effect / 2 - 0.25, effect / 2 + 0.25),
        anti_steerable_share=0.2,
    )


def line_of(text: str, *words: str) -> list[str]:
    """The cells of the one line that begins with these words."""
    (found,) = [line.split() for line in text.splitlines() if line.split()[: len(words)] == list(words)]
    return found


def part(text: str, heading: str) -> str:
    (found,) = [part for part in text.split("\n\n") if part.startswith(heading)]
    return found


def test_every_number_stands_in_its_column():
    text = comparison_tables([row("mood", "caa", 3.0, 1.5)], cost=0.05, width=130)
    deployed = part(text, "at each method's own deployed strength")
    assert line_of(deployed, "mood", "caa") == [
        "mood", "caa", "40", "1", "1.5", "[1.25,", "1.75]", "0.2", "3", "[2.5,", "3.5]", "1.5", "0.125", "+8.0%", "0.31",
    ]  # fmt: skip
    equal = part(text, "at equal perplexity cost (+5.0%)")
    assert line_of(equal, "mood", "caa") == ["mood", "caa", "0.625", "+5.0%", "1.5", "[1.25,", "-]", "0.75", "0.25", "0.22"]
    assert "standard deviations" not in text  # one behaviour alone has no table over behaviours


def test_both_sides_have_a_table_where_they_were_measured():
    sides = SideChanges(0.5, (0.25, None), -0.125, (-0.25, -0.0625), 0.75, None)
    text = comparison_tables(
        [replace(row("mood", "caa", 3.0, 1.5), sides=sides), row("mood", "pca", 1.0, 1.5)], cost=0.05, width=130
    )
    table = part(text, "log-likelihood of the answers there")
    assert line_of(table, "mood", "caa") == [
        "mood", "caa", "1", "0.5", "[0.25,", "-]", "-0.125", "[-0.25,", "-0.0625]", "0.75", "-",
    ]  # fmt: skip
    assert "pca" not in table
    assert "log-likelihood" not in comparison_tables([row("mood", "pca", 1.0, 1.5)])


def test_an_item_that_does_not_move_is_not_one_that_moves_the_wrong_way():
    found = strength_of(np.array([-1.0, 0.0, 0.0, 3.0]), 2.0, 0.95, cost=float("inf"))
    assert (found.multiplier, found.effect, found.wrong_way, found.cost) == (2.0, 0.5, 0.25, None)


def test_over_behaviours_effects_are_in_their_own_standard_deviations_and_methods_stand_by_their_mean():
    rows = [
        row("mood", "weak", 1.0, 1.0, spread=2.0),
        row("mood", "strong", 2.0, 4.0, spread=2.0),
        row("tone", "weak", 3.0, 1.5, spread=1.0),
        row("tone", "strong", 0.5, 8.0, spread=1.0),
    ]
    matrix = part(comparison_tables(rows), "effects in standard deviations")
    lines = [line.split() for line in matrix.splitlines()[4:]]
    assert lines == [
        ["strong", "1", "0.5", "0.75", "2", "8", "5"],
        ["weak", "0.5", "3", "1.75", "0.5", "1.5", "1"],
    ]


def test_a_method_that_was_not_measured_everywhere_has_no_mean_and_stands_last():
    rows = [row("mood", "half", 9.0, 9.0), row("mood", "whole", -1.0, -1.0), row("tone", "whole", -1.0, -1.0)]
    lines = [line.split() for line in part(comparison_tables(rows), "effects in").splitlines()[4:]]
    assert [line[0] for line in lines] == ["whole", "half"]
    assert lines[1] == ["half", "4.5", "-", "-", "4.5", "-", "-"]


def test_without_costs_there_is_no_table_at_equal_cost():
    text = comparison_tables([row("mood", "caa", 3.0, None), row("tone", "caa", 3.0, None)])
    assert "equal" not in text


def test_what_has_no_slope_or_no_spread_has_a_dash():
    found = Row("mood", "ablation", 40, None, Strength(1.0, 0.5, (0.25, 0.75), 0.0))
    assert line_of(comparison_tables([found], width=130), "mood", "ablation") == [
        "mood", "ablation", "40", "1", "-", "-", "0.5", "[0.25,", "0.75]", "-", "0", "-", "-",
    ]  # fmt: skip
    assert found.whole().deployed.effect_standardised is None


def test_a_strength_that_costs_much_less_because_the_next_costs_more_is_marked():
    found = Row("mood", "caa", 40, 1.0, Strength(1.0, 0.5), Strength(2.0, 0.5, (0.0, 1.0), 0.0, 0.03, "cost"))
    assert "costs more beyond" in part(comparison_tables([found], cost=0.05), "at equal")
    assert "costs more beyond" not in comparison_tables([found], cost=0.031)


@pytest.mark.parametrize(("reached", "words"), [("most", "largest strength looked at"), ("fixed", "has one strength")])
def test_a_cost_that_was_not_reached_is_named(reached: str, words: str):
    found = Row("mood", "caa", 40, 1.0, Strength(1.0, 0.5), Strength(8.0, 0.5, (0.0, 1.0), 0.0, 0.01, reached))
    assert words in part(comparison_tables([found], cost=0.05), "at equal")


def test_tasks_are_methods_by_settings():
    tasks = [
        TaskRow("capitals", "unsteered", "zero-shot", 50, 0.1, 0.08),
        TaskRow("capitals", "fv", "zero-shot", 50, 0.6, 0.5),
        TaskRow("capitals", "unsteered", "5-shot", 50, 0.8, 0.75),
        TaskRow("capitals", "fv", "zero-shot", 50, 0.3, 0.2, at_cost=True),
    ]
    text = comparison_tables([], tasks, cost=0.05)
    assert text.startswith("capitals: accuracy of 50 items, first token / exact answer")
    assert line_of(text, "unsteered") == ["unsteered", "0.10", "/", "0.08", "0.80", "/", "0.75"]
    assert line_of(text, "fv") == ["fv", "0.60", "/", "0.50", "0.30", "/", "0.20"]
    assert "equal cost (+5.0%)" in text


def test_a_row_as_json_holds_what_is_standardised():
    found = plain(row("mood", "caa", 3.0, 1.5).whole())
    assert found["steerability_standardised"] == 0.75
    assert found["deployed"]["effect_standardised"] == 1.5
    assert found["at_cost"]["effect_standardised"] == 0.75
    assert found["at_cost"]["interval"] == [1.25, None]
