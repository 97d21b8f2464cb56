"""Contrast items: a question with an answer that matches the behaviour and one that does not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..core.errors import DataError
from ..core.finding import Finding, Weight, code
from .likeness import hash_of, normal_form, without_order
from .units import Units

_LETTER = re.compile(r"^\(([A-Za-z0-9])\)$")
# In characters: longer than any prompt, and looking for near-duplicates would take minutes.
_LONGEST = 4_000_000

ONE_QUESTION = code(
    "one-question",
    signal="All items ask one question, with other answers.",
    meaning="n counts the answers. The interval is about other answers to this question, and says nothing about other questions.",
    cure="Add items that ask other questions.",
    weight=Weight.DOUBTFUL,
)


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
        return are_labels(self.matching + self.not_matching)

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


class Items(Units[ContrastItem]):
    """Contrast items. Those that ask one question, with its options in whatever order and whatever answers, belong together."""

    called, one, shown_as = "items", "item", "contrast items"

    def content_of(self, entry: ContrastItem) -> object:
        return [entry.question, entry.matching, entry.not_matching]

    @property
    def is_too_long(self) -> bool:
        return any(len(text) > _LONGEST for item in self for text in (item.question, *item.matching, *item.not_matching))

    def together(self) -> Sequence[Hashable]:
        # Where all ask one question, the answers are the sample. Options that are listed are what is asked.
        return range(len(self)) if self._ask_one_question else self._questions

    def why_together(self) -> str:
        written: dict[Hashable, set[str]] = {}
        for item, question in zip(self, self._questions, strict=True):
            written.setdefault(question, set()).add(normal_form(item.question))
        swapped = any(len(texts) > 1 for texts in written.values())
        answered = sum(len(texts) for texts in written.values()) < len(self)
        how = ["with its options in another order"] * swapped + ["with other answers"] * answered
        return f"some ask one question {' or '.join(how)}"

    def remarks(self, clusters: Sequence[int] | None) -> list[Finding]:
        if clusters is not None or not self._ask_one_question:
            return []
        text = (
            f"these {len(self)} items ask one question with other answers, and n counts the answers: the interval is about other answers, "
            "and says nothing about other questions"
        )
        return [ONE_QUESTION(text)]

    @cached_property
    def _questions(self) -> list[Hashable]:
        """A form of each question that does not change with the order of its options."""
        listed = [without_order(item.question) if item.is_lettered else None for item in self]
        return [own or normal_form(item.question) for own, item in zip(listed, self, strict=True)]

    @property
    def _ask_one_question(self) -> bool:
        return len(self) > 1 and len(set(self._questions)) == 1 and isinstance(self._questions[0], str)

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
        return dict(sorted(Counter(item.label for item in self if item.label is not None).items()))


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
                item = ContrastItem(*item, str(index))  # type: ignore[arg-type]
            except DataError as error:
                raise DataError(f"item {index}: {error}") from None
        if not isinstance(item, ContrastItem):
            raise DataError(
                f"item {index} is a {type(item).__name__}, not a ContrastItem: "
                "read a file with read_items(path), build ContrastItem(question=..., matching=(...,), not_matching=(...,)), or give "
                "(question, matching, not_matching)"
            )
        if not item.id:
            item = replace(item, id=str(index))
        numbered.append(item)
    return Items(numbered)


def are_labels(texts: Iterable[str]) -> bool:
    """Whether each text is an option label in brackets, such as ``(A)``."""
    return all(_LETTER.match(text.strip()) for text in texts)


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
