"""The table at the end of a run: numbers as their claim shows them."""

from __future__ import annotations

import pytest
from reports import records

from pytest_steer.core.evidence import Direction, Evidence, Verdict
from pytest_steer.core.finding import Finding
from pytest_steer.report import claim_table
from pytest_steer.report.claim_table import claim_warnings, control_ranks, deployed_moves, expected_false, noted_lines


@pytest.mark.parametrize(
    ("percent", "cells"),
    [(True, ["+7.8%", "[+6.4%, +9.1%]", "<= +12%"]), (False, ["0.0779", "[0.0643, 0.091]", "<= 0.12"])],
)
def test_a_claim_in_per_cent_is_shown_in_per_cent(percent, cells):
    evidence = Evidence(
        "ppl_delta_below", "cheap", Verdict.PASS, "perplexity delta", 0.0779, (0.0643, 0.091), threshold=0.12,
        direction=Direction.AT_MOST, n=60, unit="texts", percent=percent, suite="s", id="a.steer.yaml::cheap",
    )  # fmt: skip
    *_, suite, line = claim_table(records([evidence.to_dict()])).splitlines()
    assert (suite, line.split(None, 3)[:3]) == ("s", ["pass", "cheap", "(ppl_delta_below)"])
    for cell in cells:
        assert cell in line


def record(name: str, suite: str = "s", **more) -> dict:
    known = {"threshold": 0.5, "n": 60, "suite": suite, "id": f"{suite}.steer.yaml::{name}"} | more
    known["findings"] = tuple(Finding("made-up", text) for text in known.pop("warnings", ()))
    return Evidence("steers", name, Verdict.PASS, "steerability", 1.0, (0.9, 1.1), **known).to_dict()


def test_to_beat_is_to_do_more_than_the_margin():
    assert "  > 0.5  " in claim_table(records([record("a", is_strict=True)]))
    assert "  > 0  " in claim_table(records([record("a", threshold=0.0)]))
    assert "  >= 0.5  " in claim_table(records([record("a")]))


def test_a_warning_of_many_claims_names_the_first_of_them():
    assert claim_warnings(records([record(name, warnings=["weak"]) for name in "abcdef"])) == [
        "warning: s: a, b, c and 3 more: weak"
    ]


def test_a_claim_without_a_threshold_promises_nothing_and_is_no_verdict_that_could_be_wrong():
    seen = record("a") | {"threshold": None, "verdict": "inconclusive"}
    *_, line = claim_table(records([seen])).splitlines()
    cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
    assert (cells[0], cells[-2:]) == ("inconclusive", ["no threshold yet", "60"])
    assert expected_false(records([seen])) == "no claim was judged by an interval"
    assert expected_false(records([seen, record("b")])).startswith("1 verdict at 95 %")


def test_a_warning_stands_once_with_all_claims_it_is_about():
    claims = [record("a", warnings=["weak", "few"]), record("b", warnings=["weak"]), record("a", "t", warnings=["weak"])]
    assert claim_warnings(records(claims)) == ["warning: s: a, b; t: a: weak", "warning: s: a: few"]


def test_claims_that_passed_say_where_their_vector_ranks_among_random_ones():
    found = {"count": 19, "seed": 0, "multipliers": [0.0, 1.0], "steerability": 1.0, "steerabilities": [0.1] * 19}
    first, third = {"controls": found | {"p": 0.05}}, {"controls": found | {"p": 0.15}}
    claims = [record(name, details=first) for name in "abcd"] + [record("e"), record("f", details=third)]
    of = "controls: of the vector and 19 random directions of equal norm, the vector ranks number"
    assert control_ranks(records(claims)) == [
        f"{of} 1 (p = 0.05) in 4 (s: a, s: b, s: c and 1 more)",
        f"{of} 3 (p = 0.15) in 1 (s: f)",
    ]
    assert control_ranks(records([record("e")])) == []


def test_what_a_claim_that_passed_found_beside_its_verdict():
    claims = [record("a", details={"noted": ["text collapses between 2 and 3"]}), record("b")]
    assert noted_lines(records(claims)) == ["s: a: text collapses between 2 and 3"]


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        (["up"], "moves up in 1 claim"),
        (["neither way", "neither way"], "is not proven to move in 2 claims (s: c0 at 1, s: c1 at 1)"),
        (["up", "up", "down"], "moves up in 2 claims, moves down in 1 claim (s: c2 at 1)"),
    ],
)
def test_which_way_deployed_models_move_is_one_sentence(ways, words):
    claims = [record(f"c{at}", details={"deployed": {"moves": way, "multiplier": 1.0}}) for at, way in enumerate(ways)]
    assert deployed_moves(records(claims)) == [f"as deployed, the model {words}"]
