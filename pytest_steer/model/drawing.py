"""How the tokens of a reply are chosen: the likeliest, or drawn from streams that each belong to one row."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch

from ..core.errors import SteerError
from .tokens import Ids

# Nucleus sampling sorts this many of the likeliest tokens first: they nearly always hold the nucleus, and sorting the whole vocabulary
# takes longer than the forward.
_LIKELIEST = 256


@dataclass(frozen=True)
class Drawing:
    """How the tokens of a reply are chosen, and how many replies there are.

    Attributes:
        max_new_tokens: the length at which a reply is cut.
        samples: replies to each prompt at each multiplier. More than one need a temperature: the likeliest tokens are always the same.
        temperature: tokens are drawn at it; None takes the likeliest one (greedy).
        top_p: only the likeliest tokens are drawn, up to the first at which their summed probability reaches it (nucleus sampling,
            Holtzman et al. 2020, arXiv 1904.09751).
        seed: of the draws.

    Raises:
        SteerError: a value out of its range, or one that means nothing without a temperature.
    """

    max_new_tokens: int = 64
    samples: int = 1
    temperature: float | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "samples"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SteerError(f"{name} is a whole number from 1 on, not {value!r}")
        if self.temperature is not None and not (_is_number(self.temperature) and self.temperature > 0):
            raise SteerError(
                f"temperature is a finite number above 0, or None for the likeliest token; not {self.temperature!r}"
            )
        if not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise SteerError(f"top_p is above 0 and at most 1, not {self.top_p!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise SteerError(f"seed is a whole number, not {self.seed!r}")
        if self.temperature is None and self.samples > 1:
            raise SteerError(
                f"{self.samples} samples without a temperature would all be the same: give a temperature, such as 0.7"
            )
        if self.temperature is None and self.top_p != 1:
            raise SteerError(
                "top_p says how tokens are drawn, and nothing is drawn without a temperature: give one, such as 0.7"
            )

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken, so that neither seed nor sample matters."""
        return self.temperature is None

    @property
    def identity(self) -> tuple[object, ...]:
        """Everything that the tokens of one sample depend on; a greedy sample does not depend on the seed."""
        if self.temperature is None:
            return (self.max_new_tokens,)
        return (self.max_new_tokens, float(self.temperature), float(self.top_p), self.seed)

    def points(self, ids: Ids, multiplier: float, sample: int) -> np.ndarray:
        """Float64 [max_new_tokens], uniform in [0, 1): the random numbers of one row.

        They depend on the seed, the prompt's tokens, the multiplier and the number of the sample, but not on other rows.
        """
        if self.temperature is None:
            return np.zeros(0)
        content = repr((self.seed, tuple(map(int, ids)), float(multiplier) + 0.0, sample))
        seed = int.from_bytes(hashlib.sha256(content.encode()).digest()[:16], "big")
        return np.random.default_rng(seed).random(self.max_new_tokens)

    def choose(self, logits: torch.Tensor, points: Sequence[float]) -> list[int]:
        """The next token of each row, by inversion of the distribution function, in float64.

        Args:
            logits: [rows, vocabulary].
            points: one number in [0, 1) for each row; none where nothing is drawn.
        """
        if self.temperature is None:
            found: list[int] = logits.argmax(1).tolist()
            return found
        chances = torch.softmax(logits.double() / self.temperature, 1)
        at = torch.tensor(list(points), dtype=torch.float64, device=chances.device)[:, None]
        if self.top_p == 1:
            return _inverted(chances, at)[:, 0].tolist()
        few, order, is_whole = _likeliest(chances, self.top_p)
        found = order.gather(1, _inverted(few, at))[:, 0].tolist()
        for row in (~is_whole).nonzero()[:, 0].tolist():
            own, places = chances[row].sort(descending=True, stable=True)
            own = torch.where(own.cumsum(0) - own < self.top_p, own, 0.0)
            found[row] = int(places[_inverted(own[None], at[row, None])[0, 0]])
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _inverted(chances: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """int64 [rows, 1]: for each row the first index at which the summed chances exceed its point of their total."""
    summed = chances.cumsum(1)
    at = torch.searchsorted(summed, points * summed[:, -1:], right=True)
    # Rounding may leave the point on the total itself.
    last = chances.shape[1] - 1 - (chances.flip(1) > 0).int().argmax(1, keepdim=True)
    return torch.minimum(at, last)


def _likeliest(chances: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The nucleus of each row among its likeliest tokens.

    Returns:
        chances [rows, some], descending and 0 outside of the nucleus; the tokens; bool [rows]: does it hold all of the nucleus? Of equally
        likely tokens the first come first. If the last ones are as likely as tokens that were left out, the nucleus has to end before.
    """
    count = min(_LIKELIEST, chances.shape[1])
    tokens = chances.topk(count, dim=1).indices.sort(1).values
    own, places = chances.gather(1, tokens).sort(descending=True, stable=True)
    kept = own.cumsum(1) - own < top_p
    is_whole = (own[:, -1] < own.gather(1, kept.sum(1, keepdim=True) - 1)[:, 0]) | (count == chances.shape[1])
    return torch.where(kept, own, 0.0), tokens.gather(1, places), is_whole
