"""docs/tutorial.md, followed word for word: its files are written, its edits made, its commands run, its output compared."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from forked import run_module

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
# What differs between two runs: times, dates, hashes, folders, and the width of the rules around them.
VARYING = (
    (re.compile(r"\d+\.\d+s\b"), "0.00s"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "2026-01-01"),
    (re.compile(r"sha256 [0-9a-f]{6,}"), "sha256 0"),
    (re.compile(r"report:\s+\S*/"), "report: /"),
    (re.compile(r"={3,}"), "==="),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)


def same_in_all_runs(text: str) -> str:
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text


def edited(text: str, diff: str) -> str:
    """The text with the lines of a diff taken out and put in. Each line that goes stands there once."""
    old = [line[1:] for line in diff.splitlines() if line.startswith("-")]
    new = [line[1:] for line in diff.splitlines() if line.startswith("+")]
    assert text.count("\n".join(old)) == 1, (old, text)
    return text.replace("\n".join(old), "\n".join(new))


def test_the_tutorial_is_what_happens(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
        "HF_HUB_OFFLINE": "1",
        "PYTEST_ADDOPTS": f"--steer-cache={tmp_path / 'scores'}",  # the runs ask the same again
    }
    (tmp_path / "example_suites").symlink_to(ROOT / "example_suites")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    folder, shown, compared = tmp_path, "", 0
    claim_file = "cheer.steer.yaml"
    for block in BLOCK.finditer((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")):
        kind, text = block["kind"], block["text"]
        if kind == "yaml" and text.startswith(f"# {claim_file}\n"):
            (folder / claim_file).write_text(text, encoding="utf-8")
        elif kind == "diff":
            file = folder / claim_file
            file.write_text(edited(file.read_text(encoding="utf-8"), text), encoding="utf-8")
        elif kind == "sh" and "venv" not in text:
            program, *arguments = shlex.split(text)
            if program in ("pytest", "pytest-steer") and not set(";&|") & set(text):
                done = run_module(program.replace("-", "_"), *arguments, cwd=folder, env=environment)
            else:
                done = subprocess.run(
                    ["bash", "-c", f"{text}\npwd > {tmp_path}/where"],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    env=environment,
                )
                folder = Path((tmp_path / "where").read_text().strip())
            shown = done.stdout + done.stderr
        elif kind == "text":
            want, got = same_in_all_runs(text), same_in_all_runs(shown)
            assert doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS), f"{want}\n--- is not ---\n{got}"
            compared += 1
    assert compared >= 6
