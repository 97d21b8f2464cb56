"""Kinds of claims: the decorator :func:`claim`, which makes one of a class, and the queries about a kind."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, TypeVar

from ..core import registry
from ..core.block import KINDS as BLOCKS
from ..core.errors import Fault, SteerError, at_key
from ..core.evidence import Evidence, Json
from ..core.parameters import Form, Param, Schema, hints_of, names_of, param_of, properties_of, required_of
from ..core.promises import Promised, promise_schema, promised
from ..core.registry import did_you_mean
from ..core.run_context import Effort
from ..core.validation import check_values
from ..data import Completion, Units, as_dialogues, as_items
from .base import AnyClaim, Claim, is_in_rounds
from .from_file import FILE, FILLED, FromFile, Written
from .pilots import read_pilot

EVERY: dict[str, Schema] = {
    "confidence": {"type": "number"}
    | Param("The confidence level of the interval that decides: 0.95 means 95 %.", above=0.5, below=1).to_schema(
        "confidence"
    ),
    "multiplier": {"type": "number", "not": {"const": 0}},
    "multipliers": {"type": "array", "items": {"type": "number"}},
    "seed": {"type": "integer", "minimum": 0},
    "min_n": {"type": "integer"} | Param("With fewer units a claim is inconclusive.", at_least=2).to_schema("min_n"),
}
"""Fields of every claim that are validated as parameters are, in the words of a claim file."""

Declared = TypeVar("Declared", bound=type)

# What a claim is measured on is filled in by the name of its field, as pytest fills in fixtures; these come from files under ``data``.
_FROM_DATA = {
    "items": "test",
    "tasks": "test",
    "texts": "neutral",
    "prompts": "prompts",
    "demonstrations": "demonstrations",
}
_INSTEAD = {"prompts": "test"}  # the file that serves where there is none of the key


@dataclass(frozen=True)
class Starter:
    """A kind's part in the claim files that commands write.

    Attributes:
        place: its place among the claims of a file.
        promises: command to the parameters that it fills in, the main promise first.
    """

    place: int
    promises: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ClaimKind:
    """One kind of claim.

    Attributes:
        name: its key in a claim file, and ``check`` in the evidence.
        declared: the class. Its fields with a ``Param`` are the claim's parameters, the others its data.
        title: the promise in a few words.
        main: the parameter that a bare number sets, ``- steers: 0.3``.
        one_of: parameters of which exactly one is given.
        any_of: parameters, or keys of every claim, of which at least one is given.
        either: fields of which one is filled in: the one that the parameter ``on`` names, else the first whose data is given.
        directed: it promises which way a behaviour moves, so it takes ``direction``.
        only_with: field or parameter to the parameter, or the field of ``either``, that it needs.
        not_with: field or parameter to the parameter that excludes it.
        starter: its part in the claim files that commands write; None for none.
    """

    name: str
    declared: type
    title: str
    main: str | None = None
    one_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    directed: bool = True
    only_with: Mapping[str, str] = dataclasses.field(default_factory=dict)
    not_with: Mapping[str, str] = dataclasses.field(default_factory=dict)
    schema_more: Mapping[str, object] = dataclasses.field(default_factory=dict)
    starter: Starter | None = None

    @cached_property
    def about(self) -> str:
        """The first paragraph of the class's docstring."""
        return " ".join((self.declared.__doc__ or "").strip().split("\n\n")[0].split())

    @cached_property
    def fields(self) -> dict[str, bool]:
        """Names of the data fields, and whether each is required."""
        return {
            one.name: one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
            for one in dataclasses.fields(self.declared)
            if one.name not in self.field_of.values()
        }

    @cached_property
    def field_of(self) -> dict[str, str]:
        """Parameter to the field of the class that holds it."""
        return {name: field for field, name in names_of(self.declared).items()}

    @cached_property
    def arguments(self) -> dict[str, str]:
        """Argument of the assertion to the field of the class that holds it, where the two have different names."""
        params = {field: param_of(hint) for field, hint in hints_of(self.declared).items()}
        return {one.called: field for field, one in params.items() if one is not None and one.called}

    @cached_property
    def parameters(self) -> dict[str, Schema]:
        """The JSON Schema of each parameter."""
        every, own = properties_of(self.declared), self.declared.__annotations__
        order = {field: place for place, field in enumerate(own)}
        found = {name: every[name] for name in sorted(every, key=lambda name: order.get(self.field_of[name], len(order)))}
        numbers = {name for name in (self.main, *self.one_of) if name is not None and found[name].get("type") == "number"}
        return {
            name: promise_schema(schema) if name in numbers or schema.get("x-promise") else schema
            for name, schema in found.items()
        }

    @cached_property
    def plain(self) -> dict[str, Schema]:
        """The parameters whose Python values are those of a file. Contexts and items, which a file names in another way, are none."""
        hints = hints_of(self.declared)
        params = {name: param_of(hints[self.field_of[name]]) for name in self.parameters}
        made = {name for name, param in params.items() if param is not None and param.loads is not None}
        return {name: schema for name, schema in self.parameters.items() if name not in made}

    @cached_property
    def promises(self) -> tuple[str, ...]:
        """The parameters that the evidence's ``threshold`` comes from; of ``one_of`` the one that is given."""
        return tuple(name for name, schema in self.parameters.items() if schema.get("x-promise"))

    def promised(self, given: Json) -> dict[str, Promised]:
        """The promises among the arguments. None means no threshold yet; of ``one_of`` it means not given."""
        return {
            name: dataclasses.replace(promised(given[name], f"{self.name}: {name}"), name=name)
            for name in self.promises
            if name in given and (given[name] is not None or name not in self.one_of)
        }

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The keys of ``data`` that it requires."""
        return tuple(dict.fromkeys(key for name, key in _FROM_DATA.items() if self.fields.get(name)))

    def needed(self, given: Container[str]) -> tuple[str, ...]:
        """Its ``needs``, with the substitute file for each key of which only that is given."""
        return tuple(
            dict.fromkeys(
                _INSTEAD[key] if key not in given and _INSTEAD.get(key, key) in given else key for key in self.needs
            )
        )

    @cached_property
    def uses(self) -> tuple[str, ...]:
        """Optional keys of ``data`` that it reads."""
        return tuple(
            dict.fromkeys(
                key for name, key in _FROM_DATA.items() if self.fields.get(name) is False and name not in self.either
            )
        )

    @cached_property
    def choices(self) -> dict[str, str]:
        """For each field of ``either`` the key of ``data`` that it comes from."""
        return {name: _FROM_DATA[name] for name in self.either}

    def chosen(self, params: Mapping[str, object], given: Container[str]) -> str | None:
        """The field of ``either`` that is filled in, or None if its data are missing.

        Args:
            params: of which ``on`` names one, or ``auto`` the first. given: keys of ``data``.
        """
        on = params.get("on")
        return next((name for name, key in self.choices.items() if key in given and on in (None, "auto", name)), None)

    def lacks(self, params: Json) -> tuple[str | None, list[str]]:
        """What is missing when no field of ``either`` is chosen.

        Returns:
            The parameter that asks for missing data, if one does, and the keys of ``data`` of which one is needed.
        """
        on = params.get("on", "auto")
        if on == "auto":
            return None, [*self.choices.values()]
        return "on", [self.choices[on]] if on in self.choices else []

    @property
    def takes_data(self) -> bool:
        """Whether its class takes the data of ``either`` as one argument, ``data``, too."""
        return bool(self.either) and "data" in self.fields

    def sorted_out(self, data: Iterable[Any], on: str | None) -> Json:
        """The argument ``data`` under its field: the one that ``on`` names, else ``texts`` if all of it are texts."""
        every = data if isinstance(data, Units) else list(data)
        is_text = all(isinstance(one, (str, Completion)) for one in every)
        by_content = next((name for name in self.either if (name == "texts") == is_text), self.either[0])
        return {on if on in self.either else by_content: every}

    def weak_promises(self, claim: Any) -> list[str]:
        """A warning for each parameter of a claim with a value at which its promise can hardly fail."""
        found = []
        for name, schema in self.parameters.items():
            weak = schema.get("x-weak")
            value: Any = getattr(claim, self.field_of[name], None)
            value = promised(value, name).value if isinstance(value, Mapping) and "value" in value else value
            if weak is None or value is None:
                continue
            if value >= (math.inf if weak["from"] is None else weak["from"]) or value <= (
                -math.inf if weak["to"] is None else weak["to"]
            ):
                found.append(f"this promise can hardly fail: {name} {value:g} {weak['why']}")
        return found

    def promise_of(self, claim: AnyClaim) -> Promised | None:
        """The promise of a claim; of ``one_of`` the one that is given, None if none is."""
        return next(
            iter(self.promised({name: getattr(claim, self.field_of[name]) for name in self.promises}).values()), None
        )

    def how_of(self, claim: Claim) -> Json:
        """Everything that the values of a claim's units depend on: its context, and all parameters except promises and those that only judge."""
        hints = hints_of(self.declared)
        found: Json = {"context": claim.context_asked.to_dict()} if "context" in self.fields else {}
        for name, field in self.field_of.items():
            param = param_of(hints[field])
            if name not in self.promises and param is not None and not param.judges:
                found[name] = _plain(getattr(claim, field))
        return found

    @property
    def has_direction(self) -> bool:
        """Whether it is about a behaviour, in contrast items or replies, that the deployed model raises or lowers."""
        return self.directed and ("items" in self.fields or self.fields.get("prompts", False))

    def takes(self, name: str) -> bool:
        """Whether it uses a file's setting of that name. Every kind with items uses ``context``."""
        return name in self.fields or (name == "context" and "items" in self.fields)

    def meaningless(self, given: Mapping[str, object]) -> dict[str, str]:
        """The fields and parameters that do not apply to the given ones, each with the reason."""

        def has(name: str) -> bool:
            return given.get(name) is not None and given[name] is not False

        lacking = {
            name: f"without {other!r}, which this claim has not" for name, other in self.only_with.items() if not has(other)
        }
        return lacking | {name: f"beside {other!r}" for name, other in self.not_with.items() if has(other)}

    def is_default(self, name: str, value: Any) -> bool:
        """Whether a value of a field or parameter is its default."""
        field = self.field_of.get(name, name)
        default = next(one.default for one in dataclasses.fields(self.declared) if one.name == field)
        if isinstance(default, Sequence) and not isinstance(default, str) and isinstance(value, Iterable):
            return [*value] == [*default]
        return value is None or bool(value == default)

    def faults(self, written: Written) -> Iterable[Fault]:
        """The faults of a written claim that a schema cannot express, as its class lists them."""
        said: Callable[[Written], Iterable[Fault]] = getattr(self.declared, "faults", lambda _: ())
        return said(written)

    # --- from a claim file ---

    @cached_property
    def forms(self) -> dict[str, Form]:
        """The forms of the parameters for which a claim file holds something other than the value."""
        hints = hints_of(self.declared)
        found = {}
        for name, schema in self.parameters.items():
            param = param_of(hints[self.field_of[name]])
            if param is not None and param.loads is not None:
                found[name] = param.loads
            elif schema.get("x-promise"):
                found[name] = Form(schema, _load_promise)
            elif schema.get("x-file"):
                found[name] = FILE
        return found

    def from_file(self, file: FromFile) -> Any:
        """The claim of a file: its parameters are loaded, and every other field is filled in by its name, as pytest fills in fixtures.

        Raises:
            SteerError: something cannot be read or made, or nothing fills in a field.
        """
        fillers = {*FILLED, *file.frame}
        unfilled = next((name for name, needed in self.fields.items() if needed and name not in fillers), None)
        if unfilled is not None:
            raise SteerError(
                f"{registry.home_of('claim', self.name)}: nothing fills in {unfilled!r} of the claim {self.name!r}: annotate it with "
                f"Param if it is a parameter, give it a default, or call it one of {', '.join(sorted(fillers))}"
            )
        given = {name: self._loaded(name, file) for name in self.parameters if name in file.params}
        if "sequential" in given:
            given["sequential"] = file.in_rounds
        left_out = self._left_out({**file.params, **given}, file.data)  # an empty promise of a file is given too
        for name in self.fields:
            if name in fillers and name not in left_out:  # what is filled in is made only if the kind asks for it
                given[name] = file.frame[name] if name in file.frame else getattr(file, name)
        return self.declared(**given)

    def _loaded(self, name: str, file: FromFile) -> Any:
        value, form = file.params[name], self.forms.get(name)
        if form is None or (value is None and name not in self.promises):
            return value
        with at_key(name):
            return form.load(value, file.under(name))

    def _left_out(self, params: Mapping[str, object], given: Container[str]) -> set[str]:
        """The fields that are not filled in: data that may be missing and are, or what the claim is not measured on."""
        if self.either:
            chosen = self.chosen(params, given)
            return {*self.either} - {chosen} | self.meaningless({**params, str(chosen): True}).keys()
        lacks = {"texts": "neutral" not in given, "prompts": "prompts" not in given and "test" not in given}
        missing = {name for name, needed in self.fields.items() if lacks.get(name) and not needed}
        return missing | self.meaningless(params).keys()

    def asks_items(self, given: Container[str]) -> bool:
        """Whether it is about the items of ``data.test``, where these keys of ``data`` are given."""
        on_prompts = "prompts" in given and "prompts" in self.fields and "items" not in self.fields
        return not on_prompts and ("test" in given or self.fields.get("items", True))

    def in_rounds(self, params: Json, effort: Effort, drawable: Callable[[], int]) -> bool:
        """Whether a claim with these parameters draws its items in rounds.

        Args:
            drawable: how many items there are to be drawn one by one.
        """
        said = params.get("sequential", False)
        known = said if isinstance(said, bool) else None  # "profile"
        items = drawable() if known is None and effort.in_rounds else 0
        return is_in_rounds(known, effort, items, params.get("interval", "t"))

    @property
    def asks_others(self) -> bool:
        """Whether it is about the other claims of its file."""
        return "others" in self.fields

    @property
    def searches_contexts(self) -> bool:
        return "contexts" in self.fields

    @cached_property
    def schema(self) -> Schema:
        """The JSON Schema of its parameters, without those of every claim."""
        required = required_of(self.declared)
        shown = dict.fromkeys([*required, *([self.main] if self.main else []), *self.one_of[:1], *self.any_of[:1]])
        for name in shown:
            if not self.parameters.get(name, {}).get("examples"):
                raise SteerError(
                    f"{self.declared.__module__}: {name!r} of the claim {self.name!r} needs an example: Param(..., example=...)"
                )
        example = {name: self.parameters[name]["examples"][0] for name in shown}
        return {
            "title": self.title,
            "description": self.about,
            "type": "object",
            "properties": self.parameters,
            **({"required": required} if required else {}),
            **({"oneOf": [{"required": [name]} for name in self.one_of]} if self.one_of else {}),
            **({"anyOf": [{"required": [name]} for name in self.any_of]} if self.any_of else {}),
            **self.schema_more,
            "examples": [example],
        }

    def said(self, part: str, evidence: Evidence) -> Any:
        """The part of its evidence that its class shows, see :class:`~pytest_steer.claims.base.AnyClaim`.

        Args:
            part: ``headline``, ``reason``, ``cure``, ``always``, ``why``, or ``extra`` (what the record of the evidence has for this kind alone).

        Raises:
            SteerError: the class shows something else.
        """
        said = getattr(self.declared, part)(evidence)
        where = f"{self.declared.__module__}: {part} of the claim {self.name!r} gave"
        if part in ("always", "why"):
            blocks = [*said]
            wrong = next((one for one in blocks if type(one) not in BLOCKS.values()), None)
            if wrong is not None:
                raise SteerError(f"{where} {type(wrong).__name__}, not blocks such as Line(...)")
            return blocks
        if part == "extra":
            if not isinstance(said, dict):
                raise SteerError(f"{where} {type(said).__name__}, not a dictionary")
            if taken := sorted(said.keys() & evidence.record().keys()):
                raise SteerError(f"{where} {taken[0]!r}, which evidence has itself")
        elif said is not None and not isinstance(said, str):
            raise SteerError(f"{where} {type(said).__name__}, not text")
        return said


