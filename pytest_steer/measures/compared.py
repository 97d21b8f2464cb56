"""What a method does to a behaviour, in the form in which methods are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..stats import Inference, mean_t
from .asking import Array

Interval = tuple[float | None, float | None]
UNSTEERED = "unsteered"


@dataclass(frozen=True)
class Strength:
    """What a method does to a behaviour at one strength.

    Attributes:
        multiplier: the strength.
        effect: mean over items of the propensity there minus the unsteered one; None if it was not measured.
        interval: its bounds, each one-sided. wrong_way: share of items whose effect is below 0 (Braun et al. 2025).
        cost: relative rise of perplexity on neutral texts, or None if there are none.
        reached: of a strength that was searched for: ``cost`` (the wanted cost), ``most`` (the largest strength looked at costs
            less), ``least`` (even the smallest costs more) or ``fixed`` (the method has one strength).
        pne: perplexity-normalised effect (von Rütte et al. 2024), see ``pne.pne``; None without texts.
        kl: mean divergence of the next token's distribution on neutral texts, in nats; None if it was not measured.
        accuracy_lost: share of multiple-choice questions that steering loses (``capability_delta_below``), with its bounds; None if it was not
            measured.
    """

    multiplier: float
    effect: float | None = None
    interval: Interval = (None, None)
    wrong_way: float | None = None
    cost: float | None = None
    reached: str | None = None
    pne: float | None = None
    kl: float | None = None
    accuracy_lost: float | None = None
    accuracy_lost_interval: Interval = (None, None)


def strength_of(
    effects: Array,
    multiplier: float,
    confidence: float,
    *,
    cost: float | None = None,
    reached: str | None = None,
    clusters: Sequence[int] | None = None,
    normalised: float | None = None,
) -> Strength:
    """The record of the effects [n_items] at one strength, with Student's t bounds, over clusters if there are some.

    Args:
        normalised: the perplexity-normalised effect.
    """
    found = mean_t(effects, confidence=confidence, clusters=clusters)
    wrong_way = float((effects < 0).mean())
    return Strength(
        multiplier, found.estimate, bounds_of(found), wrong_way, None if cost is None else finite(cost), reached, normalised
    )


def finite(bound: float) -> float | None:
    """The bound, or None if there is none on that side."""
    return float(bound) if math.isfinite(bound) else None


def bounds_of(found: Inference) -> Interval:
    """One-sided bounds as JSON has them."""
    return finite(found.low), finite(found.high)


@dataclass(frozen=True)
class SideChanges:
    """What a method does to the log-likelihood of both sides' answers at its deployed strength.

    Attributes:
        matching_change / not_matching_change: means over items, in nats per token, with their bounds.
        promoted / suppressed: rise and fall on the scale of Pres et al. 2024 (``answer_likelihood.normalised_changes``), on which behaviours
            compare; None where it is not defined.
    """

    matching_change: float
    matching_interval: Interval
    not_matching_change: float
    not_matching_interval: Interval
    promoted: float | None = None
    suppressed: float | None = None


@dataclass(frozen=True)
class Row:
    """One method on one behaviour.

    Attributes:
        n: items. spread: standard deviation of the items' unsteered propensities, the unit of what is standardised.
        steerability: mean slope of the items' propensity curves, and its bounds; None without a slope.
        anti_steerable_share: share of items with a slope <= 0 (Tan et al. 2024); None without a slope.
        sides: each side by itself, where a claim measured that.
        deployed / at_cost: at the method's own strength, and at the one where perplexity has risen by the wanted share.
    """

    behaviour: str
    method: str
    n: int
    spread: float | None
    deployed: Strength
    at_cost: Strength | None = None
    steerability: float | None = None
    steerability_interval: Interval = (None, None)
    anti_steerable_share: float | None = None
    sides: SideChanges | None = None

    def standardised(self, value: float | None) -> float | None:
        """A difference of propensities in standard deviations of the unsteered propensities (Glass's delta; Glass 1976)."""
        return None if value is None or not self.spread else value / self.spread

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with what is standardised."""
        found: dict[str, Any] = asdict(self)
        found["steerability_standardised"] = self.standardised(self.steerability)
        for name in ("deployed", "at_cost"):
            strength = getattr(self, name)
            if strength is not None:
                found[name]["interval"] = list(strength.interval)
                found[name]["accuracy_lost_interval"] = list(strength.accuracy_lost_interval)
                found[name]["effect_standardised"] = self.standardised(strength.effect)
        if self.sides is not None:
            for name in ("matching_interval", "not_matching_interval"):
                found["sides"][name] = list(found["sides"][name])
        found["steerability_interval"] = list(self.steerability_interval)
        return found


def setting_name(n_shots: int, shuffled: bool) -> str:
    """How prompts of a task are called: ``zero-shot``, ``5-shot``, ``5-shot shuffled``."""
    words = f"{n_shots}-shot" if n_shots else "zero-shot"
    return f"{words} shuffled" if shuffled else words


@dataclass(frozen=True)
class TaskRow:
    """How often one method gives the right answer to the items of a task, in one setting.

    Attributes:
        setting: see :func:`setting_name`.
        first_token / exact: shares of items.
        at_cost: at the strength of equal cost, rather than the deployed one.
    """

    behaviour: str
    method: str
    setting: str
    n: int
    first_token: float
    exact: float
    at_cost: bool = False
