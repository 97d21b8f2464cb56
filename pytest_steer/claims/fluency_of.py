"""Measures of fluency over a claim's replies: a number for each reply, and which of them have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import MeasurementError
from ..measures import Array
from ..measures.fluency import COLLAPSED, FEWEST, FluencyMeasure, base_nll, distinct, ngram_entropy, repetition
from ..measures.outcomes import ENDED
from ..model import Model
from .over_replies import Side, reply_probes

_OF_TOKENS = {"repetition": repetition, "distinct_2": distinct, "entropy": ngram_entropy}


@dataclass(frozen=True, eq=False)
class Values:
    """A measure of each reply of a side.

    Attributes:
        values: [n_replies]; the worst value where there is nothing in the reply to measure, NaN where it is too short.
        collapsed: [n_replies] whether there is nothing to measure, since the reply is empty or its span is.
        short: [n_replies] whether it has too little text for this measure.
    """

    values: Array
    collapsed: np.ndarray
    short: np.ndarray


def values_of(model: Model, side: Side, measure: FluencyMeasure) -> Values:
    """The measure of each reply.

    Repetition, distinct_2 and entropy are those of the tokens of the judged span, of a reply that loops too. The perplexity of a reply, given
    here as its logarithm, is that of all its tokens, with the end token, after the prompt that it was given; an empty one has none.

    Raises:
        MeasurementError: perplexity of a conversation that ended early.
    """
    nothing = np.zeros(len(side.outcomes), dtype=bool)
    if measure == "base_perplexity":
        ended = sum((one.why or "").startswith(ENDED) for one in side.outcomes)
        if ended:
            raise MeasurementError(
                f"{ended} of {len(nothing)} conversations end before their last turn, whose reply would have the perplexity: shorten the "
                "dialogues or max_new_tokens"
            )
        empty = np.array([one.is_empty for one in side.outcomes])
        return Values(np.where(empty, np.nan, base_nll(model, reply_probes(side))), nothing, empty)
    values, collapsed, short = np.full(len(nothing), np.nan), nothing.copy(), nothing.copy()
    for at, outcome in enumerate(side.outcomes):
        tokens = _tokens(model, outcome.text)
        if len(tokens) >= FEWEST[measure]:
            values[at] = _OF_TOKENS[measure](tokens)
        elif outcome.is_undetermined:
            values[at], collapsed[at] = COLLAPSED[measure], True
        else:
            short[at] = True
    return Values(values, collapsed, short)


def _tokens(model: Model, text: str) -> Sequence[int]:
    found: list[int] = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return found
