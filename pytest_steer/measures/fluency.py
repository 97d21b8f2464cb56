"""How fluent a reply is: four numbers, each of one reply. Repetition and perplexity rise where text collapses, the other two fall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..core.errors import MeasurementError
from ..model import Model, Probe, engine_of
from .asking import Array

FluencyMeasure = Literal["repetition", "distinct_2", "entropy", "base_perplexity"]

LOWER_IS_WORSE: tuple[FluencyMeasure, ...] = ("distinct_2", "entropy")
"""Measures whose promise is a least value; that of the others is a largest one."""
FEWEST: dict[FluencyMeasure, int] = {"repetition": 1, "distinct_2": 2, "entropy": 4, "base_perplexity": 1}
"""Tokens below which a reply has no such number."""
COLLAPSED: dict[FluencyMeasure, float] = {"repetition": 1.0, "distinct_2": 0.0, "entropy": 0.0}
"""The worst value of each."""


def repetition(tokens: Sequence[int], n: int = 4) -> float:
    """The share of n-grams that repeat an earlier one: 1 - distinct n-grams / n-grams, from 0 to below 1.

    It is seq-rep-n of Welleck et al. 2020 (arXiv 1908.04319), with n = 4 as there. In a text of up to n tokens no n-gram can repeat: 0.

    Raises:
        MeasurementError: no tokens.
    """
    found = _grams(tokens, n, 1)
    return 1 - len(found) / found.total() if found else 0.0


def distinct(tokens: Sequence[int], n: int = 2) -> float:
    """The number of distinct n-grams divided by the number of tokens, from above 0 to below 1 (Li et al. 2016, arXiv 1510.03055).

    Raises:
        MeasurementError: fewer than n tokens.
    """
    return len(_grams(tokens, n, n)) / len(tokens)


def ngram_entropy(tokens: Sequence[int]) -> float:
    """(2/3 H_2 + 4/3 H_3) / 2 in bits, with H_n the entropy of the reply's distribution of n-grams.

    The entropy is that of Zhang et al. 2018 (arXiv 1809.05972), the weights are those of Meng et al. 2022 (arXiv 2202.05262). It grows with the length of
    a reply, so that values compare only at equal ``max_new_tokens``.

    Raises:
        MeasurementError: fewer than 4 tokens.
    """
    entropies = []
    for n in (2, 3):
        counts = np.array([*_grams(tokens, n, 4).values()], dtype=float)
        shares = counts / counts.sum()
        entropies.append(float(-(shares * np.log2(shares)).sum()))
    return abs(2 / 3 * entropies[0] + 4 / 3 * entropies[1]) / 2  # abs: a reply of one n-gram has -0


def base_nll(model: Model, replies: Sequence[Probe]) -> Array:
    """[n_replies] the mean negative log-likelihood per token of replies under the unsteered model, in nats; exp of it is the perplexity.

    Args:
        replies: prompts with the replies that were written after them, from ``score_from`` on. All their tokens are scored, the end token too.

    Raises:
        MeasurementError: a log-likelihood is NaN or infinite.
    """
    scores = engine_of(model).run_pairs(replies, [(None, 0.0)])
    return np.array([-float(one[0].mean()) for one in scores])


def _grams(tokens: Sequence[int], n: int, fewest: int) -> Counter[tuple[int, ...]]:
    if len(tokens) < fewest:
        raise MeasurementError(f"a text of {len(tokens)} tokens is too short for this measure: it takes {fewest}")
    return Counter(tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))
