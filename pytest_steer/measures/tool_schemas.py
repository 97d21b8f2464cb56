"""Whether the arguments of a call are what the tool's own JSON Schema allows, and what a claim promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from ..errors import DataError

_NOTHING: Registry[Any] = Registry()  # so that a reference to another document is not fetched


def fault_of_arguments(tool: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
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
    return (type(value) is type(promised) and bool(value == promised)) or _same_number(value, promised)


def _same_number(value: Any, promised: Any) -> bool:
    numbers = [isinstance(one, (int, float)) and not isinstance(one, bool) for one in (value, promised)]
    return all(numbers) and bool(value == promised)
