"""From items to probes, and from the probes' scores back to propensities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..core.errors import MeasurementError, ModelError
from ..core.record import Thinking
from ..data import ContrastItem
from ..model import Model, Probe, tokenize_item
from ..model.memo import Scores
from ..model.tokens import Ids, check_texts
from ..prompting import Context, render_item
from ..steering import Positions, first_steered

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Asked:
    """What is asked of the model about one item, and how the scores make its propensity.

    Attributes:
        probes: one, if all answers are single tokens; else one per answer.
        split: how many of the answers are matching ones; they come first.
        label: of the matching answer, as the item was put to the model.
        lengths: how many tokens of each answer are scored.
        thinking: where the reply stands, see ``prompting.chat.PromptText``; notes: what the chat template made necessary.
        summed: whether an answer's token log-likelihoods are added up instead of averaged.
    """

    probes: tuple[Probe, ...]
    split: int
    label: str | None
    lengths: tuple[int, ...] = ()
    thinking: Thinking | None = None
    notes: tuple[str, ...] = ()
    summed: bool = False

    def answers(self, scores: list[Scores]) -> Array:
        """[n_answers] the score of each answer, the matching ones first: the logit of a single token, else of all its tokens."""
        if len(self.probes) == 1 and self.probes[0].candidates is not None:
            return np.asarray(scores[0], dtype=float)
        return np.array([token_scores.sum() if self.summed else token_scores.mean() for token_scores in scores])

    def sides(self, scores: list[Scores]) -> tuple[float, float]:
        """The score of the matching and of the other side: the log of the summed exponentials of its answers' scores."""
        values = self.answers(scores)
        return float(np.logaddexp.reduce(values[: self.split])), float(np.logaddexp.reduce(values[self.split :]))


def asked_of(
    model: Model,
    item: ContrastItem,
    positions: Positions,
    include_first: bool,
    context: Context,
    *,
    likelihoods: bool = False,
    called: str = "item",
) -> Asked:
    """An item's probes in a context.

    Args:
        called: what it is called in messages.
        likelihoods: ask for the log-likelihoods of all answers, also where each is one token and two logits tell their difference.
    """
    name = f"{called} {item.id}"
    check_texts(model, (item.question, *item.matching, *item.not_matching), name)
    try:
        rendered = render_item(item, model.format, context)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None
    tokens = tokenize_item(model.tokenizer, rendered)
    make = partial(
        Asked,
        split=len(tokens.matching),
        label=rendered.item.label,
        lengths=tuple(len(answer.scored) for answer in tokens.answers),
        thinking=rendered.thinking,
        notes=rendered.notes,
        summed=context.answers == "sum",
    )
    starts = [
        first_steered(positions, turn_end=answer.turn_end, prompt_end=answer.first, include_first=include_first)
        for answer in tokens.answers
    ]
    if tokens.is_single and not likelihoods:
        candidates: Ids = tuple(answer.ids[answer.first] for answer in tokens.answers)
        return make((Probe(tokens.prompt, starts[0], candidates, name=name),))
    probes = tuple(
        Probe(answer.ids, start, score_from=answer.first, name=name)
        for answer, start in zip(tokens.answers, starts, strict=True)
    )
    return make(probes)


def propensities(asked: Sequence[Asked], scores: Iterable[Sequence[Scores]], columns: int) -> Array:
    """[items, columns] from the scores of all their probes in order, each with one entry per column.

    Raises:
        MeasurementError: one is NaN or infinite.
    """
    matching, other = sides_of(asked, scores, columns)
    return finite(matching - other, "a propensity")


def sides_of(asked: Sequence[Asked], scores: Iterable[Sequence[Scores]], columns: int) -> tuple[Array, Array]:
    """The score of the matching and of the other side, [items, columns] each; arguments as of :func:`propensities`."""
    values, per_probe = np.empty((2, len(asked), columns)), iter(scores)
    for row, item in enumerate(asked):
        own = [next(per_probe) for _ in item.probes]
        for column in range(columns):
            values[:, row, column] = item.sides([found[column] for found in own])
    return values[0], values[1]


def finite(values: Array, what: str) -> Array:
    """The values.

    Raises:
        MeasurementError: one is NaN or infinite; ``what`` they are is named.
    """
    if not np.isfinite(values).all():
        raise MeasurementError(f"{what} is NaN or infinite")
    return values
