"""Perplexity of texts: under steering, after a prompt, as a paired difference to the unsteered model, and compared with chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..core.errors import DataError
from ..data import Completion, TextLike
from ..data.texts import form_of
from ..model import Model, Probe, engine_of, tokenize_answer, tokenize_text
from ..model.arguments import checks_arguments
from ..model.noise import eps_of
from ..model.state import measured
from ..model.tokens import Ids, encode
from ..steering import Intervention, Positions, SteeringVector
from .asking import EVERYWHERE, Array, AskedText, Scope, ask_texts, check_reached
from .propensity import Name, Vector, check_multipliers, fitting, warn_of_repeats


@dataclass(frozen=True, eq=False)
class Perplexity:
    """Negative log-likelihoods of texts.

    Attributes:
        per_text: float64 [n_texts], mean negative log-likelihood per scored token, in nats.
        tokens: int [n_texts], how many tokens were scored: all but the first, of a completion those that hold a character of it.
        asked: the probes of each text.
        n_distinct: how many of the texts are distinct (white space aside), or None if that is not known.
    """

    per_text: Array
    tokens: Array
    asked: tuple[AskedText, ...] = field(repr=False, default=())
    n_distinct: int | None = None

    @property
    def probes(self) -> tuple[Probe, ...]:
        """What was asked of the model, a probe per text, or per window of a text in windows."""
        return tuple(probe for one in self.asked for probe in one.probes)

    @property
    def value(self) -> float:
        """exp of the mean negative log-likelihood over all scored tokens of all texts, in which long texts count more."""
        return float(np.exp((self.per_text * self.tokens).sum() / self.tokens.sum()))

    @property
    def of_the_mean_text(self) -> float:
        """exp of the mean over texts of their mean negative log-likelihood: the geometric mean of their perplexities, in which each text
        counts alike. ``ppl_delta_below`` judges the ratio of two of these."""
        return float(np.exp(self.per_text.mean()))

    @property
    def mean_of_texts(self) -> float:
        """Arithmetic mean of the texts' own perplexities (von Rütte et al. 2024, arXiv 2402.14433); infinite where it overflows."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.per_text).mean())


@checks_arguments
def perplexity(
    model: Model,
    texts: Sequence[TextLike],
    vector: SteeringVector | Intervention | None = None,
    *,
    multiplier: float = 1.0,
    positions: Positions = "all",
    include_first: bool = False,
    window: int | None = None,
    stride: int | None = None,
    allow_mismatch: tuple[str, ...] = (),
) -> Perplexity:
    """Perplexity of texts, each by itself. Plain ones are read as they are, completions as replies to their prompts.

    Args:
        texts: ``str``, scored at every token except the first, and :class:`Completion`, scored at the tokens of ``text``, see
            ``asking.ask_texts``.
        vector: a steering vector (added), or any intervention; None for the unsteered model.
        positions: which tokens are steered. A plain text has no prompt, so all its tokens count as generated ones: every scope steers
            all of them but the first position (``include_first`` takes it in for ``all``).
        window / stride: score texts of more than ``window`` tokens (by default as many as the model takes) in windows that begin every
            ``stride`` tokens (by default half a window). Each token is scored once, and a text is one text. Without them a text
            longer than the model allows is an error.
        allow_mismatch: ``("model",)`` and / or ``("template",)``: accept a vector that was made elsewhere.

    Raises:
        DataError: no texts, an empty one, one of a single token, one longer than the model allows, or steering reaches no scored token.
        SteerError: a window or stride that cannot be used.
        VectorError: the intervention does not fit the model, see ``check_fits``.
        MeasurementError: a score is NaN or infinite.

    Warns:
        SteerWarning: texts that repeat another one. Each has its number in ``per_text``; an interval over them would be too narrow.
    """
    scope = Scope(positions, include_first, allow_mismatch)
    (strength,) = check_multipliers([multiplier])
    return perplexity_curves(model, texts, {0: vector}, scope, multipliers=[strength], window=window, stride=stride)[0][0]


