"""Texts whose perplexity is measured: plain ones, and completions of a prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import regex

from ..core.errors import DataError
from ..core.finding import Finding, Weight, code
from ..core.record import Data, LeftOut
from ..core.registry import nearest
from .items import check_text
from .likeness import normal_form
from .units import Units


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


BY_RULE = code(
    "left-out-by-rule",
    signal="`leave_out` leaves out none of the texts, or more than half of them.",
    meaning="The rule may not be the one that was meant. The claim is about the texts that are left.",
    cure="Correct the rule, make it narrower, or delete it.",
)
ONE_PROMPT = code(
    "one-prompt",
    signal="All texts are completions of one prompt.",
    meaning="n counts the completions. The interval is about other completions of this prompt, and says nothing about other prompts.",
    cure="Add completions of other prompts.",
    weight=Weight.DOUBTFUL,
)

TextLike = str | Completion
"""A plain text, or one with a prompt."""


class Texts(Units[TextLike]):
    """Texts, each with its id, and what was chosen or left out where they come from. Completions of one prompt belong together.

    Attributes:
        ids: one per text: that of the file, else its number in the file, from 0 on.
        left_out: what rules left out, in order. chosen: how the texts were chosen from more, in words; "" if all were taken.
    """

    called, one, shown_as, key = "texts", "text", "texts", "prompt"

    def __init__(
        self,
        texts: Iterable[TextLike],
        ids: Sequence[str] = (),
        left_out: Sequence[LeftOut] = (),
        chosen: str = "",
        *,
        source: str = "",
        expression: str = "",
    ) -> None:
        super().__init__(texts, source, expression)
        self._ids = tuple(ids) or tuple(map(str, range(len(self))))
        self.left_out, self.chosen = tuple(left_out), chosen

    @property
    def ids(self) -> tuple[str, ...]:
        return self._ids

    def content_of(self, entry: TextLike) -> object:
        return entry if isinstance(entry, str) else [entry.prompt, entry.text]

    def form_of(self, entry: TextLike) -> tuple[str, ...]:
        return form_of(entry)

    def part(self, places: Iterable[int], expression: str = "") -> Texts:
        kept = list(places)
        return self._with([self[place] for place in kept], [self.ids[place] for place in kept], self.source, expression)

    def called_by(self, source: str) -> Texts:
        """The same texts under another name of their source."""
        return self._with(self, self.ids, source, self.expression)

    def _with(self, texts: Iterable[TextLike], ids: Sequence[str], source: str, expression: str) -> Texts:
        return Texts(texts, ids, self.left_out, self.chosen, source=source, expression=expression)

    def describe(self) -> Data:
        return replace(super().describe(), chosen=self.chosen or None, left_out=self.left_out)

    def check(self) -> None:
        for own, text in zip(self.ids, self, strict=True):
            check_is_text(text, f"{self.source}: text {own}")

    def together(self) -> Sequence[Hashable]:
        # Where all complete one prompt, the completions are the sample.
        return range(len(self)) if self._complete_one_prompt else self._prompts

    def why_together(self) -> str:
        return "some are completions of one prompt"

    def remarks(self, clusters: Sequence[int] | None) -> list[Finding]:
        found = [finding for record in self.left_out for finding in findings_of_rule(record)]
        if self._complete_one_prompt:
            text = (
                f"these {len(self)} completions answer one prompt, and n counts the completions: the interval is about other completions of "
                "it, and says nothing about other prompts"
            )
            found.append(ONE_PROMPT(text))
        return found

    @cached_property
    def _prompts(self) -> list[Hashable]:
        """The normal form of each prompt; of a plain text, which has none, that of the text."""
        return [(normal_form(own.prompt),) if isinstance(own, Completion) else normal_form(own) for own in self]

    @property
    def _complete_one_prompt(self) -> bool:
        return len(self) > 1 and len(set(self._prompts)) == 1


def findings_of_rule(left: LeftOut) -> list[Finding]:
    """A finding about a rule that may not be the one that was meant: it leaves out nothing, or more than half."""
    if not left.n:
        return [BY_RULE(f"leave_out leaves out none of the {left.of} texts, {left.rule}", "correct the rule, or delete it")]
    if 2 * left.n <= left.of:
        return []
    text = (
        f"leave_out leaves out {left.n} of the {left.of} texts, {left.rule}, and the claim is about the other "
        f"{left.of - left.n} alone"
    )
    return [BY_RULE(text, "make the rule narrower if it was to leave out a few")]


def as_texts(texts: Sequence[TextLike], source: str = "") -> Texts:
    """Texts with their ids: numbers, if they have none.

    Args:
        source: where they come from, for messages; by default what they say themselves.
    """
    if not isinstance(texts, Texts):
        return Texts(texts, source=source)
    return texts.called_by(source) if source and source != texts.source else texts


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


# --- texts left out by a named rule: those that show the behaviour, on which a change of perplexity is what steering is for ---

Rule = Mapping[str, object] | Callable[[TextLike], bool]
"""``{"matching": expression}``, ``{"ids": [...]}`` or both, or a function of a text that is true for one to leave out."""

# Seconds that an expression may take over one text. A sound one takes microseconds.
PATIENCE = 2.0

Found = tuple[str, Callable[[int], bool]]
"""A rule in words, and whether it leaves out the text at a place."""


def leave_out(texts: Sequence[TextLike], rule: Rule) -> Texts:
    """Leave out texts by a rule. The result knows how many, and which rule.

    Args:
        rule: ``{"matching": "regular expression"}``, which is looked for anywhere in a text (not in its prompt);
            ``{"ids": ["3", "17"]}``, by the ids of the texts; both, one after the other; or a function that gets a text (a ``str`` or a
            :class:`Completion`) and returns whether it is left out.

    Raises:
        DataError: the rule cannot be used, an id names no text, an expression takes longer than two seconds over one text, or
            no text is left.
    """
    found = as_texts(texts)
    for name, own in _rules(rule):
        words, is_left_out = _KINDS[name](found, own)
        places = [at for at in range(len(found)) if is_left_out(at)]
        ids = tuple(found.ids[at] for at in places)
        record = LeftOut(rule=words, n=len(ids), of=len(found), ids=ids)
        if len(places) == len(found):
            raise DataError(f"leave_out: no text is left: all {len(found)} are left out ({words})")
        gone = set(places)
        kept = found.part(at for at in range(len(found)) if at not in gone)
        found = Texts(kept, kept.ids, (*found.left_out, record), found.chosen, source=found.source)
    return found


def check_expression(expression: str) -> Any:
    """A regular expression, compiled.

    Raises:
        DataError: it is none.
    """
    try:
        return regex.compile(expression)
    except regex.error as error:
        raise DataError(f"{expression!r} is not a regular expression ({error})") from None


def _rules(rule: Rule) -> list[tuple[str, Any]]:
    if callable(rule):
        return [("function", rule)]
    if not isinstance(rule, Mapping) or not rule or not rule.keys() <= {"matching", "ids"}:
        raise DataError(
            f"leave_out: write {{'matching': 'regular expression'}}, {{'ids': ['3', '17']}} or a function of a text, not {rule!r:.60}"
        )
    return sorted(rule.items())


def _by_function(texts: Texts, function: Callable[[TextLike], bool]) -> Found:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"the function {name}", lambda at: bool(function(texts[at]))


def _by_ids(texts: Texts, ids: object) -> Found:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Sequence) or not ids:
        raise DataError(f"leave_out: ids is a list of ids, not {ids!r:.60}")
    wanted, there = {str(one): None for one in ids}, texts.ids
    known = Counter(there)
    for one in wanted:
        if one not in known:
            meant = nearest(one, there)
            hint = f"did you mean {meant!r}?" if meant else f"there are {len(known)}, such as {there[0]!r}"
            raise DataError(f"leave_out: no text has the id {one!r}: {hint}")
        if known[one] > 1:
            raise DataError(
                f"leave_out: {known[one]} texts have the id {one!r}, and it does not say which: give each text an id of its own"
            )
    return "named by ids", lambda at: there[at] in wanted


def _matching(texts: Texts, expression: object) -> Found:
    if not isinstance(expression, str) or not expression:
        raise DataError(f"leave_out: matching is a regular expression, not {expression!r:.60}")
    compiled = check_expression(expression)

    def is_found(at: int) -> bool:
        try:
            return compiled.search(content_of(texts[at]), timeout=PATIENCE) is not None
        except TimeoutError:
            raise DataError(
                f"leave_out: the expression {expression!r} takes more than {PATIENCE:g} s over text {texts.ids[at]}. Repetitions inside "
                "repetitions, such as (a+)+, take exponential time: write one of them"
            ) from None

    return f"matching {expression!r}", is_found


_KINDS: dict[str, Callable[[Texts, Any], Found]] = {"function": _by_function, "ids": _by_ids, "matching": _matching}
