"""The example suite of the built-in model with fewer data, for tests that look at what is done with it rather than at its numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

BUILTIN = Path(__file__).parents[2] / "example_suites" / "builtin"
DATA = BUILTIN / "data"


def small_suite(folder: Path, *, items: int = 30, texts: int = 20, trained_on: int = 20) -> Path:
    """Copy the suite into a new folder, with the first of its test items, neutral texts and training texts of each side."""
    shutil.copytree(BUILTIN, folder)
    for file in folder.glob("data/*.json"):
        found = json.loads(file.read_text(encoding="utf-8"))
        most = trained_on if file.stem.endswith("_train") else items
        small = {side: own[:most] for side, own in found.items()} if isinstance(found, dict) else found[:most]
        file.write_text(json.dumps(small), encoding="utf-8")
    neutral = folder / "data" / "neutral.txt"
    neutral.write_text("\n".join(neutral.read_text(encoding="utf-8").splitlines()[:texts]), encoding="utf-8")
    return folder