@checks_arguments
def perplexity_curves(
    model: Model,
    texts: Sequence[TextLike],
    vectors: Mapping[Name, Vector],
    scope: Scope = EVERYWHERE,
    *,
    multipliers: Sequence[float],
    window: int | None = None,
    stride: int | None = None,
) -> dict[Name, list[Perplexity]]:
    """Perplexity of texts under several interventions, each by itself, at several multipliers; None is the unsteered model.

    Arguments and errors are those of :func:`perplexity`. Work that interventions share is done once.

    Returns:
        {name: [one per multiplier]}, in the order of ``vectors``.
    """
    grid = check_multipliers(multipliers)
    changes = [fitting(model, vector, scope, grid, "multiplier") for vector in vectors.values()]
    pairs = [(change, multiplier) for change in changes for multiplier in grid]
    asked = ask_texts(model, texts, scope, window=window, stride=stride)
    forms = [form_of(text) for text in texts]
    found = [replace(one, n_distinct=len(set(forms))) for one in perplexity_of_pairs(model, asked, pairs)]
    warn_of_repeats(forms, "texts")
    return {name: found[index * len(grid) :][: len(grid)] for index, name in enumerate(vectors)}


def relative_rise(steered: Perplexity, base: Perplexity) -> float:
    """What steering costs: exp(d) - 1 with d the mean over texts of the difference in negative log-likelihood per token, each
    text paired with itself; 0.05 is 5 % more. Infinite where it overflows."""
    with np.errstate(over="ignore"):
        return float(np.expm1((steered.per_text - base.per_text).mean()))


_BEYOND = 700.0
"""exp of more is no finite number."""


def as_share(difference: float) -> float | None:
    """exp(d) - 1, from a difference in log-likelihood to a relative rise of perplexity; None for a bound so far out that it is no finite number."""
    return math.expm1(difference) if difference < _BEYOND else None


def relative_mean_rise(steered: Perplexity, base: Perplexity) -> float:
    """Relative rise of the arithmetic mean of the texts' perplexities (von Rütte et al. 2024); 0.05 is 5 % more."""
    return steered.mean_of_texts / base.mean_of_texts - 1


def perplexity_of_pairs(
    model: Model, asked: Sequence[AskedText], pairs: Sequence[tuple[Intervention | None, float]]
) -> list[Perplexity]:
    """One perplexity for each pair of intervention and multiplier, all of them in one run of the engine.

    Raises:
        DataError, MeasurementError: see :func:`perplexity`; steering reaches no scored token. Whether an intervention fits the model is not looked at.
    """
    if any(change is not None for change, _ in pairs):
        check_reached(asked)
    scores = iter(engine_of(model).run_pairs([probe for one in asked for probe in one.probes], pairs))
    own = [[next(scores) for _ in one.probes] for one in asked]
    # A text in windows is one text: the mean is over all its tokens.
    columns = [[np.concatenate([found[column] for found in one]) for one in own] for column in range(len(pairs))]
    return [
        Perplexity(np.array([-found.mean() for found in column]), np.array([len(found) for found in column]), tuple(asked))
        for column in columns
    ]


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
        of: the name of the texts in messages.
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
    found = engine_of(model).remembered_tensors(("chance per text", sample), lambda: {"losses": _losses(model, sample)})
    of = f"the questions (the first {_TOKENS} tokens of {len(sample)})"
    return replace(reading_of_texts(model, found["losses"].numpy()), of=of)


def chance_warnings(model: Model, questions: Sequence[str]) -> list[str]:
    """The warning of :func:`reading_of_questions`, if there is one."""
    reading = reading_of_questions(model, questions)
    return [] if reading is None else reading.warnings


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
def _losses(model: Model, sample: Sequence[Ids]) -> torch.Tensor:
    found = []
    for ids in sample:
        tokens = torch.tensor([ids], device=model.device)
        logits = model.hf(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False).logits[0, :-1].float()
        found.append(float(torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="mean")))
    return torch.tensor(found, dtype=torch.float64)
