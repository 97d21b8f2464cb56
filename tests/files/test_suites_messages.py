"""The words of messages, where no claim file of today shows them."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pytest_steer.core.errors import Fault
from pytest_steer.core.registry import nearest
from pytest_steer.core.validation import flow, shown
from pytest_steer.files.messages import _explain, _settled, to_error, where
from pytest_steer.files.source import Source


def explained(schema: dict[str, Any], value: Any) -> list[tuple[str, str]]:
    errors = _settled(Draft202012Validator(schema).iter_errors(value))
    return [(where(fault.path), fault.reason) for error in errors for fault in _explain(error, set())]


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_the_alternative_that_was_meant_is_explained(keyword: str) -> None:
    gate = {
        "type": "object",
        "required": ["above"],
        "properties": {"above": {"type": "number", "description": "A threshold."}},
    }
    schema = {"properties": {"gate": {keyword: [{"type": "boolean"}, gate]}}}
    assert explained(schema, {"gate": {"above": "high"}}) == [("gate.above", "must be a number, but is the text 'high'")]


def test_a_keyword_without_words_of_its_own() -> None:
    (fault,) = explained({"multipleOf": 2}, 3)
    assert fault == ("", "3 is not a multiple of 2")


@pytest.mark.parametrize(
    ("bounds", "value", "words"),
    [
        ({"minimum": 1, "maximum": 5}, 0, "must be at least 1 and at most 5, but is 0"),
        ({"minimum": 1, "maximum": 5}, 9, "must be at least 1 and at most 5, but is 9"),
        ({"exclusiveMaximum": 5}, 5, "must be less than 5, but is 5"),
    ],
)
def test_bounds(bounds: dict[str, Any], value: float, words: str) -> None:
    assert explained(bounds, value) == [("", words)]


def test_where() -> None:
    assert where(()) == ""
    assert where(("claims", 2, "steers", "steerability")) == "claims[2].steers.steerability"
    assert where(("a b", "c\n")) == "['a b']['c\\n']"
    assert where(("x", "y.z", 0)) == "x['y.z'][0]"


def test_shown() -> None:
    assert shown("a\nb") == r"'a\nb'"
    assert shown("x" * 58) == repr("x" * 58)
    assert len(shown("x" * 59)) < 60
    assert shown("x" * 1000).startswith("'xxx")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("steer", "steers"),
        ("Steers", "steers"),
        ("not-anti-steered", "not_anti_steered"),
        ("ppl delta below", "ppl_delta_below"),
        ("win_rate_above", None),
        ("", None),
    ],
)
def test_nearest(word: str, meant: str | None) -> None:
    assert nearest(word, ["steers", "not_anti_steered", "ppl_delta_below"]) == meant


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, "b c", True, None]}, '{a: [1, "b c", true, null]}'),
        ("data/test.json", "data/test.json"),
        ("", '""'),
        ("\u00e9", '"\u00e9"'),
        (float("nan"), ".nan"),
        (0.3, "0.3"),
    ],
)
def test_flow(value: Any, text: str) -> None:
    assert flow(value) == text


def test_several_faults_are_told_in_the_order_of_the_file(tmp_path: Any) -> None:
    source = Source(tmp_path, "a.steer.yaml", {}, {("a",): 5, ("b",): 3})
    error = to_error([Fault(("a",), "is wrong", "Mend it."), Fault(("b",), "is bad", "Replace it.")], source)
    assert str(error) == ("a.steer.yaml:3: b: is bad\n  Replace it.\na.steer.yaml:5: a: is wrong\n  Mend it.")
    assert (error.line, error.where, error.reason) == (3, "b", "is bad")
