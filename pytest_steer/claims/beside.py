"""Two forms of one behaviour side by side, such as lettered and open items: which questions they share, and their rank correlation."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from ..data import Items
from ..data.likeness import hash_of
from ..measures import AnswerLikelihoods, Array
from ..prompting.options import find_options
from ..stats import rank_correlation

# What stands before a list of options and is no part of the question: CAA writes "Choices:".
_HEADING = re.compile(r"\n\s*(?:choices|options|answers?)\s*:\s*$", re.IGNORECASE)
MEASURES = ("effect", "matching_change", "not_matching_change")


def question_of(text: str) -> str:
    """A question without the options that it lists on lines of their own, and without the line above these."""
    options = find_options(text)
    if not options:
        return text
    before = _HEADING.sub("", text[: options[0].start()].rstrip())
    return f"{before}\n{text[options[-1].end() :]}".strip() or text


def beside_record(own: AnswerLikelihoods, other: AnswerLikelihoods, at: float) -> dict[str, Any]:
    """What two sets of items say of the questions that they share.

    Items of one question are averaged. Questions are the same if their words are, whatever white space, case, the punctuation at
    their ends and the options that they list.

    Returns:
        ``shared``: how many questions. ``rank_correlation``: Spearman's, over these, of the effect on propensity and of the change of each
        side; None where there are fewer than three, or one of the two does not vary.
    """
    here, there = (_by_question(found.items, found, at) for found in (own, other))
    shared = sorted(here.keys() & there.keys())
    return {
        "shared": len(shared),
        "rank_correlation": {
            name: rank_correlation([here[key][index] for key in shared], [there[key][index] for key in shared])
            for index, name in enumerate(MEASURES)
        },
    }


def _by_question(items: Items, found: AnswerLikelihoods, at: float) -> dict[str, tuple[float, ...]]:
    """Of each question the mean over its items of each of :data:`MEASURES`."""
    matching, other = found.changes(at)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        places[hash_of(question_of(item.question))].append(index)
    columns: tuple[Array, ...] = (matching - other, matching, other)
    return {key: tuple(float(values[own].mean()) for values in columns) for key, own in places.items()}
