"""Texts left out by a named rule: those that show the behaviour, on which a change of perplexity is what steering is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import regex

from ..errors import DataError
from ..registry import nearest
from .texts import LeftOut, TextLike, Texts, as_texts, content_of

Rule = Mapping[str, Any] | Callable[[TextLike], bool]
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
        record = LeftOut(words, tuple(found.ids[at] for at in places), len(found))
        if len(places) == len(found):
            raise DataError(f"leave_out: no text is left: all {len(found)} are left out ({words})")
        gone = set(places)
        kept = found.part(at for at in range(len(found)) if at not in gone)
        found = Texts(kept, kept.ids, (*found.left_out, record), found.chosen)
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
