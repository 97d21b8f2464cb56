"""The values of each axis: read from what users and claim files write, or refused with what the axis takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..data import ContrastItem, Items, as_items
from ..errors import DataError
from .axes import LABEL_SETS, Axis, Noise
from .axes.few_shot import Turn
from .axes.filler import MOST_SENTENCES
from .axes.wording import check_distractor, check_wording
from .formats import check_date, check_template

AS_GIVEN_WORD = "as_given"


def _text(name: str, check: Callable[[str], str] = lambda value: value) -> Callable[[Any], str | None]:
    def read(value: Any) -> str | None:
        if value is None or value == AS_GIVEN_WORD:
            return None
        if not isinstance(value, str):
            raise DataError(f"{name} is a text, not {value!r}")
        return check(value)

    return read


def _one_of(name: str, options: Iterable[str]) -> Callable[[Any], str]:
    known = [AS_GIVEN_WORD, *options]
    listed = ", ".join(map(repr, known[:-1])) + f" or {known[-1]!r}"

    def read(value: Any) -> str:
        value = AS_GIVEN_WORD if value is None else value
        if value not in known:
            raise DataError(f"{name} is {listed}, not {value!r}")
        return str(value)

    return read


def _count(name: str, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if value is None or value == AS_GIVEN_WORD:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise DataError(f"{name} is a whole number from 0 to {most}, not {value!r}")
        return value

    return read


def _thinking(value: Any) -> str:
    return _one_of("thinking", ["closed", "open"])(value)


def _date(value: Any) -> str | None:
    return None if value is None or value == AS_GIVEN_WORD else check_date(value)


def _opening(value: str) -> str:
    if not value.strip():
        raise DataError("opening is a text that the reply begins with; leave the axis as given for none")
    return value


def _history(value: Any) -> tuple[Turn, ...]:
    if value is None or value == AS_GIVEN_WORD:
        return ()
    try:
        turns = tuple((user, reply) for user, reply in value)
    except (TypeError, ValueError):
        turns = None
    if turns is None or not all(isinstance(text, str) and text.strip() for turn in turns for text in turn):
        raise DataError(f"history is a list of earlier turns, [[user, reply], ...], each of two texts, not {value!r}")
    return turns


def _noise(value: Any) -> Noise | None:
    if value is None or value == AS_GIVEN_WORD:
        return None
    if isinstance(value, Mapping):
        known = ("spacing", "case", "punctuation", "typos", "seed")
        unknown = [key for key in value if key not in known]
        if unknown:
            raise DataError(f"noise has no {unknown[0]!r}: it has {', '.join(known)}")
        value = Noise(**value)
    if not isinstance(value, Noise):
        raise DataError(f"noise is Noise(typos=0.1, ...) or a mapping of its rates, not {value!r}")
    return None if value.is_none else value


def read_own(own: Any) -> tuple[tuple[Axis, Any], ...]:
    """Values of axes of one's own as pairs, ordered by name; those that are as given are left out."""
    pairs = tuple((axis, _fixed(value)) for axis, value in (own.items() if isinstance(own, Mapping) else own))
    for axis, value in pairs:
        if not isinstance(axis, Axis):
            raise DataError(f"own is a mapping of Axis objects to values; {axis!r} is a {type(axis).__name__}")
        try:
            hash(value)
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise DataError(f"axis {axis.name}: a value has to be hashable and writable as JSON, unlike {value!r}") from None
    names = [axis.name for axis, _ in pairs]
    if len(set(names)) != len(names) or set(names) & set(READERS):
        raise DataError(f"axes need names of their own; there are {sorted(names)} beside {', '.join(READERS)}")
    return tuple(sorted(((axis, value) for axis, value in pairs if value != AS_GIVEN_WORD), key=lambda pair: pair[0].name))


def _fixed(value: Any) -> Any:
    """Lists, as JSON has them, as tuples, which can be hashed."""
    return tuple(_fixed(inner) for inner in value) if isinstance(value, (list, tuple)) else value


def read_examples(examples: Iterable[ContrastItem] | None, few_shot: int) -> Items | None:
    """What few-shot examples are drawn from; None where none are."""
    if not few_shot:
        return None
    if examples is None:
        raise DataError(f"few_shot={few_shot} needs items to draw examples from: examples=read_items(...)")
    return as_items(examples)


READERS: dict[str, Callable[[Any], Any]] = {
    "system": _text("system"),
    "template": _text("template", check_template),
    "option_order": _one_of("option_order", ["swapped"]),
    "option_labels": _one_of("option_labels", LABEL_SETS),
    "wording": _text("wording", check_wording),
    "distractor": _text("distractor", check_distractor),
    "filler": _count("filler", MOST_SENTENCES),
    "history": _history,
    "few_shot": _count("few_shot", 1000),
    "noise": _noise,
    "opening": _text("opening", _opening),
    "thinking": _thinking,
    "date": _date,
}
"""Name of each axis, in the order in which it is printed, to the function that reads a value of it."""
