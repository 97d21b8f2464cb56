"""GitHub Actions: the summary of a step, and annotations at the lines of claims. Only with ``--steer-github``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.columns import visible

if TYPE_CHECKING:
    from ..core.evidence import Json

Place = tuple[str, int]  # the file of a test, seen from pytest's root, and its line, from 1 on

VARIABLE = "GITHUB_STEP_SUMMARY"
_SUMMARY = 1 << 20  # bytes; GitHub drops the whole summary of a step that is longer
_ROOM = 2_000
_LEAST = 20_000
_MOST = 10  # annotations of one level that GitHub keeps of a step


def append_summary(report: Json) -> list[str]:
    """Append the Markdown of a report to the summary of this workflow step. Returns lines for the user.

    Raises:
        OSError: the file cannot be written.
    """
    from ..report.formats.markdown_file import markdown_of

    name = os.environ.get(VARIABLE)
    if not name:
        return [f"--steer-github: no summary is written: {VARIABLE}, which GitHub sets in a step, is not set"]
    file = Path(name)
    used = file.stat().st_size if file.exists() else 0
    left = _SUMMARY - used - _ROOM
    if left < _LEAST:
        return [f"--steer-github: no summary is written: {file} has {used:,} bytes already, and GitHub takes {_SUMMARY:,}"]
    text = markdown_of(report, left)
    with file.open("ab") as stream:
        stream.write(f"\n{text}".encode(errors="backslashreplace"))
    return [f"summary: appended to {file}"]


def annotation_lines(claims: Sequence[Json], places: Mapping[str, Place], root: Path, texts: str) -> list[str]:
    """Workflow commands that annotate claims at their lines, the most important first, and a line about those that GitHub drops.

    A claim that is broken or could not be measured is an error. An inconclusive claim is a warning. A claim that holds although it is
    known to fail is a notice. A known failure has no annotation.

    Args:
        places: file and line of tests, by id.
        root: pytest's root.
        texts: which texts of the data are shown, as in a report.
    """
    from ..report.outcome import BROKEN, CATEGORIES, ERROR, INCONCLUSIVE, UNEXPECTED, category_of
    from ..report.texts import with_texts

    found: dict[object, list[Json]] = {category: [] for category in CATEGORIES}
    for claim in claims:
        found[category_of(claim["verdict"], claim["xfail"])].append(with_texts(claim, texts))
    levels = {"error": found[BROKEN] + found[ERROR], "warning": found[INCONCLUSIVE], "notice": found[UNEXPECTED]}
    lines, left_out = [], []
    for level, group in levels.items():
        # A test that asserts the same in a loop has one annotation.
        commands = list(dict.fromkeys(_command(level, claim, places.get(claim["id"]), root) for claim in group))
        lines += commands[:_MOST]
        if len(commands) > _MOST:
            left_out.append(f"{len(commands) - _MOST} of {len(commands)} of level {level}")
    if left_out:
        lines.append(
            f"--steer-github: GitHub shows {_MOST} annotations of a level in a step; left out: {', '.join(left_out)}"
        )
    return lines


def _command(level: str, claim: Json, place: Place | None, root: Path) -> str:
    from ..report.claim_words import own_name, verdict_words

    name = own_name(claim["id"], claim["name"])
    at = {"title": f"{name}: {verdict_words(claim['verdict'], claim['xfail'])}"}
    if place is not None:
        at = {"file": _in_repository(place[0], root), "line": str(place[1]), **at}
    said = visible(claim["message"] or str(claim["error"])).split("\n")
    message = "\n".join(line.strip() for line in said[:2])
    where = ",".join(f"{key}={_property(visible(value))}" for key, value in at.items())
    return f"::{level} {where}::{_data(message)}"


def _in_repository(file: str, root: Path) -> str:
    """The file as GitHub names it: seen from the checked-out repository, which may be above pytest's root."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    whole = root / file
    return (
        whole.relative_to(workspace).as_posix() if workspace and whole.is_relative_to(workspace) else Path(file).as_posix()
    )


def _data(text: str) -> str:
    """What GitHub's own toolkit escapes (``@actions/core``, command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
