"""The JSON Schema of claim files, and what is derived from it: kinds, valid keys, defaults."""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

import pytest_steer.claims  # noqa: F401  (registers ours)
from pytest_steer import registry
from pytest_steer.prompting import known_axes
from pytest_steer.validation import Checks

Schema = dict[str, Any]

SCHEMA: Schema = json.loads(files(__package__).joinpath("schema.json").read_text(encoding="utf-8"))
"""What claim files hold beside the parameters of the kinds of claims and the axes of contexts, which are declared where they are."""


def full_schema() -> Schema:
    """The JSON Schema of claim files, with every kind of claim and every axis that is registered."""
    return _made(registry.version())


def claim_schema() -> Schema:
    """The schema of one entry of ``claims``; the same object until another kind is registered."""
    found: Schema = full_schema()["$defs"]["claim"]
    return found


def kinds() -> dict[str, Schema]:
    """Kind of claim to its schema."""
    found: dict[str, Schema] = claim_schema()["properties"]
    return found


def validator() -> Any:
    """Validates plain data; as everywhere in the schema, a number is finite (JSON knows no others, YAML does)."""
    return Checks(full_schema())


@lru_cache(maxsize=1)
def _made(version: int) -> Schema:
    found = copy.deepcopy(SCHEMA)
    found["$defs"]["claim"]["properties"] = {
        name: {**kind.schema, "$ref": "#/$defs/every_claim", "unevaluatedProperties": False}
        for name, kind in registry.things("claim").items()
    }
    axes = known_axes()
    value_of = {name: {"$ref": f"#/$defs/axes/properties/{name}"} for name in axes}
    found["$defs"]["axes"]["properties"] = {name: axis.value_schema for name, axis in axes.items()}
    found["$defs"]["context"]["properties"] = value_of
    found["$defs"]["contexts"]["properties"] = {
        name: {**axis.list_schema, "items": value_of[name]} for name, axis in axes.items()
    }
    return found


def resolved(schema: Schema) -> Schema:
    """``schema`` with its ``$ref`` replaced by what it points to; keys beside the ``$ref`` win.

    ``properties`` of both sides are joined, the schema's own ones first.
    """
    if "$ref" not in schema:
        return schema
    target: Any = full_schema()
    for step in schema["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    own = {key: value for key, value in schema.items() if key != "$ref"}
    merged = {**resolved(target), **own}
    if "properties" in target and "properties" in own:
        merged["properties"] = {**own["properties"], **resolved(target)["properties"]}
    return merged


def valid_keys(schema: Schema) -> dict[str, Schema]:
    """The keys that a mapping under ``schema`` may have, in the order in which they are worth showing."""
    return {key: resolved(value) for key, value in resolved(schema).get("properties", {}).items()}


def with_defaults(values: dict[str, Any], properties: dict[str, Schema]) -> dict[str, Any]:
    """Those of ``values`` that ``properties`` knows, numbers as declared, and defaults for the absent ones.

    A key that is absent and has no default stays absent.
    """
    filled = {}
    for key, schema in properties.items():
        schema = resolved(schema)
        if key in values:
            filled[key] = _as_declared(values[key], schema)
        elif "default" in schema:
            filled[key] = _as_declared(schema["default"], schema)
    return filled


def _as_declared(value: Any, schema: Schema) -> Any:
    # 1 and 1.0 are the same number in JSON and YAML: the schema says which of them Python code will see.
    if schema.get("type") == "number":
        return float(value)
    if isinstance(value, float) and "integer" in schema.get("type", ()):
        return int(value)
    if isinstance(value, list):
        return tuple(_as_declared(item, resolved(schema.get("items", {}))) for item in value)
    return value
