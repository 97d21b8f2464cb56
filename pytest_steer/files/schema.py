"""The JSON Schema of claim files, and what is derived from it: kinds, valid keys, defaults."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pytest_steer.claims
import pytest_steer.extract
import pytest_steer.steering  # noqa: F401  (these register ours)
from pytest_steer.core import registry
from pytest_steer.core.evidence import Json
from pytest_steer.core.file_formats import FileFormat, format_of
from pytest_steer.core.validation import Checks
from pytest_steer.extract import MethodKind
from pytest_steer.measures.judges import judges_schema
from pytest_steer.prompting import known_axes
from pytest_steer.steering import InterventionKind

Schema = Json

SCHEMA: Schema = json.loads(files(__package__).joinpath("schema.json").read_text(encoding="utf-8"))
"""What claim files hold in addition to what claims, methods, interventions, judges and axes declare of themselves."""


def full_schema() -> Schema:
    """The JSON Schema of claim files, with every claim, method, intervention, judge and axis that is registered."""
    return _made(registry.version())


def claim_schema() -> Schema:
    """The schema of one entry of ``claims``; the same object until another kind is registered."""
    found: Schema = full_schema()["$defs"]["claim"]
    return found


def kinds() -> dict[str, Schema]:
    """Kind of claim to the schema of its keys."""
    found: dict[str, Schema] = full_schema()["$defs"]["kinds"]
    return found


def frame() -> Schema:
    """The schema of a file except its claims, which are validated after expansion."""
    claim = {**claim_schema(), "properties": {kind: {} for kind in kinds()}}
    listed = {**full_schema()["properties"]["claims"], "items": claim}
    whole = {**full_schema(), "properties": {**full_schema()["properties"], "claims": listed}}
    del whole["$schema"]  # or jsonschema takes its own validator in the place of ours
    return whole


def main_of(kind: str) -> str | None:
    """The parameter that a bare number sets, ``- steers: 0.3``."""
    found: str | None = registry.find("claim", kind).main
    return found


def validator() -> Any:
    """Validates plain data; as everywhere in the schema, a number is finite (JSON knows no others, YAML does)."""
    return Checks(full_schema())


@lru_cache(maxsize=1)
def _made(version: int) -> Schema:
    found = copy.deepcopy(SCHEMA)
    defs, claims = found["$defs"], registry.things("claim")
    defs["kinds"] = {
        name: {**kind.schema, "$ref": "#/$defs/every_claim", "unevaluatedProperties": False} for name, kind in claims.items()
    }
    defs["claim"]["properties"] = {name: _claim_or_number(name, kind) for name, kind in claims.items()}
    vector, intervention = (defs[name]["properties"] for name in ("vector", "intervention"))
    methods, ways = registry.things("method"), registry.things("intervention")
    vector["extract"]["properties"]["method"] |= {
        "enum": list(methods),
        "enumDescriptions": [kind.about for kind in methods.values()],
        "description": "Each takes contrast items (a question, a matching and a non-matching answer) or pairs of input and output; all "
        f"but {_listed(name for name, kind in methods.items() if kind.takes == 'items')} take positive and negative texts as well. "
        "See docs/methods.md.",
    }
    intervention["kind"] |= {
        "enum": list(ways),
        "description": f"What is done with the vector: {', '.join(f'{name} ({kind.does})' for name, kind in ways.items())}. "
        "Without it the file or the method says it.",
    }
    settings = {sort: [one.settings for one in registry.things(sort).values()] for sort in _WITH_SETTINGS}
    _add_settings(found, "#/$defs/vector/properties/extract", "#/$defs/method/properties/extract", settings["method"])
    _add_settings(found, "#/$defs/intervention", "#/$defs/method", settings["intervention"])
    for section in ("intervention", "method"):
        _add_settings(found, "#/$defs/vector", f"#/$defs/{section}", settings["vector format"])
    defs["judge"] = judges_schema()
    axes = known_axes()
    value_of = {name: {"$ref": f"#/$defs/axes/properties/{name}"} for name in axes}
    defs["axes"]["properties"] = {name: {**axis.value_schema, "x-axis": name} for name, axis in axes.items()}
    defs["context"]["properties"] = value_of
    defs["contexts"]["properties"] = {name: {**axis.list_schema, "items": value_of[name]} for name, axis in axes.items()}
    return found


def _claim_or_number(name: str, kind: Any) -> Schema:
    """What may stand under a kind of claim: its keys, or its main promise as a bare number."""
    keys = {"$ref": f"#/$defs/kinds/{name}"}
    if kind.main is None:
        return keys
    words = {key: kind.schema[key] for key in ("title", "description", "examples")}
    number = f"#/$defs/kinds/{name}/properties/{kind.main}"
    return {**words, "anyOf": [keys, {"$ref": f"{number}/properties/value" if kind.main in kind.promises else number}]}


def _add_settings(schema: Schema, place: str, other: str, declared: Sequence[Mapping[str, Schema]]) -> None:
    """Put the settings of all methods, kinds of interventions, or formats of vectors, into the section ``place``, and references in ``other``."""
    for name in dict.fromkeys(name for settings in declared for name in settings):
        about = [settings[name] for settings in declared if name in settings]
        _pointed_to(schema, place)["properties"][name] = _joint(about)
        _pointed_to(schema, other)["properties"].setdefault(name, {"$ref": f"{place}/properties/{name}"})


def _joint(declared: list[Schema]) -> Schema:
    """One setting as those that have it declare it.

    Its default is in the description alone: what a file does not say each method fills in itself.
    """
    bare = [{key: value for key, value in one.items() if key != "default"} for one in declared]
    if any(one != bare[0] for one in bare):
        words = " ".join(dict.fromkeys(one["description"] for one in bare))
        return {"title": bare[0]["title"], "description": words, "anyOf": bare, "examples": bare[0].get("examples", [])}
    defaults = [one["default"] for one in declared if "default" in one]
    if len(declared) > 1 or not defaults:
        return bare[0]
    return {**bare[0], "description": f"{bare[0]['description']} {json.dumps(defaults[0])} without it."}


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _pointed_to(schema: Schema, reference: str) -> Schema:
    """What a ``$ref`` points to."""
    for step in reference.removeprefix("#/").split("/"):
        schema = schema[step]
    return schema


def resolved(schema: Schema) -> Schema:
    """``schema`` with its ``$ref`` replaced by what it points to; keys next to the ``$ref`` win.

    ``properties`` of both sides are joined, the schema's own ones first.
    """
    if "$ref" not in schema:
        return schema
    target = _pointed_to(full_schema(), schema["$ref"])
    own = {key: value for key, value in schema.items() if key != "$ref"}
    merged = {**resolved(target), **own}
    if "properties" in target and "properties" in own:
        merged["properties"] = {**own["properties"], **resolved(target)["properties"], **own["properties"]}
    return merged


def valid_keys(schema: Schema) -> dict[str, Schema]:
    """The keys that a mapping under ``schema`` may have, in the order in which they are worth showing."""
    return {key: resolved(value) for key, value in resolved(schema).get("properties", {}).items()}


def with_defaults(values: Json, properties: dict[str, Schema]) -> Json:
    """Those of ``values`` that ``properties`` knows, numbers as declared, and defaults for the absent ones.

    A key that is absent and has no default stays absent. ``x-default-key`` names another key of which it has the value then.
    """
    filled = {}
    for key, schema in properties.items():
        schema = resolved(schema)
        if key in values:
            filled[key] = as_declared(values[key], schema)
        elif "default" in schema:
            filled[key] = as_declared(schema["default"], schema)
        elif schema.get("x-default-key") in values:
            filled[key] = values[schema["x-default-key"]]
    return filled


def as_declared(value: Any, schema: Schema) -> Any:
    """A value of a file as Python code will see it."""
    # 1 and 1.0 are the same number in JSON and YAML: the schema says which of them is meant.
    if schema.get("type") == "number":
        return float(value)
    if isinstance(value, float) and "integer" in schema.get("type", ()):
        return int(value)
    if isinstance(value, list):
        return tuple(as_declared(item, resolved(schema.get("items", {}))) for item in value)
    return value


# --- what a vector or an intervention may say, given the method, the kind and the file that it names ---

_WITH_SETTINGS = ("method", "intervention", "vector format")


class Named(NamedTuple):
    """What an entry names, each None where it names none that is registered."""

    method: MethodKind | None
    kind: InterventionKind | None
    format: FileFormat | None


def named_in(entry: Any) -> Named:
    """The method, the kind and the vector format that a ``vector`` or ``intervention`` names, which can be wrong."""
    values = entry if isinstance(entry, dict) else {}
    extract, file = values.get("extract"), values.get("file")
    method = extract.get("method") if isinstance(extract, dict) else None
    return Named(
        _thing("method", method),
        _thing("intervention", values.get("kind")),
        format_of("vector format", Path(file)) if isinstance(file, str) and file else None,
    )


def _thing(sort: str, name: Any) -> Any:
    return registry.things(sort).get(name) if isinstance(name, str) else None


def settings_of_all(sort: str) -> set[str]:
    """The names of the settings that any method, or any kind of intervention, has."""
    return {key for one in registry.things(sort).values() for key in one.settings}


def schema_of_entry(entry: Any, section: str) -> Schema:
    """The JSON Schema of a whole ``vector`` or ``intervention``: with the settings of what it names, and no others.

    Args:
        section: ``vector`` or ``intervention``.
    """
    whole = resolved(full_schema()["$defs"][f"whole_{section}"])
    if isinstance(entry, dict) and "file" in entry and "extract" in entry:
        return {"oneOf": whole["oneOf"]}
    named = named_in(entry)
    kind = named.kind if section == "intervention" else None
    properties = {key: whole["properties"][key] for key in SCHEMA["$defs"][section]["properties"]}
    required = []
    if named.method is not None:
        properties["extract"] = _extract_schema(resolved(properties["extract"]), named.method)
        required += ["layer"] if named.method.needs_layer else []
    for one in (named.format, kind):
        if one is not None:
            properties |= one.settings
            required += one.required
    found = {**whole, "properties": properties, "required": required}
    if section == "intervention":
        found["x-settings-of"] = ("intervention", "kind", "" if kind is None else kind.name)
    return found


def _extract_schema(schema: Schema, method: MethodKind) -> Schema:
    keys = SCHEMA["$defs"]["vector"]["properties"]["extract"]["properties"]
    properties = {**{key: schema["properties"][key] for key in keys}, **method.settings}
    required = [*schema["required"], *method.required]
    return {**schema, "properties": properties, "required": required, "x-settings-of": ("method", "method", method.name)}
