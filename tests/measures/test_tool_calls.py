"""Calls of tools read from replies: each form, and what is malformed; nothing is evaluated."""

from __future__ import annotations

import pytest

from pytest_steer.core.errors import DataError, SteerError
from pytest_steer.measures.tool_calls import PARSERS, Call, fault_of_arguments, holds, parser_of

ROME = {"query": "Rome", "n": 3}
SEARCH = Call("search", ROME)
JSON = '{"name": "search", "arguments": {"query": "Rome", "n": 3}}'
TOOL = {
    "type": "function",
    "function": {
        "name": "search",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}, "n": {"type": "integer"}},
            "required": ["query"],
            "additionalProperties": False,
        },
    },
}


def named(parser):
    return parser_of("regex", parser["regex"]) if isinstance(parser, dict) else parser_of(parser)


@pytest.mark.parametrize(
    ("parser", "text", "calls"),
    [
        ("json", JSON, [SEARCH]),
        ("json", f"  ```json\n{JSON}\n```\n", [SEARCH]),
        ("json", f"[{JSON}, {JSON}]", [SEARCH, SEARCH]),
        ("json", '{"name": "search", "parameters": {"query": "Rome", "n": 3}}', [SEARCH]),
        ("json", '{"type": "function", "function": {"name": "search", "arguments": "{\\"query\\": \\"Rome\\", \\"n\\": 3}"}}', [SEARCH]),
        ("json", "I would search for Rome.", []),
        ("hermes", f"Let me look.\n<tool_call>\n{JSON}\n</tool_call>", [SEARCH]),
        ("hermes", JSON, []),
        ("mistral", f"[TOOL_CALLS][{JSON}]</s>".removesuffix("</s>"), [SEARCH]),
        ("mistral", '[TOOL_CALLS]search[ARGS]{"query": "Rome", "n": 3}', [SEARCH]),
        ("mistral", '[TOOL_CALLS]search[CALL_ID]x1[ARGS]{"query": "Rome", "n": 3}[TOOL_CALLS]f{}', [SEARCH, Call("f", {})]),
        ("llama3_json", '{"name": "search", "parameters": {"query": "Rome", "n": 3}}', [SEARCH]),
        ("llama3_json", f"<|python_tag|>{JSON}; {JSON}", [SEARCH, SEARCH]),
        ("pythonic", '[search(query="Rome", n=3)]', [SEARCH]),
        ("pythonic", '<|python_tag|>search.call(query="Rome", n=3)', [SEARCH]),
        ("pythonic", 'Sure. <|tool_call_start|>[search(query="Rome", n=3), f()]<|tool_call_end|>', [SEARCH, Call("f", {})]),
        ("pythonic", "[1] is a citation", []),
        ({"regex": r"CALL (?P<name>\w+) (?P<arguments>\{.*?\})"}, 'CALL search {"query": "Rome", "n": 3}', [SEARCH]),
    ],
)  # fmt: skip
def test_each_form_is_read(parser, text, calls):
    assert named(parser)(text) == calls


@pytest.mark.parametrize(
    ("parser", "text", "fault"),
    [
        ("json", '{"name": "search", "arguments": {', "is not valid JSON"),
        ("json", '{"name": "search"}', "has no arguments"),
        ("json", '{"tool": "search", "arguments": {}}', "is no object with a name and arguments"),
        ("json", '{"name": "search", "arguments": [1]}', "its arguments are no object"),
        ("json", '{"name": "search", "arguments": {"n": NaN}}', "NaN is no JSON number"),
        ("json", '{"name": "search", "arguments": {"n": 1, "n": 2}}', "a key twice"),
        ("json", '{"name": "search", "arguments": "x"}', "its arguments: is not valid JSON"),
        ("hermes", f"<tool_call>{JSON}", "<tool_call> is not closed"),
        ("mistral", "[TOOL_CALLS] search Rome", "no name and arguments"),
        ("llama3_json", f"{JSON}; {{", "is not valid JSON"),
        ("pythonic", '[search("Rome")]', "has an argument without a name"),
        ("pythonic", "[search(query=print(1))]", "has an argument that is no literal"),
        ("pythonic", "[search(query={1})]", "holds what JSON cannot hold"),
        ("pythonic", f"[a{'()' * 800}(query=1)]", "is no call of a name"),
        ("pythonic", "[search(query=]", "is not Python"),
        ("pythonic", f"[search(query='{'x' * 30_000}')]", "is longer than"),
        ({"regex": r"(?P<name>\w+)!(?P<arguments>.*)"}, "search!Rome", "its arguments: is not valid JSON"),
    ],
)  # fmt: skip
def test_what_is_meant_as_a_call_and_is_none_is_malformed(parser, text, fault):
    found = named(parser)(text)[-1]
    assert fault in found.fault