def claim(
    name: str,
    *,
    title: str,
    main: str | None = None,
    one_of: Sequence[str] = (),
    any_of: Sequence[str] = (),
    either: Sequence[str] = (),
    directed: bool = True,
    only_with: Mapping[str, str] | None = None,
    not_with: Mapping[str, str] | None = None,
    schema: Mapping[str, object] | None = None,
    starter: Starter | None = None,
) -> Callable[[Declared], Declared]:
    """Register a class as a kind of claim; see docs/extending.md.

    Args:
        name: its key in a claim file.
        title: the promise in a few words.
        main: the parameter that a bare number sets.
        one_of / any_of: parameters of which exactly one, or at least one, is given.
        either: fields of which one is filled in, see :class:`ClaimKind`; the class has a parameter ``on`` that names one.
        directed / only_with / not_with: settings that do not apply to it, see :class:`ClaimKind`.
        schema: further keywords of JSON Schema for its parameters together.
        starter: its part in the claim files that commands write, see :class:`Starter`.

    Raises:
        SteerError: the name is taken.
    """

    def decorate(declared: Declared) -> Declared:
        if not (isinstance(declared, type) and issubclass(declared, AnyClaim)):
            raise SteerError(
                f"{declared.__module__}: the claim {name!r} is declared by a subclass of OverItems, OverTexts, OverReplies or Claim "
                f"(pytest_steer.extend): write `class {declared.__name__}(OverItems):`"
            )
        own, signature = ("measure", "(self, ask: Ask) -> Measurement") if issubclass(declared, Claim) else _CONCLUDES
        if getattr(declared, own) in (Claim.measure, AnyClaim.conclude):
            raise SteerError(f"{declared.__module__}: the claim {name!r} needs a method: def {own}{signature}")
        of_one = (tuple(one_of), tuple(any_of), tuple(either))
        beside = (dict(only_with or {}), dict(not_with or {}), schema or {})
        kind = ClaimKind(name, declared, title, main, *of_one, directed, *beside, starter)
        _check_names(kind)
        declared.kind = kind
        _reading(kind)
        _ = kind.schema  # a declaration that makes no schema is an error of its own module, not of the first claim file
        registry.register("claim", name, kind, home=declared.__module__)
        return declared

    return decorate


