"""Does a model read its own language? Its perplexity of ordinary text against that of chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..errors import DataError
from ..model import Model, engine_of, tokenize_text
from ..model.loaded import once_per_model
from ..model.state import measured
from ..model.tokens import Ids

_TEXTS, _TOKENS = 8, 64
# Fewer tokens than this say nothing.
_LEAST = 32


@once_per_model
def _seen(_model: Model) -> dict[tuple[int, tuple[Ids, ...]], float]:
    """What was measured of a model, by its weights and the texts."""
    return {}


def chance_warnings(model: Model, texts: Sequence[str]) -> list[str]:
    """A warning if the unsteered model finds these texts no likelier than tokens drawn at random would be.

    Chance is the uniform distribution over the vocabulary, whose perplexity is its size. A few texts are read, and the first tokens of each.
    """
    sample = _sample(model, texts)
    if sum(len(ids) - 1 for ids in sample) < _LEAST:
        return []
    seen, key = _seen(model), (model.weights_state(), sample)
    if key not in seen:
        found = engine_of(model).remembered_tensors(
            ("chance", sample), lambda: {"loss": torch.tensor(_mean_loss(model, sample), dtype=torch.float64)}
        )
        seen[key] = float(found["loss"])
    return warning_of(model, seen[key])


def warning_of(model: Model, loss: float) -> list[str]:
    """The same of a mean negative log-likelihood per token, in nats."""
    if not loss > math.log(model.vocabulary):
        return []
    return [
        f"{model.id} reads these texts worse than chance: perplexity {math.exp(min(loss, 700.0)):,.0f}, and {model.vocabulary:,} for tokens drawn "
        "at random. Are its weights and its tokenizer the right ones?"
    ]


def _sample(model: Model, texts: Sequence[str]) -> tuple[Ids, ...]:
    found = []
    for text in texts[:: max(1, len(texts) // _TEXTS)][:_TEXTS]:
        try:
            found.append(tokenize_text(model.tokenizer, text, "text")[: min(_TOKENS, model.max_positions or _TOKENS)])
        except DataError:  # a single token
            continue
    return tuple(found)


@measured
@torch.no_grad()
def _mean_loss(model: Model, sample: Sequence[Ids]) -> float:
    total = count = 0.0
    for ids in sample:
        tokens = torch.tensor([ids], device=model.device)
        logits = model.hf(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False).logits[0, :-1].float()
        total += float(torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="sum"))
        count += len(ids) - 1
    return total / count
