"""Perplexity of texts under steering, and the paired difference to the unsteered model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..data.likeness import normal_form
from ..errors import DataError
from ..model import Model, Probe, check_fits, engine_of, tokenize_text
from ..model.arguments import checks_arguments
from ..model.batch import check_texts
from ..steering import Intervention, Positions, SteeringVector, as_intervention, check_positions
from .asking import Array
from .propensity import Name, check_dose, check_multipliers, warn_of_repeats


@dataclass(frozen=True, eq=False)
class Perplexity:
    """Negative log-likelihoods of texts.

    Attributes:
        per_text: float64 [n_texts], mean negative log-likelihood per scored token, in nats.
        tokens: int [n_texts], how many tokens were scored: all but the first.
        probes: what was asked of the model.
        n_distinct: how many of the texts are distinct (white space aside), or None if that is not known.
    """

    per_text: Array
    tokens: Array
    probes: tuple[Probe, ...] = field(repr=False, default=())
    n_distinct: int | None = None

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
        """Arithmetic mean of the texts' own perplexities (von Rütte et al. 2024, arXiv 2402.14433)."""
        return float(np.exp(self.per_text).mean())


@checks_arguments
def perplexity(
    model: Model,
    texts: Sequence[str],
    vector: SteeringVector | Intervention | None = None,
    *,
    multiplier: float = 1.0,
    positions: Positions = "all",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
) -> Perplexity:
    """Perplexity of texts, each by itself, read as they are (no chat template).

    Args:
        vector: what the model is steered with; None for the unsteered model.
        positions: a text has no prompt, so all its tokens count as generated ones: every scope steers all of them
            but the first position (``include_first`` takes it in for ``all``).
        allow_mismatch: ``("model",)`` and / or ``("template",)``: accept a vector that was made elsewhere.

    Raises:
        DataError: no texts, an empty one, one of a single token, or one longer than the model allows.
        VectorError: the intervention does not fit the model, see ``check_fits``.
        MeasurementError: a score is NaN or infinite.

    Warns:
        SteerWarning: texts that repeat another one. Each has its number in ``per_text``; an interval over them would be too narrow.
    """
    (strength,) = check_multipliers([multiplier])
    curve = perplexity_curves(
        model,
        texts,
        {0: vector},
        multipliers=[strength],
        positions=positions,
        include_first=include_first,
        allow_mismatch=allow_mismatch,
    )
    return curve[0][0]


@checks_arguments
def perplexity_curves(
    model: Model,
    texts: Sequence[str],
    vectors: Mapping[Name, SteeringVector | Intervention | None],
    *,
    multipliers: Sequence[float],
    positions: Positions = "all",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
) -> dict[Name, list[Perplexity]]:
    """Perplexity of texts under several interventions, each by itself, at several multipliers; None is the unsteered model.

    Arguments and errors are those of :func:`perplexity`. All that is the same below an intervention is computed once.

    Returns:
        {name: [one per multiplier]}, in the order of ``vectors``.
    """
    scope, grid = check_positions(positions), check_multipliers(multipliers)
    changes = {name: None if vector is None else as_intervention(vector) for name, vector in vectors.items()}
    for change in changes.values():
        if change is not None:
            check_fits(model, change, allow_mismatch)
            check_dose(change, grid, "multiplier")
    pairs = [(change, multiplier) for change in changes.values() for multiplier in grid]
    found = perplexity_of_pairs(model, texts, pairs, text_start(scope, include_first))
    warn_of_repeats([normal_form(text) for text in texts], "texts")
    return {name: found[index * len(grid) :][: len(grid)] for index, name in enumerate(changes)}


def relative_rise(steered: Perplexity, base: Perplexity) -> float:
    """What steering costs: exp(d) - 1 with d the mean over texts of the difference in negative log-likelihood per token, each
    text paired with itself; 0.05 is 5 % more. Infinite where it overflows."""
    with np.errstate(over="ignore"):
        return float(np.expm1((steered.per_text - base.per_text).mean()))


def text_start(positions: Positions, include_first: bool) -> int:
    """The first steered token of a text, which has no prompt: 0 or 1."""
    return 0 if positions == "all" and include_first else 1


def perplexity_of_pairs(
    model: Model, texts: Sequence[str], pairs: Sequence[tuple[Intervention | None, float]], start: int
) -> list[Perplexity]:
    """One perplexity for each pair of intervention and multiplier, all of them in one run of the engine.

    Args:
        start: the first steered token of each text, see :func:`text_start`.

    Raises:
        DataError, MeasurementError: see :func:`perplexity`. Whether an intervention fits the model is not looked at.
    """
    if not texts:
        raise DataError("perplexity takes a list with at least one text; read_texts(path) reads one from a file")
    for i, text in enumerate(texts):
        check_texts(model, (text,), f"text {i}")
    probes = [
        Probe(tokenize_text(model.tokenizer, text, f"text {i}"), start, score_from=1, name=f"text {i}")
        for i, text in enumerate(texts)
    ]
    scores = engine_of(model).run_pairs(probes, pairs)
    distinct = len({normal_form(text) for text in texts})
    counts = np.array([len(per_probe[0]) for per_probe in scores]) if pairs else np.zeros(0, dtype=int)
    return [
        Perplexity(np.array([-per_probe[column].mean() for per_probe in scores]), counts, tuple(probes), distinct)
        for column in range(len(pairs))
    ]
