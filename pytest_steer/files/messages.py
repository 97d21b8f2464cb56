"""Faults of a claim file in words: where, what, and what to do about it.

Nothing here knows a particular kind of claim: the words about a key are its ``description`` and ``examples``
in the schema.
"""

from __future__ import annotations

import datetime
import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jsonschema import ValidationError
from jsonschema.exceptions import best_match

from pytest_steer.errors import ClaimFileError
from pytest_steer.files.schema import SCHEMA, Schema, claim_schema, kinds, valid_keys, validator
from pytest_steer.files.source import DataPath, Source


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: what is wrong, inside the file.
        reason: why, as the end of a sentence that begins with the path.
        hint: what to do, in full sentences.
        meant: for an unknown key, the valid one that was probably meant.
    """

    path: DataPath
    reason: str
    hint: str
    meant: str | None = None


def find_faults(data: dict[str, Any]) -> list[Fault]:
    """All that the schema has against ``data``; an empty list if it is valid."""
    faults = _faults(validator().iter_errors(data))
    shapes = {fault.path for fault in faults if _is_claim(fault.path)}
    # In `- steers:` with the parameters not indented beneath it, the shape is wrong, and `steers` is empty.
    return [fault for fault in faults if not (fault.path[:-1] in shapes and _value(data, fault.path) is None)]


def faults_under(schema: Schema, value: Any, path: DataPath) -> list[Fault]:
    """All that ``schema`` has against the value at ``path``."""
    found = _faults(validator().evolve(schema=schema).iter_errors(value))
    return [replace(fault, path=(*path, *fault.path)) for fault in found]


def _faults(errors: Iterable[ValidationError]) -> list[Fault]:
    errors = list(_settled(errors))
    faults = [fault for error in errors for fault in _unknown_keys(error)]
    # A misspelt key is unknown, and then its right spelling is missing: one slip, one message.
    meant = {(*fault.path[:-1], fault.meant) for fault in faults if fault.meant}
    for error in errors:
        faults.extend(fault for fault in _explain(error, meant) if fault not in faults)
    return faults


def to_error(faults: Sequence[Fault], source: Source) -> ClaimFileError:
    """One error that says all of ``faults``, the one that stands first in the file first."""
    in_order = sorted(faults, key=lambda fault: source.line(fault.path) or 0)
    first, *others = (
        ClaimFileError(
            fault.reason,
            path=source.shown,
            line=source.line(fault.path),
            where=where(fault.path),
            hint=fault.hint,
        )
        for fault in in_order
    )
    if not others:
        return first
    return ClaimFileError(
        first.reason,
        path=first.path,
        line=first.line,
        where=first.where,
        hint="\n".join([str(first.hint), *map(str, others)]),
    )


def where(path: DataPath) -> str:
    """``("claims", 2, "steers")`` as ``claims[2].steers``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[\w$-]{1,60}", step):
            text += f".{step}" if text else step
        else:
            text += f"[{shown(step)}]"
    return text


def shown(value: object) -> str:
    """``value`` in one short line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}...{text[-10:]}"


def nearest(word: str, options: Iterable[str]) -> str | None:
    """That of ``options`` which ``word`` is probably meant to be."""

    def plain(text: str) -> str:
        return text.lower().replace("-", "_").replace(" ", "_")

    by_plain = {plain(option): option for option in options}
    close = difflib.get_close_matches(plain(word), by_plain, n=1, cutoff=0.6)
    return by_plain[close[0]] if close else None


def example_of(key: str, schema: Schema) -> str:
    """``key: value`` as it could stand in a claim file, or ``key: ...``."""
    examples = schema.get("examples")
    return f"{key}: {flow(examples[0])}" if examples else f"{key}: ..."


def flow(value: Any) -> str:
    """``value`` as YAML, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z][\w./:-]*", value) else json.dumps(value, ensure_ascii=False)
    return "null" if value is None else _number(value)


# --- unknown keys -------------------------------------------------------------------------------------------


