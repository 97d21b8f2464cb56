"""Checks of arguments: each returns the value it was given, in one type, or says what was wrong and what to do.

A NaN is never dropped and never becomes a number: a share or a mean over "the items that worked" is a different
claim from the one that was made.
"""

import math
import operator
from collections.abc import Hashable, Iterable
from typing import Any, SupportsFloat

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# Far beyond any measure of a model, and far enough from the largest float (1.8e308) that sums of squares stay finite.
_LARGEST_VALUE = 1e100


def checked_confidence(confidence: SupportsFloat) -> float:
    """The confidence of one bound, in [0.5, 1). Below 0.5 the lower bound would lie above the upper one."""
    number = _as_float(confidence, "confidence")
    if not 0.5 <= number < 1:
        raise ValueError(
            f"confidence was {number:g}; expected a number from 0.5 up to but not including 1, such as 0.95. "
            "It is the confidence of each bound by itself, written as a fraction, not in per cent."
        )
    return number


def checked_power(power: SupportsFloat) -> float:
    """A wanted probability of a decision, strictly between 0 and 1."""
    number = _as_float(power, "power")
    if not 0 < number < 1:
        raise ValueError(
            f"power was {number:g}; expected a number strictly between 0 and 1, such as 0.8. "
            "No number of items decides a claim with certainty."
        )
    return number


def checked_probability(value: SupportsFloat, name: str) -> float:
    """A number in [0, 1]."""
    number = _as_float(value, name)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} was {number:g}; expected a number from 0 to 1. Per cent are written as a fraction.")
    return number


def checked_finite(value: SupportsFloat, name: str) -> float:
    """A number that is neither NaN nor infinite."""
    number = _as_float(value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name} was {number}; expected a finite number. Look for the step that first produced it.")
    return number


def checked_threshold(threshold: SupportsFloat) -> float:
    """Any number but NaN. An infinite threshold is a claim that is never, or always, met; that is well defined."""
    number = _as_float(threshold, "threshold")
    if math.isnan(number):
        raise ValueError("threshold was NaN; expected a number. A NaN compares false with everything: set a threshold.")
    return number


def checked_count(value: Any, name: str, *, least: int) -> int:
    """A whole number of at least ``least``; a float is refused even when it is whole."""
    try:
        # A bool has an index, but "True out of 24" is a slip: one item's outcome passed for the number of successes.
        count = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        count = None
    if count is None or count < least:
        raise ValueError(f"{name} was {value!r}; expected a whole number (int) of at least {least}.")
    return count


def checked_values(values: npt.ArrayLike) -> FloatArray:
    """One finite number per item, at least two of them, as a one-dimensional float64 array."""
    try:
        array = np.asarray(values)
        shape = f"shape {array.shape}"
    except ValueError:  # rows of different lengths
        array = np.empty((0, 0))
        shape = "rows of different lengths"
    if array.ndim != 1:
        raise ValueError(
            f"values had {shape}; expected one number per item, shape (items,). "
            "Reduce each item to one number first: all multipliers, templates and seeds of an item are one unit."
        )
    # An empty list has no type of its own, so its length is looked at first.
    if array.size < 2:
        raise ValueError(
            f"values had {array.size} item(s); expected at least 2, since fewer say nothing of the spread between "
            "items. Add items."
        )
    if array.dtype.kind not in "fiub":
        raise ValueError(f"values had the type {array.dtype}; expected real numbers, with no text and no None.")
    items = array.astype(np.float64)
    # A NaN is not below the limit either.
    wrong = np.flatnonzero(~(np.abs(items) < _LARGEST_VALUE))
    if wrong.size:
        raise ValueError(
            f"values[{wrong[0]}] was {items[wrong[0]]} ({wrong.size} of {items.size} values are NaN, infinite or "
            f"beyond {_LARGEST_VALUE:g}); expected finite numbers. Mend the item, or leave it out by name: it is "
            "never dropped silently."
        )
    return items


def checked_clusters(clusters: Iterable[Hashable], items: int) -> tuple[npt.NDArray[np.intp], int]:
    """The cluster index of every item, shape (items,), and the number of clusters, at least 2."""
    # Elements of a tensor are hashed by identity, which would make every item its own cluster: take plain values.
    labels = clusters.tolist() if hasattr(clusters, "tolist") else list(clusters)
    if not isinstance(labels, list) or len(labels) != items:
        given = f"{len(labels)} labels" if isinstance(labels, list) else f"the single label {labels!r}"
        raise ValueError(f"clusters had {given} for {items} values; expected one label per value.")
    numbers: dict[Hashable, int] = {}
    indices = np.empty(items, dtype=np.intp)
    for item, label in enumerate(labels):
        # NaN differs from itself: two missing labels would count as two clusters.
        if label is None or (isinstance(label, float) and math.isnan(label)):
            raise ValueError(f"clusters[{item}] was {label}; expected a label. Give an item of its own a unique one.")
        try:
            indices[item] = numbers.setdefault(label, len(numbers))
        except TypeError:
            raise ValueError(
                f"clusters[{item}] was of type {type(label).__name__}; expected something hashable, such as a str "
                "or an int, in a one-dimensional sequence."
            ) from None
    if len(numbers) < 2:
        raise ValueError(
            f"clusters named {len(numbers)} cluster for {items} values; expected at least 2, since one cluster says "
            "nothing of the spread between clusters. Add items from other clusters."
        )
    return indices, len(numbers)


def _as_float(value: SupportsFloat, name: str) -> float:
    # float("0.95") works, and would hide that a claim file was read as text.
    if isinstance(value, str):
        raise ValueError(f"{name} was the text {value!r}; expected a number.")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} was {value!r}; expected a number.") from None
