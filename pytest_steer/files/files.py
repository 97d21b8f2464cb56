"""The files that a claim file refers to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pytest_steer.data.formats.entries import builtin_file, full_name, is_builtin
from pytest_steer.errors import DataError, Fault
from pytest_steer.files.source import DataPath
from pytest_steer.registry import nearest
from pytest_steer.validation import shown

_MOST_LISTED = 8


def absolute(text: str, folder: Path) -> Path:
    """``text`` seen from ``folder``. Links are not followed: a link's own name can carry the suffix. Shipped data keep their name."""
    if is_builtin(text, folder):
        return Path(full_name(text))
    return folder / text


def missing_file(text: str, folder: Path, path: DataPath, *, or_layers: bool = False) -> Fault | None:
    """The fault of ``path``, whose value is ``text``, unless that is a file as seen from ``folder``.

    Args:
        or_layers: a folder with one ``.pt`` file per layer is good as well.
    """
    file = absolute(text, folder)
    if is_builtin(text, folder):
        try:
            builtin_file(text)
        except DataError as error:
            return Fault(path, str(error), "Name one of them, or a file.")
        return None
    # os.path, because Path.is_file raises for names that are too long
    if os.path.isfile(file):
        return None
    if os.path.isdir(file):
        if not or_layers:
            return Fault(path, f"{shown(text)} is a folder, not a file ({file})", "Name a file inside it.")
        try:
            names = os.listdir(file)
        except OSError as error:
            return Fault(path, f"the folder {str(file)!r} cannot be read: {error}", "Give yourself the right to read it.")
        if any(name.lower().endswith((".pt", ".pth")) for name in names):
            return None
        advice = "Name a file inside it, or a folder with one .pt file per layer."
        return Fault(path, f"{shown(text)} is a folder without .pt files ({file})", advice)
    above = file.parent
    wrong = file.name
    while not os.path.isdir(above) and above != above.parent:
        above, wrong = above.parent, above.name
    reason = f"there is no file {str(file)!r}"
    if above != file.parent:
        reason += f", because there is no folder {str(above / wrong)!r}"
    return Fault(path, reason, " ".join(_advice(text, file, above, wrong, folder)))


def _advice(text: str, file: Path, above: Path, wrong: str, folder: Path) -> Iterator[str]:
    """``above``: the innermost existing folder on the way to ``file``; ``wrong``: what it does not have."""
    if not Path(text).is_absolute():
        yield f"{shown(text)} was looked up from the folder of the claim file, {folder}."
    if text.startswith("~"):
        yield "'~' is not expanded: write the path in full."
        return
    here = Path.cwd() / text
    if not Path(text).is_absolute() and here != file and os.path.isfile(here):
        yield f"There is one seen from {Path.cwd()}: write {_as_written(here, text, folder)!r}."
        return
    try:
        names = sorted(name for name in os.listdir(above) if not name.startswith(".") and name != wrong)
    except (OSError, ValueError):
        return
    deeper = [name for name in names if above == file.parent and os.path.isfile(above / name / wrong)]
    meant = nearest(wrong, names)
    if deeper:
        yield f"Did you mean {_as_written(above / deeper[0] / wrong, text, folder)!r}?"
    elif meant is not None:
        rest = file.relative_to(above / wrong) if file != above / wrong else Path()
        yield f"Did you mean {_as_written(above / meant / rest, text, folder)!r}?"
    elif names:
        more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        yield f"{above} has: {', '.join(names[:_MOST_LISTED])}{more}."
    else:
        yield f"{above} is empty."


def _as_written(file: Path, text: str, folder: Path) -> str:
    """``file`` as the user would write it: relative if ``text`` was."""
    try:
        return str(file) if Path(text).is_absolute() else os.path.relpath(file, folder)
    except ValueError:  # on another drive, or a null character
        return str(file)
