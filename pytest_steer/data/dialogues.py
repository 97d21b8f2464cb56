"""Dialogues: what a model is asked to reply to, in one turn or several, with the transcript and the tools before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import Any, overload

from ..errors import DataError
from .dialogue_shapes import dialogue_fields
from .formats.columns import check_columns
from .formats.entries import entries, file_of, has_entries, text_lines
from .items import ContrastItem, check_text
from .likeness import normal_form
from .transcripts import check_messages, check_tools, name_of

MOST_TURNS = 10
"""A dialogue has at most so many turns of the user."""


@dataclass(frozen=True)
class Dialogue:
    """What a model is asked to reply to.

    Attributes:
        turns: the user's turns, 1 to 10, in order; the model's own replies stand between them. None, if the transcript ends with a
            tool's result, to which the model replies then. A user's message at its end becomes the turn.
        messages: an earlier transcript before the first turn, ``{role, content}`` and ``tool_calls`` as chat templates take them.
        tools: descriptions of the tools that the template renders, ``{type: function, function: {name, description, parameters}}``.
        id: where it stands in its data set; stable under slicing.
        cluster: what it belongs to with others, such as paraphrases of one prompt; None if it stands for itself.
        meta: what else its entry holds.

    Raises:
        DataError: nothing to reply to, more than ten turns, an empty one, a message or a tool of another form.
    """

    turns: tuple[str, ...] = ()
    messages: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    tools: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    id: str = field(default="", compare=False)
    cluster: str | None = field(default=None, compare=False)
    meta: dict[str, object] = field(default_factory=dict, compare=False, hash=False, repr=False)

    def __post_init__(self) -> None:
        turns = (self.turns,) if isinstance(self.turns, str) else self.turns
        if not isinstance(turns, Iterable):
            raise DataError(f"turns is a list of texts, not {turns!r}")
        object.__setattr__(self, "turns", tuple(turns))
        if len(self.turns) > MOST_TURNS:
            raise DataError(f"a dialogue has 1 to {MOST_TURNS} turns of the user, not {len(self.turns)}")
        for number, turn in enumerate(self.turns, start=1):
            check_text(turn, f"turn {number}")
        object.__setattr__(self, "messages", check_messages(self.messages))
        object.__setattr__(self, "tools", check_tools(self.tools))
        if not self.turns:
            self._reply_to_transcript()

    def _reply_to_transcript(self) -> None:
        """Of a dialogue without turns: take the user's last message as the turn, or see that there is a tool's result to reply to."""
        last = self.messages[-1] if self.messages else {"role": None}
        if last["role"] == "user":
            object.__setattr__(self, "turns", (last["content"],))
            object.__setattr__(self, "messages", self.messages[:-1])
        elif last["role"] != "tool":
            there = f", not with a message of the {last['role']}" if self.messages else ""
            raise DataError(
                f"a dialogue has 1 to {MOST_TURNS} turns of the user, not 0, or a transcript that ends with a tool's result{there}"
            )
        elif all(message["role"] != "user" for message in self.messages):
            raise DataError("the transcript has no message of the user: put it before the call of the tool")

    @property
    def form(self) -> tuple[str, ...]:
        """The normal form: the turns, and the transcript and tools where there are any. Dialogues of one form are one dialogue."""
        before = [json.dumps(part, ensure_ascii=False, sort_keys=True) for part in (self.messages, self.tools)]
        return (*map(normal_form, self.turns), *(["\n", *before] if self.messages or self.tools else []))

    @property
    def n_replies(self) -> int:
        """How many replies the model writes: one to each turn, or one to the transcript that ends with a tool's result."""
        return len(self.turns) or 1

    @property
    def said(self) -> tuple[str, ...]:
        """What each reply is to, for readers: the turns, or the user's last message with the results of tools after it, as one text."""
        if self.turns:
            return self.turns
        last = max(index for index, message in enumerate(self.messages) if message["role"] == "user")
        results = [f"[{one['name']}] {one['content']}" for one in self.messages[last + 1 :] if one["role"] == "tool"]
        return ("\n\n".join([self.messages[last]["content"], *results]),)

    @property
    def asked(self) -> tuple[str, ...]:
        """All that the user says, in order: in the transcript and in the turns."""
        return (*(message["content"] for message in self.messages if message["role"] == "user"), *self.turns)

    def tool(self, name: str) -> dict[str, Any] | None:
        """The description of the tool of that name, or None."""
        return next((tool for tool in self.tools if name_of(tool) == name), None)


