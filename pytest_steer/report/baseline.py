"""Where an earlier report comes from: :func:`baseline_of`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..core.record import BaselineSource, Report
from ..core.sources import shown


def baseline_of(path: Path, report: Report) -> BaselineSource:
    """What ``against`` says of a report that was read from a file: its path and hash, and the date, model and commit of its run."""
    provenance = report.provenance
    return BaselineSource(
        path=shown(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        date=provenance.started,
        model=None if provenance.model is None else provenance.model.id,
        commit=provenance.commit,
    )
