"""Replies as tokens: remembered like scores, and written if they are not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .. import progress
from ..steering import Intervention
from .drawing import Drawing
from .engine import engine_of
from .memo import Scores
from .model import Model
from .tokens import Ids
from .writing import Asked


def written(model: Model, asked: Sequence[Asked], intervention: Intervention, drawing: Drawing) -> list[Ids]:
    """The tokens of each reply, with the end token if there is one.

    A reply is remembered under all that determines it, see ``Asked.key``. Unsteered ones are the same for every intervention.

    Raises:
        MeasurementError: a logit is NaN or infinite.
    """
    engine = engine_of(model)
    writer = engine.writer(intervention, drawing)
    keys = [one.key(intervention, drawing, writer.ends) for one in asked]
    by_key = dict(zip(keys, asked, strict=True))

    def compute(unknown: Sequence[bytes]) -> Iterator[dict[bytes, Scores]]:
        wanted = {by_key[key]: key for key in unknown}
        done = 0
        for part in writer.write(list(wanted)):
            done += len(part)
            progress.report(f"{done} of {len(wanted)} replies")
            yield {wanted[one]: np.array(ids, dtype=np.float64) for one, ids in part.items()}

    durable = {key: one.multiplier == 0 or intervention.durable for key, one in by_key.items()}
    found = dict(zip(durable, engine.remembered_values(durable, compute), strict=True))
    return [tuple(map(int, found[key])) for key in keys]
