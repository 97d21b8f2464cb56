"""What a prompt costs: perplexity of texts that follow it, held against the same texts by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..data import Completion, TextLike
from ..errors import DataError
from ..model import Model, Probe, engine_of, tokenize_answer, tokenize_text
from ..model.tokens import encode
from .asking import Array


def prompt_cost(model: Model, texts: Sequence[TextLike], prompt: str) -> Array:
    """float64 [n_texts], the rise of each text's mean negative log-likelihood per token under the prompt.

    Before a plain text the prompt and a blank line are put, without a chat template, and both times every token of the text but its first is
    scored: by itself that one has nothing before it. A completion is asked with the prompt as its system prompt.

    Raises:
        DataError: no texts, or one of a single token. MeasurementError: a score is NaN or infinite.
        ModelError: the chat template takes no system prompt.
    """
    if not texts:
        raise DataError("the cost of a prompt takes at least one text")
    asked = [
        _completion(model, text, prompt, f"text {number}")
        if isinstance(text, Completion)
        else _plain(model, text, prompt, f"text {number}")
        for number, text in enumerate(texts)
    ]
    scores = [row[0] for row in engine_of(model).run_pairs([probe for pair in asked for probe in pair], [(None, 0.0)])]
    return np.array([alone.mean() - under.mean() for alone, under in zip(scores[::2], scores[1::2], strict=True)])


def _plain(model: Model, text: str, prompt: str, name: str) -> tuple[Probe, Probe]:
    before = f"{prompt}\n\n"
    alone = tokenize_text(model.tokenizer, text, name)
    _, own_spans = encode(model.tokenizer, text, special_tokens=True)
    ids, spans = encode(model.tokenizer, before + text, special_tokens=True)
    own = next(index for index, (_, end) in enumerate(own_spans) if end > 0)
    first = next(index for index, (_, end) in enumerate(spans) if end > len(before))
    if own + 1 >= len(alone) or first + 1 >= len(ids):
        raise DataError(f"{name}: has one token, and every token but the first is scored")
    return (
        Probe(alone, len(alone), score_from=own + 1, name=name),
        Probe(ids, len(ids), score_from=first + 1, name=f"{name} after the prompt"),
    )


def _completion(model: Model, text: Completion, prompt: str, name: str) -> tuple[Probe, Probe]:
    probes = []
    for system in (None, prompt):
        put = model.format.prompt(text.prompt, system)
        tokens = tokenize_answer(
            model.tokenizer, put.turn, put.opening, text.text.strip(), model.format.render is None, name
        )
        probes.append(Probe(tokens.ids, len(tokens.ids), score_from=tokens.first, name=name))
    return probes[0], replace(probes[1], name=f"{name} after the prompt")
