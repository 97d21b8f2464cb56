"""Traces of training data in a vector's record: hashes, by which questions and texts are found again in other data."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..core.evidence import Json
from .likeness import NEAR, hash_of, normal_form, short_hash, without_order, words_of

FORM = 2
"""The version of what :func:`traces` keeps. Records of another version, or of none, are compared by what they have, with a note."""

# Fewer words are found in another text by chance; three are looked for at its two ends only.
_LEAST_WORDS = 4
# So many words in a row tell a text from others, if one text of each side has them.
_RUN = 8
# In characters. No model takes as much.
_LONGEST = 1_000_000
_END = b"\0"

Seen = Literal["questions", "texts"]


@dataclass(frozen=True)
class Known:
    """How much of some data a record's training data hold.

    Attributes:
        same: questions or texts that are there (white space, case and punctuation at the ends aside).
        within: others that are there with other inner punctuation, other labels or order of options, or with more before or after them;
            or that hold one of the training data, with more before or after it.
        near: others that share nine words of ten with one, or an unusual run of words that makes up half of either.
        example: a text of the latter two, or None.
    """

    same: int = 0
    within: int = 0
    near: int = 0
    example: str | None = None

    @property
    def asked(self) -> int:
        """Those that are there, whatever is around them."""
        return self.same + self.within


def traces(texts: Sequence[str], seen: Seen = "questions", *, answers: Iterable[str] = ()) -> Json:
    """What a vector's record keeps of the questions or texts that it is made from, for :func:`known_in`.

    Args:
        answers: to the questions. Those of fewer than four words, which stand anywhere, leave no trace.

    Returns:
        ``answer_forms``: hashes of the words of the answers, for :func:`answers_in`; not there without answers of four words.
        ``item_hashes``: ``likeness.hash_of`` each. ``item_forms``: hashes of their words, with listed options in any order. ``item_words``:
        one byte of hash per word, packed. ``item_form``: :data:`FORM`. ``seen``: what they are.
    """
    cut = [text[:_LONGEST] for text in texts]
    answered = {form for answer in answers if (form := _answer_form(answer)) is not None}
    packed = zlib.compress(_END.join(dict.fromkeys(map(_print, cut))), 9)
    return {
        "item_form": FORM,
        "seen": seen,
        "item_hashes": [hash_of(text) for text in texts],
        "item_forms": sorted({_order_free(text) for text in cut}),
        "item_words": base64.b85encode(packed).decode(),
        **({"answer_forms": sorted(answered)} if answered else {}),
    }


def answers_in(texts: Iterable[str], record: Mapping[str, Any]) -> list[str]:
    """Those of these texts that are a training answer (white space, case and punctuation aside)."""
    known = set(record.get("answer_forms") or ())
    return [text for text in texts if _answer_form(text) in known] if known else []


def _answer_form(text: str) -> str | None:
    words = words_of(text[:_LONGEST])
    return short_hash(" ".join(words)) if len(words) >= _LEAST_WORDS else None


def is_comparable(record: Mapping[str, object]) -> bool:
    """Whether a record has all that :func:`known_in` looks for; one that says nothing of any data has."""
    return record.get("item_form") == FORM or not (record.get("item_hashes") or record.get("data_hash"))


def known_in(texts: Iterable[str], record: Mapping[str, object]) -> Known:
    """How many of these questions or texts a record's :func:`traces` hold."""
    given = list(texts)
    if not given or not record.get("item_hashes"):
        return Known()
    seen = _Seen(record)
    cut = [text[:_LONGEST] for text in given]
    prints = [_print(text) for text in cut]
    runs = Counter(run for own in set(prints) for run in _runs_of(own))
    counts: Counter[str] = Counter()
    example = None
    for text, own in zip(cut, prints, strict=True):
        how = seen.how(text, own, runs)
        counts[how] += 1
        if how in ("within", "near") and example is None:
            example = text
    return Known(counts["same"], counts["within"], counts["near"], example)


class _Seen:
    """The traces of a record, unpacked."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.whole, self.forms = set(record["item_hashes"]), set(record.get("item_forms") or ())
        try:
            packed = zlib.decompress(base64.b85decode(record.get("item_words") or ""))
        except (ValueError, zlib.error, binascii.Error):
            packed = b""  # of another version
        self.prints = sorted({own for own in packed.split(_END) if len(own) >= _LEAST_WORDS}, key=len)
        self.all = _END.join(self.prints)

    @cached_property
    def lengths(self) -> np.ndarray[Any, Any]:
        return np.array([len(own) for own in self.prints])

    @cached_property
    def bags(self) -> np.ndarray[Any, Any]:
        """[prints, 256] how often each word's byte occurs."""
        found = np.zeros((len(self.prints), 256), dtype=np.int32)
        for index, own in enumerate(self.prints):
            found[index] = _bag(own)
        return found

    @cached_property
    def owner(self) -> dict[bytes, int]:
        """Which print has a run, for those that one has."""
        owners: dict[bytes, int] = {}
        for index, own in enumerate(self.prints):
            for run in _runs_of(own):
                owners[run] = -1 if run in owners else index
        return {run: index for run, index in owners.items() if index >= 0}

    def how(self, text: str, own: bytes, runs: Mapping[bytes, int]) -> str:
        if hash_of(text) in self.whole:
            return "same"
        if _order_free(text) in self.forms or any(short_hash(end) in self.forms for end in _ends(text)):
            return "within"
        if len(own) < _LEAST_WORDS or not self.prints:
            return "new"
        shorter = self.prints[: int(np.searchsorted(self.lengths, len(own)))]
        if own in self.all or any(other in own for other in shorter):
            return "within"
        return "near" if self._is_near(own) or self._shares_half(own, runs) else "new"

    def _is_near(self, own: bytes) -> bool:
        first, last = np.searchsorted(self.lengths, [NEAR * len(own), len(own) / NEAR + 1])
        shared = np.minimum(self.bags[first:last], _bag(own)).sum(1)
        return bool((shared >= NEAR * (len(own) + self.lengths[first:last] - shared)).any())

    def _shares_half(self, own: bytes, runs: Mapping[bytes, int]) -> bool:
        places: defaultdict[int, set[int]] = defaultdict(set)
        for start in range(len(own) - _RUN + 1):
            run = own[start : start + _RUN]
            if run in self.owner and runs[run] == 1:
                places[self.owner[run]].update(range(start, start + _RUN))
        return any(2 * len(held) >= min(len(own), len(self.prints[index])) for index, held in places.items())


def _print(text: str) -> bytes:
    """One byte per word, 1 to 255, which says little about it."""
    return bytes(zlib.crc32(word.encode()) % 255 + 1 for word in words_of(text))


def _order_free(text: str) -> str:
    """A hash of the words, the same in whatever order the options of a question are listed, and under whatever labels."""
    listed = without_order(text)
    if listed is None:
        return short_hash(" ".join(words_of(text)) or normal_form(text))
    stem, *options = (" ".join(words_of(part)) for part in (listed[0], *listed[1]))
    return short_hash("\n".join((stem, *sorted(options))))


def _ends(text: str) -> list[str]:
    """The first and the last three words, of a text that has more."""
    words, count = words_of(text), _LEAST_WORDS - 1
    return [" ".join(words[:count]), " ".join(words[-count:])] if len(words) > count else []


def _runs_of(own: bytes) -> set[bytes]:
    return {own[start : start + _RUN] for start in range(len(own) - _RUN + 1)}


def _bag(own: bytes) -> np.ndarray[Any, Any]:
    return np.bincount(np.frombuffer(own, dtype=np.uint8), minlength=256)
