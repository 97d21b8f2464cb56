"""Replace the outputs of single heads at the last token: many patches of one prompt in one forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .abilities import abilities_of, additive
from .logits import logits_at
from .model import Model
from .noise import MISFITS, Noise, agree, is_coarse, noise_between
from .sites import attached
from .state import measured, structure_of
from .tokens import Ids

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
        is_near = len(ids) <= abilities_of(self.model).reach
        found = self._under(ids, token, wanted, branching=self.branching and is_near)
        return float(found[0]), found[1:]

    def _branches_fit(self, ids: Ids, token: int, wanted: list[Patch]) -> bool:
        if not self._may_branch or len(ids) < 2:
            return False
        coarse = is_coarse(self.model.dtype)
        middle = wanted[3:-2]
        trial = [*wanted[:3], *(middle[:: max(1, len(middle) // _TRIED)] if coarse else []), *wanted[-2:]]
        try:
            branched = self._under(ids, token, trial, branching=True)
        except MISFITS:
            return False
        whole = self._under(ids, token, trial, branching=False)
        noise = self._noise(ids, token, trial, whole) if coarse else Noise()
        return agree(self.model.dtype, [branched.numpy()], [whole.numpy()], noise)

    def _noise(self, ids: Ids, token: int, trial: list[Patch], whole: torch.Tensor) -> Noise:
        """How far whole rows move if each runs by itself; also on the prompt's last tokens alone."""
        few, short = trial[:2] + trial[-2:], ids[-_SHORT:]
        found = Noise()
        for part, together in ((ids, whole[[0, 1, -2, -1]]), (short, self._under(short, token, few, branching=False))):
            alone = torch.cat([self._under(part, token, [patch], branching=False) for patch in few])
            found |= noise_between([together.numpy()], [alone.numpy()])
        return found

    def _under(self, ids: Ids, token: int, patches: list[Patch], *, branching: bool) -> torch.Tensor:
        """Log-probabilities of the token under each patch, as branches of one sequence or in separate rows."""
        most, lay_out = (_BRANCHES, self._as_branches) if branching else (_ROWS, self._as_rows)
        found = []
        for first in range(0, len(patches), most):
            part = patches[first : first + most]
            inputs, places = lay_out(ids, len(part))
            found.append(self._forward(inputs, part, places, token))
        return torch.cat(found)

    def _as_branches(self, ids: Ids, count: int) -> tuple[dict[str, torch.Tensor], list[tuple[int, int]]]:
        """One sequence with ``count`` copies of its last token, and where those are."""
        n = len(ids) - 1
        sees = torch.ones(n + count, n + count, dtype=torch.bool).tril()
        sees[n:, n:] = torch.eye(count, dtype=torch.bool)
        inputs = {
            "input_ids": torch.tensor([[*ids[:-1], *[ids[-1]] * count]]),
            "position_ids": torch.tensor([[*range(n), *[n] * count]]),
            "attention_mask": additive(self.model, sees[None]),
        }
        return inputs, [(0, n + index) for index in range(count)]

    def _as_rows(self, ids: Ids, count: int) -> tuple[dict[str, torch.Tensor], list[tuple[int, int]]]:
        """The sequence ``count`` times, and where its last tokens are."""
        rows = torch.tensor([ids] * count)
        inputs = {"input_ids": rows, "attention_mask": torch.ones_like(rows)}
        return inputs, [(row, len(ids) - 1) for row in range(count)]

    def _forward(
        self, inputs: dict[str, torch.Tensor], patches: list[Patch], places: list[tuple[int, int]], token: int
    ) -> torch.Tensor:
        shape = inputs["input_ids"].shape

        def change(layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
            own = [(place, patch) for place, patch in zip(places, patches, strict=True) if patch.layer == layer]

            def changed(hidden: torch.Tensor) -> torch.Tensor:
                whole = hidden.reshape(*shape, -1).clone()
                for (row, position), patch in own:
                    whole[row, position, patch.start : patch.end] = patch.value.to(whole)
                return whole.reshape(hidden.shape)

            return changed

        layers = sorted({patch.layer for patch in patches if patch.end > patch.start})
        placed = {name: value.to(self.model.device) for name, value in inputs.items()}
        with attached(self.model, layers, "heads", change):
            logits = logits_at(self.model, {**placed, "use_cache": False}, places)
        found: torch.Tensor = logits.double().log_softmax(-1)[:, token].cpu()
        return found
