"""Names of models that judge."""

from __future__ import annotations

from pathlib import Path


def named_from(folder: Path, name: str) -> str:
    """The name of a model, whose own folder is looked for in ``folder`` first."""
    path = folder / name
    return str(path) if path.is_dir() else name
