"""Reading a JSON report back: :func:`read_report`."""

from __future__ import annotations

import hashlib
import json
import math
import re
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from ..core.columns import visible
from ..core.errors import SteerError
from ..core.evidence import Json, plain
from ..core.record import SCHEMA_NAME, BaselineSource, Report, record_of, typed
from ..core.sources import shown
from .partial import finished_lines, partial_path
from .report import models_of
from .schema import report_validator

_NAME = re.compile(r"pytest-steer/report/(\d+)")
_WORD = re.compile(r"[-+.\w\s]*")  # all that can stand after a fault where a number, a null or white space was cut
_VERSION = int(SCHEMA_NAME.rpartition("/")[2])


def read_report(path: Path | str) -> Json:
    """Read a JSON report that ``--steer-report`` has written.

    The partial report of a run that was killed (``REPORT.partial.json``) is read up to its last finished claim; its ``provenance`` says
    ``partial``.

    Returns:
        The report as docs/report.md describes it, valid under the schema.

    Raises:
        SteerError: there is none, it is damaged, it was written by something else or under another version of the schema; says where, what
            and what to do.
    """
    path = Path(path)
    text = _text(path)
    report: Json = _parsed(text, path)
    _check_schema(report, path)
    error = next(report_validator().iter_errors(report), None)
    if error is not None:
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path).removeprefix(
            "."
        )
        said = visible(_short(error.message))
        what = f"{where}: {said}" if where else said
        raise SteerError(
            f"{shown(path)}: is damaged: {what}\n  It was changed after it was written, or by another program. "
            + _again(path)
        )
    if report["provenance"].get("partial"):
        report["provenance"] |= plain(
            models_of([record_of(claim) for claim in report["claims"]])
        )  # it was written when the first claim ended
    return report


def report_of(path: Path | str) -> Report:
    """Read a JSON report as :func:`read_report` does, and return it with its types.

    Raises:
        SteerError: as there.
    """
    return typed(read_report(path))


def _text(path: Path) -> str:
    name = shown(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        partial = partial_path(path)
        if partial.is_file():
            hint = f"A run that was ended left {shown(partial)}, which can be read in its place."
        elif not path.parent.is_dir():
            hint = f"There is no folder {shown(path.parent)} either."
        else:
            hint = _again(path)
        raise SteerError(f"{name}: there is no such report\n  {hint}") from None
    except IsADirectoryError:
        found = sorted(one.name for one in path.glob("*.json"))
        hint = f"Name a file in it: {', '.join(found[:5])}" if found else "It holds no .json file."
        raise SteerError(f"{name}: is a folder, not a report\n  {hint}") from None
    except OSError as error:
        raise SteerError(f"{name}: cannot be read: {error.strerror}") from None
    if not data.strip():
        raise SteerError(f"{name}: is empty ({len(data)} bytes)\n  {_again(path)}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3:  # cut inside of a character, which is no other damage than being cut
            return data[: error.start].decode("utf-8-sig")
        raise SteerError(
            f"{name}: is no JSON report: byte {error.start:,} of {len(data):,} is not UTF-8\n  {_again(path)}"
        ) from None


def _parsed(text: str, path: Path) -> Any:
    name = shown(path)
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as error:
        started = finished_lines(text)
        if started is not None:
            return started
        if not text.lstrip().startswith("{"):
            what = f"is no JSON report: it begins with {visible(_short(text.strip().splitlines()[0], 40))!r}"
        elif error.msg.startswith("Unterminated") or _WORD.fullmatch(text, error.pos):
            what = f"is damaged: it breaks off in line {text.count(chr(10)) + 1:,}, after {path.stat().st_size:,} bytes"
        else:
            what = f"is damaged: line {error.lineno:,}, column {error.colno:,} is not JSON ({error.msg})"
    except ValueError as error:
        what = f"is damaged: {error}"
    except RecursionError:
        what = "is no report: its brackets are nested too deeply"
    raise SteerError(f"{name}: {what}\n  {_again(path)}")


def _check_schema(report: Any, path: Path) -> None:
    name = shown(path)
    said = report.get("schema") if isinstance(report, dict) else None
    found = _NAME.fullmatch(said) if isinstance(said, str) else None
    if found is None:
        if said is not None:
            what = f"its `schema` is {visible(_short(repr(said), 60))}"
        else:
            what = "it has no `schema`" if isinstance(report, dict) else f"it is a {_KINDS[type(report)]}"
        raise SteerError(
            f"{name}: is JSON, but no report of pytest-steer: {what}, and a report's is {SCHEMA_NAME!r}\n"
            "  Name a file that was written by: pytest --steer-report report.json"
        )
    version = int(found[1])
    if version == _VERSION:
        return
    provenance = report.get("provenance")
    versions = provenance.get("versions") if isinstance(provenance, dict) else None
    writer = versions.get("pytest-steer") if isinstance(versions, dict) else None
    by = f" (written by pytest-steer {visible(_short(str(writer), 20))})" if writer else ""
    if version > _VERSION:
        hint = f"Update pytest-steer, here {metadata.version('pytest-steer')}: pip install --upgrade pytest-steer"
    else:
        hint = f"Check out what it was measured on. {_again(path)}"
    age = "newer" if version > _VERSION else "older"
    raise SteerError(
        f"{name}: is of the {age} schema version {version}{by}; this pytest-steer reads version {_VERSION}\n  {hint}"
    )


_KINDS = {list: "list", str: "text", int: "number", float: "number", bool: "truth value", type(None): "null"}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}, and a report's numbers are finite")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds the number {_short(text, 20)}, which no float can hold")
    return value


def _again(path: Path) -> str:
    whole = path.with_name(path.name.replace(".partial.json", ".json"))
    if whole.suffix.lower() != ".json":  # which --steer-report would not write, or overwrite
        return "Name a file that was written by: pytest --steer-report report.json"
    return f"Write it again: pytest --steer-report {shown(whole)}"


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def baseline_of(path: Path, report: Report) -> BaselineSource:
    """What ``against`` says of a report that was read from a file: its path and hash, and the date, model and commit of its run."""
    provenance = report.provenance
    return BaselineSource(
        path=shown(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        date=provenance.started,
        model=None if provenance.model is None else provenance.model.id,
        commit=provenance.commit,
    )
