"""Parameters, declared once: fields of a dataclass or keywords of a function, each annotated with its description.

From a declaration come the JSON Schema of the claim file, validation in Python and in files, and the reference page.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from .errors import SteerError

Schema = dict[str, Any]
Declared = type | Callable[..., Any]

_TYPES: dict[Any, Schema] = {
    float: {"type": "number"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    str: {"type": "string", "pattern": r"\S"},
    Path: {"type": "string", "pattern": r"\S", "x-file": True},
    Any: {},
}


@dataclass(frozen=True)
class Form:
    """The value in a claim file of a parameter that is read or made: a path for items, a mapping for a judge.

    Attributes:
        schema: the JSON Schema of what the file holds. ``"x-file": True`` in it marks a path, which has to be there.
        load: makes the value of it; takes what the file holds and the claim in its file (``claims.from_file.FromFile``).
    """

    schema: Schema
    load: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Param:
    """The description of a parameter: ``Annotated[float, Param("The least mean effect.", example=0.2)]``.

    Attributes:
        about: one sentence.
        title: a few words for headings; by default made of the name.
        example: a value as it stands in a claim file; the default without it.
        unit: of a number, such as ``logits``.
        above / below / at_least / at_most: bounds.
        weak_from / weak_to: a promise of this value and above / below it can hardly fail, which a claim's evidence says as a warning.
        weak: what such a promise lets pass and what to write, as the end of a sentence that begins with name and value.
        called: its name in claim files and assertions, where the field cannot have that name.
        in_files: whether claim files have it; else it is an argument of assertions alone.
        promise: of a claim, that it is what the evidence's ``threshold`` comes from; the main number of a claim is one without saying so.
        judges: it changes how a claim is judged or shown, or which units it has, and not what is measured of one: runs with other values compare.
        reads: makes the field's value of what is given, such as items of a list of dictionaries.
        loads: what a claim file holds in its place, and how that is read; without it, the value itself.
        schema: further keywords of JSON Schema, which win over those that the type gives.
    """

    about: str
    title: str = ""
    example: Any = None
    unit: str = ""
    above: float | None = None
    below: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    weak_from: float | None = None
    weak_to: float | None = None
    weak: str = ""
    called: str = ""
    in_files: bool = True
    promise: bool = False
    judges: bool = False
    reads: Callable[[Any], Any] | None = None
    loads: Form | None = None
    schema: Schema = field(default_factory=dict)

    def to_schema(self, name: str) -> Schema:
        """The keywords that this gives the schema of a parameter."""
        bounds = {
            "exclusiveMinimum": self.above, "exclusiveMaximum": self.below, "minimum": self.at_least, "maximum": self.at_most,
        }  # fmt: skip
        return {
            "title": self.title or name.replace("_", " ").capitalize(),
            "description": self.about,
            **({"x-unit": self.unit} if self.unit else {}),
            **({"x-promise": True} if self.promise else {}),
            **({"x-weak": {"from": self.weak_from, "to": self.weak_to, "why": self.weak}} if self.weak else {}),
            **{keyword: bound for keyword, bound in bounds.items() if bound is not None},
            **({"examples": [self.example]} if self.example is not None else {}),
            **(self.loads.schema if self.loads is not None else {}),
            **self.schema,
        }


def properties_of(declared: Declared) -> dict[str, Schema]:
    """The JSON Schema of each parameter that a dataclass or a function declares with :class:`Param`."""
    hints = hints_of(declared)
    found = {}
    for name, default in _defaults_of(declared).items():
        param = param_of(hints.get(name))
        if param is None or not param.in_files:
            continue
        schema = _schema(hints[name], name)
        if default is not MISSING and default is not None and "default" not in schema:
            schema["default"] = _plain(default)
            schema.setdefault("examples", [schema["default"]])
        if "examples" not in schema and (example := _example_of(schema)) is not None:
            schema["examples"] = [example]
        found[names_of(declared)[name]] = schema
    return found


def names_of(declared: Declared) -> dict[str, str]:
    """Map the field of each parameter to its name in claim files."""
    params = {name: param_of(hint) for name, hint in hints_of(declared).items()}
    return {name: param.called or name for name, param in params.items() if param is not None and param.in_files}


def _example_of(schema: Schema) -> Any:
    """A value that an editor can offer where the declaration has none: the first choice, true, or a number within the bounds."""
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "boolean" in kinds:
        return True
    if not {"number", "integer"} & set(kinds):
        return None
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if "number" in kinds and low is not None and high is not None:
        return (low + high) / 2
    return low + 1 if low is not None else high - 1 if high is not None else 1


def required_of(declared: Declared) -> list[str]:
    """The parameters without a default."""
    names = names_of(declared)
    return [names[field] for field, default in _defaults_of(declared).items() if field in names and default is MISSING]


def check_takes(function: Callable[..., Any], wanted: Sequence[str], what: str) -> None:
    """Refuse a function that does not take the wanted number of arguments.

    Args:
        wanted: a word for each argument that it will be called with.
        what: what it is, for the message: ``the axis 'tone'``.

    Raises:
        SteerError: it is no function, or takes fewer or more.
    """
    module = getattr(function, "__module__", None)
    home = f"{module}: {what}" if module else what
    if not callable(function):
        raise SteerError(f"{home} needs a function ({', '.join(wanted)}), not {function!r}")
    try:
        given = inspect.signature(function).parameters.values()
    except ValueError:  # of a builtin
        return
    places = [one for one in given if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = sum(one.default is one.empty for one in places)
    if needed > len(wanted) or (len(places) < len(wanted) and not any(one.kind is one.VAR_POSITIONAL for one in given)):
        raise SteerError(f"{home} is called with ({', '.join(wanted)}), and its function takes {_arguments(places)}")


def _arguments(places: Sequence[inspect.Parameter]) -> str:
    return f"({', '.join(one.name for one in places)})" if places else "no argument"


class Keywords(NamedTuple):
    """The keywords of a registered function.

    Attributes:
        settings: the JSON Schema of each keyword that has a :class:`Param`.
        required: the settings without a default.
        filled: keywords that are filled in by name, as pytest fills in fixtures.
    """

    settings: dict[str, Schema]
    required: list[str]
    filled: frozenset[str]


def keywords_of(
    function: Callable[..., Any], *, positional: Sequence[str], fillable: Sequence[str], taken: Sequence[str]
) -> Keywords:
    """The keywords of a function that is to be registered.

    Args:
        positional: a word for each of the arguments that come first, whatever they are called.
        fillable: names of keywords that are filled in.
        taken: other keys of the entry in a claim file, whose names no setting can have.

    Raises:
        SteerError: it does not take the first arguments, nothing says what a keyword without a default is, or a setting has a taken
            name.
    """
    given = list(_defaults_of(function).items())
    if len(given) < len(positional):
        check_takes(function, positional, f"{function.__name__}()")
    home, settings = f"{function.__module__}.{function.__name__}", properties_of(function)
    keywords = dict(given[len(positional) :])
    for name in settings.keys() & set(taken):
        raise SteerError(f"{home}: {name!r} is a key of every claim file's entry, so it cannot be a setting: rename it")
    for name in keywords.keys() - set(fillable) - settings.keys():
        if keywords[name] is MISSING:
            raise SteerError(
                f"{home}: nothing says what {name!r} is: declare it as a setting, `{name}: Annotated[float, Param('...')]`, or give "
                f"it a default; filled in are {', '.join(sorted(fillable))}"
            )
    return Keywords(settings, required_of(function), frozenset(fillable) & keywords.keys())


def hints_of(declared: Declared) -> dict[str, object]:
    """The types of the fields or keywords.

    Raises:
        SteerError: they name what is not there, such as an import for type checkers alone.
    """
    try:
        return get_type_hints(declared, include_extras=True)
    except NameError as error:
        raise SteerError(f"{declared.__module__}.{declared.__name__}: its types cannot be read: {error}") from None


def _defaults_of(declared: Declared) -> dict[str, object]:
    """Field or keyword to its default, or ``MISSING``."""
    if not isinstance(declared, type):
        given = inspect.signature(declared).parameters.values()
        return {one.name: MISSING if one.default is one.empty else one.default for one in given}
    return {
        one.name: one.default if one.default_factory is MISSING else one.default_factory()
        for one in dataclasses.fields(declared)
    }


def param_of(hint: Any) -> Param | None:
    """The :class:`Param` in an annotated type, or None."""
    return next((found for found in getattr(hint, "__metadata__", ()) if isinstance(found, Param)), None)


def _schema(hint: Any, name: str) -> Schema:
    if get_origin(hint) is Annotated:
        param = param_of(hint)
        own = {} if param is None else param.to_schema(name)
        is_optional = type(None) in get_args(get_args(hint)[0])
        if param is not None and param.loads is not None and is_optional and "type" not in param.schema:
            own = {"default": None, **own, "type": _or_null(own["type"])}
        if {"type", "$ref", "enum"} & own.keys():  # it says itself what a claim file holds
            return own
        return {**_schema(get_args(hint)[0], name), **own}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        if float in arguments and any(get_origin(one) is Mapping for one in arguments):
            return dict(_TYPES[float])  # a promise
        kinds = [_schema(one, name) for one in arguments if one is not type(None)]
        if len(kinds) == 1:
            return kinds[0]
        merged: Schema = {}
        for kind in kinds:
            merged |= kind
        return {**merged, "type": [kind["type"] for kind in kinds if "type" in kind]}
    if origin in (tuple, list, Sequence):
        return {"type": "array", "items": _schema(arguments[0], name)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], name)}
    if hint not in _TYPES:
        raise TypeError(
            f"parameter {name!r}: a claim file cannot hold a {hint}: give its JSON Schema, Param(..., schema={{...}})"
        )
    return dict(_TYPES[hint])


def _or_null(types: str | Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*([types] if isinstance(types, str) else types), "null"]))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
