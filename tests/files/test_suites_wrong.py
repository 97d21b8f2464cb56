"""What users read when a claim file is wrong.

Each file in ``wrong/`` is wrong in one way; ``NAME.expected.txt`` beside it holds all that is said about it.
To write the expectations anew after a change of words, run with ``STEER_WRITE_EXPECTED=1``; then read what
changed.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from pytest_steer.core import registry
from pytest_steer.core.errors import ClaimFileError
from pytest_steer.files import BrokenClaim, read_suite
from pytest_steer.files.schema import full_schema, kinds, valid_keys
from pytest_steer.prompting import known_axes

WRONG = Path(__file__).with_name("wrong")
INTERVENTION = valid_keys(full_schema()["properties"]["intervention"])
LISTS = {
    "{kinds}": list(kinds()),
    "{axes}": list(known_axes()),
    "{methods}": registry.names("method"),
    "{interventions}": registry.names("intervention"),
    "{judges}": registry.names("judge"),
    "{extract keys}": list(valid_keys(INTERVENTION["extract"])),
    "{intervention keys}": list(INTERVENTION),
}
FILES = sorted(file for file in WRONG.iterdir() if not file.name.endswith(".expected.txt"))


def expectation(file: Path) -> Path:
    return WRONG / (re.sub(r"\.steer\.(yaml|yml|json)$", "", file.name) + ".expected.txt")


def said_about(file: Path) -> str:
    """The message about the whole file or, claim by claim, about each of them."""
    try:
        suite = read_suite(file)
    except ClaimFileError as error:
        return f"the file\n{error}\n"
    lines = []
    for entry in suite.entries:
        if isinstance(entry, BrokenClaim):
            lines.append(f"the claim {entry.name}\n{entry.error}\n")
        else:
            lines.append(f"the claim {entry.name} is good\n")
    return "\n".join(lines)


@pytest.mark.parametrize("file", FILES, ids=lambda file: expectation(file).name.removesuffix(".expected.txt"))
def test_message(file: Path, folder: Path) -> None:
    copy = folder / file.name
    shutil.copy(file, copy)
    said = said_about(copy).replace(str(copy), "{path}").replace(str(folder), "{folder}")
    # Another kind of claim, another axis, another method or another of its settings changes no message.
    for place, names in LISTS.items():
        said = said.replace(", ".join(names), place).replace(f"{', '.join(names[:-1])} or {names[-1]}", place)
    if os.environ.get("STEER_WRITE_EXPECTED"):
        expectation(file).write_text(said, encoding="utf-8")
    assert expectation(file).is_file(), f"{expectation(file).name} is missing; it should hold:\n{said}"
    assert said == expectation(file).read_text(encoding="utf-8")


def test_every_expectation_has_a_file() -> None:
    assert {expectation(file).name for file in FILES} == {file.name for file in WRONG.glob("*.expected.txt")}


def test_there_are_many_and_each_says_where_and_what_to_do() -> None:
    assert len(FILES) >= 30
    for file in FILES:
        said = expectation(file).read_text(encoding="utf-8")
        assert "{path}" in said, file.name
        assert re.search(r"^  \S", said, re.MULTILINE), f"{file.name}: no hint"


def test_a_name_of_a_thousand_characters_is_refused(folder: Path) -> None:
    file = folder / "c.steer.yaml"
    for count, fits in ((200, True), (201, False), (100_000, False)):
        file.write_text(
            "vector: {file: vectors/refusal.safetensors}\ndata: {test: data/test.json}\n"
            f"claims:\n  - steers: {{steerability: 0.3, name: {'n' * count}}}\n"
        )
        (entry,) = read_suite(file).entries
        assert hasattr(entry, "error") is not fits
        assert len(str(getattr(entry, "error", ""))) < 600
