"""How far the shape of a batch moves a score, and how far apart two ways of computing it may be.

The same row has other last bits in another batch: sums are taken in another order, and in 16 bits each is rounded to two or three
digits. That is the noise of the plain way. A faster way is right if it adds no more than that. A trial forward shows whether something
changes what a model computes, and whether the model can take what it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from .memo import Scores
from .model import Model
from .probes import Probe
from .tokens import encode

# In float32 (or more) right ways differ by about 1e-6 of a score, and wrong ones by far more than this.
FLOOR = 1e-4
# How much larger than the noise of the plain way a difference may be.
_FACTOR = 2.0
# Typical difference, in spacings, of numbers that every other time are rounded to the other neighbour.
_EVERY_OTHER = math.sqrt(1 / 2)
_SHORT = 12


@dataclass(frozen=True)
class Noise:
    """How far scores move when only the shape of a plain batch changes.

    Attributes:
        largest: the largest difference, in the unit of the scores.
        typical: the root of the mean square of the differences.
    """

    largest: float = 0.0
    typical: float = 0.0

    def __or__(self, other: Noise) -> Noise:
        return Noise(max(self.largest, other.largest), max(self.typical, other.typical))


def is_coarse(dtype: str) -> bool:
    """Whether a model computes in 16 bits or fewer, so that the noise of its scores can be seen."""
    return eps_of(dtype) > FLOOR


def eps_of(dtype: str) -> float:
    """The relative distance between neighbouring numbers of the type that a model computes in."""
    kind = getattr(torch, dtype)
    # Packed integers are weights; the computation with them is in 16 bits.
    return float(torch.finfo(kind if kind.is_floating_point else torch.bfloat16).eps)


def spacing(dtype: str, scores: Iterable[Scores]) -> float:
    """The distance between neighbouring numbers of a type at the largest of the scores: what one rounding can do."""
    largest = max((float(np.abs(own).max()) for own in scores if own.size), default=0.0)
    eps = eps_of(dtype)
    return eps * 2.0 ** math.floor(math.log2(largest)) if largest > 0 and math.isfinite(largest) else eps


def noise_between(one: Sequence[Scores], other: Sequence[Scores]) -> Noise:
    """The noise that two plain batches of the same rows show."""
    apart = _apart(one, other)
    return Noise(float(apart.max(initial=0.0)), _typical(apart))


def agree(dtype: str, found: Sequence[Scores], plain: Sequence[Scores], noise: Noise) -> bool:
    """Whether a way gives what the plain one gives.

    In 16 bits, no score may be further off than twice the largest difference between plain batches, or one spacing. That finds one
    wrong score. And the typical score may be no further off than twice the typical difference, or than if every other score were
    rounded to the other side. That finds many scores that are a little wrong.
    """
    if not is_coarse(dtype):
        return all(
            np.allclose(one, other, rtol=FLOOR, atol=FLOOR, equal_nan=True) for one, other in zip(found, plain, strict=True)
        )
    apart, step = _apart(found, plain), spacing(dtype, plain)
    return bool(
        apart.max(initial=0.0) <= max(step, _FACTOR * noise.largest)
        and _typical(apart) <= max(_EVERY_OTHER * step, _FACTOR * noise.typical)
    )


def in_nats(probe: Probe, scores: Scores) -> Scores:
    """Scores on the scale of a log-likelihood, so that one room for rounding fits all.

    An error of d in the logits moves a small divergence by its square. The root of twice a divergence, for small ones the
    root-mean-square change of a log-probability, moves by d.
    """
    return np.sqrt(2 * scores) if probe.diverges else scores


def shortened(probe: Probe, tokens: int = _SHORT) -> Probe:
    """The same question about a few of its tokens. Short rows show a noise that long ones hide, since libraries multiply small
    matrices differently."""
    first = probe.reads.start
    cut = max(0, first + 1 - tokens)
    ids = probe.ids[cut : max(first + 2, first + tokens)] if probe.candidates is None else probe.ids[cut:]
    return replace(
        probe,
        ids=ids,
        steer_from=min(max(0, probe.steer_from - cut), len(ids) - 1),
        score_from=probe.score_from - cut if probe.candidates is None else 0,
    )


def _apart(one: Sequence[Scores], other: Sequence[Scores]) -> Scores:
    """Absolute differences of all scores: none where both are the same infinity or NaN, infinite where only one is."""
    a, b = np.concatenate([*one, np.zeros(0)]), np.concatenate([*other, np.zeros(0)])
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    apart[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    return np.where(np.isnan(apart), np.inf, apart)


def _typical(apart: Scores) -> float:
    return float(np.sqrt((apart**2).mean())) if apart.size else 0.0


MISFITS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
"""Errors of a model that cannot take its arguments (a tree mask, cut arguments, a cache). Each model class raises something else."""

_TRIAL_TEXT = (
    "The first snow fell early that year, and nobody in the village had expected it. Children ran out to see it before it melted; "
    "their parents looked for the shovels."
)
_TRIAL_TOKENS = 48


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a device or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def trial_ids(model: Model) -> torch.Tensor:
    """int64 [1, tokens]: a short English text."""
    ids, _ = encode(model.tokenizer, _TRIAL_TEXT, special_tokens=False)
    return torch.tensor([ids[: min(_TRIAL_TOKENS, model.max_positions or _TRIAL_TOKENS)]], device=model.device)


@torch.no_grad()
def trial_logits(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """float32 logits of one forward without a cache."""
    logits: torch.Tensor = model.hf(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return logits.float()


def difference(one: torch.Tensor, other: torch.Tensor) -> str | None:
    """By how much two outputs differ, in words; None if that is no more than rounding."""
    if one.shape != other.shape:
        return f"logits of the shape {list(one.shape)}, not {list(other.shape)}"
    room = 64 * torch.finfo(torch.float32).eps * max(1.0, float(other.nan_to_num(0, 0, 0).abs().max()))
    if torch.allclose(one, other, rtol=0, atol=room, equal_nan=True):
        return None
    return f"by up to {float((one - other).abs().nan_to_num(float('inf')).max()):.3g} in a logit"
