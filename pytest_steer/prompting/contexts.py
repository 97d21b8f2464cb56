"""Contexts: how an item is put to the model. The simplest value of each axis is "as given"."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core import registry
from ..core.errors import DataError
from ..core.evidence import Json
from ..data import ContrastItem, Items, as_items
from .chat import Turn
from .formats import PromptFormat, Setting
from .kinds import Axis, axis_of, known_axes, plain


@dataclass(frozen=True, init=False, repr=False)
class Context:
    """One way of putting items to the model: ``Context(option_order="swapped", filler=3)``.

    Each axis is a keyword and an attribute; docs/contexts.md lists them. On every axis ``"as_given"`` and None stand for its
    simplest value, which is the default. A list means a tuple. An axis that does not apply to an item leaves it unchanged.

    Args:
        values: values of axes that are not registered, ``{axis: value}``.
        answers: ``mean`` or ``sum``: how the log-likelihoods of an answer's tokens are combined into its score (Tan et al.'s
            code adds them up). It concerns reading the answer and not asking for it, so it is not an axis and no search varies it.
        examples: the items that few-shot examples are drawn from. They are data and not a value, so ``to_dict`` omits them.
        named: values of axes by name.

    Raises:
        DataError: an unknown axis, a value that its axis does not have, ``few_shot`` without examples.
    """

    values: tuple[tuple[Axis, Any], ...]  # those that are not as given, in the order of their places
    answers: str
    examples: Items | None

    def __init__(
        self,
        values: Mapping[Axis, Any] | tuple[tuple[Axis, Any], ...] = (),
        *,
        answers: str = "mean",
        examples: Iterable[ContrastItem] | None = None,
        **named: Any,
    ) -> None:
        if not isinstance(values, (Mapping, tuple)):
            raise DataError(f"values is a mapping of Axis objects to values, not {values!r}")
        given = {**dict(values), **{axis_of(name, known_axes()): value for name, value in named.items()}}
        _check_axes(list(given), known_axes())
        checked = [(axis, axis.checked(value)) for axis, value in given.items()]
        changed = [(axis, value) for axis, value in checked if value != axis.as_given]
        drawing = next((f"{axis.name}={value!r}" for axis, value in changed if axis.draws_examples), None)
        if drawing and examples is None:
            raise DataError(f"{drawing} needs items to draw examples from: examples=read_items(...)")
        if answers not in ("mean", "sum"):
            raise DataError(f"answers is 'mean' or 'sum', not {answers!r}")
        object.__setattr__(self, "values", tuple(sorted(changed, key=lambda pair: (pair[0].place, pair[0].name))))
        object.__setattr__(self, "answers", answers)
        object.__setattr__(self, "examples", as_items(examples) if drawing and examples is not None else None)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):  # copy and pickle ask for private names before there are values
            for axis, value in self.values:
                if axis.name == name:
                    return value
            if name not in known_axes():
                registry.load_extensions()
            if name in known_axes():
                return known_axes()[name].as_given
        raise AttributeError(f"a Context has no {name!r}")

    def __repr__(self) -> str:
        known = known_axes()
        listed = [f"{axis!r}: {value!r}" for axis, value in self.values if axis.name not in known]
        shown = ["{" + ", ".join(listed) + "}"] if listed else []
        shown += [f"{axis.name}={value!r}" for axis, value in self.values if axis.name in known]
        if self.answers != "mean":
            shown.append(f"answers={self.answers!r}")
        if self.examples is not None:
            shown.append(f"examples={self.examples.expression}")
        return f"Context({', '.join(shown)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # what Hypothesis and IPython print, instead of all fields

    def to_dict(self) -> Json:
        """The axes that are not as given, as JSON values. ``Context.from_dict`` makes the same context from them.

        The items that few-shot examples are drawn from are not in it: pass them to ``from_dict`` again.
        """
        return {axis.name: plain(value) for axis, value in self.values}

    def over(self, base: Context) -> Context:
        """This context with the ``answers`` of ``base``, and with its values on the axes that inherit, unless this one sets them."""
        kept = {axis: value for axis, value in base.values if axis.inherits} | dict(self.values)
        return replace(self, values=tuple(kept.items()), answers=base.answers if self.answers == "mean" else self.answers)

    @classmethod
    def from_dict(
        cls, values: Mapping[str, object], *, examples: Iterable[ContrastItem] | None = None, axes: Iterable[Axis] = ()
    ) -> Context:
        """The context with these values on its axes, the others as given.

        Args:
            values: as ``to_dict`` returns them, or as they stand in a claim file.
            examples: the items that few-shot examples are drawn from.
            axes: axes that ``values`` may name besides the registered ones.

        Raises:
            DataError: not a mapping, an unknown axis, or a value that the axis does not have.
        """
        if not isinstance(values, Mapping):
            raise DataError(f"a context is a mapping of axes to values, not {values!r}")
        known = {**known_axes(), **{axis.name: axis for axis in axes}}
        return cls({axis_of(name, known): value for name, value in values.items()}, examples=examples)

    def put(self, item: ContrastItem) -> ContrastItem:
        """The item as this context asks it. The matching answers follow every change of the question.

        Raises:
            DataError: the options of a lettered item cannot be found in its question, or a user-defined axis failed.
        """
        for axis, value in self._acting_on("item"):
            item = axis.put(item, value)
        return item

    def turns(self, item: ContrastItem) -> list[Turn]:
        """The (user, reply) turns that stand before an item.

        Raises:
            DataError: there are too few other items among the examples.
        """
        found = []
        for axis, value in self._acting_on("turns"):
            for turn in axis.apply(item, value, self.examples):
                found.append(self._demonstrated(turn) if isinstance(turn, ContrastItem) else turn)
        return found

    def setting(self, form: PromptFormat) -> Setting:
        """How prompts are made in this context from a model's format."""
        setting = Setting(form)
        for axis, value in self._acting_on("prompt"):
            setting = axis.apply(setting, value)
        return setting

    def opening_of(self, item: ContrastItem) -> str:
        """How the reply to an item (as ``put`` returns it) begins, including the space before a worded answer."""
        opening = "(" if item.is_lettered else ""
        for axis, value in self._acting_on("opening"):
            opening = axis.apply(opening, value, item)
        return opening

    def _demonstrated(self, example: ContrastItem) -> Turn:
        """An example as a turn with its matching answer, which begins like the reply to the item."""
        for axis, value in self._acting_on("item"):
            example = axis.put(example, value) if axis.on_examples else example
        opening, answer = self.opening_of(example), example.matching[0].strip()
        return example.question, opening + (answer[1:] if opening.endswith("(") and example.is_lettered else answer)

    def _acting_on(self, what: str) -> list[tuple[Axis, Any]]:
        return sorted((pair for pair in self.values if pair[0].on == what), key=lambda pair: pair[0].acts)


def _check_axes(axes: list[Any], known: Mapping[str, Axis]) -> None:
    names = [getattr(axis, "name", None) for axis in axes]
    for axis in axes:
        if not isinstance(axis, Axis):
            raise DataError(f"values is a mapping of Axis objects to values; {axis!r} is a {type(axis).__name__}")
        if names.count(axis.name) > 1 or known.get(axis.name, axis) is not axis:
            raise DataError(f"axes need different names; there is another axis {axis.name!r}")


AS_GIVEN = Context()
TASK_TEMPLATE = "Q: {question}\nA: "
IN_TASK_FORM = Context(template=TASK_TEMPLATE)
"""The context in which a task is asked, with the prompt of Todd et al. (2023, arXiv 2310.15213). ``few_shot`` and ``history``
add demonstrations, in the form of ``data.tasks.shots``."""


Read = Callable[[Mapping[str, object]], Context]
"""From what ``Context.to_dict`` returns to the context: ``Context.from_dict`` with its axes and examples filled in."""


def identity(context: Context) -> str:
    """A text that is the same for two contexts if they put items in the same way."""
    return as_text(context.to_dict())


def as_text(value: Any) -> str:
    """A JSON value as a text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
