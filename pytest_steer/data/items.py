"""Contrast items: a question with an answer that matches the behaviour and one that does not."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from ..errors import DataError
from .likeness import hash_of, normal_form

_LETTER = re.compile(r"^\(([A-Za-z0-9])\)$")


@dataclass(frozen=True)
class ContrastItem:
    """One question put to the model and the two answers that are compared.

    Attributes:
        question: the user's turn, as the file gives it.
        matching: the answers that show the behaviour (usually one; several are alternatives of equal rank).
        not_matching: the answers that do not.
        id: where the item stands in its data set; stable under slicing.
    """

    question: str
    matching: tuple[str, ...]
    not_matching: tuple[str, ...]
    id: str = field(default="", compare=False)
    meta: dict[str, object] = field(default_factory=dict, compare=False, hash=False, repr=False)

    def __post_init__(self) -> None:
        check_text(self.question, "the question")
        for name, side in (("matching", self.matching), ("not matching", self.not_matching)):
            answers = (side,) if isinstance(side, str) else side
            if not isinstance(answers, Iterable):
                raise DataError(f"the {name} answer has to be a text or a list of texts, not {side!r}")
            answers = tuple(answers)
            if not answers:
                raise DataError(f"there is no {name} answer")
            for answer in answers:
                check_text(answer, f"an answer of the {name} side")
            object.__setattr__(self, name.replace(" ", "_"), answers)
        shared = set(map(normal_form, self.matching)) & set(map(normal_form, self.not_matching))
        if shared:
            raise DataError(f"the matching and the not matching answer are the same: {sorted(shared)[0]!r}")

    @property
    def form(self) -> tuple[str, ...]:
        """The normal form: the question, and the answers of each side in any order. Items of one form are one item."""
        sides = (sorted(map(normal_form, side)) for side in (self.matching, self.not_matching))
        return (normal_form(self.question), *(part for side in sides for part in ("\n", *side)))

    @property
    def is_lettered(self) -> bool:
        """Whether every answer is an option label in brackets, such as ``(A)``."""
        return all(_LETTER.match(answer.strip()) for answer in self.matching + self.not_matching)

    @property
    def label(self) -> str | None:
        """The option label of the matching answer ("A", "Yes", ...), or None for a free-text answer.

        Used for strata: many sets ask with an answer letter or with Yes / No, and a vector may move the
        label instead of the behaviour (Tan et al. 2024, section 5).
        """
        answer = self.matching[0].strip()
        if self.is_lettered:
            return answer[1]
        word = answer.rstrip(".!").capitalize()
        other = self.not_matching[0].strip().rstrip(".!").capitalize()
        return word if {word, other} == {"Yes", "No"} else None


class Items(Sequence[ContrastItem]):
    """An immutable sequence of contrast items; a slice is again Items.

    Attributes:
        source: the file they were read from, or a name given by the user, for messages.
        expression: Python that gives them again, as far as that is known; else the name ``items``.
    """

    def __init__(self, items: Iterable[ContrastItem], source: str = "items", expression: str = "items") -> None:
        self._items = tuple(items)
        self.source = source
        self.expression = expression

    @overload
    def __getitem__(self, index: int) -> ContrastItem: ...
    @overload
    def __getitem__(self, index: slice) -> Items: ...
    def __getitem__(self, index: int | slice) -> ContrastItem | Items:
        if isinstance(index, slice):
            if index == slice(None):
                return self
            part = ":".join("" if at is None else str(at) for at in (index.start, index.stop, index.step))
            part = part.removesuffix(":") if index.step is None else part
            return Items(self._items[index], self.source, f"{self.expression}[{part}]")
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[ContrastItem]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Items) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"<{len(self)} contrast items from {self.source}>"

    @property
    def hash(self) -> str:
        """SHA-256 of the questions and answers in order; ids and file names do not count."""
        content = [[item.question, item.matching, item.not_matching] for item in self]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    @property
    def all_answers(self) -> list[str]:
        """Every answer of either side, item by item."""
        return [answer for item in self for answer in (*item.matching, *item.not_matching)]

    @property
    def item_hashes(self) -> list[str]:
        """A short hash of each item's question, to find the same question in another data set."""
        return [hash_of(item.question) for item in self]

    def label_balance(self) -> dict[str, int]:
        """How often each option label is the matching one; items with free-text answers do not count."""
        counts: dict[str, int] = {}
        for item in self:
            if item.label is not None:
                counts[item.label] = counts.get(item.label, 0) + 1
        return dict(sorted(counts.items()))


ItemLike = ContrastItem | tuple[str, str, str]
"""A contrast item, or (question, matching answer, answer that does not match)."""


def as_items(items: Iterable[ItemLike]) -> Items:
    """Items from any iterable of ContrastItem or of (question, matching, not_matching); numbers those without an id.

    Raises:
        DataError: if something else is in it.
    """
    if isinstance(items, Items):
        return items
    numbered = []
    for index, item in enumerate(items):
        if isinstance(item, (tuple, list)) and len(item) == 3:
            try:
                question, matching, not_matching = item
                item = ContrastItem(question, matching, not_matching, str(index))  # type: ignore[arg-type]
            except DataError as error:
                raise DataError(f"item {index}: {error}") from None
        if not isinstance(item, ContrastItem):
            raise DataError(
                f"item {index} is a {type(item).__name__}, not a ContrastItem: "
                "read a file with read_items(path), build ContrastItem(question=..., matching=(...,), not_matching=(...,)), or give "
                "(question, matching, not_matching)"
            )
        if not item.id:
            item = ContrastItem(item.question, item.matching, item.not_matching, str(index), item.meta)
        numbered.append(item)
    return Items(numbered)


def check_text(text: object, what: str) -> None:
    r"""Refuse what is no text, an empty one, and one that no tokenizer can encode: JSON can spell "\ud800"."""
    if not isinstance(text, str):
        raise DataError(f"{what} has to be a text, not {text!r}")
    if not normal_form(text):
        raise DataError(f"{what} is empty" + (", but for invisible characters" if text.strip() else ""))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"character {error.start} of {what} is half of a surrogate pair, which no tokenizer can encode"
        ) from None
