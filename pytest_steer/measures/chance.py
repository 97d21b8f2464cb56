"""Does a model read its own language? Its perplexity of ordinary text against that of chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..core.errors import DataError
from ..model import Model, engine_of, tokenize_text
from ..model.model import once_per_model
from ..model.noise import eps_of
from ..model.state import measured
from ..model.tokens import Ids
from .asking import Array

_TEXTS, _TOKENS = 8, 64
# Fewer tokens than this say nothing.
_LEAST = 32
_ROUNDINGS = 4


@dataclass(frozen=True, eq=False)
class Reading:
    """How the unsteered model reads some texts, compared with chance: the uniform distribution over the vocabulary, whose perplexity is its size.

    Attributes:
        model: its name. vocabulary: how many tokens it has. eps: the rounding of its dtype.
        per_text: float64 [n_texts], mean negative log-likelihood per token, in nats.
        of: what was read, for messages.
    """

    model: str
    vocabulary: int
    eps: float
    per_text: Array
    of: str = "these texts"

    @property
    def loss(self) -> float:
        """The mean over the texts, in which each counts alike."""
        return float(self.per_text.mean())

    @property
    def chance(self) -> float:
        """The negative log-likelihood per token of a uniform guess, in nats."""
        return math.log(self.vocabulary)

    def is_better_at(self, loss: float) -> bool:
        """Whether so small a negative log-likelihood is better than chance by more than rounding."""
        return loss < self.chance * (1 - _ROUNDINGS * self.eps)

    @property
    def warnings(self) -> list[str]:
        """A warning if the texts are no likelier than tokens drawn at random would be."""
        if not self.loss > self.chance * (1 + _ROUNDINGS * self.eps):
            return []
        perplexity = math.exp(min(self.loss, 700.0))
        return [
            f"{self.model} reads {self.of} worse than chance: perplexity {perplexity:,.0f} (geometric mean), and {self.vocabulary:,} for tokens "
            "drawn at random. Are its weights and its tokenizer the right ones?"
        ]


def reading_of_texts(model: Model, per_text: Array) -> Reading:
    """The reading of texts whose unsteered negative log-likelihoods per token are known, [n_texts]."""
    return Reading(model.id, model.vocabulary, eps_of(model.dtype), per_text)


def reading_of_questions(model: Model, questions: Sequence[str]) -> Reading | None:
    """How the unsteered model reads questions as plain text: a few of them, and the first tokens of each. None if they are too short to say."""
    sample = _sample(model, questions)
    if sum(len(ids) - 1 for ids in sample) < _LEAST:
        return None
    seen, key = _seen(model), (model.weights_state(), sample)
    if key not in seen:
        found = engine_of(model).remembered_tensors(
            ("chance per text", sample), lambda: {"losses": torch.tensor(_losses(model, sample), dtype=torch.float64)}
        )
        seen[key] = found["losses"].numpy()
    of = f"the questions (the first {_TOKENS} tokens of {len(sample)})"
    return Reading(model.id, model.vocabulary, eps_of(model.dtype), np.asarray(seen[key]), of)


def chance_warnings(model: Model, questions: Sequence[str]) -> list[str]:
    """The warning of :func:`reading_of_questions`, if there is one."""
    reading = reading_of_questions(model, questions)
    return [] if reading is None else reading.warnings


@once_per_model
def _seen(_model: Model) -> dict[tuple[int, tuple[Ids, ...]], Array]:
    """What was measured of a model, by its weights and the questions."""
    return {}


def _sample(model: Model, questions: Sequence[str]) -> tuple[Ids, ...]:
    found = []
    for text in questions[:: max(1, len(questions) // _TEXTS)][:_TEXTS]:
        try:
            found.append(tokenize_text(model.tokenizer, text, "text")[: min(_TOKENS, model.max_positions or _TOKENS)])
        except DataError:  # a single token
            continue
    return tuple(found)


@measured
@torch.no_grad()
def _losses(model: Model, sample: Sequence[Ids]) -> list[float]:
    found = []
    for ids in sample:
        tokens = torch.tensor([ids], device=model.device)
        logits = model.hf(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False).logits[0, :-1].float()
        found.append(float(torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="mean")))
    return found
