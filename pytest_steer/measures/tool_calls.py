"""Calls of tools in a reply: read with the tokenizer's own parsing of responses, or with a named parser. Nothing is evaluated.

A parser takes the text of a reply and gives its calls; a part that looks like a call and cannot be read is a malformed one. The forms are
those that released chat templates ask for, see docs/claims.md. Arguments are compared with the tool's own JSON Schema and with what a
claim promises.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from ..core.errors import DataError, SteerError
from ..core.evidence import Json
from ..core.registry import did_you_mean
from ..data.texts import PATIENCE, check_expression
from ..model import Model


@dataclass(frozen=True)
class Call:
    """One call of a tool.

    Attributes:
        name / arguments: as the model wrote them.
        fault: why it is malformed; None for a call that can be read.
    """

    name: str = ""
    arguments: Any = None
    fault: str | None = None


Parser = Callable[[str], list[Call]]
_FENCE = re.compile(r"^```[\w-]*\n(?P<inner>.*?)\n?```$", re.DOTALL)
_HERMES = re.compile(r"<tool_call>(?P<inner>.*?)(?P<end></tool_call>|\Z)", re.DOTALL)
_MISTRAL = "[TOOL_CALLS]"
_MISTRAL_CALL = re.compile(r"\s*(?P<name>[\w.-]+)\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\])?\s*(?P<inner>\{.*)", re.DOTALL)
_PYTHON_TAG = "<|python_tag|>"
_PYTHONIC = re.compile(r"<\|tool_call_start\|>(?P<inner>.*?)(?:<\|tool_call_end\|>|\Z)", re.DOTALL)
_LONGEST = 20_000  # characters of Python that are read


def json_calls(text: str) -> list[Call]:
    """The reply is a JSON object ``{name, arguments}`` (or ``parameters``), or a list of them, bare or in a fence of code."""
    text = text.strip()
    fenced = _FENCE.match(text)
    text = fenced["inner"].strip() if fenced else text
    return _of_json(text) if text[:1] in ("{", "[") else []


def hermes_calls(text: str) -> list[Call]:
    """Each ``<tool_call>{...}</tool_call>`` holds one call as JSON (Hermes 2 Pro, Qwen 2.5, Qwen 3)."""
    calls = []
    for found in _HERMES.finditer(text):
        calls += _of_json(found["inner"].strip()) if found["end"] else [Call(fault="<tool_call> is not closed")]
    return calls


def mistral_calls(text: str) -> list[Call]:
    """``[TOOL_CALLS]`` and a JSON list of calls, or ``[TOOL_CALLS]name[ARGS]{...}`` (Mistral)."""
    calls = []
    for part in text.split(_MISTRAL)[1:]:
        part = part.strip()
        named = _MISTRAL_CALL.fullmatch(part)
        if part[:1] in ("[", "{"):
            calls += _of_json(part)
        elif named is None:
            calls.append(Call(fault="no name and arguments stand after [TOOL_CALLS]"))
        else:
            calls.append(_with_arguments(named["name"], named["inner"].strip()))
    return calls


def llama3_json_calls(text: str) -> list[Call]:
    """JSON objects ``{name, parameters}``, several with a semicolon between them, after ``<|python_tag|>`` or bare (Llama 3)."""
    text = text.strip().removeprefix(_PYTHON_TAG).strip()
    if not text.startswith("{"):
        return []
    decoder = _decoder()
    calls: list[Call] = []
    while text:
        try:
            value, end = decoder.raw_decode(text)
        except (ValueError, RecursionError) as error:
            return [*calls, Call(fault=_not_json(error))]
        calls.append(_of_object(value))
        text = text[end:].lstrip("; \n")
    return calls


def pythonic_calls(text: str) -> list[Call]:
    """A list of calls in Python's form, ``[search(query="x")]``, bare, after ``<|python_tag|>`` or between ``<|tool_call_start|>`` and its
    end (Llama 3.2, Llama 4, LFM 2). Arguments are named and are literals."""
    marked = [found["inner"] for found in _PYTHONIC.finditer(text)]
    bare = text.strip()
    if not marked and bare.startswith(_PYTHON_TAG):
        marked = [bare.removeprefix(_PYTHON_TAG)]
    if not marked:
        marked = [bare] if re.match(r"\[\s*[A-Za-z_][\w.]*\(", bare) else []
    return [call for part in marked for call in _of_python(part.strip())]


PARSERS: dict[str, Parser] = {
    "json": json_calls,
    "hermes": hermes_calls,
    "mistral": mistral_calls,
    "llama3_json": llama3_json_calls,
    "pythonic": pythonic_calls,
}


def regex_parser(expression: str) -> Parser:
    """A parser by a regular expression with the groups ``name`` and ``arguments`` (JSON).

    Raises:
        SteerError: it is none, or has not these groups.
    """
    try:
        check_expression(expression)
    except DataError as error:
        raise SteerError(f"pattern: {error}") from None
    compiled = regex.compile(expression)
    lacking = [name for name in ("name", "arguments") if name not in compiled.groupindex]
    if lacking:
        raise SteerError(f"pattern: the expression has no group {lacking[0]!r}: write (?P<{lacking[0]}>...)")

    def calls(text: str) -> list[Call]:
        try:
            found = [*compiled.finditer(text, timeout=PATIENCE)]
        except TimeoutError:
            raise SteerError(f"pattern: the expression takes more than {PATIENCE:g} s over a reply") from None
        return [_with_arguments(one["name"] or "", (one["arguments"] or "").strip()) for one in found]

    return calls


def parser_of(name: str | None, pattern: str | None = None) -> Parser:
    """The parser of that name; ``regex`` is the one of the pattern.

    Raises:
        SteerError: there is none, or a pattern is missing or means nothing.
    """
    if name == "regex" and pattern is not None:
        return regex_parser(pattern)
    if name == "regex":
        raise SteerError(
            "parser: regex needs `pattern`, with the groups name and arguments: CALL (?P<name>...) (?P<arguments>...)"
        )
    if pattern is not None:
        raise SteerError(f"pattern: means nothing with parser {name!r}: write `parser: regex`, or delete it")
    if name not in PARSERS:
        raise SteerError(f"parser: unknown parser {name!r}: {did_you_mean(str(name), [*PARSERS, 'regex'])}")
    return PARSERS[name]


def has_own_parsing(model: Model) -> bool:
    """Whether the tokenizer says how its responses are read (transformers' ``response_template``)."""
    return getattr(model.tokenizer, "response_template", None) is not None


def own_calls(model: Model, raw: str, prompt: str, tools: list[Json]) -> list[Call]:
    """The calls of a reply as the tokenizer's own parsing reads them.

    Args:
        raw: the reply with all special tokens. prompt: the rendered conversation before it.
    """
    try:
        message = model.tokenizer.parse_response(raw, prefix=prompt, tools=tools)
    except Exception as error:  # of a parser of the tokenizer's own: whatever it raises
        return [Call(fault=f"the tokenizer's own parsing refuses the reply: {error}")]
    calls = message.get("tool_calls") if isinstance(message, Mapping) else None
    return [_of_object(call) for call in calls or ()]


def _decoder() -> json.JSONDecoder:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON number")

    def mapping(pairs: list[tuple[str, Any]]) -> Json:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("an object has a key twice")
        return found

    return json.JSONDecoder(parse_constant=refuse, object_pairs_hook=mapping)


def _not_json(error: Exception) -> str:
    return f"is not valid JSON: {error}"


def _of_json(text: str) -> list[Call]:
    try:
        value = _decoder().decode(text)
    except (ValueError, RecursionError) as error:
        return [Call(fault=_not_json(error))]
    return [_of_object(one) for one in (value if isinstance(value, list) else [value])]


def _of_object(value: Any) -> Call:
    """The call of ``{name, arguments | parameters}``, which may stand under ``function``."""
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return Call(fault="is no object with a name and arguments")
    key = next((key for key in ("arguments", "parameters") if key in value), None)
    if key is None:
        return Call(value["name"], fault="has no arguments")
    arguments = value[key]
    return _with_arguments(value["name"], arguments) if isinstance(arguments, str) else _checked(value["name"], arguments)


def _with_arguments(name: str, arguments: str) -> Call:
    try:
        return _checked(name, _decoder().decode(arguments))
    except (ValueError, RecursionError) as error:
        return Call(name, fault=f"its arguments: {_not_json(error)}")


def _checked(name: str, arguments: Any) -> Call:
    if not isinstance(arguments, Mapping):
        return Call(name, fault="its arguments are no object")
    try:
        json.dumps([name, arguments], ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):  # a set, a key that is no text, infinity, half of a surrogate pair
        return Call(fault="holds what JSON cannot hold")
    return Call(name, dict(arguments))


def _of_python(text: str) -> Iterator[Call]:
    if len(text) > _LONGEST:
        yield Call(fault=f"is longer than {_LONGEST} characters")
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the model writes, such as an escape that is none
            parsed = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield Call(fault=f"is not Python: {error}")
        return
    for node in parsed.elts if isinstance(parsed, (ast.List, ast.Tuple)) else [parsed]:
        yield _of_node(node)


def _of_node(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        return Call(fault="is no call")
    try:
        name = ast.unparse(node.func).removesuffix(".call")
    except RecursionError:
        name = ""
    if not re.fullmatch(r"[\w.]+", name):
        return Call(fault="is no call of a name")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        return Call(name, fault="has an argument without a name")
    try:
        return _checked(name, {str(keyword.arg): _plain(ast.literal_eval(keyword.value)) for keyword in node.keywords})
    except (ValueError, TypeError, RecursionError):  # TypeError: a key or a member that cannot be one, {[1]: 2}
        return Call(name, fault="has an argument that is no literal")


def _plain(value: Any) -> Any:
    """A value as JSON holds it: a tuple is a list, and a key that is no text is an error.

    Raises:
        TypeError: it has such a key.
    """
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a key is no text")
        return {key: _plain(own) for key, own in value.items()}
    return [_plain(own) for own in value] if isinstance(value, (list, tuple)) else value


_NOTHING: Registry[Any] = Registry()  # so that a reference to another document is not fetched


def fault_of_arguments(tool: Mapping[str, Any], arguments: Json) -> str | None:
    """What a tool's JSON Schema has against the arguments of a call; None if they are valid.

    Raises:
        DataError: the schema is none, or refers to another document.
    """
    function = tool["function"]
    schema = function.get("parameters", {})
    try:
        Draft202012Validator.check_schema(schema)
        found = next(iter(Draft202012Validator(schema, registry=_NOTHING).iter_errors(arguments)), None)
    except Unresolvable as error:
        raise DataError(
            f"the parameters of the tool {function['name']!r} refer to {error.ref!r}, which is not in them, and nothing is fetched"
        ) from None
    except (SchemaError, RecursionError) as error:
        why = error.message if isinstance(error, SchemaError) else "it refers to itself without an end"
        raise DataError(f"the parameters of the tool {function['name']!r} are no JSON Schema: {why[:200]}") from None
    if found is None:
        return None
    where = ".".join(map(str, found.absolute_path))
    return f"{where + ': ' if where else ''}{found.message[:200]}"


def holds(value: Any, promised: Any) -> bool:
    """Whether a value is the promised one; an object may hold more."""
    if isinstance(promised, Mapping):
        return isinstance(value, Mapping) and all(key in value and holds(value[key], own) for key, own in promised.items())
    are_numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (value, promised))
    return (are_numbers or type(value) is type(promised)) and bool(value == promised)
