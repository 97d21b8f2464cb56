"""From items to probes, and from the probes' scores back to propensities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import MeasurementError
from ..model import Model, Probe, tokenize_item
from ..model.memo import Scores
from ..model.tokens import Ids
from ..prompting import Context, ContrastItem, render_item
from ..steering import Positions, first_steered

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Asked:
    """What is asked of the model about one item, and how the scores make its propensity.

    Attributes:
        probes: one, if all answers are single tokens; else one per answer.
        split: how many of the answers are matching ones; they come first.
        label: of the matching answer, as the item was put to the model.
    """

    probes: tuple[Probe, ...]
    split: int
    label: str | None

    def propensity(self, scores: list[Scores]) -> float:
        if len(self.probes) == 1 and self.probes[0].candidates is not None:
            sides = scores[0][: self.split], scores[0][self.split :]
        else:
            means = np.array([token_scores.mean() for token_scores in scores])
            sides = means[: self.split], means[self.split :]
        return float(np.logaddexp.reduce(sides[0]) - np.logaddexp.reduce(sides[1]))


def asked_of(model: Model, item: ContrastItem, positions: Positions, include_first: bool, context: Context) -> Asked:
    """An item's probes in a context."""
    rendered = render_item(item, model.format, context)
    tokens = tokenize_item(model.tokenizer, rendered)
    start = first_steered(positions, turn_end=tokens.turn_end, prompt_end=len(tokens.prompt), include_first=include_first)
    name = f"item {item.id}"
    if tokens.is_single:
        candidates: Ids = tuple(answer[0] for answer in tokens.matching + tokens.not_matching)
        return Asked((Probe(tokens.prompt, start, candidates, name=name),), len(tokens.matching), rendered.item.label)
    probes = tuple(
        Probe(tokens.prompt + answer, start, score_from=len(tokens.prompt), name=name)
        for answer in tokens.matching + tokens.not_matching
    )
    return Asked(probes, len(tokens.matching), rendered.item.label)


def propensities(asked: Sequence[Asked], scores: Iterable[Sequence[Scores]], columns: int) -> Array:
    """[items, columns] from the scores of all their probes in order, each with one entry per column.

    Raises:
        MeasurementError: one is NaN or infinite.
    """
    values, per_probe = np.empty((len(asked), columns)), iter(scores)
    for row, item in enumerate(asked):
        own = [next(per_probe) for _ in item.probes]
        values[row] = [item.propensity([found[column] for found in own]) for column in range(columns)]
    if not np.isfinite(values).all():
        raise MeasurementError("a propensity is NaN or infinite")
    return values
