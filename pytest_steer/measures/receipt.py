"""What can be told of single scores: how many tokens were steered, how large the dose was, and below which floor numbers are noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ..core.record import Dose, Receipt
from ..model import Model, Probe, block_outputs, engine_of
from ..model.noise import is_coarse
from ..steering import Intervention

# The median norm settles quickly; a few sequences are enough.
_SAMPLE = 16


def steering_receipt(model: Model, probes: Sequence[Probe], intervention: Intervention, multiplier: float) -> Receipt:
    """Counts the steered tokens of the probes and measures the dose on a sample of them."""
    sample = probes[:: max(1, len(probes) // _SAMPLE)][:_SAMPLE]
    what = ("receipt", [(probe.ids, probe.steer_from) for probe in sample], intervention.hash, float(multiplier))
    seen = engine_of(model).remembered_tensors(
        what, lambda: _norms(model, sample, intervention, multiplier), on_disk=intervention.durable
    )
    doses = []
    for layer in intervention.changes:
        norms, moved = seen[str(layer)]
        median = float(norms.median())
        norm = intervention.vector.norms[layer] if intervention.vector is not None else None
        relative = abs(multiplier) * norm / median if norm is not None and median > 0 else None
        shares = (moved / norms)[norms > 0]
        displacement = float(shares.median()) if len(shares) and _moves_alone(intervention) else None
        doses.append(
            Dose(layer=layer, norm=norm, median_hidden_norm=median, relative_dose=relative, displacement=displacement)
        )
    steered = sum(len(probe.ids) - probe.steer_from for probe in probes)
    return Receipt(
        sequences=len(probes),
        steered_tokens=steered,
        path=engine_of(model).path(intervention),
        ways=engine_of(model).paths(intervention),
        doses=tuple(doses),
        operation=intervention.operation,
    )


def _moves_alone(intervention: Intervention) -> bool:
    """Whether its effect at a position depends only on the hidden state there."""
    return intervention.looks == "position" and (intervention.applied is None or intervention.applied.is_declared)


def _norms(model: Model, sample: Sequence[Probe], intervention: Intervention, multiplier: float) -> dict[str, torch.Tensor]:
    """By layer, at the steered positions of all sequences: norms of what is there, and of the change, [2, positions]."""
    starts = [probe.steer_from for probe in sample]
    # Read by themselves, since many claims ask about the same sequences at other multipliers.
    kept = block_outputs(
        model,
        [probe.ids for probe in sample],
        intervention.changes,
        lambda index, hidden: hidden[starts[index] :],
        intervention.site,
        ("steered positions", *starts),
        on_disk=False,
    )
    found = {}
    for layer, rows in kept.items():
        here = torch.cat(rows)
        there = here
        if _moves_alone(intervention):
            strength, every = torch.full((1, 1), float(multiplier)), torch.ones(1, len(here), dtype=torch.bool)
            there = intervention.apply(here[None], strength, every, layer)[0]
        found[str(layer)] = torch.stack([here.norm(dim=-1), (there - here).norm(dim=-1)])
    return found


@dataclass(frozen=True)
class NoiseFloor:
    """How well a single score is known.

    Attributes:
        between_batches: the largest difference of a score between a plain batch and its rows by themselves.
        rounding: the distance between neighbouring numbers of the model's type at the size of its logits.
        unit: ``logits`` (of single tokens) or ``nats`` (log-likelihoods of tokens).
        tokens: how many scores are averaged for one answer or text, in the mean.
        coarse: whether the model computes in 16 bits or fewer.
    """

    between_batches: float
    rounding: float
    unit: Literal["logits", "nats"]
    tokens: float
    coarse: bool

    @property
    def score(self) -> float:
        """The floor: the larger of the two."""
        return max(self.between_batches, self.rounding)

    @property
    def answer(self) -> float:
        """The same of an answer or a text, the mean over its tokens, whose roundings are independent."""
        return self.score / math.sqrt(self.tokens)

    @property
    def effect(self) -> float:
        """How far it moves a difference of two propensities, each a difference of two answers."""
        return 2 * self.answer

    def slope(self, multipliers: Sequence[float]) -> float:
        """How far it moves an item's slope over these multipliers."""
        centred = np.asarray(multipliers, dtype=float) - np.mean(multipliers)
        return math.sqrt(2) * self.answer / float(np.sqrt(centred @ centred))


def noise_floor(model: Model, probes: Sequence[Probe], intervention: Intervention, multiplier: float) -> NoiseFloor:
    """The noise floor of scores such as these, measured on a few of them; remembered with the model.

    Raises:
        SteerError: a ``steered`` block is open on the model.
    """
    between, rounding = engine_of(model).noise_floor(probes, intervention, multiplier)
    raw = all(probe.candidates is not None or probe.margins for probe in probes)
    tokens = 1.0 if raw else float(np.mean([len(probe.reads) for probe in probes]))
    return NoiseFloor(between, rounding, "logits" if raw else "nats", tokens, is_coarse(model.dtype))
