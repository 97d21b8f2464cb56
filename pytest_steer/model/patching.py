"""Replacing single heads' outputs at the last token: many patches of one prompt in one forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from .abilities import abilities_of
from .loaded import Model
from .noise import Noise, agree, is_coarse, noise_between
from .sites import attach
from .state import measured
from .structure import structure_of
from .tokens import Ids

_MISFITS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError)
_BRANCHES = 320
_ROWS = 32
_TRIED, _SHORT = 16, 12


@dataclass(frozen=True, eq=False)
class Patch:
    """At the last token, columns ``start`` to ``end`` of what a block's output projection reads become ``value``."""

    layer: int
    start: int
    end: int
    value: torch.Tensor


class Patcher:
    """Log-probabilities of a next token under each of many patches, one at a time.

    A patch at the last token changes nothing before it. So the prompt runs once, and each patch is a branch of one token: a copy of
    the last one that sees the prompt and itself (a tree mask). Only models whose layers all heed such a mask are asked
    (``abilities.py``), and on the first prompt this is compared with whole rows, two patches each at the lowest and the highest
    layer (more in 16 bits, where noise hides a mistake); a model that computes something else takes whole rows.

    Attributes:
        branching: whether branches are used; None until the first prompt.
    """

    def __init__(self, model: Model, patches: Sequence[Patch]) -> None:
        self.model, self.patches = model, list(patches)
        self.branching: bool | None = None
        self._may_branch = structure_of(model).told_positions and abilities_of(model).branches

    @measured
    @torch.inference_mode()
    def run(self, ids: Ids, token: int) -> tuple[float, torch.Tensor]:
        """(log-probability of the token without a patch, float64 [patches] with each).

        Raises:
            SteerError: a ``steered`` block is open on the model.
        """
        none = Patch(self.patches[0].layer, 0, 0, torch.zeros(0))
        wanted = [none, *self.patches]
        if self.branching is None:
            self.branching = self._branches_fit(ids, token, wanted)
        far = len(ids) > abilities_of(self.model).reach
        found = self._whole(ids, token, wanted) if far or not self.branching else self._branched(ids, token, wanted)
        return float(found[0]), found[1:]

    def _branches_fit(self, ids: Ids, token: int, wanted: list[Patch]) -> bool:
        if not self._may_branch or len(ids) < 2:
            return False
        coarse = is_coarse(self.model.dtype)
        middle = wanted[3:-2]
        trial = [*wanted[:3], *(middle[:: max(1, len(middle) // _TRIED)] if coarse else []), *wanted[-2:]]
        try:
            branched = self._branched(ids, token, trial)
        except _MISFITS:
            return False
        whole = self._whole(ids, token, trial)
        noise = self._noise(ids, token, trial, whole) if coarse else Noise()
        return agree(self.model.dtype, [branched.numpy()], [whole.numpy()], noise)

    def _noise(self, ids: Ids, token: int, trial: list[Patch], whole: torch.Tensor) -> Noise:
        """How far whole rows move if each runs by itself; also on the prompt's last tokens alone."""
        few = trial[:2] + trial[-2:]
        at = [0, 1, -2, -1] if len(trial) > 1 else [0, 0, 0, 0]
        found = Noise()
        for part, together in ((ids, whole[at]), (ids[-_SHORT:], self._whole(ids[-_SHORT:], token, few))):
            alone = torch.cat([self._whole(part, token, [patch]) for patch in few])
            found |= noise_between([together.numpy()], [alone.numpy()])
        return found

    def _branched(self, ids: Ids, token: int, patches: list[Patch]) -> torch.Tensor:
        found = []
        n = len(ids) - 1
        for first in range(0, len(patches), _BRANCHES):
            part = patches[first : first + _BRANCHES]
            k = len(part)
            sees = torch.ones(n + k, n + k, dtype=torch.bool).tril()
            sees[n:, n:] = torch.eye(k, dtype=torch.bool)
            kind = next(self.model.hf.parameters()).dtype
            mask = torch.zeros(1, 1, n + k, n + k, dtype=kind).masked_fill(~sees, torch.finfo(kind).min)
            inputs = {
                "input_ids": torch.tensor([[*ids[:-1], *[ids[-1]] * k]]),
                "position_ids": torch.tensor([[*range(n), *[n] * k]]),
                "attention_mask": mask,
            }
            places = [(0, n + index) for index in range(k)]
            found.append(self._forward(inputs, part, places, token))
        return torch.cat(found)

    def _whole(self, ids: Ids, token: int, patches: list[Patch]) -> torch.Tensor:
        found = []
        for first in range(0, len(patches), _ROWS):
            part = patches[first : first + _ROWS]
            rows = torch.tensor([ids] * len(part))
            inputs = {"input_ids": rows, "attention_mask": torch.ones_like(rows)}
            found.append(self._forward(inputs, part, [(row, len(ids) - 1) for row in range(len(part))], token))
        return torch.cat(found)

    def _forward(
        self, inputs: dict[str, torch.Tensor], patches: list[Patch], places: list[tuple[int, int]], token: int
    ) -> torch.Tensor:
        rows, positions = torch.tensor(places, device=self.model.device).unbind(1)
        shape = inputs["input_ids"].shape

        def change(layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
            own = [(place, patch) for place, patch in zip(places, patches, strict=True) if patch.layer == layer]

            def changed(hidden: torch.Tensor) -> torch.Tensor:
                whole = hidden.reshape(*shape, -1).clone()
                for (row, position), patch in own:
                    whole[row, position, patch.start : patch.end] = patch.value.to(whole)
                return whole.reshape(hidden.shape)

            return changed

        handles: list[Any] = []
        try:
            for layer in sorted({patch.layer for patch in patches if patch.end > patch.start}):
                handles += attach(self.model, layer, "heads", change(layer))
            with _reading_only(self.model.hf.get_output_embeddings(), rows, positions) as reads_part:
                placed = {name: value.to(self.model.device) for name, value in inputs.items()}
                logits = self.model.hf(**placed, use_cache=False).logits
        finally:
            for handle in handles:
                handle.remove()
        picked = logits[0] if reads_part else logits[rows, positions]
        found: torch.Tensor = picked.double().log_softmax(-1)[:, token].cpu()
        return found


@contextmanager
def _reading_only(head: Any, rows: torch.Tensor, positions: torch.Tensor) -> Iterator[bool]:
    """Lets the unembedding see only some positions, if the model shows it; says whether it does."""
    if head is None:
        yield False
        return
    handle = head.register_forward_pre_hook(lambda _module, args: (args[0][rows, positions][None], *args[1:]))
    try:
        yield True
    finally:
        handle.remove()
