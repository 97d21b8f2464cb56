"""The git commit that a run was made at. Imports nothing heavy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

# Settings of a repository could name programs to run; none of ours has a reason to.
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
_SECONDS = 10


def commit_of(folder: Path) -> dict[str, Any] | None:
    """The commit of the repository that holds a folder.

    Returns:
        ``id``, and whether it is ``dirty``: tracked files were changed after it, or None if git does not say in time. None in their place
        if there is no repository, no commit in it yet, or no git.
    """
    found = _git(folder, "rev-parse", "--verify", "HEAD")
    if not found:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"id": found.strip(), "dirty": None if changed is None else bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    # A run inside a git hook has variables that name that hook's repository.
    plain = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            [*_GIT, *arguments], cwd=folder, env=plain, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
