"""Next-token logits of rows that grow: in one batch with a repeated cache, or one by one without a cache."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import DynamicCache

from ..steering import Intervention, Rows
from .batch import padded
from .forward import traits_of
from .hooks import hooked
from .loaded import Model
from .tokens import Ids


@dataclass(frozen=True)
class Start:
    """A prompt to generate from.

    Attributes:
        ids: tokens of the prompt.
        steer_from: index of the first steered token; all from there on are steered, the generated ones too.
        shared: how many tokens at the start are computed once for all multipliers; at most ``steer_from``, and fewer than all.
        name: for messages.
    """

    ids: Ids
    steer_from: int
    shared: int
    name: str


class GrowingRows(Protocol):
    """Sequences that grow by one token at a time, in the order (prompt, multiplier)."""

    logits: torch.Tensor

    def feed(self, tokens: Sequence[int]) -> None:
        """Add one token to each row and compute ``logits``, float32 [rows, vocabulary], of what follows it."""


class CachedRows:
    """All rows in one batch. What a prompt shares is computed once, and its cache is repeated once per multiplier.

    Shorter prompts are padded on the left, so that distances between tokens stay what they are.

    Args:
        starts: prompts. If any shares tokens, all do, and what follows those has one length.
    """

    def __init__(
        self, model: Model, intervention: Intervention, starts: Sequence[Start], multipliers: Sequence[float]
    ) -> None:
        self.model, self.intervention = model, intervention
        self._looked = Rows(None)
        self._keeps = "logits_to_keep" in inspect.signature(model.hf.forward).parameters
        self._cache: Any = DynamicCache(config=model.hf.config)
        self._mask = torch.zeros(len(starts), 0, dtype=torch.long)
        self._strength = torch.tensor([float(m) for _ in starts for m in multipliers])[:, None]
        count = len(multipliers)
        shared = [start.ids[: start.shared] for start in starts]
        if any(shared):
            self._forward(*padded(shared, "left"), None)
            self._cache.batch_repeat_interleave(count)
        self._mask = self._mask.repeat_interleave(count, 0)
        rest, real = padded([start.ids[start.shared :] for start in starts for _ in multipliers], "left")
        begins = torch.tensor([start.steer_from - start.shared for start in starts for _ in multipliers])
        steered = (real != 0) & (real.cumsum(1) - 1 >= begins[:, None])
        self._looked.prompt = real != 0
        self.logits = self._forward(rest, real, steered)
        self._looked.prompt = None  # a condition on the prompt is decided

    def feed(self, tokens: Sequence[int]) -> None:
        ids = torch.tensor(tokens)[:, None]
        self.logits = self._forward(ids, torch.ones_like(ids), torch.ones_like(ids, dtype=torch.bool))

    @torch.inference_mode()
    def _forward(self, ids: torch.Tensor, real: torch.Tensor, steered: torch.Tensor | None) -> torch.Tensor:
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
        if steered is not None:
            steering = hooked(self.model, self.intervention, lambda: (self._strength, steered), rows=lambda: self._looked)
        with steering:
            logits: torch.Tensor = self.model.hf(**inputs).logits
        return logits[:, -1].float().cpu()


class PlainRows:
    """Each row by itself, in a batch of one, without padding, without a cache: every token from a whole forward.

    Args:
        copies: how many copies of the row make its batch. More than one show what the shape of a batch does.
    """

    def __init__(
        self,
        model: Model,
        intervention: Intervention,
        starts: Sequence[Start],
        multipliers: Sequence[float],
        copies: int = 1,
    ) -> None:
        self.model, self.intervention, self._copies = model, intervention, copies
        self._rows = [(list(start.ids), start.steer_from, m, len(start.ids)) for start in starts for m in multipliers]
        self.logits = torch.stack([self._forward(*row) for row in self._rows])

    def feed(self, tokens: Sequence[int]) -> None:
        for row, token in zip(self._rows, tokens, strict=True):
            row[0].append(token)
        self.logits = torch.stack([self._forward(*row) for row in self._rows])

    @torch.inference_mode()
    def _forward(self, ids: list[int], steer_from: int, multiplier: float, prompt: int) -> torch.Tensor:
        steered = (torch.arange(len(ids)) >= steer_from)[None].repeat(self._copies, 1)
        strength = torch.tensor([[float(multiplier)]]).repeat(self._copies, 1)
        looked = Rows((torch.arange(len(ids)) < prompt)[None].repeat(self._copies, 1))
        with hooked(self.model, self.intervention, lambda: (strength, steered), rows=lambda: looked):
            logits: torch.Tensor = self.model.hf(
                input_ids=torch.tensor([ids] * self._copies, device=self.model.device), use_cache=False
            ).logits
        return logits[0, -1].float().cpu()