def _unknown_keys(error: ValidationError) -> Iterator[Fault]:
    if error.validator not in ("additionalProperties", "unevaluatedProperties"):
        return
    path = tuple(error.absolute_path)
    valid = [key for key in valid_keys(error.schema) if not key.startswith("$")]
    if error.schema is claim_schema() and len(error.instance) > 1:
        return  # a claim of two keys is explained as that
    for key in error.instance:
        if key in valid or any(re.search(free, key) for free in error.schema.get("patternProperties", ())):
            continue
        what = "claim" if error.schema is claim_schema() else "key"
        elsewhere = _elsewhere(key, error.schema)
        meant = None if elsewhere else nearest(key, valid)
        advice = elsewhere or (f"Did you mean {meant!r}? " if meant else "")
        known = f"{'Known claims' if what == 'claim' else 'Valid keys'}: {', '.join(valid)}."
        yield Fault((*path, key), f"unknown {what} {shown(key)}", f"{advice}{known}", meant)


def _elsewhere(key: str, here: Schema) -> str | None:
    """Where else in a claim file ``key`` is right."""
    places = []
    if key in kinds():
        places.append(f"is a kind of claim: put it under 'claims', as `- {example_of(key, kinds()[key])}`")
    for kind, schema in kinds().items():
        if key in schema.get("properties", {}):
            places.append(f"is a parameter of {kind}")
    if key in SCHEMA["properties"] and here is not claim_schema():
        also = " or in a claim" if key in SCHEMA["$defs"]["every_claim"]["properties"] else ""
        places.append(f"belongs at the top level of the file{also}")
    sections: list[str] = []
    for section, schema in _sections(SCHEMA, ""):
        if key in schema["properties"] and section.rpartition(".")[0] not in sections:
            sections.append(section)
    if sections:
        places.append(f"belongs under {_listed(sections, 'or')}")
    return f"{key!r} {', or '.join(places)}. " if places else None


def _sections(schema: Schema, above: str) -> Iterator[tuple[str, Schema]]:
    for key, inner in valid_keys(schema).items():
        # A section that gives keys of other sections anew is not where a misplaced key belongs.
        if "properties" in inner and "x-overrides" not in inner:
            yield above + key, inner
            yield from _sections(inner, f"{above}{key}.")


# --- everything else ----------------------------------------------------------------------------------------