def _check_names(kind: ClaimKind) -> None:
    """Refuse names in a declaration that are no parameter and no field of the class, and parameters that hide something of its base."""
    home = f"{kind.declared.__module__}: the claim {kind.name!r}"
    own, data = list(kind.field_of), [*kind.fields]
    taken = {"kind", *dir(Claim)} - {one.name for one in dataclasses.fields(Claim)}
    if hidden := next((name for name in kind.field_of.values() if name in taken), None):
        raise SteerError(f"{home}: {hidden!r} is something else of every claim: give the parameter another name")
    promised = [] if kind.main is None else [kind.main]
    given: dict[str, tuple[Iterable[str], list[str]]] = {
        "main": (promised, own),
        "one_of": (kind.one_of, own),
        "any_of": (kind.any_of, [*own, *EVERY, *data]),
        "either": (kind.either, [name for name in data if name in _FROM_DATA]),
        "only_with": ([*kind.only_with, *kind.only_with.values()], [*own, *data]),
        "not_with": ([*kind.not_with, *kind.not_with.values()], [*own, *data]),
    }
    for argument, (names, known) in given.items():
        for name in names:
            if name not in known:
                what = "field with data" if argument == "either" else "parameter"
                raise SteerError(
                    f"{home}: {argument} names {name!r}, which is no {what} of {kind.declared.__name__}: "
                    f"{did_you_mean(name, dict.fromkeys(known))}"
                )


