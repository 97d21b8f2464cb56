"""Doses: how far a strength moves the hidden states, relative to what is there. One below their rounding is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import torch

from ..core.errors import MeasurementError, SteerError
from ..steering import Intervention, Rows, Site
from .activations import read_outputs
from .model import Model
from .noise import eps_of, is_coarse
from .probes import Pair, Probe

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
        acting = [
            (pair.intervention, pair.multiplier) for pair in pairs if pair.intervention is not None and not pair.is_idle
        ]
        new = {change.hash: change for change, _ in acting if change.hash not in self._units and _has_dose(change)}
        with suppress(MeasurementError):
            self._measure(_sample_of(probes), [*new.values()])
        for change, multiplier in acting:
            self.check_one(probes, change, multiplier, f"multiplier {multiplier!r}")

    def check_one(self, probes: Sequence[Probe], change: Intervention, multiplier: float, called: str) -> None:
        """The same for one multiplier, or a distance between two."""
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
            self._units[change.hash] = (
                self._of_vector(change) if change.vector is not None else self._of_change(sample, change)
            )

    def _medians(self, sample: Sequence[Probe], layers: Sequence[int], site: Site) -> dict[str, torch.Tensor]:
        """The median norm of the hidden states at steered positions, by layer."""
        ids = [probe.ids for probe in sample]
        kept = read_outputs(
            self.model, ids, layers, lambda index, hidden: hidden[sample[index].steer_from :].norm(dim=-1), site
        )
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
            apart: torch.Tensor = (now - before)[0, sample[index].steer_from :].double().norm(dim=-1)
            shares: torch.Tensor = apart / hidden[sample[index].steer_from :].double().norm(dim=-1).clamp(min=1e-30)
            return shares

        found = []
        for layer in change.layers:
            if sample:
                ids = [probe.ids for probe in sample]
                kept = read_outputs(self.model, ids, [layer], lambda i, h, layer=layer: moved(layer, i, h), change.site)  # type: ignore[misc]
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
