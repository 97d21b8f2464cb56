"""Next-token logits of rows that grow: in one batch with a cache, or one by one without a cache."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from ..steering import Intervention, Rows, SteeredBatch
from .batch import padded
from .forward import traits_of
from .hooks import hooked
from .loaded import Model
from .roomy import roomy_cache
from .tokens import Ids

# Rows that are done leave a batch once they are so large a part of it: leaving means to copy what the others keep.
_DONE = 0.125


@dataclass(frozen=True)
class Growing:
    """A row to generate from.

    Attributes:
        ids: tokens of the prompt.
        multiplier: strength of the intervention; at 0 the row is the unsteered model's.
        steer_from: index of the first steered token; all from there on are steered, the generated ones too.
        shared: how many tokens at the start are computed once for all rows that begin with the same ones; at most ``steer_from``, and
            fewer than all.
    """

    ids: Ids
    multiplier: float
    steer_from: int
    shared: int = 0


class GrowingRows(Protocol):
    """Sequences that grow by one token at a time."""

    logits: torch.Tensor
    """float32 [rows, vocabulary], of what follows each row."""

    def feed(self, tokens: Sequence[int], live: Sequence[int]) -> list[int]:
        """Add one token to each row and compute ``logits`` of what follows it.

        Args:
            tokens: one for each row.
            live: numbers of the rows that are read from here on, ascending. The others may leave.

        Returns:
            the rows that are left, by their numbers before the call.
        """


class CachedRows:
    """All rows in one batch. Tokens that rows share are computed once, and their keys and values are copied to each row.

    Shorter prompts are padded on the left, so that distances between tokens stay what they are.

    Args:
        rows: to generate from. If any shares tokens, all do, and what follows those has one length. Rows that are the same (samples) are one
            row up to their first generated token.
        room: tokens that are going to be fed.
    """

    def __init__(self, model: Model, intervention: Intervention, rows: Sequence[Growing], room: int) -> None:
        self.model, self.intervention = model, intervention
        self._looked = Rows(None)
        self._keeps = "logits_to_keep" in inspect.signature(model.hf.forward).parameters
        self._cache: Any = roomy_cache(model.hf.config, room)
        distinct = list(dict.fromkeys(rows))
        prefixes = list(dict.fromkeys(row.ids[: row.shared] for row in distinct))
        self._mask = torch.zeros(len(prefixes if prefixes[0] else distinct), 0, dtype=torch.long)
        self._strength = torch.zeros(len(self._mask), 1)
        if prefixes[0]:
            self._forward(*padded(prefixes, "left"), torch.zeros(0))
            at = {prefix: number for number, prefix in enumerate(prefixes)}
            self._choose([at[row.ids[: row.shared]] for row in distinct])
        self._strength = torch.tensor([[float(row.multiplier)] for row in distinct])
        rest, real = padded([row.ids[row.shared :] for row in distinct], "left")
        begins = torch.tensor([[row.steer_from - row.shared] for row in distinct])
        self._looked.prompt = real != 0
        logits = self._forward(rest, real, (real != 0) & (real.cumsum(1) - 1 >= begins))
        self._looked.prompt = None  # a condition on the prompt is decided
        self.logits = logits
        if len(distinct) < len(rows):
            order = {row: number for number, row in enumerate(distinct)}
            copies = [order[row] for row in rows]
            self._choose(copies)
            self.logits = logits[copies]

    def feed(self, tokens: Sequence[int], live: Sequence[int]) -> list[int]:
        left = list(range(len(tokens)))
        if len(tokens) - len(live) > _DONE * len(tokens):
            left = list(live)
            self._choose(left)
        ids = torch.tensor(tokens)[left, None]
        self.logits = self._forward(ids, torch.ones_like(ids), torch.ones_like(ids, dtype=torch.bool))
        return left

    def _choose(self, rows: Sequence[int]) -> None:
        """Keep these rows of all that is known of the past, in this order; the same row may come several times."""
        chosen = torch.tensor(rows)
        self._mask, self._strength = self._mask[chosen], self._strength[chosen]
        self._cache.reorder_cache(chosen.to(self.model.device))
        for name, decided in self._looked.memory.items():
            self._looked.memory[name] = decided[chosen.to(decided.device)]

    @torch.inference_mode()
    def _forward(self, ids: torch.Tensor, real: torch.Tensor, steered: torch.Tensor) -> torch.Tensor:
        device, traits = self.model.device, traits_of(self.model)
        self._mask = torch.cat([self._mask, real], 1)
        inputs: dict[str, Any] = {
            "input_ids": ids.to(device),
            "attention_mask": self._mask.to(device),
            "use_cache": True,
            traits.cache_name: self._cache,
        }
        if traits.takes_positions:
            # Absolute positions (GPT-2) count real tokens only.
            positions = (self._mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            inputs["position_ids"] = positions.to(device)
        if self._keeps:
            inputs["logits_to_keep"] = 1
        steering: AbstractContextManager[None] = nullcontext()
        if (self._strength != 0).any():
            dose = self._strength.to(device), (steered & (self._strength != 0)).to(device)
            steering = hooked(self.model, self.intervention, lambda: dose, rows=lambda: self._looked)
        with steering:
            logits: torch.Tensor = self.model.hf(**inputs).logits
        return logits[:, -1].float()


class PlainRows:
    """Each row by itself, in a batch of one, without padding, without a cache: every token from a whole forward.

    A user's own way of steering is entered around each of these forwards.
    """

    def __init__(self, model: Model, intervention: Intervention, rows: Sequence[Growing]) -> None:
        self.model, self.intervention = model, intervention
        self._rows = [(row, list(row.ids)) for row in rows]
        self._compute()

    def feed(self, tokens: Sequence[int], live: Sequence[int]) -> list[int]:
        for (_, ids), token in zip(self._rows, tokens, strict=True):
            ids.append(token)
        self._rows = [self._rows[row] for row in live]
        self._compute()
        return list(live)

    def _compute(self) -> None:
        known: dict[tuple[Ids, float, int], torch.Tensor] = {}  # samples are the same until they differ
        for row, ids in self._rows:
            key = tuple(ids), row.multiplier, row.steer_from
            if key not in known:
                known[key] = logits_of(self.model, self.intervention, row, ids)[0]
        self.logits = torch.stack([known[tuple(ids), row.multiplier, row.steer_from] for row, ids in self._rows])


@torch.no_grad()  # an inference tensor is more than some libraries' hooks can take
def logits_of(
    model: Model, intervention: Intervention, row: Growing, ids: Sequence[int], *, copies: int = 1, last: int = 1
) -> torch.Tensor:
    """float32 [last, vocabulary]: the logits at the last positions of one row, from a whole forward by itself.

    Args:
        ids: the prompt of the row, and what was generated so far. copies: how many copies of the row make its batch.
    """
    batch = torch.tensor([list(ids)] * copies, device=model.device)
    at = torch.arange(len(ids), device=model.device)[None].repeat(copies, 1)
    steering: AbstractContextManager[Any] = nullcontext()
    applied = intervention.applied
    if row.multiplier != 0 and applied is not None:
        # Where the prompt's mark has to be for the scope to begin there, see ``first_steered``.
        mark = row.steer_from + 1 if applied.positions == "last" else row.steer_from
        told = SteeredBatch(batch, torch.ones_like(batch), (mark,) * copies, (row.steer_from,) * copies)
        steering = applied.enter(told, row.multiplier)
    elif row.multiplier != 0:
        dose = torch.full((copies, 1), row.multiplier, device=model.device), at >= row.steer_from
        looked = Rows(at < len(row.ids))
        steering = hooked(model, intervention, lambda: dose, rows=lambda: looked)
    with steering:
        logits: torch.Tensor = model.hf(input_ids=batch, use_cache=False).logits
    return logits[0, -last:].float()