_CONCLUDES = ("conclude", "(self, model: Model) -> Evidence")
_READ: dict[str, Callable[[Any], Any]] = {"items": as_items, "prompts": as_dialogues}


def _reading(kind: ClaimKind) -> None:
    """Make a class refuse values that its parameters cannot have, and read the others, before anything of its own looks at them."""
    made, names = kind.declared.__init__, [one.name for one in dataclasses.fields(kind.declared) if not one.kw_only]  # type: ignore[misc]
    readers: dict[str, Callable[[Any], Any]] = {**_READ}
    for field, hint in hints_of(kind.declared).items():
        if (param := param_of(hint)) is not None and param.reads is not None:
            readers[field] = param.reads

    @wraps(made)
    def read(self: Any, *arguments: Any, **given: Any) -> None:
        given = {**dict(zip(names, arguments, strict=False)), **given}
        if kind.takes_data and given.get("data") is not None:
            given |= kind.sorted_out(given.pop("data"), given.get("on"))
        properties = kind.plain | EVERY
        values = {key: value for key, value in given.items() if key in properties}
        check_values(kind.name, values, properties, required=kind.schema.get("required", ()))
        for name, why in kind.meaningless(given).items():
            if name in given and not kind.is_default(name, given[name]):
                cure = f"Delete it, or give {kind.only_with[name]}" if why.startswith("without") else "Delete one of them"
                raise SteerError(f"{kind.name}: {name!r} means nothing {why}. {cure}")
        for one in kind.promised(given).values():
            if one.source is not None:
                read_pilot(one.source)  # before anything is measured
        given = {kind.arguments.get(name, name): value for name, value in given.items()}
        for name in readers.keys() & given.keys():
            given[name] = None if given[name] is None else readers[name](given[name])
        made(self, **{"name": kind.name, **given})
        chosen = [name for name in kind.one_of if getattr(self, kind.field_of[name]) is not None]
        if kind.one_of and len(chosen) != 1:
            raise SteerError(
                f"{kind.name} takes exactly one of {', '.join(kind.one_of)}, not {' and '.join(chosen) or 'none'}"
            )

    kind.declared.__init__ = read  # type: ignore[misc]


