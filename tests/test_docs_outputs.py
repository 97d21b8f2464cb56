"""What pages print of runs on the built-in model is what the runs print, line by line. At night: each run takes ten seconds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.nightly
ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUN = {"pytest": "pytest -p no:cacheprovider", "pytest-steer": "pytest_steer", "python": ""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the folder that the pages name, in a clone."""
    return Path(shutil.copytree(ROOT / "example_suites" / "builtin", tmp_path / "example_suites" / "builtin"))


def blocks(page: str, kind: str, part: str = "") -> list[str]:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return [block for found, block in BLOCK.findall(text) if found == kind and part in block]


def printed(folder: Path, command: str, columns: int) -> str:
    """What one of our commands, or a piece of Python, prints in a terminal of so many columns."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        "COLUMNS": str(columns),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
    }
    name, _, rest = command.partition(" ")
    start = ["-c", rest] if name == "python" else ["-m", *RUN[name].split()]
    arguments = [] if name == "python" else rest.replace("\\\n", " ").split()
    done = subprocess.run(
        [sys.executable, *start, *arguments], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    return done.stdout + done.stderr


def check(block: str, output: str) -> None:
    """Each part of the block between dots stands in the output, after the part before it."""
    at = 0
    lines = "\n".join(line.rstrip() for line in output.splitlines())
    for part in re.split(r"^\.\.\.\n", block, flags=re.MULTILINE):
        found = lines.find(part.strip("\n"), at)
        assert found >= 0, f"{part}\n--- is not in ---\n{lines}"
        at = found + len(part.strip("\n"))


def test_sweeps(folder: Path) -> None:
    first, second = (block.removeprefix("$ ") for block in blocks("sweep", "", "$ pytest-steer sweep"))
    for block in (first, second):
        command, _, shown = re.split(r"(?<!\\)(\n)", block, maxsplit=1)
        check(shown, printed(folder, command, 120))
        if block is first:
            check(blocks("sweep", "", "\nchosen\n")[0], printed(folder, "pytest chosen.steer.yaml", 80))


def test_two_models(folder: Path) -> None:
    (code,) = blocks("comparing-models", "python")
    printed(folder, f"python {code}", 80)
    command = blocks("comparing-models", "sh", "./perturbed")[0].strip()
    check(blocks("comparing-models", "text")[0], printed(folder, command, 80))


def test_the_worst_context(folder: Path) -> None:
    (code,) = blocks("fuzzing", "python")
    clone = folder.parent.parent
    printed(clone, f"python {code}", 80)
    (clone / "quiz.steer.yaml").write_text(blocks("fuzzing", "yaml", "max_contexts")[0])
    check(blocks("fuzzing", "", "holds_in_contexts: FAIL")[0], printed(clone, "pytest quiz.steer.yaml", 126))


def test_other_behaviours(folder: Path) -> None:
    (folder / "map.steer.yaml").write_text(blocks("claims", "yaml", "leaves_alone:")[-1])
    check(blocks("claims", "", "map: leaves_alone")[0], printed(folder, "pytest map.steer.yaml", 170))


def test_a_threshold_that_is_missed(folder: Path) -> None:
    """The claims on loud answers, whose lettered questions are not shipped, and on the next token's distribution."""
    head = blocks("claims", "yaml", "data/loud_letters.json")[0].replace(", beside: data/loud_letters.json", "")
    (folder / "loud.steer.yaml").write_text(head)
    shown = blocks("claims", "", "promotes: FAIL")[0]
    shown = re.sub(r"^  beside: .*?(?=^  steered:)", "...\n", shown, flags=re.MULTILINE | re.DOTALL)
    shown = re.sub(r"^=+ steering claims =+\n.*", "", shown, flags=re.MULTILINE | re.DOTALL)
    check(shown, printed(folder, "pytest loud.steer.yaml", 200))
    (folder / "kl.steer.yaml").write_text(
        "model: builtin:tiny\nvector: {file: vectors/approval.safetensors, positions: all}\n"
        "data: {test: data/approval_test.json, neutral: data/neutral.txt}\nclaims:\n  - kl_below: 0.003\n"
    )
    check(blocks("claims", "", "kl_below: FAIL")[0], printed(folder, "pytest kl.steer.yaml", 200))
