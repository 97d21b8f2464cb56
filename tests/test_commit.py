"""The commit of a repository, held against git itself in repositories made here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_steer.core.record import Commit
from pytest_steer.pytest_plugin.session import commit_of

git_is_there = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "suites").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "suites" / "a.txt").write_text("one")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@git_is_there
def test_its_id_and_whether_it_is_changed(repository):
    head = git(repository, "rev-parse", "HEAD")
    assert commit_of(repository / "suites") == Commit(id=head, dirty=False)
    (repository / "out.json").write_text("a report is no change")
    assert commit_of(repository) == Commit(id=head, dirty=False)
    (repository / "suites" / "a.txt").write_text("two")
    assert commit_of(repository) == Commit(id=head, dirty=True)
    git(repository, "commit", "-qam", "second")
    assert commit_of(repository) == Commit(id=git(repository, "rev-parse", "HEAD"), dirty=False)
    assert commit_of(repository).id != head


@git_is_there
def test_none(tmp_path, repository):
    assert commit_of(tmp_path / "nowhere") is None
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert commit_of(empty) is None
    assert commit_of(Path("/")) is None


@git_is_there
def test_nothing_of_the_repository_is_run(repository):
    """Neither a hook nor the program that its settings name for watching files."""
    hook = repository / "watch.sh"
    hook.write_text(f"#!/bin/sh\ntouch {repository}/ran\n")
    hook.chmod(0o755)
    for name in ("post-index-change", "query-watchman"):
        shutil.copy(hook, repository / ".git" / "hooks" / name)
    git(repository, "config", "core.fsmonitor", str(hook))
    git(repository, "status")
    assert (repository / "ran").exists()  # as git does by itself
    (repository / "ran").unlink()
    assert commit_of(repository) is not None
    assert not (repository / "ran").exists()


@git_is_there
def test_in_a_hook_of_another_repository(repository, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")
    assert commit_of(repository) is not None


def test_without_git(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(repository) is None
