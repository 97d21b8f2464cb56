"""``pytest-steer validate``: all that is wrong with claim files, without a model."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.columns import stream_columns, visible, wrapped
from ..core.errors import ClaimFileError, SteerError, exceptions_named
from ..core.sources import find_model, shown
from .extensions import load_extensions
from .main import OK, USAGE_ERROR
from .options import json_option, subcommand
from .output import say, say_json

if TYPE_CHECKING:
    from ..files import Suite


@dataclass(frozen=True)
class _Fault:
    """A fault of a file. Several claims can share it; one of the whole file has none."""

    file: str
    line: int | None
    claims: list[str]
    message: str


@subcommand(example="pytest-steer validate tiny.steer.yaml", short_help="Say all that is wrong with claim files.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@json_option("the faults").of("as_json")
def command(files: tuple[Path, ...], as_json: bool) -> int:
    """Say all that is wrong with claim files, each fault with its line.

    No model is loaded and nothing is measured, so this takes a second and fits
    before a commit. It finds what pytest finds when it collects: keys, values,
    names, files that are not there, models that cannot be one.

    \b
    The exit code:
      0  nothing is wrong
      4  there is a fault
    """
    whole = load_extensions(*files)
    found: list[_Fault] = []
    for file in files:
        claims, faults = _checked(file)
        found += faults
        if as_json:
            continue
        for fault in faults:
            say(wrapped(visible(fault.message), stream_columns(sys.stdout)))
        say(f"{shown(file)}: {_counted(claims, 'claim')}, {_counted(len(faults), 'error') if faults else 'no errors'}")
    if as_json:
        say_json({"files": [shown(file) for file in files], "faults": [*map(vars, found)]})
    return OK if whole and not found else USAGE_ERROR


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _checked(file: Path) -> tuple[int, list[_Fault]]:
    """The number of claims in a file, and its faults, each once, in the order of the file."""
    from ..files import BrokenClaim, read_suite

    try:
        with exceptions_named():
            suite = read_suite(shown(file))
    except SteerError as error:
        return 0, _faults(file, [(None, str(error))])
    said = [(entry.name, str(entry.error)) for entry in suite.entries if isinstance(entry, BrokenClaim)]
    return len(suite.entries), _faults(file, said + [(None, text) for text in _models(file, suite)])


def _faults(file: Path, said: list[tuple[str | None, str]]) -> list[_Fault]:
    """Split messages into faults. A message lists all faults of its claim, and several claims can share a fault of the file."""
    begin = re.compile(rf"^{re.escape(shown(file))}(?::(\d+))?: ", re.MULTILINE)
    found: dict[str, _Fault] = {}
    for claim, text in said:
        starts = list(begin.finditer(text))
        ends = [*(start.start() for start in starts[1:]), len(text)][: len(starts)]
        for start, end in zip(starts, ends, strict=True):
            message = text[start.start() : end].rstrip()
            line = int(start[1]) if start[1] else None
            fault = found.setdefault(message, _Fault(shown(file), line, [], message))
            if claim is not None:
                fault.claims.append(claim)
        if not starts:  # it belongs to no line of the file
            found.setdefault(text, _Fault(shown(file), None, [claim] if claim else [], text))
    return sorted(found.values(), key=lambda fault: fault.line or 0)


def _models(file: Path, suite: Suite) -> list[str]:
    """One fault for each model that cannot be found. The hub is not asked."""
    from ..files import BrokenClaim

    faults: dict[str, str] = {}
    for entry in suite.entries:
        name = None if isinstance(entry, BrokenClaim) else entry.model or suite.model
        if name is None or name in faults or isinstance(entry, BrokenClaim):
            continue
        try:
            with exceptions_named():
                find_model(name)
        except SteerError as error:
            line, key = entry.place_of("model")
            faults[name] = str(ClaimFileError(str(error), path=shown(file), line=line, where=key))
    return list(faults.values())
