"""A user's own axis: a name, values and a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...data import ContrastItem
from ...errors import DataError


@dataclass(frozen=True, eq=False, repr=False)
class Axis:
    """An axis of contexts that the package does not have.

    Attributes:
        name: a Python identifier, other than those of the axes that there are.
        values: a list, or a Hypothesis strategy. Values can be hashed and written as JSON. "As given" (the axis leaves
            the item alone) is always among them and the simplest one; further on, the first of a list is the simplest.
        apply: (item, value) -> item. It is called first, on the item as its file gives it, so that all other axes act on what
            it returns, and it has to keep track of the answers if it changes what they stand for.

    Example::

        def in_a_tone(item, tone):
            return ContrastItem(f"{tone}! {item.question}", item.matching, item.not_matching, item.id)

        tone = Axis("tone", ["Hey", "Quick"], in_a_tone)
        contexts(axes=[tone])            # draws Context() and Context(own={tone: "Hey"}), ...

    Raises:
        DataError: a name that is not an identifier, no values, or an ``apply`` that cannot be called.
    """

    name: str
    values: Any
    apply: Callable[[ContrastItem, Any], ContrastItem]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise DataError(f"an axis has a Python identifier as its name, not {self.name!r}")
        if isinstance(self.values, str) or (isinstance(self.values, (list, tuple)) and not self.values):
            raise DataError(
                f"axis {self.name}: values is a list with at least one value, or a strategy, not {self.values!r}"
            )
        if not callable(self.apply):
            raise DataError(f"axis {self.name}: apply is a function (item, value) -> item, not {self.apply!r}")

    def __repr__(self) -> str:
        return self.name  # as it stands in Python where the axis is bound to its own name

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # what Hypothesis and IPython print, instead of all fields

    def put(self, item: ContrastItem, value: Any) -> ContrastItem:
        """The item at a value of this axis.

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
