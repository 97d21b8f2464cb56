"""How far steering moves the next token's distribution: the Kullback-Leibler divergence from the unsteered model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..core.errors import DataError, SteerError
from ..data import ContrastItem, ItemLike, TextLike
from ..model import Model, Probe, engine_of
from ..model.arguments import checks_arguments
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, Positions, SteeringVector
from .asking import AFTER_PROMPT, EVERYWHERE, Array, Scope, ask_texts, asked_of, check_reached, items_to_measure
from .propensity import Vector, check_multipliers, fitting

Counts = np.ndarray[tuple[int, ...], np.dtype[np.int_]]


@dataclass(frozen=True, eq=False)
class Divergence:
    """Divergences KL(unsteered || steered) of next-token distributions, in nats over the whole vocabulary.

    Attributes:
        per_position: for each text float64 [positions], one for each position that predicts a scored token. None is below 0.
        asked: the probes of each text or item; position i of a probe predicts its token ``score_from + i``. An item has several probes
            where its answers follow different tokens.
    """

    per_position: tuple[Array, ...]
    asked: tuple[tuple[Probe, ...], ...] = field(repr=False, default=())

    @property
    def probes(self) -> tuple[Probe, ...]:
        return tuple(probe for own in self.asked for probe in own)

    def of_probes(self) -> Iterator[tuple[int, Probe, Array]]:
        """(text or item, probe, divergences at the positions of the probe)."""
        for unit, (probes, values) in enumerate(zip(self.asked, self.per_position, strict=True)):
            ends = np.cumsum([len(probe.reads) for probe in probes])
            for probe, own in zip(probes, np.split(values, ends[:-1]), strict=True):
                yield unit, probe, own

    @property
    def per_text(self) -> Array:
        """float64 [n_texts], the mean over the positions of each text."""
        return np.array([own.mean() for own in self.per_position])

    @property
    def tokens(self) -> Counts:
        """int [n_texts], how many positions each text has."""
        return np.array([len(own) for own in self.per_position])

    @property
    def value(self) -> float:
        """The mean over texts of ``per_text``, in which each text counts alike."""
        return float(self.per_text.mean())

    def quantile(self, q: float) -> float:
        """The least value that a share ``q`` of all positions of all texts does not exceed; long texts count more."""
        return float(np.quantile(np.concatenate(self.per_position), q, method="inverted_cdf"))


@checks_arguments
def kl_divergence(
    model: Model,
    texts: Sequence[TextLike],
    vector: SteeringVector | Intervention,
    *,
    multiplier: float = 1.0,
    positions: Positions = "all",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
) -> Divergence:
    """Measure KL(unsteered || steered) at every position that predicts a scored token of a text. Which tokens these are, see :func:`perplexity`.

    At a position with unsteered probabilities p and steered ones q of the next token it is the sum over the vocabulary of
    p (log p - log q). The positions are those that ``perplexity`` scores: they predict all tokens but the first.

    Args:
        positions: a text has no prompt, so all its tokens count as generated ones: every scope steers all of them
            but the first position (``include_first`` takes it in for ``all``).
        allow_mismatch: ``("model",)`` and / or ``("template",)``: accept a vector that was made elsewhere.

    Raises:
        DataError: no texts, an empty one, one of a single token, one longer than the model allows, or steering reaches no scored token.
        SteerError: there is no vector.
        VectorError: the intervention does not fit the model, see ``check_fits``.
        MeasurementError: a divergence is NaN or infinite.
    """
    (strength,) = check_multipliers([multiplier])
    return kl_curve(model, texts, vector, Scope(positions, include_first, allow_mismatch), multipliers=[strength])[0]


@checks_arguments
def kl_curve(
    model: Model,
    texts: Sequence[TextLike],
    vector: SteeringVector | Intervention,
    scope: Scope = EVERYWHERE,
    *,
    multipliers: Sequence[float],
) -> list[Divergence]:
    """:func:`kl_divergence` at several multipliers, all in one pass over the texts; at 0 it is 0."""
    if not texts:
        raise DataError("kl_divergence takes a list with at least one text; read_texts(path) reads one from a file")
    asked = ask_texts(model, texts, scope)
    check_reached(asked)
    probes = [tuple(replace(probe, diverges=True) for probe in one.probes) for one in asked]
    return _divergences(model, probes, vector, scope, multipliers)


@checks_arguments
def kl_at_answers(
    model: Model,
    items: Iterable[ItemLike],
    vector: SteeringVector | Intervention,
    scope: Scope = AFTER_PROMPT,
    *,
    multipliers: Sequence[float],
    context: Context = AS_GIVEN,
) -> list[Divergence]:
    """KL(unsteered || steered) where each item's answer begins: at the position that predicts its first scored token.

    Answers of an item that begin after different tokens (a tokenizer may merge an answer with the text before it) each have a position.

    Args:
        multipliers: strengths, all in one pass; at 0 the divergence is 0.

    Raises:
        DataError: no items, an item that cannot be tokenised, or one that would not be steered.
        SteerError, VectorError, MeasurementError: see :func:`kl_divergence`.
    """
    probes = [answer_starts(model, item, scope, context) for item in items_to_measure(items)]
    return _divergences(model, probes, vector, scope, multipliers)


def answer_starts(model: Model, item: ContrastItem, scope: Scope, context: Context) -> tuple[Probe, ...]:
    """The probes of an item: each text before its answers once, with the first scored token after it."""
    starts: dict[object, Probe] = {}
    for probe in asked_of(model, item, scope, context).probes:
        single = probe.candidates is not None
        ids = (*probe.ids, probe.candidates[0]) if probe.candidates is not None else probe.ids[: probe.score_from + 1]
        first = len(probe.ids) if single else probe.score_from
        own = Probe(ids, probe.steer_from, score_from=first, name=probe.name, diverges=True)
        starts.setdefault((ids[:first], own.steer_from), own)
    return tuple(starts.values())


def _divergences(
    model: Model, asked: Sequence[tuple[Probe, ...]], vector: Vector, scope: Scope, multipliers: Sequence[float]
) -> list[Divergence]:
    """One divergence for each multiplier, all of them in one run of the engine; ``asked``: the probes of each text or item."""
    grid = check_multipliers(multipliers)
    change = fitting(model, vector, scope, (), "multipliers")
    if change is None:
        raise SteerError(
            "a divergence compares the steered model with the unsteered one: give a SteeringVector or an Intervention"
        )
    strengths = [multiplier for multiplier in dict.fromkeys(grid) if multiplier]
    probes = [probe for own in asked for probe in own]
    scores = iter(engine_of(model).run_pairs(probes, [(change, multiplier) for multiplier in strengths]))
    per_unit = [[next(scores) for _ in own] for own in asked]
    found = {
        multiplier: tuple(np.concatenate([own[column] for own in unit]) for unit in per_unit)
        for column, multiplier in enumerate(strengths)
    }
    still = tuple(np.zeros(sum(len(probe.reads) for probe in own)) for own in asked)
    return [Divergence(found.get(multiplier, still), tuple(asked)) for multiplier in grid]
