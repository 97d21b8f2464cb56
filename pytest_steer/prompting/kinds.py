"""Axes: what the decorator :func:`axis` makes of a function, and what others may ask about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from typing import Any, Literal

from .. import registry
from ..data import ContrastItem
from ..errors import DataError, SteerError
from ..parameters import Schema
from ..validation import check_values

AS_GIVEN_WORD = "as_given"

OWN_IS_GONE = "'own' is not an axis: user-defined axes stand beside the built-in ones"

# Arguments of Context and of the strategy contexts() that are no axes.
_RESERVED = ("values", "answers", "examples", "axes", "own")


@dataclass(frozen=True, eq=False, repr=False)
class Axis:
    """One axis of contexts: the values that it has, and what a value does to how an item is asked.

    Attributes:
        name: a Python identifier, the axis's key in claim files and its keyword in :class:`Context`.
        values: a list, or a Hypothesis strategy, or None. A list holds all values besides "as given", unless ``schema`` or ``read``
            say which others there are; then, and of a strategy, they are those that :func:`pytest_steer.contexts` draws.
            Values can be hashed and written as JSON.
        apply: what a value does, see ``on``. It is not called for "as given".
        on: what ``apply`` is called with, and gives back changed:

            - ``item``: (item, value) -> item. It has to keep track of the answers if it changes what they stand for.
            - ``turns``: (item, value, examples) -> what stands before the item: (user, reply) turns, or items that are shown
              with their matching answer.
            - ``prompt``: (setting, value) -> setting, a :class:`~pytest_steer.prompting.formats.Setting`.
            - ``opening``: (opening, value, item) -> how the reply to the item begins.
        about: one sentence on a value; by default the first line of what ``apply`` has as its docstring.
        title / listed: a few words and one sentence on the list of values in the ``contexts`` of a claim file.
        example: a value as it stands in a claim file.
        schema: the JSON Schema of a value; "as_given" is added to it.
        read: makes a value of what a user or a claim file writes, and raises a DataError for what is none.
        as_given: the value that leaves everything as it is.
        size: of a value that is not as given; a list of values is ordered by it, so that a search shrinks towards less.
        place: where it stands among the axes when they are listed, printed and drawn. Equal places go by name.
        acts: of those on the same thing, the axis with the lower number acts first. Ours on the item begin at 1, so by default an
            axis acts on the item as its file gives it, and all of ours on what it returns.
        inherits: a context that leaves it as given has the value of the context in which its claim is asked.
        on_examples: it changes few-shot examples too, as it does the item.
        draws_examples: a value other than as given needs items to draw examples from.

    Example::

        def in_a_tone(item, tone):
            return ContrastItem(f"{tone}! {item.question}", item.matching, item.not_matching, item.id)

        tone = Axis("tone", ["Hey", "Quick"], in_a_tone)
        contexts(axes=[tone])            # draws Context() and Context({tone: "Hey"}), ...

    Raises:
        DataError: a name that is not an identifier or means something else, no values, a value that cannot be hashed or
            written as JSON, or an ``apply`` that cannot be called.
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
    schema: Mapping[str, Any] = field(default_factory=dict)
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
            raise DataError(f"an axis has a Python identifier as its name, and not {self.name!r}")
        if isinstance(self.values, str) or (isinstance(self.values, (list, tuple)) and not self.values):
            raise DataError(
                f"axis {self.name}: values is a list with at least one value, or a strategy, not {self.values!r}"
            )
        if not callable(self.apply):
            raise DataError(f"axis {self.name}: apply is a function (item, value) -> item, not {self.apply!r}")
        for value in self.choices:
            self._usable(value)

    def __repr__(self) -> str:
        return self.name  # as it stands in Python where the axis is bound to its own name

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # what Hypothesis and IPython print, instead of all fields

    @property
    def choices(self) -> list[Any]:
        """The values that are listed."""
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
        """The JSON Schema of its values in the ``contexts`` of a claim file, without that of one value."""
        options = self.value_schema.get("enum")
        listed = f"A list of {', '.join(map(str, options))}." if options else "A list of different values."
        return {
            "title": self.title or self._titled,
            "description": self.listed or listed,
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
        }

    @property
    def _titled(self) -> str:
        return self.name.replace("_", " ").capitalize()

    def checked(self, value: Any) -> Any:
        """A value as the axis keeps it: ``as_given`` for None and for the word, tuples for lists.

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
        """The item at a value of an axis that acts on items.

        Raises:
            DataError: the function raised, or gave something else than an item.
        """
        try:
            changed = self.apply(item, value)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"item {item.id}: axis {self.name} at {value!r}: {type(error).__name__}: {error}") from error
        if not isinstance(changed, ContrastItem):
            raise DataError(
                f"item {item.id}: axis {self.name} at {value!r} gave a {type(changed).__name__}, not a ContrastItem: "
                "apply takes (item, value) and returns the changed item"
            )
        return changed

    def _usable(self, value: Any) -> Any:
        try:
            hash(value)
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise DataError(f"axis {self.name}: a value has to be hashable and writable as JSON, unlike {value!r}") from None
        return value


def axis(name: str, values: Any = None, **known: Any) -> Callable[[Callable[..., Any]], Axis]:
    """Register a function as an axis of contexts, for claim files and for Python; it becomes an :class:`Axis`.

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
    """The axes that are registered, by name, in the order of their places."""
    return _in_order(registry.version())


@lru_cache(maxsize=1)
def _in_order(version: int) -> dict[str, Axis]:
    ordered = sorted(registry.things("axis").values(), key=lambda axis: (axis.place, axis.name))
    return {axis.name: axis for axis in ordered}


def axis_of(name: Any, known: Mapping[str, Axis]) -> Axis:
    """The axis of that name.

    Raises:
        DataError: there is none; says which was probably meant.
    """
    if name in known:
        return known[name]
    if name == "own":
        raise DataError(f"{OWN_IS_GONE}: Context({{axis: value}}), or by its name where it is registered")
    meant = registry.nearest(str(name), known)
    hint = f"did you mean {meant!r}? " if meant else ""
    raise DataError(f"unknown context axis {name!r}: {hint}the axes are {', '.join(known)}")


def text(name: str, check: Callable[[str], str] = lambda value: value) -> Callable[[Any], str]:
    """Reads the values of an axis of texts."""

    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise DataError(f"{name} is a text, not {value!r}")
        return check(value)

    return read


def count(name: str, most: int) -> Callable[[Any], int]:
    """Reads the values of an axis of whole numbers from 0 on."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise DataError(f"{name} is a whole number from 0 to {most}, not {value!r}")
        return value

    return read


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    return value.to_dict() if hasattr(value, "to_dict") else json.loads(json.dumps(value))


def _fixed(value: Any) -> Any:
    """Lists, as JSON has them, as tuples, which can be hashed."""
    return tuple(_fixed(inner) for inner in value) if isinstance(value, (list, tuple)) else value
