"""The JSON Schema of reports, made from ``core/record.py``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import Any

import msgspec
from jsonschema import Draft202012Validator, validators

from ..core import block, record
from ..core.block import KINDS
from ..core.evidence import Json
from ..core.record import SCHEMA_NAME, ClaimRecord, Report

Schema = Json

_ATTRIBUTE = re.compile(r"^    (\w+): (.+)$", re.MULTILINE)
_IS_ERROR: Schema = {"properties": {"verdict": {"const": "error"}}}
_IS_EMPTY: Schema = {
    "properties": {"verdict": {"const": "inconclusive"}, "n": {"const": 0}},
    "description": "nothing to judge yet: no_regression without a baseline",
}
_RULES: list[Schema] = [
    {
        "if": _IS_ERROR,
        "then": {"properties": {"estimate": {"type": "null"}, "error": {"type": "string"}}, "required": ["error"]},
        "else": {
            "if": _IS_EMPTY,
            "then": {"properties": {"estimate": {"type": "null"}}},
            "else": {
                "properties": {
                    "estimate": {"type": "number"},
                    "n": {"minimum": 2},
                    "vector": {"type": "object"},
                    "data": {"type": "object"},
                }
            },
        },
    },
    {
        "if": {"properties": {"verdict": {"enum": ["pass", "fail"]}}},
        "then": {"properties": {"threshold": {"type": "number"}}},
    },
    {"if": {"required": ["items"]}, "then": {"required": ["multipliers"]}},
]
"""Rules of a claim's record in addition to the types of its keys."""


@cache
def report_schema() -> Schema:
    """The JSON Schema that every report is valid under."""
    _, found = msgspec.json.schema_components([Report, *KINDS.values()])
    defs = {
        name: _described(_plain(found[name]), getattr(record, name, None) or getattr(block, name)) for name in sorted(found)
    }
    for name, kind in KINDS.items():
        shown = defs[kind.__name__]
        shown |= {"properties": {"kind": {"const": name}, **shown["properties"]}, "required": ["kind", *shown["required"]]}
    claim = defs[ClaimRecord.__name__]
    claim["allOf"] = _RULES
    claim["properties"]["blocks"]["items"] = {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in KINDS.values()]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{SCHEMA_NAME}: a report of pytest-steer",
        "$ref": f"#/$defs/{Report.__name__}",
        "$defs": defs,
    }


@cache
def report_validator() -> Any:
    """Finds what keeps an object from being a report. Made once, since validate() would check the schema itself each time."""
    return validators.extend(Draft202012Validator, {"items": _item_faults})(report_schema())


@cache
def claim_validator() -> Any:
    """Finds what keeps an object from being a claim's record."""
    return report_validator().evolve(schema={**report_schema(), "$ref": f"#/$defs/{ClaimRecord.__name__}"})


def _plain(schema: Any) -> Any:
    """A generated schema as a person would write it: one list of types in place of a choice between a type and null."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        key: _plain(value)
        for key, value in schema.items()
        if key != "default" and not (key == "title" and isinstance(value, str))
    }
    match found.get("anyOf"):
        case [{"type": str(kind), **rest}, {"type": "null"}]:
            del found["anyOf"]
            return {**found, **rest, "type": [kind, "null"]}
        case [{"enum": names}, {"type": "null"}]:
            del found["anyOf"]
            return {**found, "enum": [*names, None]}
    return found


def _described(schema: Schema, kind: Any) -> Schema:
    """The schema of a class with the words of its docstring: the first line for the class, and those of its attributes."""
    text = inspect.getdoc(kind) or ""
    schema["description"] = text.partition("\n")[0]
    schema["properties"] = {one.name: schema["properties"][one.name] for one in fields(kind)}
    for name, words in _ATTRIBUTE.findall(text):
        schema["properties"][name]["description"] = words
    return schema


_FLAT = {"number": (int, float), "string": (str,)}


def _item_faults(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """The keyword ``items``. Long lists of plain numbers or texts are looked at in one step, which halves the time of a large report."""
    kind = items.get("type") if isinstance(items, dict) and len(items) == 1 else None
    plain = _FLAT.get(kind) if isinstance(kind, str) else None
    if plain is None or not isinstance(instance, list) or not all(type(one) in plain for one in instance):
        yield from Draft202012Validator.VALIDATORS["items"](validator, items, instance, schema)