def _load_promise(value: Any, file: FromFile) -> Any:
    """A promise of a claim file. One that is empty is not one that is left out, and its pilot is read before anything is measured."""
    if isinstance(value, (int, float)):
        return float(value)
    written: Json = {"value": None} if value is None else dict(value)
    if written["value"] is not None:
        written["value"] = float(written["value"])
    if "from" in written:
        source, inner = file.path(written["from"]), file.under("from")
        with at_key(inner.key):
            read_pilot(source)
        written["from"] = str(source)
    return written


def _plain(value: Any) -> Any:
    """A parameter as JSON: what has a hash or a record of its own is known by that."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    for name in ("record", "to_dict"):
        if callable(getattr(value, name, None)):
            return getattr(value, name)()
    if hasattr(value, "hash"):
        return value.hash
    return [_plain(one) for one in value] if isinstance(value, Iterable) else str(value)


def kind_of(name: str) -> ClaimKind:
    """The kind of claim of that name.

    Raises:
        SteerError: there is none.
    """
    found: ClaimKind = registry.find("claim", name)
    return found


def starters(command: str) -> dict[str, tuple[str, ...]]:
    """The kinds of claims that a command writes, in the order of the file, with the parameters that it fills in."""
    parts = {name: kind.starter for name, kind in registry.things("claim").items() if kind.starter is not None}
    in_order = sorted(parts.items(), key=lambda part: part[1].place)
    return {name: starter.promises[command] for name, starter in in_order if command in starter.promises}
