"""Hidden states at block outputs and sites: read, with their gradients, many layers in one pass; moved by a dose; replaced by a patch.

Nothing is remembered here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch

from ..core.errors import MeasurementError, SteerError, VectorError
from ..core.run_context import report_progress
from ..steering import Intervention, Rows, Site
from .abilities import abilities_of, additive
from .forward import logits_at
from .model import Model
from .noise import MISFITS, Noise, agree, eps_of, is_coarse, noise_between
from .probes import Pair, Probe
from .sites import attached
from .state import measured, structure_of
from .tokens import Ids, check_sequence, padded

Reader = Callable[[int, torch.Tensor], torch.Tensor]

_ROWS = 32


class _Enough(Exception):
    """Ends a forward once the highest layer that is wanted has been read."""


@measured
@torch.inference_mode()
def read_outputs(
    model: Model, sequences: Sequence[Ids], layers: Sequence[int], read: Reader | Mapping[int, Reader], site: Site = "block"
) -> dict[int, list[torch.Tensor]]:
    """Values read from the outputs of decoder blocks, or from a site inside of them, without remembering them.

    See ``engine.block_outputs``, which remembers.
    """
    for index, ids in enumerate(sequences):
        check_sequence(model, ids, f"sequence {index}")
    ordered = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    kept: dict[int, list[torch.Tensor]] = {layer: [torch.empty(0)] * len(sequences) for layer in layers}
    for start in range(0, len(ordered), _ROWS):
        chunk = ordered[start : start + _ROWS]
        for layer, hidden in _read_blocks(model, [sequences[i] for i in chunk], layers, site).items():
            for row, i in enumerate(chunk):
                own = hidden[row, : len(sequences[i])].float()
                if not torch.isfinite(own).all():
                    raise MeasurementError(f"sequence {i}: the output of layer {layer} has NaN or infinite values")
                kept[layer][i] = (read[layer] if isinstance(read, Mapping) else read)(i, own).cpu()
        report_progress(f"reading activations: {min(start + _ROWS, len(ordered))} of {len(ordered)} texts")
    return kept


def _read_blocks(model: Model, sequences: Sequence[Ids], layers: Sequence[int], site: Site) -> dict[int, torch.Tensor]:
    """One padded batch: {layer: [rows, positions, width]}, real tokens first."""
    ids, mask = padded(sequences)
    outputs: dict[int, torch.Tensor] = {}

    def keep(layer: int) -> Callable[[torch.Tensor], None]:
        def see(hidden: torch.Tensor) -> None:
            # A copy inside of blocks: Falcon adds its attention to the MLP's output in place.
            outputs[layer] = hidden if site == "block" else hidden.clone()
            if layer == max(layers):
                raise _Enough

        return see

    with attached(model, layers, site, keep), suppress(_Enough):
        model.backbone(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False)
    # OPT flattens rows and positions within its blocks.
    return {layer: hidden.reshape(*ids.shape, -1) for layer, hidden in outputs.items()}


def check_layers(model: Model, layers: int | Sequence[int]) -> tuple[int, ...]:
    """The layers, ascending and distinct.

    Raises:
        VectorError: none, or one that the model does not have.
    """
    wanted = (layers,) if isinstance(layers, int) else tuple(sorted(set(layers)))
    bad = [layer for layer in wanted if not 0 <= layer < model.n_layers]
    if not wanted or bad:
        raise VectorError(
            f"layer {bad[0] if bad else wanted!r}: {model.id} has {model.n_layers} decoder blocks (0 to {model.n_layers - 1})"
        )
    return wanted


Objective = Callable[[list[torch.Tensor]], torch.Tensor]


@measured
def block_gradients(
    model: Model, probes: Sequence[Probe], layers: Sequence[int], objective: Objective
) -> dict[int, list[torch.Tensor]]:
    """Gradient of a number with respect to the unsteered output of each block, for one batch of sequences.

    Args:
        objective: logits of each probe at its ``reads``, float32 [reads, vocabulary], -> one number that is a sum of
            terms of the probes.

    Returns:
        {layer: [one tensor [tokens, width] per probe]}, float32 on the CPU.

    Raises:
        SteerError: a ``steered`` block is open on the model.
        DataError: a sequence is longer than the model allows.
        ModelError: the output of a layer is not one hidden state per token.
        MeasurementError: a gradient is NaN or infinite, or the model has none.
    """
    for probe in probes:
        check_sequence(model, probe.ids, probe.name)
    outputs: dict[int, torch.Tensor] = {}

    def keep(layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def see(hidden: torch.Tensor) -> torch.Tensor:
            # The blocks below the lowest layer need no backward.
            outputs[layer] = hidden.detach().requires_grad_() if layer == min(layers) else hidden
            return outputs[layer]

        return see

    places = [(row, at) for row, probe in enumerate(probes) for at in probe.reads]
    # The caller may have switched gradients off. A model that was loaded in inference mode has no gradients.
    with torch.inference_mode(False), torch.enable_grad(), attached(model, layers, "block", keep):
        try:
            ids, mask = (value.to(model.device) for value in padded([probe.ids for probe in probes]))
            inputs = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
            logits = logits_at(model, inputs, places)
            parts = list(torch.split(logits.float(), [len(probe.reads) for probe in probes]))
            gradients = torch.autograd.grad(objective(parts), [outputs[layer] for layer in layers])
        except RuntimeError as error:
            first = str(error).strip().partition("\n")[0]
            raise MeasurementError(f"{model.id}: no gradient with respect to its block outputs: {first}") from error
    found: dict[int, list[torch.Tensor]] = {}
    for layer, gradient in zip(layers, gradients, strict=True):
        found[layer] = [gradient[row, : len(probe.ids)].float().cpu() for row, probe in enumerate(probes)]
        for probe, own in zip(probes, found[layer], strict=True):
            if not torch.isfinite(own).all():
                raise MeasurementError(f"{probe.name}: the gradient at layer {layer} has NaN or infinite values")
    return found


Remembered = Callable[[tuple[object, ...], Callable[[], dict[str, torch.Tensor]]], dict[str, torch.Tensor]]

# The median norm settles quickly.
_SAMPLE = 4
# How many roundings a dose has to exceed. In 16 bits, half of one moves a hidden state to its neighbour. In float32, where no honest dose is
# near it, the sums of the layers that follow lose some bits more.
_COARSE, _FINE = 0.5, 64
# The smallest multiplier of an intervention whose dose is not known.
_LEAST = 1e-5


class Doses:
    """The doses of interventions on one model, measured once each on a few of the first probes that they are asked about."""

    def __init__(self, model: Model, remembered: Remembered) -> None:
        """``remembered``: as ``Engine.remembered_tensors``."""
        self.model, self._remembered = model, remembered
        self._norms: dict[tuple[Site, int], float] = {}
        self._units: dict[str, float | None] = {}

    @property
    def least(self) -> float:
        """The smallest relative dose that is not lost in rounding."""
        return eps_of(self.model.dtype) * (_COARSE if is_coarse(self.model.dtype) else _FINE)

    def relative(self, probes: Sequence[Probe], change: Intervention, multiplier: float) -> float | None:
        """What a multiplier moves the hidden states by, as a share of their norm (median over steered positions, largest layer).

        None if it is not known: a strength that means nothing, a change that is not declared, or one that is 0 on these probes.
        """
        if not _has_dose(change):
            return None
        if change.hash not in self._units:
            try:
                self._measure(_sample_of(probes), [change])
            except MeasurementError:
                return None  # NaN in the unsteered model, which the measure reports
        unit = self._units[change.hash]
        return None if unit is None else abs(multiplier) * unit

    def check(self, probes: Sequence[Probe], pairs: Sequence[Pair]) -> None:
        """Refuse multipliers, other than 0, whose dose is lost in the rounding of the hidden states.

        Raises:
            SteerError: names the multiplier, its dose, the rounding, and the smallest multiplier that works.
        """
        acting = [(pair.acting, pair.multiplier) for pair in pairs if pair.acting is not None]
        new = {change.hash: change for change, _ in acting if change.hash not in self._units and _has_dose(change)}
        with suppress(MeasurementError):
            self._measure(_sample_of(probes), [*new.values()])
        for change, multiplier in acting:
            self.check_one(probes, change, multiplier, f"multiplier {multiplier!r}")

    def check_one(self, probes: Sequence[Probe], change: Intervention, multiplier: float, called: str) -> None:
        """Refuse one multiplier, or a distance between two, whose dose is lost in rounding."""
        unit = self.relative(probes, change, 1.0)
        if change.strength == "ignored" or (
            abs(multiplier) >= _LEAST if unit is None else abs(multiplier) * unit >= self.least
        ):
            return
        kind, moved, least, coarse = self.model.dtype, "by an unknown share of their norm", _LEAST, ""
        if unit is not None:
            moved, least = f"by {abs(multiplier) * unit:.2g} of their norm", self.least / unit
            coarse = ". Or measure in float32 (--steer-dtype float32)" if is_coarse(kind) else ""
        raise SteerError(
            f"{called}: the hidden states move {moved}, and in {kind} they are rounded by up to {eps_of(kind):.2g} of it, so rounding would be "
            f"measured and not steering. Use at least {least:.2g}{coarse}"
        )

    def _measure(self, sample: Sequence[Probe], changes: Sequence[Intervention]) -> None:
        """The doses of several interventions at strength 1; vectors share a pass for each site."""
        wanted: dict[Site, set[int]] = {}
        for change in changes:
            if change.vector is not None:
                missing = {layer for layer in change.changes if (change.site, layer) not in self._norms}
                wanted.setdefault(change.site, set()).update(missing)
        for site, layers in wanted.items():
            if layers and sample:
                asked = tuple((probe.ids, probe.steer_from) for probe in sample)
                read = partial(self._medians, sample, sorted(layers), site)
                found = self._remembered(("norms", asked, tuple(sorted(layers)), site), read)
                self._norms |= {(site, int(layer)): float(median) for layer, median in found.items()}
        for change in changes:
            is_vector = change.vector is not None
            self._units[change.hash] = self._of_vector(change) if is_vector else self._of_change(sample, change)

    def _medians(self, sample: Sequence[Probe], layers: Sequence[int], site: Site) -> dict[str, torch.Tensor]:
        """The median norm of the hidden states at steered positions, by layer."""
        ids = [probe.ids for probe in sample]
        kept = read_outputs(self.model, ids, layers, lambda at, hidden: hidden[sample[at].steer_from :].norm(dim=-1), site)
        return {str(layer): torch.cat(own).median() for layer, own in kept.items()}

    def _of_vector(self, change: Intervention) -> float | None:
        assert change.vector is not None
        norms = change.vector.norms
        return _largest([norms[layer] / max(self._norms.get((change.site, layer), 0.0), 1e-30) for layer in change.changes])

    def _of_change(self, sample: Sequence[Probe], change: Intervention) -> float | None:
        """At strength 1. Doses are proportional to it, at least small ones."""
        kind = next(self.model.hf.parameters()).dtype
        rows = [Rows(torch.arange(len(probe.ids))[None] < probe.prompt_tokens) for probe in sample]

        def moved(layer: int, index: int, hidden: torch.Tensor) -> torch.Tensor:
            before = hidden.to(kind)[None]
            steered = (torch.arange(len(hidden), device=hidden.device) >= sample[index].steer_from)[None]
            now = change.apply(before, torch.ones(1, 1, device=hidden.device), steered, layer, rows[index])
            apart = (now - before)[0, sample[index].steer_from :].double().norm(dim=-1)
            shares: torch.Tensor = apart / hidden[sample[index].steer_from :].double().norm(dim=-1).clamp(min=1e-30)
            return shares

        found, ids = [], [probe.ids for probe in sample]
        for layer in change.layers if sample else ():
            kept = read_outputs(self.model, ids, [layer], partial(moved, layer), change.site)
            found.append(float(torch.cat(kept[layer]).median()))
        return _largest(found)


def _has_dose(change: Intervention) -> bool:
    """Whether its multiplier means something, and what it changes is known."""
    return change.strength != "ignored" and (change.applied is None or change.applied.is_declared)


def _sample_of(probes: Sequence[Probe]) -> list[Probe]:
    """A few of the probes, those with a steered position."""
    return [probe for probe in probes[:: max(1, len(probes) // _SAMPLE)] if probe.steer_from < len(probe.ids)][:_SAMPLE]


def _largest(shares: Sequence[float]) -> float | None:
    """The largest share; None if there is none, or it is 0 or not finite."""
    largest = max(shares, default=0.0)
    return largest if 0 < largest < float("inf") else None


_BRANCHES = 320
_TRIED_PATCHES, _SHORT = 16, 12


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
        trial = [*wanted[:3], *(middle[:: max(1, len(middle) // _TRIED_PATCHES)] if coarse else []), *wanted[-2:]]
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
