from __future__ import annotations

from pathlib import Path

import pytest

# Claim files that are wrong on purpose: the plugin must not collect them as claims of this project.
collect_ignore = ["wrong"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the data that claim files of these tests name; the working directory is another one."""
    for name in ("vectors/refusal.safetensors", "data/test.json", "data/neutral.txt", "data/train.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path
