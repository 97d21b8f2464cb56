"""What a value has to be, checked by JSON Schema, and what is wrong with it in words. The same for Python and for files."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from jsonschema import Draft202012Validator, TypeChecker, ValidationError
from jsonschema.validators import extend

from .errors import SteerError
from .parameters import Schema
from .registry import did_you_mean, nearest


def _is_finite_number(_: TypeChecker, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False


Checks = extend(Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", _is_finite_number))
"""A validator in which a number is finite: JSON knows no others, YAML and Python do."""


def check_values(
    what: str, values: Mapping[str, object], properties: Mapping[str, Schema], *, required: Collection[str] = ()
) -> None:
    """Refuse the first value that its schema does not allow.

    Args:
        what: whose parameters these are, for the message.
        values: parameters that are given; None stands for one that is left out.
        properties: the JSON Schema of each.
        required: those that have no default, which None cannot leave out.

    Raises:
        SteerError: an unknown parameter, or a value that it cannot have.
    """
    for name, value in values.items():
        if name not in properties:
            raise SteerError(f"{what} has no parameter {name!r}: {did_you_mean(name, properties)}")
        if value is None and name not in required:
            continue
        for error in Checks(properties[name]).iter_errors(_as_in_a_file(value)):
            error.path.appendleft(name)
            found = reason_of(error)
            if found is not None:
                reason, hint = found
                about = properties[name].get("description", "")
                place = name + "".join(f"[{key}]" for key in list(error.path)[1:])
                raise SteerError(" ".join(filter(None, (f"{what}: {place} {reason}.", hint, about))))


def _as_in_a_file(value: Any) -> Any:
    """A value of Python as a claim file would hold it: numbers and arrays of numpy, other sequences and paths are given too."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_as_in_a_file(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _as_in_a_file(one) for key, one in value.items()}
    if isinstance(value, PurePath):
        return str(value)
    return value


def reason_of(error: ValidationError) -> tuple[str, str] | None:
    """What is wrong with a value, as the end of a sentence, and what to do; None for errors that are not about a value."""
    known = _REASONS.get(error.validator)
    return known(error) if known is not None else None


def shown(value: object) -> str:
    """``value`` in one short line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}...{text[-10:]}"


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


_TYPES = {
    "number": "a number",
    "integer": "a whole number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping (`key: value`)",
}


def _type(error: ValidationError) -> tuple[str, str]:
    given = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    wanted = [name for name in given if name != "null"]  # which is the same as leaving it out
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
    given = [option for option in error.validator_value if option is not None]  # which is the same as leaving it out
    options, value = [o if isinstance(o, str) else flow(o) for o in given], error.instance
    meant = nearest(value, options) if isinstance(value, str) else None
    reason = f"must be {', '.join(options[:-1])} or {options[-1]}, but {_is(value)}"
    return reason, f"Did you mean {meant!r}?" if meant else ""


_LIMITS = {
    "minimum": "at least", "exclusiveMinimum": "greater than", "maximum": "at most", "exclusiveMaximum": "less than",
}  # fmt: skip


def _bounds(error: ValidationError) -> tuple[str, str]:
    schema, value = error.schema, error.instance
    words = [f"{text} {schema[keyword]}" for keyword, text in _LIMITS.items() if keyword in schema]
    fraction = value / 100 if 1 < value <= 100 else None
    fits = fraction is not None and not any(Checks(schema).iter_errors(fraction))
    hint = f"Did you mean {fraction:g} ({value} %)?" if fits and len(words) == 2 else ""
    return f"must be {' and '.join(words)}, but {_is(value)}", hint


def _min_items(error: ValidationError) -> tuple[str, str]:
    least, count = error.validator_value, len(error.instance)
    return ("the list is empty" if count == 0 else f"needs at least {least} entries, but has {count}"), ""


def _max_properties(error: ValidationError) -> tuple[str, str]:
    most, keys = error.validator_value, error.instance
    return f"takes {most} key{'s' if most > 1 else ''}, but has {len(keys)}: {', '.join(map(shown, keys))}", ""


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
        meant = nearest(value, error.schema.get("x-names", ()))
        return f"must be {error.schema['x-words']}, but {_is(value)}", f"Did you mean {meant!r}?" if meant else hint
    return f"the text {shown(value)} cannot be used here", hint


_REASONS: dict[str, Callable[[ValidationError], tuple[str, str]]] = {
    "type": _type,
    "enum": _enum,
    **dict.fromkeys(_LIMITS, _bounds),
    "not": lambda error: (f"must not be {flow(error.validator_value.get('const'))}", ""),
    "minItems": _min_items,
    "maxItems": lambda error: (f"takes at most {error.validator_value} entries, but has {len(error.instance)}", ""),
    "minProperties": lambda error: ("is an empty mapping", ""),
    "maxProperties": _max_properties,
    "uniqueItems": _unique,
    "pattern": _pattern,
}
