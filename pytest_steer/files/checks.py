"""What is wrong with a claim that the matrix has given its part: by the schema, and beyond what a schema can say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_steer.errors import DataError
from pytest_steer.files.expand import Expanded
from pytest_steer.files.files import missing_file
from pytest_steer.files.messages import Fault, faults_under
from pytest_steer.files.methods import joint_faults, name_faults, schema_of
from pytest_steer.files.schema import SCHEMA, Schema, full_schema, kinds, resolved, valid_keys
from pytest_steer.files.source import DataPath
from pytest_steer.prompting import known_axes
from pytest_steer.prompting.kinds import OWN_IS_GONE
from pytest_steer.validation import example_of, flow

_FILE_KEYS = valid_keys(SCHEMA)
_DATA_KEYS = valid_keys(_FILE_KEYS["data"])
_ONE_VECTOR = {
    "description": f"Add `{example_of('vector', _FILE_KEYS['vector'])}` at the top level of the file, for all its claims, or to "
    "this claim.",
    "oneOf": [{"required": ["vector"]}, {"required": ["intervention"]}],
}
_MARKS = {"x-file", "x-items", "x-axis", "x-own"}


def faults_of(claim: Expanded, data: dict[str, Any], folder: Path) -> list[Fault]:
    """All that is wrong with a claim under its combination, each fault where it is written.

    Args:
        data: the file. folder: where its paths begin.
    """
    entry = claim.values.get(claim.section)
    clashes = list(claim.clashes)
    if "method" in claim.combination and isinstance(entry, dict):
        clashes += name_faults(claim.combination["method"], entry)
    if clashes:
        return clashes
    schema = _whole_schema(claim)
    found = faults_under(schema, claim.values, ())
    if isinstance(entry, dict) and not _touches(found, (claim.section,)):
        found += joint_faults(entry, (claim.section,))
    found += [fault for fault in _hidden_faults(claim, schema, folder) if not _touches(found, fault.path)]
    contexts = data.get("contexts", {})
    if kinds()[claim.kind].get("x-searches-contexts") and not contexts:
        hint = f"Add `contexts:` at the top level of the file. {_FILE_KEYS['contexts']['description']}"
        found.append(Fault((), f"there are no contexts, and {claim.kind!r} searches them", hint))
    return [replace(fault, path=claim.at(fault.path)) for fault in found]


def context_faults(values: dict[str, Any]) -> Iterator[Fault]:
    """What axes have against the contexts of a file, which are right by the schema."""
    for schema, value, path in _marked(full_schema(), values, ()):
        yield from _axis_faults(schema, value, path)


def draws_demonstrations(schema: Schema, value: Any) -> bool:
    """Whether a value of an axis puts demonstrations before an item."""
    axis = known_axes().get(schema.get("x-axis", ""))
    return axis is not None and axis.draws_examples and axis.checked(value) != axis.as_given


def _whole_schema(claim: Expanded) -> Schema:
    """The JSON Schema of a claim to which nothing will be added any more."""
    of_kind = kinds()[claim.kind]
    every = full_schema()["$defs"]["every_claim"]["properties"]
    whole: dict[str, Schema] = {
        key: schema_of(claim.values[key], key) for key in ("vector", "intervention") if key in claim.values
    }
    needs = of_kind["x-needs"]
    example = {key: _DATA_KEYS[key]["examples"][0] for key in needs}
    whole["data"] = {**resolved(every["data"]), "required": needs, "examples": [example]}
    return {
        **{key: value for key, value in of_kind.items() if key not in ("$ref", "unevaluatedProperties")},
        "properties": {**of_kind["properties"], **every, **whole},
        "additionalProperties": False,
        "required": [*of_kind.get("required", ()), *(["data"] if needs else [])],
        "allOf": [*of_kind.get("allOf", ()), _ONE_VECTOR],
    }


def _touches(faults: list[Fault], path: DataPath) -> bool:
    return any(fault.path[: len(path)] == path for fault in faults)


def _hidden_faults(claim: Expanded, schema: Schema, folder: Path) -> Iterator[Fault]:
    """Files that are not there, values that an axis refuses, and what parameters do not say together."""
    of_kind, has = kinds()[claim.kind], claim.values.get("data", {})
    used = {*of_kind["x-needs"], *of_kind["x-uses"]}
    for inner, value, path in _marked(schema, claim.values, ()):
        refused = list(_axis_faults(inner, value, path))
        yield from refused
        if refused or "x-axis" not in inner or not draws_demonstrations(inner, value):
            continue
        used.add("demonstrations")
        if "demonstrations" not in has:
            example = example_of("demonstrations", _DATA_KEYS["demonstrations"])
            hint = f"Add `data: {{{example}}}` at the top level of the file or to this claim."
            yield Fault(path, "there is nothing to draw demonstrations from", hint)
    yield from _setting_faults(claim.values)
    # Given for the whole file it is that of the claims that have one.
    if "direction" in claim.values and not of_kind.get("x-has-direction") and claim.at(("direction",))[0] == "claims":
        reason = f"{claim.kind!r} has no direction: it is about no contrast items, whose behaviour could rise or fall"
        yield Fault(
            ("direction",), reason, "Delete it here; at the top level of the file it is that of the claims about items."
        )
    for inner, value, path in _marked(schema, claim.values, ()):
        unused = path[0] == "data" and claim.at(path)[0] == "data" and path[1] not in used
        if inner.keys() & {"x-file", "x-items"} and isinstance(value, str) and not unused:
            fault = missing_file(value, folder, path, or_layers=bool(inner.get("x-vector")))
            yield from [fault] if fault is not None else []


def _setting_faults(values: dict[str, Any]) -> Iterator[Fault]:
    """Of the settings of ``generalizes``."""
    contexts, data_sets = values.get("contexts"), values.get("data_sets")
    if (contexts is not None or data_sets is not None) and not (contexts or data_sets):
        yield Fault((), "names no context and no data set", "Name one: `contexts: {swapped: {option_order: swapped}}`.")
    for name in dict(contexts or {}).keys() & dict(data_sets or {}).keys():
        reason = f"the name {name!r} is that of a context too"
        yield Fault(("data_sets", name), reason, "Give one of them another name.")


def _axis_faults(schema: Schema, value: Any, path: DataPath) -> Iterator[Fault]:
    if "x-own" in schema:
        line = flow(value)[1:-1] if isinstance(value, dict) and value else "tone: ..."
        yield Fault(path, OWN_IS_GONE, f"Write `{line}` instead of `{flow({'own': value})[1:-1]}`.")
    elif "x-axis" in schema:
        try:
            known_axes()[schema["x-axis"]].checked(value)
        except DataError as error:
            yield Fault(path, str(error), schema["description"])


def _marked(schema: Schema, value: Any, path: DataPath) -> Iterator[tuple[Schema, Any, DataPath]]:
    """The parts of a value that are files or values of axes, by the marks in its schema."""
    schema = resolved(schema)
    if schema.keys() & _MARKS:
        yield schema, value, path
    if isinstance(value, list) and "items" in schema:
        for index, inner in enumerate(value):
            yield from _marked(schema["items"], inner, (*path, index))
    elif isinstance(value, dict):
        for key, inner in value.items():
            below = _schema_below(schema, key)
            if isinstance(below, dict):
                yield from _marked(below, inner, (*path, key))


def _schema_below(schema: Schema, key: str) -> Any:
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    patterns = schema.get("patternProperties", {}).items()
    return next((inner for pattern, inner in patterns if re.search(pattern, key)), schema.get("additionalProperties"))
