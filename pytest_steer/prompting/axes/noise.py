"""Typographic noise: spacing, case, punctuation and typos. Options and answers stay as they are."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

from ...core.errors import DataError
from ...core.evidence import Json
from ...core.parameters import Param, properties_of
from ...data import ContrastItem
from ..kinds import axis
from ..options import OPTION

_RATES = ("spacing", "case", "punctuation", "typos")
# A label in brackets is one piece, so that it stays as it is.
_PIECE = re.compile(r"\([A-Za-z0-9]{1,3}\)|[^\W_]+|[ \t]+|[^ \t]")
_PUNCTUATION = ".,;:!?"
_SHORTEST_WITH_TYPO = 4
_SHARE: Json = {"at_least": 0, "at_most": 1, "example": 0.1}


@dataclass(frozen=True, kw_only=True, repr=False)
class Noise:
    """How noisily a question is typed.

    Punctuation marks are ``. , ; : ! ?``. The case of a word changes to all capitals, or to none. A typo exchanges two letters,
    omits one or doubles one. With the same seed, a lower rate touches a subset of what a higher rate touches, kind by kind.

    Raises:
        DataError: a rate that is not between 0 and 1, or a seed that is not a whole number.
    """

    spacing: Annotated[float, Param("The share of the spaces that are typed twice.", **_SHARE)] = 0.0
    case: Annotated[float, Param("The share of the words whose case is changed.", **_SHARE)] = 0.0
    punctuation: Annotated[
        float, Param("The share of the punctuation marks that are left out or typed twice.", **_SHARE)
    ] = 0.0
    typos: Annotated[float, Param("The share of the words of four letters and more with a typo.", **_SHARE)] = 0.0
    seed: Annotated[int, Param("Decides which places are touched.", example=0)] = 0

    def __post_init__(self) -> None:
        for name in _RATES:
            rate = getattr(self, name)
            if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1 or math.isnan(rate):
                raise DataError(f"noise: {name} is a share between 0 and 1, not {rate!r}")
            object.__setattr__(self, name, float(rate))
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise DataError(f"noise: seed is a whole number, not {self.seed!r}")
        if self.is_none:
            object.__setattr__(self, "seed", 0)

    def __repr__(self) -> str:
        return f"Noise({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # what Hypothesis and IPython print, instead of all fields

    @property
    def is_none(self) -> bool:
        """Whether all rates are 0."""
        return not any(getattr(self, name) for name in _RATES)

    def to_dict(self) -> Json:
        """The rates other than 0, and the seed if it is not 0."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}


def _read(value: Any) -> Noise | None:
    if isinstance(value, Mapping):
        known = [f.name for f in fields(Noise)]
        unknown = [key for key in value if key not in known]
        if unknown:
            raise DataError(f"noise has no {unknown[0]!r}: it has {', '.join(known)}")
        value = Noise(**value)
    if not isinstance(value, Noise):
        raise DataError(f"noise is Noise(typos=0.1, ...) or a mapping of its rates, not {value!r}")
    return None if value.is_none else value


@axis(
    "noise",
    about="Typographic noise, as rates between 0 and 1 and a seed: {typos: 0.1, seed: 0}.",
    title="Typographic noise",
    listed="A list of different noises: `[as_given, {typos: 0.1}]`.",
    example={"typos": 0.1},
    schema={"type": "object", "properties": properties_of(Noise), "additionalProperties": False},
    read=_read,
    as_given=None,
    size=lambda value: sum(getattr(value, name) for name in _RATES),
    place=100,
    acts=1,
)
def noise(item: ContrastItem, value: Noise) -> ContrastItem:
    """The item with noise in its question, outside the lines that list options.

    Labels in brackets and words that are an answer (Yes, No, ...) stay as they are. A mark is omitted only after a word, so
    that no line comes to look like an option. The result depends only on the text outside the options and on the noise.
    """
    spans = [option.span() for option in OPTION.finditer(item.question)]
    edges = [0, *(edge for span in spans for edge in span), len(item.question)]
    parts = [item.question[a:b] for a, b in itertools.pairwise(edges)]
    answers = {answer.strip().strip(".!()").lower() for answer in item.matching + item.not_matching}
    seeded = random.Random(f"{value.seed}\n{''.join(parts[0::2])}")
    parts[0::2] = [_noisy(part, value, answers, seeded) for part in parts[0::2]]
    question = "".join(parts)
    return replace(item, question=question) if question.strip() else item


def _noisy(text: str, noise: Noise, answers: set[str], seeded: random.Random) -> str:
    pieces = [piece[0] for piece in _PIECE.finditer(text)]
    pairs = zip(["", *pieces], pieces, strict=False)
    return "".join(_touched(piece, before, noise, answers, seeded) for before, piece in pairs)


def _touched(piece: str, before: str, noise: Noise, answers: set[str], seeded: random.Random) -> str:
    # The same number of draws for each piece, so that one rate does not change which places another one touches.
    chance = {name: seeded.random() for name in _RATES}
    way = seeded.random()
    if piece.isspace():
        return piece * 2 if piece.strip("\n") and chance["spacing"] < noise.spacing else piece
    if piece in _PUNCTUATION:
        if chance["punctuation"] < noise.punctuation:
            return "" if way < 0.5 and before.isalnum() else piece * 2
        return piece
    if not piece.isalpha() or piece.lower() in answers:
        return piece
    if len(piece) >= _SHORTEST_WITH_TYPO and chance["typos"] < noise.typos:
        piece = _mistyped(piece, way)
    if chance["case"] < noise.case:
        piece = piece.upper() if piece == piece.lower() else piece.lower()
    return piece


def _mistyped(word: str, way: float) -> str:
    """A word with one typo after its first letter; ``way``, from 0 to 1, decides which one and where."""
    kind, place = divmod(way * 3, 1)
    at = 1 + int(place * (len(word) - 2))
    if kind == 0 and word[at] != word[at + 1]:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    return word[:at] + word[at] + word[at:]
