"""Texts that say the same: a normal form for what counts as one unit, looser likenesses that warn, and traces of a question."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NEAR = 0.9
"""Two texts are near twins if they share this much of their words: shared / all words, a repeated one counted as often (Jaccard 1901)."""

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
_WORD = re.compile(r"\w+")
_PART = re.compile(r"(?:[.:;!?]\s+|\n)")
_MOST_PAIRS = 500_000  # which take a second or so
# A shorter end of a question is found in others by chance.
_LEAST_WORDS = 3
# So many last words tell a question from others, if no two of a set share them.
_TAIL = 8


def normal_form(text: str) -> str:
    """The text in Unicode NFC, without invisible characters, and with each run of white space as one space."""
    return " ".join(unicodedata.normalize("NFC", text.translate(_INVISIBLE)).split())


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
    """Units that differ in nothing but case, those of one group aside; None if there are none."""
    alike: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, form in enumerate(forms):
        alike[tuple(part.casefold() for part in form)].append(index)
    return _twins(((a, b) for same in alike.values() for b in same for a in same if a < b), groups)


def near_twins(forms: Sequence[tuple[str, ...]], groups: Sequence[Hashable] | None = None) -> Twins | None:
    """Units that share at least :data:`NEAR` of their words and differ in more than case, those of one group aside.

    Raises:
        TooManyPairs: so many of them share rare words that comparing them would take long.
    """
    folded = [" ".join(form).casefold() for form in forms]
    pairs = _near_pairs([_bag(text) for text in folded])
    return _twins((pair for pair in pairs if folded[pair[0]] != folded[pair[1]]), groups)


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


# --- a question in the training data ---


def hash_of(question: str) -> str:
    """A short hash of a question, the same whatever its white space, its case and the punctuation at its ends."""
    return _hash(_plain(question))


def traces(questions: Sequence[str]) -> dict[str, list[str]]:
    """What a vector's record keeps of the questions that it is made from, for :func:`count_known`.

    Returns:
        ``item_hashes``: :func:`hash_of` each. ``item_ends``: hashes of what is left of them after each sentence or line.
        ``item_tails``: hashes of their last four to eight words, where no two of the questions share them.
    """
    tails = Counter(
        _hash(" ".join(words[-count:]))
        for words in {tuple(_plain(question).split()) for question in questions}
        for count in range(_LEAST_WORDS + 1, min(_TAIL, len(words) - 1) + 1)
    )
    ends = {
        _hash(plain)
        for question in questions
        for match in _PART.finditer(question.strip())
        if len((plain := _plain(question.strip()[match.end() :])).split()) >= _LEAST_WORDS
    }
    return {
        "item_hashes": [hash_of(question) for question in questions],
        "item_ends": sorted(ends),
        "item_tails": sorted(tail for tail, count in tails.items() if count == 1),
    }


def count_known(questions: Iterable[str], record: Mapping[str, Any]) -> int:
    """How many of the questions a record's :func:`traces` hold, also with more before them, here or there."""
    whole, ends, tails = (set(record.get(key) or ()) for key in ("item_hashes", "item_ends", "item_tails"))
    plain = [_plain(question) for question in questions]
    shared = Counter(_tail_of(question) for question in set(plain))
    return sum(_is_known(question, whole, ends, tails, shared) for question in plain) if whole else 0


def _tail_of(question: str) -> str:
    return _hash(" ".join(question.split()[-_TAIL:]))


def _is_known(question: str, whole: set[str], ends: set[str], tails: set[str], shared: Mapping[str, int]) -> bool:
    if (own := _hash(question)) in whole or own in ends:
        return True
    words = question.split()
    if (tail := _tail_of(question)) in tails and shared[tail] == 1:
        return True
    return any(_hash(" ".join(words[start:])) in whole for start in range(1, len(words) - _LEAST_WORDS + 1))


def _plain(question: str) -> str:
    return normal_form(question).casefold().strip(" .:;!?\"'")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
