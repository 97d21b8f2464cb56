"""Measures of fluency, against plain counting and closed forms."""

import math
from collections import Counter

import numpy as np
import pytest

from pytest_steer.claims.kinds.stays_fluent import distinct, ngram_entropy, repetition
from pytest_steer.core.errors import MeasurementError

TEXTS = [
    np.random.default_rng(seed).integers(0, most, size).tolist()
    for seed, (most, size) in enumerate([(3, 40), (9, 64), (400, 12)])
]


def plain_entropy(tokens, n):
    counts = Counter(zip(*(tokens[at:] for at in range(n)), strict=False))
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values())


@pytest.mark.parametrize("tokens", TEXTS)
def test_measures_are_those_of_plain_counting(tokens):
    seen, repeated = set(), 0
    for at in range(len(tokens) - 3):
        gram = tuple(tokens[at : at + 4])
        repeated += gram in seen
        seen.add(gram)
    assert repetition(tokens) == pytest.approx(repeated / (len(tokens) - 3))
    assert distinct(tokens) == len({(tokens[at], tokens[at + 1]) for at in range(len(tokens) - 1)}) / len(tokens)
    assert ngram_entropy(tokens) == pytest.approx((2 / 3 * plain_entropy(tokens, 2) + 4 / 3 * plain_entropy(tokens, 3)) / 2)


def test_one_token_for_ever():
    # n - 3 equal 4-grams, of which all but the first repeat; one bigram; no choice at all.
    for n in (5, 16, 64):
        assert repetition([7] * n) == pytest.approx(1 - 1 / (n - 3))
        assert distinct([7] * n) == 1 / n
        assert ngram_entropy([7] * n) == 0


def test_what_cannot_repeat_does_not():
    assert [repetition([7] * n) for n in (1, 3, 4)] == [0, 0, 0]


def test_no_token_twice():
    # n - 1 bigrams and n - 2 trigrams, all alike likely.
    assert repetition([*range(20)]) == 0
    assert distinct([*range(20)]) == 19 / 20
    assert ngram_entropy([*range(20)]) == pytest.approx((2 / 3 * math.log2(19) + 4 / 3 * math.log2(18)) / 2)


@pytest.mark.parametrize(
    ("measure", "tokens"), [(repetition, []), (distinct, [1]), (ngram_entropy, [1, 2, 3]), (distinct, [])]
)
def test_a_text_that_is_too_short_has_no_number(measure, tokens):
    with pytest.raises(MeasurementError, match="too short"):
        measure(tokens)
