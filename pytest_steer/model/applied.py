"""Forwards under a user's own context manager, which has to be entered around whole forwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..errors import SteerError
from ..steering import SteeredBatch
from .forward import Prefix, inputs_of, run, scores_of
from .layout import Way, lay_out
from .memo import Scores
from .model import Model
from .noise import FLOOR, is_coarse, noise_between, spacing
from .probes import Bundle, Row, bundle_up
from .tokens import Padding

# How many spacings of a 16-bit type the shape of a batch may move a score by.
_SPACINGS = 4
# The sizes of the batches in which a row is asked again.
_COUNTS = (1, 1, 2, 4)


def run_batch(
    model: Model, batch: Sequence[Bundle], way: Way, padding: Padding, prefix: Prefix | None
) -> list[tuple[Row, Scores]]:
    """Scores of all rows of the bundles; those that a user's context manager steers run by themselves, one multiplier at a time."""
    applied = [row for bundle in batch for row in bundle.rows if row.pair.applied]
    if not applied:
        return run(model, batch, way, padding, prefix)
    rest = [own for own in (bundle.where(lambda row: not row.pair.applied) for bundle in batch) if own.rows]
    found = run(model, rest, way, padding, prefix) if rest else []
    for rows in _alike(applied):
        found += _run_applied(model, rows)
    return found


def check_steady(
    model: Model, rows: Sequence[Row], scores: Mapping[bytes, Scores], unsteered: Mapping[bytes, Scores], *, thorough: bool
) -> None:
    """Ask a few of the rows that a user's context manager steered again: by themselves, and beside copies of themselves.

    Args:
        rows: that were measured under one such manager. scores: what was found, by the key of the row.
        unsteered: scores of the same probes without steering, by the key of the steered row, where they are known.
        thorough: ask several in batches of several sizes; else one, once by itself.

    Raises:
        SteerError: the same tokens get other scores.
    """
    largest = max(_alike(rows), key=len)
    # What moved least is most likely a row that was not steered, and what moved most one that was.
    moved = {row.key: noise_between([scores[row.key]], [unsteered[row.key]]).largest for row in rows if row.key in unsteered}
    known = sorted((row for row in rows if row.key in moved), key=lambda row: moved[row.key]) or [*rows]
    for row in dict.fromkeys([largest[0], known[0], known[-1]] if thorough else known[:1]):
        before = scores[row.key]
        limit = FLOOR * max(1.0, float(np.abs(before).max(initial=0.0)))
        if is_coarse(model.dtype):
            limit = max(limit, _SPACINGS * spacing(model.dtype, [before]))
        for count in _COUNTS if thorough else _COUNTS[:1]:
            copies = [replace(row, probe=replace(row.probe, name=f"copy {copy}")) for copy in range(count)]
            apart = noise_between([before] * count, [now for _, now in _run_applied(model, copies)]).largest
            if apart > limit:
                again = "by themselves" if count == 1 else f"in {count} rows at once"
                raise SteerError(
                    f"apply steers some forwards and others not, or not alike: {row.probe.name} at multiplier {row.pair.multiplier:g} has "
                    f"scores that differ by {apart:.3g} when the same tokens are asked again {again}. Steer every forward in the body "
                    "of its context manager alike, whatever the size of the batch"
                )


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one length and one first steered token: no padding that the manager could steer, and one number says where it begins."""
    alike: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault((row.pair, len(row.probe.ids), row.probe.steer_from), []).append(row)
    return list(alike.values())


@torch.no_grad()  # as hooks are checked: an inference tensor is more than some libraries can take
def _run_applied(model: Model, rows: Sequence[Row]) -> list[tuple[Row, Scores]]:
    own, start = rows[0].pair.applied, rows[0].probe.steer_from
    assert own is not None
    plan = lay_out(bundle_up(rows), Way("plain"))
    inputs = inputs_of(model, plan)
    count = len(plan.ids)
    # Where the prompt's mark has to be for the scope to begin there, see ``first_steered``.
    mark = start + 1 if own.positions == "last" else start
    batch = SteeredBatch(inputs["input_ids"], inputs["attention_mask"], (mark,) * count, (start,) * count)
    with own.enter(batch, rows[0].pair.multiplier):
        logits = model.hf(**inputs).logits
    base = None
    if any(row.probe.diverges for row in rows):
        base = model.hf(**inputs).logits  # of the same batch: where nothing was steered, nothing differs
    read = torch.tensor([pair for places in plan.reads for pair in places], device=logits.device)
    found = torch.cat([own[read[:, 0], read[:, 1]] for own in (logits, base) if own is not None]).float()
    starts = [len(read) + sum(len(row.probe.reads) for row in plan.rows[:index]) for index in range(count)]
    return scores_of(plan.rows, lambda asked: found[asked.to(found.device)], bases=starts)
