"""Forwards under a user's own context manager, which has to be entered around whole forwards."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..steering import SteeredBatch
from .batch import Padding
from .forward import Prefix, inputs_of, run, scores_of
from .layout import Way, lay_out
from .loaded import Model
from .memo import Scores
from .probes import Bundle, Row, bundle_up


def run_batch(
    model: Model, batch: Sequence[Bundle], way: Way, padding: Padding, prefix: Prefix | None
) -> list[tuple[Row, Scores]]:
    """Scores of all rows of the bundles; those that a user's context manager steers run by themselves, one multiplier at a time."""
    applied = [row for bundle in batch for row in bundle.rows if row.pair.applied]
    if not applied:
        return run(model, batch, way, padding, prefix)
    rest = [own for own in (bundle.where(lambda row: not row.pair.applied) for bundle in batch) if own.rows]
    found = run(model, rest, way, padding, prefix) if rest else []
    # Rows of one length and one first steered token: no padding that the manager could steer, and one number says where it begins.
    alike: dict[tuple[object, ...], list[Row]] = {}
    for row in applied:
        alike.setdefault((row.pair, len(row.probe.ids), row.probe.steer_from), []).append(row)
    for rows in alike.values():
        found += _run_applied(model, rows)
    return found


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
