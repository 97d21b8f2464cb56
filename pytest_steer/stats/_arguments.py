"""Checks of arguments. Each returns the value in one type, or raises a ValueError that says what to pass instead.

A NaN is never dropped and never becomes a number: a share or a mean over "the items that worked" is a different
claim from the one that was made.
"""

import math
import operator
from collections.abc import Callable, Hashable, Iterable
from typing import Any, SupportsFloat

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# Far above any measure of a model, and far enough below the largest float (1.8e308) that sums of squares stay finite.
_LARGEST_VALUE = 1e100


def checked_number(value: SupportsFloat, name: str, holds: Callable[[float], bool], expected: str) -> float:
    """A number for which ``holds`` is true; ``expected`` says which numbers those are."""
    # float("0.95") works, and would hide that a claim file was read as text.
    if isinstance(value, str):
        raise ValueError(f"{name} was the text {value!r}; expected a number.")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} was {value!r}; expected a number.") from None
    if not holds(number):
        raise ValueError(f"{name} was {number:g}; expected {expected}.")
    return number


def checked_confidence(confidence: SupportsFloat) -> float:
    """The confidence of one bound, in [0.5, 1). Below 0.5 the lower bound would exceed the upper one."""
    expected = "a number from 0.5 up to but not including 1, such as 0.95: a fraction, not per cent"
    return checked_number(confidence, "confidence", lambda number: 0.5 <= number < 1, expected)


def checked_power(power: SupportsFloat) -> float:
    """The probability of a decision that is asked for. No number of items decides a claim with certainty."""
    return checked_number(power, "power", lambda number: 0 < number < 1, "a number strictly between 0 and 1, such as 0.8")


def checked_probability(value: SupportsFloat, name: str) -> float:
    """A number in [0, 1]."""
    return checked_number(value, name, lambda number: 0 <= number <= 1, "a number from 0 to 1, not per cent")


def checked_finite(value: SupportsFloat, name: str) -> float:
    """A number that is neither NaN nor infinite."""
    return checked_number(value, name, math.isfinite, "a finite number: look for the step that first produced it")


def checked_threshold(threshold: SupportsFloat) -> float:
    """Any number except NaN. An infinite threshold is well defined: the claim always holds, or never."""
    return checked_number(threshold, "threshold", lambda number: not math.isnan(number), "a number: set a threshold")


def checked_count(value: Any, name: str, *, least: int) -> int:
    """A whole number of at least ``least``; a float is refused even when it is whole."""
    try:
        # A bool has an index, but "True out of 24" is a slip: one item's outcome in place of the number of successes.
        count = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        count = None
    if count is None or count < least:
        raise ValueError(f"{name} was {value!r}; expected a whole number (int) of at least {least}.")
    return count


def checked_values(values: npt.ArrayLike) -> FloatArray:
    """One finite number per item, at least two of them, as a one-dimensional float64 array."""
    array = _one_per_item(
        values,
        "values",
        "one number per item, shape (items,). "
        "Reduce each item to one number first: all multipliers, templates and seeds of an item are one unit",
    )
    # An empty list has no type of its own, so its length is checked first.
    if array.size < 2:
        raise ValueError(
            f"values had {array.size} item(s); expected at least 2, since fewer say nothing about the spread between "
            "items. Add items."
        )
    if array.dtype.kind not in "fiub":
        raise ValueError(f"values had the type {array.dtype}; expected real numbers, with no text and no None.")
    items = array.astype(np.float64)
    # Written with "not", so that a NaN is wrong too.
    wrong = np.flatnonzero(~(np.abs(items) < _LARGEST_VALUE))
    if wrong.size:
        raise ValueError(
            f"values[{wrong[0]}] was {items[wrong[0]]} ({wrong.size} of {items.size} values are NaN, infinite or "
            f"larger than {_LARGEST_VALUE:g}); expected finite numbers. Correct the item, or leave it out by name: no "
            "item is dropped silently."
        )
    return items


def checked_outcomes(outcomes: npt.ArrayLike) -> tuple[int, int]:
    """The number of items, at least 1, and how many of them are True or 1."""
    array = _one_per_item(outcomes, "outcomes", "True or False per item, shape (items,)")
    if array.size == 0:
        raise ValueError("outcomes had 0 items; expected at least 1. No items have no share.")
    if array.dtype.kind not in "biu":
        raise ValueError(
            f"outcomes had the type {array.dtype}; expected True or False per item. Compare a score with its limit "
            "first. A NaN is neither True nor False: correct the item."
        )
    wrong = np.flatnonzero((array != 0) & (array != 1))
    if wrong.size:
        raise ValueError(f"outcomes[{wrong[0]}] was {array[wrong[0]]}; expected True or False (or 1 or 0) per item.")
    return int(array.size), int(np.count_nonzero(array))


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
            raise ValueError(
                f"clusters[{item}] was {label}; expected a label. Give an item that is a cluster by itself a unique one."
            )
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
            "nothing about the spread between clusters. Add items from other clusters."
        )
    return indices, len(numbers)


def _one_per_item(values: npt.ArrayLike, name: str, expected: str) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
        shape = f"shape {array.shape}"
    except ValueError:
        array = np.empty((0, 0))
        shape = "rows of different lengths"
    if array.ndim != 1:
        raise ValueError(f"{name} had {shape}; expected {expected}.")
    return array