class Dialogues(Sequence[Dialogue]):
    """An immutable sequence of dialogues; a slice is again Dialogues.

    Attributes:
        source: the file they were read from, or a name given by the user, for messages.
        expression: Python that gives them again, as far as that is known; else the name ``prompts``.
    """

    def __init__(self, dialogues: Iterable[Dialogue], source: str = "prompts", expression: str = "prompts") -> None:
        self._dialogues = tuple(dialogues)
        self.source = source
        self.expression = expression

    @overload
    def __getitem__(self, index: int) -> Dialogue: ...
    @overload
    def __getitem__(self, index: slice) -> Dialogues: ...
    def __getitem__(self, index: int | slice) -> Dialogue | Dialogues:
        if isinstance(index, slice):
            if index == slice(None):
                return self
            part = ":".join("" if at is None else str(at) for at in (index.start, index.stop, index.step))
            part = part.removesuffix(":") if index.step is None else part
            return Dialogues(self._dialogues[index], self.source, f"{self.expression}[{part}]")
        return self._dialogues[index]

    def __len__(self) -> int:
        return len(self._dialogues)

    def __iter__(self) -> Iterator[Dialogue]:
        return iter(self._dialogues)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dialogues) and self._dialogues == other._dialogues

    def __hash__(self) -> int:
        return hash(self._dialogues)

    def __repr__(self) -> str:
        return f"<{len(self)} prompts from {self.source}>"

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the turns, transcripts and tools in order; ids and file names do not count."""
        content = [[one.turns, one.messages, one.tools] for one in self]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    @property
    def most_turns(self) -> int:
        """The number of replies to the longest one."""
        return max((one.n_replies for one in self), default=0)


DialogueLike = str | Dialogue | ContrastItem
"""A prompt of one turn, a dialogue, or a contrast item, of which the question is asked."""


def as_dialogues(dialogues: Iterable[DialogueLike]) -> Dialogues:
    """Dialogues from any iterable of texts, of Dialogue or of ContrastItem; numbers those without an id.

    Raises:
        DataError: there are none, or something else is in it.
    """
    if isinstance(dialogues, Dialogues):
        return dialogues
    if isinstance(dialogues, str) or not isinstance(dialogues, Iterable):
        raise DataError(f"prompts are a list, not {dialogues!r:.60}: give [text], or read a file with read_prompts(path)")
    found = []
    for index, one in enumerate(dialogues):
        try:
            made = _dialogue(one)
        except DataError as error:
            raise DataError(f"prompt {index}: {error}") from None
        found.append(made if made.id else replace(made, id=str(index)))
    if not found:
        raise DataError("there are no prompts")
    source, expression = getattr(dialogues, "source", "prompts"), getattr(dialogues, "expression", "prompts")
    return Dialogues(found, str(source), str(expression))


def read_prompts(path: str | PathLike[str], *, columns: Mapping[str, str] | None = None) -> Dialogues:
    """Read what a model is asked to reply to.

    The lines of a text file (blank ones are skipped), or entries of a JSON, JSON Lines, CSV, TSV or Parquet file: a text, ``{question}``,
    ``{prompt}``, ``{turns: [...]}`` (MT-Bench), ``{messages: [...]}`` that ends with the user's turn or a tool's result, each also with
    ``tools``. Contrast items give their questions.

    Args:
        columns: another name of the prompt, ``{"prompt": "q"}``, and ``id``.

    Raises:
        DataError: the file is missing, is not valid, holds no prompts, or one of its entries is wrong, with its line, row or index.
    """
    file, names = file_of(path), check_columns(columns)
    found = []
    rows = entries(file) if has_entries(file) else ((f"line {n}", line) for n, line in enumerate(text_lines(file), 1))
    for number, (where, entry) in enumerate(rows):
        try:
            found.append(Dialogue(**{"id": str(number), **dialogue_fields(entry, names)}))
        except DataError as error:
            raise DataError(f"{file}: {where}: {error}") from None
    if not found:
        raise DataError(f"{file}: the file holds no prompts")
    given = f", columns={names!r}" if names else ""
    return Dialogues(found, str(path), f"read_prompts({str(path)!r}{given})")


def _dialogue(one: Any) -> Dialogue:
    if isinstance(one, Dialogue):
        return one
    if isinstance(one, ContrastItem):
        return Dialogue((one.question,), id=one.id, meta=one.meta)
    if isinstance(one, str):
        return Dialogue((one,))
    raise DataError(
        f"is a {type(one).__name__}: read a file with read_prompts(path), or give a text, Dialogue(turns=(...,)) or a ContrastItem"
    )
