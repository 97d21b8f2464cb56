"""Where an earlier report comes from: :func:`baseline_of`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..sources import shown


def baseline_of(path: Path, report: dict[str, Any]) -> dict[str, Any]:
    """What ``against`` says of a report that was read from a file: its path and hash, and the date, model and commit of its run."""
    provenance = report["provenance"]
    return {
        "path": shown(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "date": provenance["started"],
        "model": (provenance["model"] or {}).get("id"),
        "commit": provenance.get("commit"),
    }