def _settled(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    """Replaces "fits none of these" by the fault of the alternative that was most likely meant."""
    for error in errors:
        if error.validator in ("anyOf", "oneOf") and not _is_choice_of_keys(error):
            yield best_match([error])
        else:
            yield error


def _explain(error: ValidationError, meant: set[DataPath]) -> Iterator[Fault]:
    path, schema, value = tuple(error.absolute_path), error.schema, error.instance
    if schema is claim_schema() and error.validator in ("minProperties", "maxProperties"):
        yield _claim_shape(path, value)
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in value and (*path, key) not in meant:
                yield _missing(path, key, schema, "")
    elif error.validator == "dependentRequired":
        for because, keys in error.validator_value.items():
            for key in keys:
                if because in value and key not in value and (*path, key) not in meant:
                    yield _missing(path, key, schema, f", and {because!r} needs it")
    elif error.validator in ("oneOf", "anyOf") and _is_choice_of_keys(error):
        if not isinstance(value, dict):
            return  # its type is wrong already
        keys = [key for branch in error.validator_value for key in branch["required"]]
        if not any((*path, key) in meant for key in keys):
            yield _choice(path, keys, schema, value)
    elif error.validator in _REASONS:
        reason, hint = _REASONS[error.validator](error)
        yield Fault(path, reason, " ".join(part for part in (hint, schema.get("description")) if part))
    elif error.validator not in ("additionalProperties", "unevaluatedProperties"):
        yield Fault(path, error.message, schema.get("description", "See the JSON Schema of claim files."))


def _claim_shape(path: DataPath, claim: dict[str, Any]) -> Fault:
    form = f"A claim looks like this: `- {_example_claim()}`."
    if not claim:
        return Fault(path, "the claim is empty", f"{form} Known claims: {', '.join(kinds())}.")
    known = [key for key in claim if key in kinds()]
    others = [key for key in claim if key not in kinds()]
    if len(known) > 1:
        hint = f"Make them claims of their own: start {known[1]!r} with '- '."
    elif known:
        body = claim[known[0]]
        inside = {**(body if isinstance(body, dict) else {}), **{key: claim[key] for key in others}}
        more = "indent by two more spaces, or write" if body is None else "write"
        hint = f"Put {_listed(others)} inside {known[0]!r}: {more} `- {known[0]}: {flow(inside)}`."
    else:
        hint = f"{form} Known claims: {', '.join(kinds())}."
    return Fault(path, f"a claim has one key, its kind, but this one has {len(claim)}: {_listed(claim)}", hint)


def _example_claim() -> str:
    return example_of("steers", kinds()["steers"])


def _missing(path: DataPath, key: str, schema: Schema, why: str) -> Fault:
    about = valid_keys(schema)[key]
    hint = f"Add `{example_of(key, about)}`. {about.get('description', '')}".strip()
    return Fault(path, f"{key!r} is missing{why}", hint)


def _choice(path: DataPath, keys: list[str], schema: Schema, value: dict[str, Any]) -> Fault:
    there = [key for key in keys if key in value]
    if there:
        return Fault(path, f"has both {_listed(there)}, which exclude each other", "Delete one of them.")
    return Fault(path, f"needs {_listed(keys, 'or')}", schema.get("description", ""))


def _is_choice_of_keys(error: ValidationError) -> bool:
    return all(set(branch) == {"required"} for branch in error.validator_value)


def _is_claim(path: DataPath) -> bool:
    return len(path) == 2 and path[0] == "claims"


def _value(data: Any, path: DataPath) -> Any:
    for step in path:
        data = data[step]
    return data


def _listed(words: Iterable[str], last: str = "and") -> str:
    *most, final = [shown(word) for word in words]
    return f"{', '.join(most)} {last} {final}" if most else final


# --- reasons: keyword of the schema to (what is wrong, what to do) ------------------------------------------

_TYPES = {
    "number": "a number",
    "integer": "a whole number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping (`key: value`)",
}


def _type(error: ValidationError) -> tuple[str, str]:
    wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    words = error.schema.get("x-words") or " or ".join(_TYPES[name] for name in wanted)
    value = error.instance
    if "number" in wanted and isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"must be a finite number, but {_is(value)}", ""
    return f"must be {words}, but {_is(value)}", _cure(error, wanted)


def _cure(error: ValidationError, wanted: Sequence[str]) -> str:
    value, schema = error.instance, error.schema
    example = flow(schema["examples"][0]) if schema.get("examples") else ""
    if example in schema.get("description", ""):
        example = ""  # it is said anyway
    if value is None:
        return f"Give it a value, such as {_written(error, example)}." if example else "Give it a value."
    if isinstance(value, str) and {"number", "integer"} & set(wanted):
        return _number_cure(error)
    if isinstance(value, str) and wanted == ["boolean"]:
        return f"Write {_written(error, 'true')} or {_written(error, 'false')}: yes, no, on and off are text."
    if wanted == ["string"] and isinstance(value, (int, float, datetime.date)) and not isinstance(value, bool):
        return f"Put it in quotes: {_written(error, json.dumps(_number(value)))}."
    if wanted == ["array"] and isinstance(value, (str, int, float)):
        return f"Write a list: {_written(error, f'[{value if _is_bare_list(value) else flow(value)}]')}."
    return f"Write {_written(error, example)}." if example else ""


def _written(error: ValidationError, value: str) -> str:
    """``value`` at the place of ``error``, as it is written in a claim file."""
    key = error.absolute_path[-1] if error.absolute_path else 0
    return f"`{key}: {value}`" if isinstance(key, str) else f"`{value}`"


def _number_cure(error: ValidationError) -> str:
    bare = error.instance.strip()
    point = bare.replace(",", ".", 1)
    if re.fullmatch(r"[\d.]+\s*%", bare) and _is_float(bare.rstrip("% ")):
        return f"Write the fraction: {_written(error, format(float(bare.rstrip('% ')) / 100, 'g'))}."
    if _is_float(bare):
        return f"Take the quotes away: {_written(error, bare)}."
    if _is_float(point):
        return f"The decimal mark is a point: {_written(error, point)}."
    return ""


def _is_float(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_bare_list(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[-\w.]+(,\s*[-\w.]+)+", value) is not None


def _is(value: Any) -> str:
    if value is None:
        return "has no value"
    if isinstance(value, (bool, int, float)):
        return f"is {_number(value)}"
    if isinstance(value, str):
        return f"is the text {shown(value)}" if value else "is an empty text"
    if isinstance(value, list):
        return "is a list" if value else "is an empty list"
    if isinstance(value, dict):
        return "is a mapping" if value else "is an empty mapping"
    if isinstance(value, datetime.date):
        return f"is the date {value}"
    if tag := getattr(value, "tag", None):
        return f"has the tag {getattr(tag, 'value', tag)}, which is not used in claim files"
    return f"is a value of the type {type(value).__name__}, which is not used in claim files"


def _number(value: Any) -> str:
    """A number, true, false or a date as it stands in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    try:
        text = str(value)
    except ValueError:  # Python prints no integers of thousands of digits
        return "a huge number"
    return text if len(text) <= 60 else "a huge number"


def _enum(error: ValidationError) -> tuple[str, str]:
    options, value = [o if isinstance(o, str) else flow(o) for o in error.validator_value], error.instance
    meant = nearest(value, options) if isinstance(value, str) else None
    reason = f"must be {', '.join(options[:-1])} or {options[-1]}, but {_is(value)}"
    return reason, f"Did you mean {meant!r}?" if meant else ""


def _bounds(error: ValidationError) -> tuple[str, str]:
    schema, value = error.schema, error.instance
    words = [
        f"{text} {schema[keyword]}"
        for keyword, text in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "greater than"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "less than"),
        )
        if keyword in schema
    ]
    fraction = value / 100 if 1 < value <= 100 else None
    fits = fraction is not None and not any(validator().evolve(schema=schema).iter_errors(fraction))
    hint = f"Did you mean {fraction:g} ({value} %)?" if fits and len(words) == 2 else ""
    return f"must be {' and '.join(words)}, but {_is(value)}", hint


def _not(error: ValidationError) -> tuple[str, str]:
    forbidden = error.validator_value.get("const")
    return f"must not be {flow(forbidden)}", ""


def _min_items(error: ValidationError) -> tuple[str, str]:
    least, count = error.validator_value, len(error.instance)
    return ("the list is empty" if count == 0 else f"needs at least {least} entries, but has {count}"), ""


def _max_items(error: ValidationError) -> tuple[str, str]:
    return f"takes at most {error.validator_value} entries, but has {len(error.instance)}", ""


def _unique(error: ValidationError) -> tuple[str, str]:
    items = error.instance
    twice = next((item for index, item in enumerate(items) if item in items[:index]), items[0])
    return f"{flow(twice) if isinstance(twice, str) else shown(twice)} is in the list more than once", ""


def _pattern(error: ValidationError) -> tuple[str, str]:
    value, wanted = error.instance, error.schema.get("type", ())
    hint = _number_cure(error) if {"number", "integer"} & set(wanted) else ""
    if not value.strip():
        return "is an empty text", hint
    if "x-words" in error.schema:
        return f"must be {error.schema['x-words']}, but {_is(value)}", hint
    return f"the text {shown(value)} cannot be used here", hint


_REASONS: dict[str, Callable[[ValidationError], tuple[str, str]]] = {
    "type": _type,
    "enum": _enum,
    "minimum": _bounds,
    "exclusiveMinimum": _bounds,
    "maximum": _bounds,
    "exclusiveMaximum": _bounds,
    "not": _not,
    "minItems": _min_items,
    "maxItems": _max_items,
    "minProperties": lambda error: ("is an empty mapping", ""),
    "uniqueItems": _unique,
    "pattern": _pattern,
}
