"""What a prompt costs: perplexity of texts that follow it, held against the same texts by themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..model import Model, Probe, engine_of, tokenize_text
from ..model.tokens import encode
from .asking import Array


def prompt_cost(model: Model, texts: Sequence[str], prompt: str) -> Array:
    """float64 [n_texts], the rise of each text's mean negative log-likelihood per token if the prompt and a blank line come before it.

    Text is read as it is, without a chat template, and both times every token of the text but its first is scored: by itself that one has
    nothing before it.

    Raises:
        DataError: no texts, or one of a single token. MeasurementError: a score is NaN or infinite.
    """
    if not texts:
        raise DataError("the cost of a prompt takes at least one text")
    before = f"{prompt}\n\n"
    probes = []
    for number, text in enumerate(texts):
        alone = tokenize_text(model.tokenizer, text, f"text {number}")
        ids, spans = encode(model.tokenizer, before + text, special_tokens=True)
        first = next(index for index, (_, end) in enumerate(spans) if end > len(before))
        if first + 1 >= len(ids):
            raise DataError(f"text {number}: has one token behind the prompt, and every token but the first is scored")
        own = next(
            (index for index, (_, end) in enumerate(encode(model.tokenizer, text, special_tokens=True)[1]) if end > 0), 0
        )
        probes += [
            Probe(alone, len(alone), score_from=max(own + 1, 1), name=f"text {number}"),
            Probe(ids, len(ids), score_from=first + 1, name=f"text {number} behind the prompt"),
        ]
    scores = [row[0] for row in engine_of(model).run_pairs(probes, [(None, 0.0)])]
    return np.array([alone.mean() - behind.mean() for alone, behind in zip(scores[::2], scores[1::2], strict=True)])
