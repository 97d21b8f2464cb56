"""Texts whose perplexity is measured: plain ones, and completions of a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import SupportsIndex, overload

from ..errors import DataError
from .items import check_text
from .likeness import normal_form


@dataclass(frozen=True)
class Completion:
    """A text that answers a prompt. Its perplexity is that of ``text`` alone, given the prompt.

    Attributes:
        prompt: the user's turn. text: the reply.

    Raises:
        DataError: one of them is empty or no text.
    """

    prompt: str
    text: str

    def __post_init__(self) -> None:
        check_text(self.prompt, "the prompt of a completion")
        check_text(self.text, "the text of a completion")


TextLike = str | Completion
"""A plain text, or one with a prompt."""


@dataclass(frozen=True)
class LeftOut:
    """What a rule left out of some texts.

    Attributes:
        rule: the rule in words. ids: of the texts that it left out. of: how many texts there were.
    """

    rule: str
    ids: tuple[str, ...]
    of: int

    @property
    def line(self) -> str:
        """The record in one line."""
        return f"{len(self.ids)} of {self.of} left out, {self.rule}"

    @property
    def warnings(self) -> list[str]:
        """A warning about a rule that may not be the one that was meant: it leaves out nothing, or more than half."""
        if not self.ids:
            return [f"leave_out leaves out none of the {self.of} texts, {self.rule}: correct the rule, or delete it"]
        if 2 * len(self.ids) > self.of:
            return [
                f"leave_out leaves out {len(self.ids)} of the {self.of} texts, {self.rule}, and the claim is about the other "
                f"{self.of - len(self.ids)} alone: make the rule narrower if it was to leave out a few"
            ]
        return []


class Texts(list[TextLike]):
    """A list of texts that knows the id of each, and what was chosen or left out where they come from.

    Attributes:
        ids: one per text: that of the file, else its number in the file, from 0 on.
        left_out: what rules left out, in order. chosen: how the texts were chosen from more, in words; "" if all were taken.
    """

    def __init__(
        self, texts: Iterable[TextLike], ids: Sequence[str] = (), left_out: Sequence[LeftOut] = (), chosen: str = ""
    ) -> None:
        super().__init__(texts)
        self._ids, self.left_out, self.chosen = tuple(ids), tuple(left_out), chosen

    @property
    def ids(self) -> tuple[str, ...]:
        # A list that was changed since has lost them.
        return self._ids if len(self._ids) == len(self) else tuple(map(str, range(len(self))))

    @overload
    def __getitem__(self, index: SupportsIndex) -> TextLike: ...
    @overload
    def __getitem__(self, index: slice) -> Texts: ...
    def __getitem__(self, index: SupportsIndex | slice) -> TextLike | Texts:
        if isinstance(index, slice):
            return Texts(super().__getitem__(index), self.ids[index], self.left_out, self.chosen)
        return super().__getitem__(index)

    def part(self, kept: Iterable[int]) -> Texts:
        """Some of the texts, by their places."""
        places, ids = list(kept), self.ids
        return Texts([self[at] for at in places], [ids[at] for at in places], self.left_out, self.chosen)


def as_texts(texts: Sequence[TextLike]) -> Texts:
    """Texts with their ids: numbers, if they have none."""
    return texts if isinstance(texts, Texts) else Texts(texts)


def content_of(text: TextLike) -> str:
    """What is scored of a text, without its prompt."""
    return text if isinstance(text, str) else text.text


def form_of(text: TextLike) -> tuple[str, ...]:
    """The normal form; texts of one form are one text."""
    return (normal_form(text),) if isinstance(text, str) else (normal_form(text.prompt), normal_form(text.text))


def entry_of(text: TextLike) -> str | dict[str, str]:
    """A text as a file of texts holds it."""
    return text if isinstance(text, str) else {"prompt": text.prompt, "completion": text.text}


def check_is_text(value: object, where: str) -> None:
    """Refuse what is neither a text nor a completion, and an empty text.

    Raises:
        DataError: it says what it is.
    """
    if not isinstance(value, (str, Completion)):
        raise DataError(f"{where} is a {type(value).__name__}: give a text, or Completion(prompt=..., text=...)")
    if isinstance(value, str):
        check_text(value, where)
