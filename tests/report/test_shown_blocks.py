"""Blocks: what a claim shows is drawn in the terminal, in Markdown and on the page, and reads back from a report."""

from __future__ import annotations

import json

import pytest
from page_reports import report_of, steers
from test_page import Reader

from pytest_steer.claims import drawn
from pytest_steer.claims.drawn import explain
from pytest_steer.core.block import (
    KINDS,
    MOST_ITEMS,
    PAGE_ONLY,
    Conversation,
    CostPoint,
    Curve,
    Distribution,
    EffectAgainstCost,
    Entry,
    Estimate,
    Excerpt,
    Intervals,
    Items,
    Line,
    Series,
    Table,
    as_reasons,
    block_of,
    block_record,
    items_of,
)
from pytest_steer.core.evidence import Evidence, Verdict
from pytest_steer.report.formats import markdown_file
from pytest_steer.report.formats.markdown_file import drawn_blocks
from pytest_steer.report.page import page_of
from pytest_steer.report.page.figures import is_drawn
from pytest_steer.report.schema import claim_validator

BLOCKS = {
    "line": Line("one sentence\nand another"),
    "table": Table([["first", "1.25"], ["second", "2.5"]], ["row", "value"], title="a table", about="of two rows"),
    "curve": Curve([Series("up", [(-1.0, 0.125), (1.0, 0.75)], [(0.0, None), (0.5, 1.0)])], "height", title="a curve"),
    "distribution": Distribution([0.5, -0.5], "slope", wrong="below", title="a spread"),
    "intervals": Intervals([Estimate("mine", 0.375, (0.25, 0.5), 7, "pass")], "share", [0.3], title="estimates"),
    "effect_against_cost": EffectAgainstCost([CostPoint("v", 1.0, 0.5, 0.0625)], 0.1, title="a trade"),
    "items": items_of([Entry("q7", -0.25, "slope -0.25", "Why?", [Excerpt("matching", "Because.")])], title="worst of all"),
    "conversation": Conversation(title="they talk"),
}
# What of each stands in the terminal, and in Markdown; figures without rows are for the page alone.
WORDS = {
    "line": ["one sentence", "and another"],
    "table": ["a table", "of two rows", "row", "first", "2.5"],
    "curve": ["multiplier", "-1", "up", "0.125", "0.75"],
    "distribution": [],
    "intervals": ["estimates", "mine", "7", "0.375", "[0.25, 0.5]", "pass"],
    "effect_against_cost": [],
    "items": ["worst of all", "q7", "slope -0.25", "Why?", "matching", "Because."],
}


def plain(block):
    return json.loads(json.dumps(block_record(block)))


def evidence(*blocks, verdict=Verdict.FAIL):
    numbers = {"statistic": "s", "estimate": 1.0, "threshold": 2.0, "n": 9, "headline": "h", "reason": "r"}
    return Evidence("steers", "mine", verdict, **numbers, blocks=blocks)


def terminal(*blocks, **more):
    return explain(evidence(*blocks, **more), width=80)


def markdown(*blocks):
    return drawn_blocks([plain(one) for one in blocks]).replace("\\", "")


def page(*blocks):
    return Reader(page_of(report_of([steers("mine", [0.5] * 9) | {"blocks": [plain(one) for one in blocks]}])))


def test_every_kind_is_tried():
    assert BLOCKS.keys() == KINDS.keys()
    assert {type(one) for one in BLOCKS.values()} == {*KINDS.values()}
    assert WORDS.keys() == KINDS.keys() - {"conversation"}


def test_every_kind_is_drawn_by_each_face():
    for in_text in (drawn, markdown_file):
        assert {*in_text._DRAWN, *PAGE_ONLY, Conversation} == {*KINDS.values()}
    figures = {kind for name, kind in KINDS.items() if is_drawn(BLOCKS[name])}
    assert figures | {Line, Table, Items, Conversation} == {*KINDS.values()}


@pytest.mark.parametrize("name", KINDS)
def test_it_reads_back_and_the_schema_knows_it(name):
    record = plain(BLOCKS[name])
    assert record["kind"] == name
    assert plain(block_of(record)) == record
    claim = steers("mine", [0.5] * 9)
    assert not [*claim_validator().iter_errors(claim | {"blocks": [record]})]
    assert [*claim_validator().iter_errors(claim | {"blocks": [{**record, "kind": "nothing of ours"}]})]


def test_a_kind_of_another_version_is_left_out():
    assert block_of({"kind": "hologram", "is_reason": False}) is None


@pytest.mark.parametrize("name", WORDS)
def test_each_kind_is_drawn(name):
    for draw in (terminal, markdown):
        said = draw(BLOCKS[name])
        assert all(word in said for word in WORDS[name]), said
    read = page(BLOCKS[name])
    if name in ("curve", "distribution", "intervals", "effect_against_cost"):
        assert BLOCKS[name].title in read.inside["figure"]
    else:
        assert all(word.lower() in read.inside["article"].lower() for word in WORDS[name])


def test_a_reason_is_shown_where_the_claim_does_not_pass():
    blocks = [Line("beside it"), *as_reasons([Line("because of this")])]
    assert "because of this" in terminal(*blocks)
    passed = terminal(*blocks, verdict=Verdict.PASS)
    assert "beside it" in passed
    assert "because of this" not in passed
    assert "because of this" in page(*blocks).inside["article"]


def test_what_is_only_a_drawing_repeats_no_number_in_text():
    again = Intervals([Estimate("mine", 0.375)], "share", title="drawn", is_drawing=True)
    assert "0.375" not in terminal(again) + markdown(again)
    assert "drawn" in page(again).inside["figure"]


def test_a_long_list_is_cut_and_counted():
    listed = items_of((Entry(f"q{n}", float(n), f"slope {n}") for n in range(100)), title="many")
    assert (len(listed.items), listed.of) == (MOST_ITEMS, 100)
    assert f"Many: {MOST_ITEMS} of 100" in page(listed).inside["article"]
    assert "3 of 100" in markdown(listed)
