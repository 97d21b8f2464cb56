"""The map of entanglement: which claims are in it, and what stands where."""

from __future__ import annotations

import jsonschema
from reports import a_claim, records

from pytest_steer.core.evidence import plain
from pytest_steer.report import build_report, entanglement_map, report_schema
from pytest_steer.report.matrix_rows import entanglement_rows


def claim(choice, behaviours, own=None, name="leaves_alone"):
    listed = [
        {
            "name": one,
            "estimate": estimate,
            "interval": [estimate - 0.1, estimate + 0.1],
            "effect": estimate,
            "verdict": verdict,
        }
        for one, (estimate, verdict) in behaviours.items()
    ]
    own = None if own is None else {"estimate": own, "interval": [own, None], "effect": own}
    compared = {
        "by": "slope",
        "band": 0.1,
        "behaviours": listed,
        "own": own,
        "entanglement": {"effect": 0.25, "chosen": 0.5},
    }
    return a_claim() | {
        "suite": "s",
        "name": f"{name}[{choice}]",
        "matrix": {"behaviour": choice},
        "compared": {"entanglement": compared},
    }


CLAIMS = [
    claim("cheer", {"loud": (0.34, "fail"), "quiz": (0.0, "pass")}, own=0.5),
    claim("loud", {"cheer": (-0.02, "inconclusive"), "quiz": (0.01, "pass")}, own=1.25),
]


def test_vectors_stand_down_and_behaviours_across():
    lines = [line.split("  ") for line in entanglement_map(records(CLAIMS), width=130).splitlines()]
    title, head, _, *rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert title[0].startswith("s: leaves_alone: mean steerability of other behaviours")
    assert head == ["vector", "cheer", "loud", "quiz", "entanglement", "of choices"]
    assert rows == [
        ["cheer", "(+0.5)", "+0.34 !", "0", "0.25", "0.5"],
        ["loud", "-0.02 ?", "(+1.25)", "+0.01", "0.25", "0.5"],
    ]


def test_one_vector_makes_no_map_and_each_claim_has_its_own():
    assert entanglement_map(records(CLAIMS[:1])) == ""
    strict = [claim("cheer", {"quiz": (0.0, "pass")}, name="strict"), claim("loud", {"quiz": (0.0, "pass")}, name="strict")]
    text = entanglement_map(records([*CLAIMS, *strict]))
    assert text.count("of other behaviours") == 2
    assert "s: strict: mean" in text


def test_what_stands_in_no_matrix_or_is_another_claim_is_left_out():
    rows = entanglement_rows(
        records([CLAIMS[0] | {"matrix": None}, CLAIMS[1] | {"compared": {"n": 3}}, CLAIMS[1] | {"compared": None}])
    )
    assert rows == []
    (row,) = entanglement_rows(records(CLAIMS[1:]))
    assert (row.vector, row.claim, row.own.name) == ("loud", "leaves_alone", "loud")


def test_the_report_holds_it():
    report = build_report([], seed=0, profile="ci", started=0.0)
    report["comparison"]["entanglement"] = plain(entanglement_rows(records(CLAIMS)))
    jsonschema.validate(report, report_schema())
