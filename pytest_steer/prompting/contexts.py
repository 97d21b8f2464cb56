"""Contexts: how an item is put to the model. Each axis has "as given" as its simplest value."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from ..data import ContrastItem, Items
from ..errors import DataError
from .axes import Axis, Noise, add_noise, draw_examples, filler_text, place, relabel, reply_of, reword, swap_options
from .axes.few_shot import Turn
from .axes.wording import with_question
from .context_values import READERS, read_examples, read_own

OptionOrder = Literal["as_given", "swapped"]
OptionLabels = Literal["as_given", "A/B", "1/2", "a/b", "Yes/No"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Context:
    """One way of putting items to the model.

    On every axis ``"as_given"`` stands for its simplest value, which is the default below; lists are taken for tuples.
    An axis that does not apply to an item leaves it as it is.

    Attributes:
        system: the system prompt; None leaves it as the chat template has it, "" is an empty one.
        template: None is the model's own; ``plain`` is plain question and answer; a text with ``{question}`` and maybe ``{system}``
            is a form of one's own, in which what stands behind the question opens the reply; a text with ``{%`` or ``{{`` is a chat
            template, rendered by the model's tokenizer.
        option_order: ``swapped`` exchanges the texts of a two-option question, and with them the matching label.
            Items without lettered options are left as given.
        option_labels: ``A/B``, ``1/2``, ``a/b`` or ``Yes/No`` for the options of a lettered item, in their order.
        wording: a rewrite that keeps the meaning: a text with ``{question}``, or the name of a shipped one (``axes.WORDINGS``).
        distractor: a sentence in front of the question, or a text that says with ``{question}`` where the question stands.
        filler: how many sentences of neutral text stand in front of it all.
        history: earlier turns, ((user, reply), ...).
        few_shot: how many examples stand before the question, as earlier turns with their matching answers; see
            ``axes.draw_examples``.
        noise: typographic noise in the question, a ``Noise`` or a mapping of its rates; options and answers are left alone.
        thinking: ``open`` ends the prompt with the chat template's generation prompt, where a model that thinks begins to think. As
            given, the answer stands where the template puts a reply without thought; ``closed`` says so also where a claim file says
            ``thinking: open`` for all its claims.
        date: the day that a template gets when it asks for today's, such as ``2025-01-01``, the default.
        opening: how the reply begins, such as ``The answer is (``. One that ends with "(" is for lettered items, which begin
            with "(" as given; any other is for worded answers, which begin with nothing.
        own: values of axes of one's own, {axis: value}.
        answers: ``mean`` or ``sum``: how the log-likelihoods of an answer's tokens make its score, where answers have several
            (Tan et al.'s code adds them up). It is about reading and not about asking, so it is no axis: no search varies it.
        examples: the items that few-shot examples are drawn from. They are data, not a value: ``to_dict`` leaves them out.

    Raises:
        DataError: a value that its axis does not have, ``few_shot`` without examples.
    """

    system: str | None = None
    template: str | None = None
    option_order: OptionOrder = "as_given"
    option_labels: OptionLabels = "as_given"
    wording: str | None = None
    distractor: str | None = None
    filler: int = 0
    history: tuple[Turn, ...] = ()
    few_shot: int = 0
    noise: Noise | None = None
    opening: str | None = None
    thinking: str = "as_given"
    date: str | None = None
    own: Mapping[Axis, Any] | tuple[tuple[Axis, Any], ...] = ()
    answers: str = "mean"
    examples: Items | None = None

    def __post_init__(self) -> None:
        for name, read in READERS.items():
            object.__setattr__(self, name, read(getattr(self, name)))
        object.__setattr__(self, "own", read_own(self.own))
        object.__setattr__(self, "examples", read_examples(self.examples, self.few_shot))
        if self.answers not in ("mean", "sum"):
            raise DataError(f"answers is 'mean' or 'sum', not {self.answers!r}")

    def __repr__(self) -> str:
        changed = [f"{name}={getattr(self, name)!r}" for name in READERS if self._is_changed(name)]
        if self.own:
            changed.append("own={" + ", ".join(f"{axis!r}: {value!r}" for axis, value in self._own) + "}")
        if self.answers != "mean":
            changed.append(f"answers={self.answers!r}")
        if self.examples is not None:
            changed.append(f"examples={self.examples.expression}")
        return f"Context({', '.join(changed)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # what Hypothesis and IPython print, instead of all fields

    def to_dict(self) -> dict[str, Any]:
        """The axes that are not as given, as JSON values; ``Context.from_dict`` gives the same context back.

        Axes of one's own are under ``own``. Where few-shot examples come from is not in it: give it to ``from_dict`` again.
        """
        changed = {name: _plain(getattr(self, name)) for name in READERS if self._is_changed(name)}
        return changed | ({"own": {axis.name: _plain(value) for axis, value in self._own}} if self.own else {})

    def over(self, base: Context) -> Context:
        """This context with the template, the day, and the ways of thinking and reading of another one, where it leaves them as given."""
        names = ("template", "thinking", "date", "answers")
        taken = {name: getattr(base, name) for name in names if getattr(self, name) == getattr(AS_GIVEN, name)}
        return replace(self, **taken)

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], *, examples: Iterable[ContrastItem] | None = None, axes: Iterable[Axis] = ()
    ) -> Context:
        """The context with these values on its axes, the others as given.

        Args:
            values: as ``to_dict`` gives them, or as a claim file does.
            examples: what few-shot examples are drawn from.
            axes: the axes of one's own that ``values["own"]`` may name.

        Raises:
            DataError: not a mapping, an unknown axis, or a value that the axis does not have.
        """
        if not isinstance(values, Mapping):
            raise DataError(f"a context is a mapping of axes to values, not {values!r}")
        for name in values:
            if name not in READERS and name != "own":
                raise DataError(f"unknown context axis {name!r}: {_meant(name, [*READERS, 'own'])}")
        own = values.get("own", {})
        if not isinstance(own, Mapping):
            raise DataError(f"own is a mapping of your axes to values, not {own!r}")
        known = {axis.name: axis for axis in axes}
        for name in own:
            if name not in known:
                listed = _meant(name, list(known)) if known else "no axes of one's own were given (axes=[...])"
                raise DataError(f"unknown context axis of one's own {name!r}: {listed}")
        built_in = {name: value for name, value in values.items() if name != "own"}
        pool = examples if built_in.get("few_shot") not in (None, 0, "as_given") else None
        return cls(**built_in, own={known[name]: value for name, value in own.items()}, examples=pool)  # type: ignore[arg-type]

    def put(self, item: ContrastItem) -> ContrastItem:
        """The item as this context asks it: question rewritten, matching answers kept track of.

        Raises:
            DataError: the options of a lettered item cannot be found in its question, or an axis of one's own failed.
        """
        for axis, value in self._own:
            item = axis.put(item, value)
        if self.noise is not None:
            item = add_noise(item, self.noise)
        if item.is_lettered and self.option_order == "swapped":
            item = swap_options(item)
        item = self._labelled(item)
        if self.wording is not None:
            item = reword(item, self.wording)
        if self.distractor is not None:
            item = place(item, self.distractor)
        if self.filler:
            item = with_question(item, f"{filler_text(self.filler)}\n\n{item.question}")
        return item

    def turns(self, item: ContrastItem) -> list[Turn]:
        """The (user, reply) turns that stand before an item: the history, then few-shot examples.

        Examples have the option labels and the opening of this context, and nothing else of it.

        Raises:
            DataError: there are fewer other items among the examples than are wanted.
        """
        found = list(self.history)
        if self.few_shot and self.examples is not None:
            for example in draw_examples(self.examples, item, self.few_shot):
                labelled = self._labelled(example)
                found.append((labelled.question, reply_of(labelled, self.opening_of(labelled))))
        return found

    def opening_of(self, item: ContrastItem) -> str:
        """How the reply to an item (as put) begins; before a worded answer, its space is part of it."""
        if item.is_lettered:
            return self.opening if self.opening is not None and self.opening.endswith("(") else "("
        if self.opening is None or self.opening.endswith("("):
            return ""
        return self.opening if self.opening[-1:].isspace() else f"{self.opening} "

    def _labelled(self, item: ContrastItem) -> ContrastItem:
        return relabel(item, self.option_labels) if item.is_lettered and self.option_labels != "as_given" else item

    @property
    def _own(self) -> tuple[tuple[Axis, Any], ...]:
        return self.own  # type: ignore[return-value]

    def _is_changed(self, name: str) -> bool:
        return bool(getattr(self, name) != _DEFAULTS[name])


_DEFAULTS = {f.name: f.default for f in fields(Context)}
AXES = tuple(READERS)
"""The names of the axes that there are."""
AS_GIVEN = Context()
TASK_TEMPLATE = "Q: {question}\nA: "
IN_TASK_FORM = Context(template=TASK_TEMPLATE)
"""The context in which a task is asked: the prompt of Todd et al. (2023, arXiv 2310.15213); ``few_shot`` and ``history`` give
demonstrations, in the form of ``data.tasks.shots``."""


def _plain(value: Any) -> Any:
    if isinstance(value, Noise):
        return value.to_dict()
    return json.loads(json.dumps(value))


def _meant(name: Any, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, 1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"the axes are {', '.join(known)}"
