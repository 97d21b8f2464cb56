"""Contexts: how an item is put to the model. Each axis has "as given" as its simplest value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from ..errors import DataError
from .items import ContrastItem

OptionOrder = Literal["as_given", "swapped"]

# "(A) text" at the start of a line, as CAA and model-written-evals write their options.
_OPTION = re.compile(r"^(?P<lead>[ \t]*)\((?P<label>[A-Za-z0-9])\)(?P<gap>[ \t]*)(?P<text>.*?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, repr=False)
class Context:
    """One way of putting items to the model.

    Attributes:
        system: the system prompt; None leaves it as the chat template has it, "" is an empty one.
        option_order: ``swapped`` exchanges the texts of a two-option question, and with them the matching label.
            Items without lettered options are left as given.
    """

    system: str | None = None
    option_order: OptionOrder = "as_given"

    def __post_init__(self) -> None:
        if self.option_order not in ("as_given", "swapped"):
            raise DataError(f"option_order is 'as_given' or 'swapped', not {self.option_order!r}")

    def __repr__(self) -> str:
        changed = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default)
        return f"Context({', '.join(changed)})"

    def to_dict(self) -> dict[str, Any]:
        """The axes that are not as given, as JSON values; ``Context.from_dict`` gives the same context back."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Context:
        """The context with these values on its axes, the others as given.

        Raises:
            DataError: not a mapping, an unknown axis, or a value that the axis does not have.
        """
        if not isinstance(values, Mapping):
            raise DataError(f"a context is a mapping of axes to values, not {values!r}")
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                meant = f"did you mean {near[0]!r}? " if near else ""
                raise DataError(f"unknown context axis {name!r}: {meant}the axes are {', '.join(known)}")
        return cls(**values)

    def put(self, item: ContrastItem) -> ContrastItem:
        """The item as this context asks it: question rewritten, matching answers kept track of.

        Raises:
            DataError: the options of a lettered item cannot be found in its question.
        """
        if self.option_order == "as_given" or not item.is_lettered:
            return item
        return swap_options(item)


AS_GIVEN = Context()


def swap_options(item: ContrastItem) -> ContrastItem:
    """Exchanges the texts of the two lettered options and the labels of the two answers.

    Raises:
        DataError: the question does not list exactly two options, ``(A) text`` and ``(B) text``, on their own lines.
    """
    options = list(_OPTION.finditer(item.question))
    labels = {item.matching[0].strip()[1], item.not_matching[0].strip()[1]}
    if len(options) != 2 or {option["label"] for option in options} != labels:
        raise DataError(
            f"item {item.id}: cannot swap the options: expected two lines '(X) text' with the labels "
            f"{sorted(labels)}, found {[option['label'] for option in options]}"
        )
    first, second = options
    question = (
        item.question[: first.start("text")]
        + second["text"]
        + item.question[first.end("text") : second.start("text")]
        + first["text"]
        + item.question[second.end("text") :]
    )
    return ContrastItem(question, item.not_matching, item.matching, item.id, item.meta)
