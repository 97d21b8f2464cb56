"""Writing contexts back into a claim file: the rest of the file stays as it is, to the byte."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_steer.core.errors import ClaimFileError
from pytest_steer.files.regressions import add_regressions
from pytest_steer.files.source import read_source

SWAPPED = {"option_order": "swapped"}
LOUD = {"system": 'You are loud: {really}, "yes" # not a comment\nno', "filler": 3}
WORDS = {"system": "no", "wording": "{question}"}

YAML = """\
# What we ship.
suite:   refusal    # aligned   comments
multipliers: [-1.50,
  0.0, 1e-1]   # numbers as they were written
claims:
    - steers:   {steerability: 0.10}


    # the last word
"""
LISTED = """\
regressions:   # found by the search
    # the first one
    - {option_order: swapped}   # in May
    - system: |
        You are
        kind.

      filler: 2   # of a block
# then
claims: []
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (YAML, YAML + "regressions:\n  - {option_order: swapped}\n"),
        (YAML.rstrip(), YAML.rstrip() + "\nregressions:\n  - {option_order: swapped}\n"),
        (YAML.replace("\n", "\r\n"), (YAML + "regressions:\n  - {option_order: swapped}\n").replace("\n", "\r\n")),
        ("\ufeff" + YAML, "\ufeff" + YAML + "regressions:\n  - {option_order: swapped}\n"),
        ("regressions: []  # none yet\nclaims: [a]\n", "regressions: [{option_order: swapped}]  # none yet\nclaims: [a]\n"),
        (
            "regressions: [{filler: 2}, ]  # one\nclaims: [a]\n",
            "regressions: [{filler: 2}, {option_order: swapped} ]  # one\nclaims: [a]\n",
        ),
        ("regressions:\n- filler: 2\nclaims: [a]\n", "regressions:\n- filler: 2\n- {option_order: swapped}\nclaims: [a]\n"),
        ("claims: [a]\nregressions:\n  - filler: 2", "claims: [a]\nregressions:\n  - filler: 2\n  - {option_order: swapped}\n"),
        ("{claims: [a]}\n", "{claims: [a], regressions: [{option_order: swapped}]}\n"),
    ],
)  # fmt: skip
def test_yaml(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "c.steer.yaml"
    file.write_bytes(before.encode())
    assert add_regressions(file, [SWAPPED]) == [SWAPPED]
    assert file.read_bytes().decode() == after


def test_behind_the_last_entry_of_a_block(tmp_path: Path) -> None:
    file = tmp_path / "c.steer.yaml"
    file.write_text(LISTED)
    assert add_regressions(file, [SWAPPED, LOUD, WORDS, LOUD]) == [LOUD, WORDS]
    lines = file.read_text().splitlines(keepends=True)
    assert [line for line in lines if line.startswith("    - {") and "swapped" not in line] == lines[8:10]
    assert "".join(lines[:8] + lines[10:]) == LISTED
    kind = {"system": "You are\nkind.\n", "filler": 2}
    assert read_source(file).data["regressions"] == [SWAPPED, kind, LOUD, WORDS]
    assert add_regressions(file, [WORDS]) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{\n  "claims": [1.50, -1]\n}\n', '{\n  "claims": [1.50, -1],\n  "regressions": [{"option_order": "swapped"}]\n}\n'),
        ('{"claims": [1.50]}', '{"claims": [1.50], "regressions": [{"option_order": "swapped"}]}'),
        ("{}", '{"regressions": [{"option_order": "swapped"}]}'),
        (
            '{"regressions": [ {"filler": 2} ], "claims": ["]"]}',
            '{"regressions": [ {"filler": 2}, {"option_order": "swapped"} ], "claims": ["]"]}',
        ),
        ('{"a": "}", "regressions": []}\n', '{"a": "}", "regressions": [{"option_order": "swapped"}]}\n'),
    ],
)  # fmt: skip
def test_json(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "c.steer.json"
    file.write_text(before)
    assert add_regressions(file, [SWAPPED]) == [SWAPPED]
    assert file.read_text() == after
    assert json.loads(after)["regressions"][-1] == SWAPPED


@pytest.mark.parametrize("text", ["claims: [a]\n...\n", "regressions: &r\n  - filler: 2\nclaims: [a]\nx-same: *r\n"])
def test_where_there_is_no_safe_place_nothing_is_changed(tmp_path: Path, text: str) -> None:
    """A document that is closed; a list that something else stands for too."""
    file = tmp_path / "c.steer.yaml"
    file.write_text(text)
    if "x-same" in text:  # x- keys are nobody's business but the user's, so the list may grow
        assert add_regressions(file, [SWAPPED]) == [SWAPPED]
        return
    with pytest.raises(
        ClaimFileError, match=r"no safe place .*\n  Add it by hand: `regressions: \[\{option_order: swapped\}\]`"
    ):
        add_regressions(file, [SWAPPED])
    assert file.read_text() == text
    assert os.listdir(tmp_path) == ["c.steer.yaml"]


def test_an_interrupted_write_leaves_the_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.steer.yaml"
    file.write_text(YAML)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        add_regressions(file, [SWAPPED])
    assert file.read_text() == YAML
    assert os.listdir(tmp_path) == ["c.steer.yaml"]


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "c.steer.yaml"
    real.write_text(YAML)
    real.chmod(0o640)
    link = tmp_path / "link.steer.yaml"
    link.symlink_to(real)
    add_regressions(link, [SWAPPED])
    assert link.is_symlink()
    assert real.read_text().endswith("- {option_order: swapped}\n")
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_link_to_a_file_of_another_folder_is_refused(tmp_path: Path) -> None:
    suite, other = tmp_path / "suite", tmp_path / "other"
    suite.mkdir()
    other.mkdir()
    real = other / "c.steer.yaml"
    real.write_text(YAML)
    (suite / "c.steer.yaml").symlink_to(real)
    (suite / "folder").symlink_to(other)
    (suite / "up.steer.yaml").symlink_to(suite / "c.steer.yaml")
    for link in ("c.steer.yaml", "folder/c.steer.yaml", "up.steer.yaml"):
        with pytest.raises(ClaimFileError, match=f"symbolic link(.|\n)*pytest --steer-save-counterexamples {real}"):
            add_regressions(suite / link, [SWAPPED], suite)
        assert real.read_text() == YAML
    assert add_regressions(suite / ".." / "other" / "c.steer.yaml", [SWAPPED], suite) == [SWAPPED]
    whole = tmp_path / "whole"  # the run's own folder may be a link
    whole.symlink_to(other)
    assert add_regressions(whole / "c.steer.yaml", [{"system": "a"}], whole) == [{"system": "a"}]
