"""pytest takes a path after an option of ours for a place of tests: the header says that rootdir moved, and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_steer.core.sources import BUILTIN_FOLDER

CLAIM = "claims:\n  - hooks_are_sound: {max_batches: 1}\n"


def collected(pytester: pytest.Pytester, *arguments: str) -> str:
    return "\n".join(pytester.runpytest("--collect-only", *arguments).outlines)


@pytest.fixture
def folder(pytester: pytest.Pytester, tmp_path: Path) -> Path:
    """A model beside the folder of the claims, neither of them with an ini file above it."""
    pytester.path.joinpath("c.steer.yaml").write_text(CLAIM)
    model = tmp_path / "copy"
    model.mkdir()
    for file in (BUILTIN_FOLDER / "tiny").iterdir():
        (model / file.name).symlink_to(file)
    return model


@pytest.mark.parametrize("before", [[], ["c.steer.yaml"]])
def test_a_folder_after_a_space_moves_rootdir_and_the_header_says_so(pytester, folder, before):
    said = collected(pytester, *before, "--steer-model", str(folder))
    assert "steer: warning: rootdir was looked for in" in said
    assert f"Write --steer-model={folder}" in " ".join(said.split())
    assert f"rootdir: {pytester.path}" not in said.splitlines()


def test_with_an_equals_sign_or_an_ini_file_beside_the_claims_nothing_moves(pytester, folder):
    said = collected(pytester, f"--steer-model={folder}")
    assert "rootdir was looked for" not in said
    assert f"rootdir: {pytester.path}" in said.splitlines()
    pytester.makeini("[pytest]")
    said = collected(pytester, "c.steer.yaml", "--steer-model", str(folder))
    assert f"rootdir: {pytester.path}" in said.splitlines()
    assert "rootdir was looked for" not in said


def test_a_folder_below_the_current_one_moves_nothing(pytester, folder):
    here = pytester.path / "model"
    here.symlink_to(folder)
    said = collected(pytester, "--steer-model", "model", "--steer-cache", "nowhere-yet")
    assert "rootdir was looked for" not in said
