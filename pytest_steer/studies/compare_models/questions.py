"""Tan et al.'s questions (arXiv 2407.12404) of two models: do they order behaviours alike, does the order carry over to other contexts,
and what explains the slopes?"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...stats import Decomposition, RankCorrelation, rank_correlation_bounds, variance_shares
from .slopes import Slopes


@dataclass(frozen=True)
class Ranked:
    """A rank correlation, and of what.

    Attributes:
        of: the behaviours, or the one whose items are ranked.
        reason: why there is none.
    """

    name: str
    of: Sequence[str]
    found: RankCorrelation | None
    reason: str | None = None


@dataclass(frozen=True)
class Answers:
    """What is known of two models together.

    Attributes:
        behaviours: of the two models' steerabilities, over behaviours.
        items: of the two models' slopes, over the items of each behaviour.
        contexts: for each of the two models, of steerability as given and in each shifted context (and in the mean of all), over
            behaviours.
        shares: for each of the two models and each behaviour, what explains the variance of its slopes; None if nothing can.
        refused: behaviours that cannot be held against each other, and why.
    """

    behaviours: Ranked
    items: Sequence[Ranked]
    contexts: tuple[Sequence[Ranked], Sequence[Ranked]]
    shares: tuple[Mapping[str, Decomposition | None], Mapping[str, Decomposition | None]]
    refused: Mapping[str, str]


def answers_of(first: Mapping[str, Slopes], second: Mapping[str, Slopes], *, confidence: float = 0.95) -> Answers:
    """Answer the questions from the slopes of two models, by behaviour."""
    refused = {name: reason for name in first if name in second and (reason := unpaired(first[name], second[name]))}
    both = [name for name in first if name in second and name not in refused]
    one, other = ([float(own[name].base.slopes.mean()) for name in both] for own in (first, second))
    return Answers(
        behaviours=_ranked("behaviours", both, one, other, confidence),
        items=[_over_items(name, first[name], second[name], confidence) for name in both],
        contexts=(_over_contexts(first, confidence), _over_contexts(second, confidence)),
        shares=(_shares(first, confidence), _shares(second, confidence)),
        refused=refused,
    )


def unpaired(one: Slopes, other: Slopes) -> str | None:
    """Why the items of a behaviour cannot be held against each other on two models; None if they can."""
    if list(one.ids) != list(other.ids):
        return "the two models were asked different items"
    if one.base.by_token != other.base.by_token:
        how = {True: "by one token (logits)", False: "by the tokens of an answer (nats per token)"}
        said = [" and ".join(how[way] for way in sorted(own.base.by_token, reverse=True)) for own in (one, other)]
        return f"the first model's answers are scored {said[0]}, the second's {said[1]}: their slopes have different units"
    return None


def _over_items(name: str, one: Slopes, other: Slopes, confidence: float) -> Ranked:
    return _ranked(name, [name], _unit_means(one), _unit_means(other), confidence, unit="items")


def _unit_means(own: Slopes) -> list[float]:
    """The mean slope of each unit: an item, or items that belong together."""
    clusters = np.asarray(own.clusters if own.clusters is not None else range(len(own.ids)))
    return [float(own.base.slopes[clusters == one].mean()) for one in dict.fromkeys(clusters.tolist())]


def _over_contexts(measured: Mapping[str, Slopes], confidence: float) -> list[Ranked]:
    """As given against each shifted context that several behaviours have, and against the mean over all of a behaviour's contexts."""
    names = list(dict.fromkeys(one.name for own in measured.values() for one in own.settings if one.shifted))
    found = []
    for name in names:
        pairs = {
            behaviour: (float(own.base.slopes.mean()), float(there.slopes.mean()))
            for behaviour, own in measured.items()
            if (there := own.of(name)) is not None and there.by_token == own.base.by_token
        }
        found.append(_ranked(name, [*pairs], *_columns(pairs), confidence))
    means = {
        behaviour: (float(own.base.slopes.mean()), float(np.mean([one.slopes.mean() for one in shifted])))
        for behaviour, own in measured.items()
        if (shifted := [one for one in own.settings if one.shifted and one.by_token == own.base.by_token])
    }
    if len(names) > 1:
        found.append(_ranked("mean of all contexts", [*means], *_columns(means), confidence))
    return found


def _columns(pairs: Mapping[str, tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [one for one, _ in pairs.values()], [other for _, other in pairs.values()]


def _ranked(
    name: str, of: Sequence[str], one: Sequence[float], other: Sequence[float], confidence: float, unit: str = "behaviours"
) -> Ranked:
    if len(one) < 3:
        return Ranked(name, of, None, f"a rank correlation needs at least 3 {unit}, and there are {len(one)}")
    found = rank_correlation_bounds(one, other, confidence=confidence)
    return Ranked(name, of, found, None if found is not None else "all values of one side are equal")


def _shares(measured: Mapping[str, Slopes], confidence: float) -> dict[str, Decomposition | None]:
    return {name: decomposed(own, confidence) for name, own in measured.items()}


def decomposed(own: Slopes, confidence: float = 0.95) -> Decomposition | None:
    """What letter, Yes / No, position and context explain of the slopes' variance, over items in all settings of one unit of scores.

    The settings with swapped options and exchanged labels belong to no context: they are there to tell the letter from the position.
    """
    settings = [one for one in own.settings if one.by_token == own.base.by_token]
    cells: dict[str, list[Hashable]] = {
        "letter": [label for one in settings for label in one.letter],
        "yes_no": [label for one in settings for label in one.yes_no],
        "position": [place for one in settings for place in one.position],
        "context": [one.name if one.shifted else own.base.name for one in settings for _ in own.ids],
    }
    units = list(own.clusters) if own.clusters is not None else list(range(len(own.ids)))
    return variance_shares(
        np.concatenate([one.slopes for one in settings]),
        {name: labels for name, labels in cells.items() if None not in labels},
        units * len(settings),
        confidence=confidence,
    )
