"""Contexts: how an item is put to the model. Each axis has "as given" as its simplest value."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Literal

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
