"""Axes of contexts: the class :class:`Axis`, and the decorators that register one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from typing import Any, Literal

from ..core import registry
from ..core.columns import message_of
from ..core.errors import DataError, SteerError
from ..core.parameters import Schema, check_takes
from ..core.validation import check_values
from ..data import ContrastItem
from .options import apart

AS_GIVEN_WORD = "as_given"
OURS = __name__.partition(".")[0]

# Arguments of Context and of the strategy contexts() that are no axes.
_RESERVED = ("values", "answers", "examples", "axes")

# What ``apply`` is called with, by what it changes.
_TAKES = {
    "item": ("item", "value"),
    "turns": ("item", "value", "examples"),
    "prompt": ("setting", "value"),
    "opening": ("opening", "value", "item"),
}


@dataclass(frozen=True, eq=False, repr=False)
class Axis:
    """One axis of contexts: its values, and what each value changes in how an item is asked.

    Attributes:
        name: a Python identifier, the axis's key in claim files and its keyword in :class:`Context`.
        values: a list, a Hypothesis strategy, or None. A list holds all values besides "as given", unless ``schema`` or ``read``
            allow others. In that case, and for a strategy, they are the values that :func:`pytest_steer.contexts` draws.
            Values must be hashable and writable as JSON.
        apply: what a value does, see ``on``. It is not called for "as given".
        on: the arguments of ``apply`` and what it returns:

            - ``item``: (item, value) -> the changed item. If it changes what the answers stand for, it has to change them too.
            - ``turns``: (item, value, examples) -> what stands before the item: (user, reply) turns, or items that are shown
              with their matching answer.
            - ``prompt``: (setting, value) -> setting, a :class:`~pytest_steer.prompting.formats.Setting`.
            - ``opening``: (opening, value, item) -> how the reply to the item begins.
        about: one sentence that describes a value; by default the first line of the docstring of ``apply``.
        title / listed: a few words and one sentence that describe the list of values in the ``contexts`` of a claim file.
        example: a value as it stands in a claim file.
        schema: the JSON Schema of a value; "as_given" is added to it.
        read: converts what a user or a claim file writes to a value. It raises a DataError for what is not one.
        as_given: the value that changes nothing.
        size: how large a value other than as given is. A list of values is sorted by it, so that a search shrinks towards less.
        place: the position of the axis when axes are listed, printed and drawn. Equal places are sorted by name.
        acts: among axes with the same ``on``, the one with the lower number acts first. The built-in axes on items begin at 1, so
            by default an axis acts on the item as its file gives it, and the built-in ones on what it returns.
        inherits: a context that leaves it as given takes the value of the context in which its claim is asked.
        on_examples: it changes few-shot examples as it changes the item.
        draws_examples: any value other than as given needs items to draw examples from.

    Example::

        def in_a_tone(item, tone):
            return ContrastItem(f"{tone}! {item.question}", item.matching, item.not_matching, item.id)

        tone = Axis("tone", ["Hey", "Quick"], in_a_tone)
        contexts(axes=[tone])            # draws Context() and Context({tone: "Hey"}), ...

    Raises:
        DataError: a name that is not an identifier or is reserved, an empty list of values, a value that cannot be hashed or
            written as JSON, or an ``apply`` that cannot be called with the arguments of ``on``.
    """

    name: str
    values: Any
    apply: Callable[..., Any]
    _: KW_ONLY
    on: Literal["item", "turns", "prompt", "opening"] = "item"
    about: str = ""
    title: str = ""
    listed: str = ""
    example: Any = None
    schema: Schema = field(default_factory=dict)
    read: Callable[[Any], Any] | None = None
    as_given: Any = AS_GIVEN_WORD
    size: Callable[[Any], float] = lambda value: 0.0
    place: int = 1000
    acts: int = 0
    inherits: bool = False
    on_examples: bool = False
    draws_examples: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier() or self.name in _RESERVED:
            raise DataError(f"the name of an axis is a Python identifier that is not reserved, not {self.name!r}")
        if isinstance(self.values, str) or (isinstance(self.values, (list, tuple)) and not self.values):
            raise DataError(
                f"axis {self.name}: values is a list with at least one value, or a strategy, not {self.values!r}"
            )
        if self.on not in _TAKES:
            raise DataError(f"axis {self.name}: on is one of {', '.join(_TAKES)}, not {self.on!r}")
        try:
            check_takes(self.apply, _TAKES[self.on], f"the axis {self.name!r}")
        except SteerError as error:
            raise DataError(str(error)) from None
        for value in self.choices:
            self._usable(value)

    def __repr__(self) -> str:
        return self.name  # Python code, if the axis is bound to a variable of its name

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # what Hypothesis and IPython print, instead of all fields

    @property
    def choices(self) -> list[Any]:
        """The listed values; none if the values are a strategy."""
        return [_fixed(value) for value in self.values] if isinstance(self.values, (list, tuple)) else []

    @property
    def _is_closed(self) -> bool:
        return bool(self.choices) and not self.schema and self.read is None

    @property
    def value_schema(self) -> Schema:
        """The JSON Schema of one value in a claim file."""
        about = self.about or (self.apply.__doc__ or "").strip().partition("\n")[0] or f"A value of {self.name}."
        found = {"enum": self.choices} if self._is_closed else dict(self.schema)
        if "enum" in found:
            found["enum"] = list(dict.fromkeys([AS_GIVEN_WORD, *plain(found["enum"])]))
        types = [found["type"]] if isinstance(found.get("type"), str) else found.get("type", ["string"])
        if "string" not in types:
            found |= {"type": [*types, "string"], "pattern": f"^{AS_GIVEN_WORD}$"}
        example = self.example if self.example is not None else next(iter(self.choices), AS_GIVEN_WORD)
        return {"title": self._titled, "description": about, **found, "examples": [plain(example)]}

    @property
    def list_schema(self) -> Schema:
        """The JSON Schema of the list of its values in the ``contexts`` of a claim file, without the schema of one value."""
        options = self.value_schema.get("enum")
        values = ", ".join(map(str, options)) if options else f"different {(self.title or 'values').lower()}"
        return {
            "title": self.title or self._titled,
            "description": self.listed or f"A list of {values}.",
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "examples": [[AS_GIVEN_WORD, *(one for one in self.value_schema["examples"] if one != AS_GIVEN_WORD)]],
        }

    @property
    def _titled(self) -> str:
        return self.name.replace("_", " ").capitalize()

    def checked(self, value: Any) -> Any:
        """Check a value and return it as the axis keeps it: ``as_given`` for None and for the word, tuples for lists.

        Raises:
            DataError: the axis has no such value.
        """
        if value is None or (isinstance(value, str) and value == AS_GIVEN_WORD):
            return self.as_given
        if self.read is not None:
            return self.read(value)
        value = self._usable(_fixed(value))
        if self._is_closed and value not in self.choices:
            *others, last = map(repr, [AS_GIVEN_WORD, *self.choices])
            raise DataError(f"{self.name} is {', '.join(others)} or {last}, not {value!r}")
        if self.schema:
            try:
                check_values("context", {self.name: plain(value)}, {self.name: self.value_schema})
            except SteerError as error:
                raise DataError(str(error)) from None
        return value

    def put(self, item: ContrastItem, value: Any) -> ContrastItem:
        """Apply a value of an axis that acts on items, and return the changed item. What it puts after labelled options begins a new line.

        Raises:
            DataError: ``apply`` raised an error, or returned something other than an item.
        """
        try:
            changed = self.apply(item, value)
            again = changed if str(getattr(self.apply, "__module__", "")).startswith(f"{OURS}.") else self.apply(item, value)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"item {item.id}: axis {self.name} at {value!r}: {message_of(error)}") from error
        if not isinstance(changed, ContrastItem):
            raise DataError(
                f"item {item.id}: axis {self.name} at {value!r} returned a {type(changed).__name__}, not a ContrastItem: "
                "apply takes (item, value) and returns the changed item"
            )
        if again != changed:
            raise DataError(
                f"item {item.id}: axis {self.name} at {value!r} gives another item each time, so nothing could be shown again: seed what is random"
            )
        return apart(item, changed)

    def _usable(self, value: Any) -> Any:
        try:
            hash(value)
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise DataError(f"axis {self.name}: values must be hashable and writable as JSON, unlike {value!r}") from None
        return value


def axis(name: str, values: Any = None, **known: Any) -> Callable[[Callable[..., Any]], Axis]:
    """Register a function as an axis of contexts, for claim files and for Python. The function becomes an :class:`Axis`.

    Example::

        @axis("tone", ["Hey", "Quick"])
        def tone(item, value):
            return ContrastItem(f"{value}! {item.question}", item.matching, item.not_matching, item.id)

    Args:
        name, values, known: as :class:`Axis` takes them.

    Raises:
        SteerError: the name is taken, or an argument is not what ``Axis`` takes.
    """

    def decorate(apply: Callable[..., Any]) -> Axis:
        made = Axis(name, values, apply, **known)
        registry.register("axis", name, made, home=apply.__module__)
        return made

    return decorate


def known_axes() -> dict[str, Axis]:
    """The registered axes by name, in the order of their places."""
    return _in_order(registry.version())


@lru_cache(maxsize=1)
def _in_order(version: int) -> dict[str, Axis]:
    ordered = sorted(registry.things("axis").values(), key=lambda axis: (axis.place, axis.name))
    return {axis.name: axis for axis in ordered}


def axis_of(name: Any, known: Mapping[str, Axis]) -> Axis:
    """The axis with this name. Extensions are loaded if none of the known axes has it.

    Raises:
        DataError: there is none; says which one was probably meant.
    """
    if name not in known:
        registry.load_extensions()
        known = {**known_axes(), **known}
    if name in known:
        return known[name]
    raise DataError(f"unknown context axis {name!r}: {registry.did_you_mean(str(name), known)}")


def text_axis(
    name: str, check: Callable[[str], str] = lambda value: value, **known: Any
) -> Callable[[Callable[..., Any]], Axis]:
    """Register a function as an axis whose values are texts, see :func:`axis`. ``check`` refuses texts with a DataError."""

    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise DataError(f"{name} is a text, not {value!r}")
        return check(value)

    return axis(name, schema={"type": "string", **known.pop("schema", {})}, read=read, as_given=None, **known)


def count_axis(name: str, most: int, **known: Any) -> Callable[[Callable[..., Any]], Axis]:
    """Register a function as an axis whose values are whole numbers from 0 to ``most``, see :func:`axis`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise DataError(f"{name} is a whole number from 0 to {most}, not {value!r}")
        return value

    schema = {"type": "integer", "minimum": 0, "maximum": most}
    return axis(name, schema=schema, read=read, as_given=0, size=float, **known)


def plain(value: Any) -> Any:
    """A value as JSON."""
    return value.to_dict() if hasattr(value, "to_dict") else json.loads(json.dumps(value))


def _fixed(value: Any) -> Any:
    """A value with tuples instead of lists, since tuples can be hashed."""
    return tuple(_fixed(inner) for inner in value) if isinstance(value, (list, tuple)) else value
