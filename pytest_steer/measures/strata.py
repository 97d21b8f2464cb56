"""Strata: the same items split by their matching answer: by its letter, by Yes / No, and by both where items have both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..core.record import Stratum
from ..data import ContrastItem
from ..prompting.options import find_options
from .asking import Array
from .propensity import Flags, PropensityCurve


def strata(curve: PropensityCurve, sign: int = 1) -> tuple[Stratum, ...]:
    """One stratum per label of the matching answer; none for free-text items.

    Args:
        sign: -1 if propensity is meant to fall with the multiplier.

    Where options in brackets are called Yes and No, "(A) Yes", there are strata by letter, by Yes / No, and by both. A vector that
    moves a letter rather than the behaviour shows as a rise in one stratum and a fall in the other (Tan et al. 2024 regress the slopes
    on both; with one label against another that is the difference of the means).
    """
    found = []
    for label, own in with_label(curve):
        slopes: Array = curve.slopes[own]
        wrong = float((sign * slopes <= 0).mean())
        found.append(Stratum(label=label, n=len(slopes), steerability=float(slopes.mean()), anti_steerable_share=wrong))
    return tuple(found)


def with_label(curve: PropensityCurve) -> list[tuple[str, Flags]]:
    """Each stratum's label, and [n_items] which items are in it."""
    return [
        (label, np.array([own == label for own in labels]))
        for labels in factors_of(curve).values()
        for label in sorted({label for label in labels if label is not None})
    ]


def explained(curve: PropensityCurve) -> dict[str, float]:
    """The share of the slopes' variance that each of the labels explains: eta squared, the sum of squares between the strata over the
    total one. Over the items that have the label; labels with fewer than two strata, or slopes that do not vary, explain nothing.

    A stratum of one item explains that item whatever it is, so those are left out. By chance alone, K strata of n items explain about
    (K - 1) / (n - 1), which then is less than a half.

    Returns:
        {"letter": ..., "yes_no": ..., "both": ...}, each where there are such strata. Of both it is at least that of either.
    """
    found = {}
    for name, labels in factors_of(curve).items():
        sizes = Counter(labels)
        has = np.array([label is not None and sizes[label] > 1 for label in labels])
        slopes, own = curve.slopes[has], [label for label in labels if label is not None and sizes[label] > 1]
        if len(set(own)) < 2:
            continue
        total = float(((slopes - slopes.mean()) ** 2).sum())
        groups = [slopes[np.array([one == label for one in own])] for label in set(own)]
        between = sum(len(group) * float(group.mean() - slopes.mean()) ** 2 for group in groups)
        found[name] = between / total if total > 0 else 0.0
    return found


def factors_of(curve: PropensityCurve) -> dict[str, Sequence[str | None]]:
    """For each kind of label (``letter``, ``yes_no``, ``both``) that of every item, None where it has none; the letter is the one that was shown."""
    items = curve.items  # a context can move or rename the letters, but not the text of the matching option
    shown = curve.labels if curve.labels is not None else [item.label for item in items]
    behind = [_behind(item) for item in items]
    if not any(behind):
        lettered = any(item.is_lettered for item in items)
        return {"letter" if lettered else "yes_no": shown}
    letters = [label if item.is_lettered else None for item, label in zip(items, shown, strict=True)]
    words = [own or (None if item.is_lettered else label) for item, own, label in zip(items, behind, shown, strict=True)]
    both = [f"{letter}, {word}" if letter and word else None for letter, word in zip(letters, words, strict=True)]
    return {"letter": letters, "yes_no": words, "both": both}


def _behind(item: ContrastItem) -> str | None:
    """Yes or No, if the option of the matching letter says so and the other option the opposite."""
    if not item.is_lettered:
        return None
    texts = {option["label"]: option["text"].strip().rstrip(".!").capitalize() for option in find_options(item.question)}
    word, other = (texts.get(answers[0].strip()[1]) for answers in (item.matching, item.not_matching))
    return word if {word, other} == {"Yes", "No"} else None