def test_nothing_is_evaluated(tmp_path, capsys):
    (call,) = PARSERS["pythonic"](f"[search(query=__import__('pathlib').Path('{tmp_path}/x').write_text('x'))]")
    assert call.fault == "has an argument that is no literal"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("parser", "message"),
    [
        (("herms",), "unknown parser 'herms': did you mean 'hermes'"),
        (("regex",), "regex needs `pattern`"),
        (("json", "x"), "pattern: means nothing with parser 'json'"),
        ((None, "x"), "means nothing with parser None: write `parser: regex`"),
        (("regex", "("), "is not a regular expression"),
        (("regex", r"(?P<name>\w+)"), "has no group 'arguments'"),
    ],
)
def test_parsers_that_are_none(parser, message):
    with pytest.raises(SteerError) as error:
        parser_of(*parser)
    assert message.casefold() in str(error.value).casefold()


def test_an_expression_that_takes_too_long_is_an_error(monkeypatch):
    monkeypatch.setattr("pytest_steer.measures.tool_calls.PATIENCE", 0.05)
    with pytest.raises(SteerError, match=r"takes more than 0.05 s over a reply"):
        parser_of("regex", r"^(?P<name>(a|aa)+)(?P<arguments>)$")("a" * 60 + "b")


def test_arguments_are_held_against_the_tools_own_schema():
    assert fault_of_arguments(TOOL, ROME) is None
    assert fault_of_arguments(TOOL, {"n": 3}) == "'query' is a required property"
    assert fault_of_arguments(TOOL, {"query": 3}) == "query: 3 is not of type 'string'"
    assert "additional" in fault_of_arguments(TOOL, {"query": "x", "other": 1}).casefold()
    assert fault_of_arguments({"function": {"name": "f"}}, {"anything": 1}) is None


@pytest.mark.parametrize("schema", [{"type": "strin"}, {"properties": {"query": {"pattern": "("}}}, {"$ref": "#"}])
def test_a_schema_that_is_none_is_the_datas_error(schema):
    with pytest.raises(DataError, match="the tool 'f' are no JSON Schema"):
        fault_of_arguments({"function": {"name": "f", "parameters": schema}}, ROME)


def test_a_schema_elsewhere_is_not_fetched():
    tool = {
        "function": {
            "name": "f",
            "parameters": {"type": "object", "properties": {"q": {"$ref": "http://127.0.0.1:9/x.json"}}},
        }
    }
    with pytest.raises(DataError, match="nothing is fetched"):
        fault_of_arguments(tool, {"q": 1})


@pytest.mark.parametrize(
    ("value", "promised", "kept"),
    [
        ({"query": "Rome", "n": 3}, {"query": "Rome"}, True),
        ({"query": "Rome"}, {"query": "Rome", "n": 3}, False),
        ({"n": 3.0}, {"n": 3}, True),
        ({"n": True}, {"n": 1}, False),
        ({"at": {"x": 1, "y": 2}}, {"at": {"x": 1}}, True),
        ({"of": [1, 2]}, {"of": [1, 2]}, True),
        ({"of": [1, 2]}, {"of": [1]}, False),
        ({}, {}, True),
    ],
)
def test_promised_arguments_may_be_among_others(value, promised, kept):
    assert holds(value, promised) is kept
