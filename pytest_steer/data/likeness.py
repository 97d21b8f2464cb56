"""Texts that say the same: a normal form for what counts as one unit, and looser likenesses that warn."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

NEAR = 0.9
"""Two texts are near-duplicates if they share this part of their words: shared / all words, with repetitions (Jaccard 1901)."""

INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
_WORD = re.compile(r"\w+")
# A word; a character, in scripts that put no space between words; a minus; any other mark.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+|-(?=\s?[0-9])|[^\w\s\-]")
# Punctuation that is said: "3 * 4" is not "3 / 4".
_SAID = "*/%^-"
_NOUN = r"(?:question|item|example|prompt|case|number|nr|no|q)"
_NUMBER = re.compile(
    rf"^\W*(?:(?:{_NOUN}\W{{0,2}})?(?:\d+|[a-z]|[ivx]+)\s*[.):\]]\s+|(?:{_NOUN}\W{{0,2}}|\#)\d+\W+)|\s*[(\[#]\s*\d+\s*[)\]]?\s*$",
    re.IGNORECASE,
)
_OPTION = re.compile(
    r"^[ \t]*(?:\((?:[A-Za-z0-9]{1,2}|Yes|No)\)|(?:[A-Za-z]|[0-9]{1,2})[.):])[ \t]*(?P<text>\S.*?)[ \t]*$", re.MULTILINE
)
_IN_LINE = re.compile(r"\((?:[A-Za-z0-9]{1,2}|Yes|No)\)(?P<text>[^(\n]*)")
_LEAST_LEFT = 3
_MOST_PAIRS = 500_000  # which take a second or so


def normal_form(text: str) -> str:
    """The text in Unicode NFC, without invisible characters, and with each run of white space as one space."""
    return " ".join(unicodedata.normalize("NFC", text.translate(INVISIBLE)).split())


def words_of(text: str) -> list[str]:
    """Words, numbers and symbols in lower case (Unicode NFKC), without punctuation; without a number before or after three words or more."""
    visible = text.translate(INVISIBLE)
    unnumbered = _tokens(_NUMBER.sub("", visible))
    return unnumbered if len(unnumbered) >= _LEAST_LEFT else _tokens(visible)


def _tokens(text: str) -> list[str]:
    found = _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())
    kinds = (unicodedata.category(word[0]) for word in found)
    return [
        word
        for word, kind in zip(found, kinds, strict=True)
        if word.isalnum() or word in _SAID or (kind[0] not in "PZC" and kind != "Sk")
    ]


def distinct(forms: Sequence[Hashable]) -> list[int]:
    """The index of the first unit of each form, in order."""
    first: dict[Hashable, int] = {}
    for index, form in enumerate(forms):
        first.setdefault(form, index)
    return list(first.values())


Bag = frozenset[tuple[str, int]]


class TooManyPairs(Exception):
    """More pairs would have to be compared than is worth the time."""


@dataclass(frozen=True)
class Twins:
    """Units that differ from another one in little.

    Attributes:
        units: how many. example: the indices of the first two.
    """

    units: int
    example: tuple[int, int]


def case_twins(forms: Sequence[tuple[str, ...]], groups: Sequence[Hashable] | None = None) -> Twins | None:
    """Units that differ only in case from one of another group; None if there are none."""
    alike: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, form in enumerate(forms):
        alike[tuple(part.casefold() for part in form)].append(index)
    return _twins(((a, b) for same in alike.values() for b in same for a in same if a < b), groups)


def number_twins(forms: Sequence[tuple[str, ...]], groups: Sequence[Hashable] | None = None) -> Twins | None:
    """Units that differ only in numbers, punctuation and case from one of another group, and not in case alone.

    Three words that are no numbers have to be left: the sums of arithmetic are different questions.
    """
    alike: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, form in enumerate(forms):
        if (without := _without_numbers(form)) is not None:
            alike[without].append(index)
    units, example = 0, None
    for same in alike.values():
        own = {index: (tuple(map(str.casefold, forms[index])), index if groups is None else groups[index]) for index in same}
        texts, together, both = (Counter(one) for one in (*zip(*own.values(), strict=True), own.values()))
        for index, (text, group) in own.items():
            if len(same) - texts[text] - together[group] + both[text, group] > 0:
                units += 1
                example = example or next((index, at) for at, other in own.items() if other[0] != text and other[1] != group)
    return Twins(units, example) if example is not None else None


def _without_numbers(form: tuple[str, ...]) -> tuple[tuple[str, ...], ...] | None:
    parts = [tuple(word for word in words_of(part) if not word.isnumeric()) for part in form]
    return tuple(parts) if sum(word.isalpha() for word in parts[0]) >= _LEAST_LEFT else None


def near_twins(forms: Sequence[tuple[str, ...]], groups: Sequence[Hashable] | None = None) -> Twins | None:
    """Units that share at least :data:`NEAR` of their words with one of another group, and differ in more than case and numbers.

    Raises:
        TooManyPairs: so many of them share rare words that comparing them would take long.
    """
    folded = [" ".join(form).casefold() for form in forms]
    pairs = _near_pairs([_bag(text) for text in folded])
    others = [_without_numbers(form) or text for form, text in zip(forms, folded, strict=True)]
    return _twins(
        (pair for pair in pairs if folded[pair[0]] != folded[pair[1]] and others[pair[0]] != others[pair[1]]), groups
    )


def _bag(text: str) -> Bag:
    """The words of a text, each with how often it stood before."""
    seen: Counter[str] = Counter()
    found = set()
    for word in _WORD.findall(text):
        found.add((word, seen[word]))
        seen[word] += 1
    return frozenset(found)


def _near_pairs(words: Sequence[Bag]) -> Iterator[tuple[int, int]]:
    """Pairs of sets with an overlap of at least :data:`NEAR`.

    Of two such sets, the rarest words have one in common: those of each up to place size - ceil(NEAR size) + 1 (Chaudhuri, Ganti &
    Kaushik 2006). So only sets that share one of these are compared.
    """
    seen_in = Counter(word for own in words for word in own)
    rare = [
        sorted(own, key=lambda word: (seen_in[word], word))[: len(own) - math.ceil(NEAR * len(own) - 1e-9) + 1]
        for own in words
    ]
    alike = Counter(word for own in rare for word in own)
    if sum(count * (count - 1) // 2 for count in alike.values()) > _MOST_PAIRS:
        raise TooManyPairs
    with_word: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for index, own in enumerate(words):
        for other in sorted({other for word in rare[index] for other in with_word[word]}):
            if len(own & words[other]) >= NEAR * len(own | words[other]):
                yield other, index
        for word in rare[index]:
            with_word[word].append(index)


def _twins(pairs: Iterator[tuple[int, int]], groups: Sequence[Hashable] | None) -> Twins | None:
    found = [(a, b) for a, b in pairs if groups is None or groups[a] != groups[b]]
    return Twins(len({index for pair in found for index in pair}), found[0]) if found else None


# --- a question in other data ---


def hash_of(question: str) -> str:
    """A short hash of a question, the same whatever its white space, its case and the punctuation at its ends."""
    return short_hash(normal_form(question).casefold().strip(" .:;!?\"'"))


def content_hash(form: Sequence[str]) -> str:
    """A short hash of a unit in normal form (question and answers, or a text): the same wherever it stands."""
    return short_hash(json.dumps(list(form), ensure_ascii=False))


def short_hash(text: str) -> str:
    """The first 64 bits of SHA-256, as text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def without_order(question: str) -> tuple[str, frozenset[str]] | None:
    """The normal forms of a question's text and of the options that it lists, without their labels; None if it lists fewer than two.

    Options stand on separate lines, ``(A) tea``, ``A. tea`` or ``1) tea``, or in brackets in one line, ``Which? (A) tea (B) ice``.
    """
    for pattern in (_OPTION, _IN_LINE):
        options = list(pattern.finditer(question))
        if len(options) < 2:
            continue
        ends = [0, *(option.end() for option in options)]
        starts = [*(option.start() for option in options), len(question)]
        stem = " ".join(question[end:start] for end, start in zip(ends, starts, strict=True))
        return normal_form(stem), frozenset(normal_form(option["text"]) for option in options)
    return None
