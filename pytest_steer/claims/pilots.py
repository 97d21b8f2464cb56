"""The data that a threshold was set on, and whether a claim is judged on it again: the record ``threshold_set``."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..core.errors import DataError, SteerError
from ..core.evidence import Evidence, Json
from ..core.finding import Finding, Weight, code
from ..core.promises import Promised
from ..core.record import SCHEMA_NAME, ThresholdSet
from ..core.sources import shown
from ..data import ContrastItem, read_items, read_questions, read_tasks, read_texts
from ..data.likeness import content_hash
from ..data.texts import form_of

_REPORT, _, _VERSION = SCHEMA_NAME.rpartition("/")
_ONE_DAY = datetime.timedelta(days=1)  # two places on earth can be a day apart


@dataclass(frozen=True)
class Pilot:
    """A report, or a data file, that a threshold was set on.

    Attributes:
        path: as it is shown. sha256: of the file's bytes.
        ids: the content hashes of its units, see ``claims.measurement.Counted``.
        measured: the day on which a report was begun; None for a data file.
    """

    path: str
    sha256: str
    ids: frozenset[str]
    measured: datetime.date | None


def read_pilot(path: str | os.PathLike[str]) -> Pilot:
    """Read the data that a threshold was set on: a JSON report of pytest-steer, else a file of contrast items, pairs, texts or questions.

    Raises:
        SteerError: it is not there, is damaged, or holds nothing that can be told by its content.
    """
    file = Path(path)
    try:
        state = file.stat()
        return _read(file, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise SteerError(f"{shown(file)} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=8)
def _read(file: Path, _changed: int, _size: int) -> Pilot:
    content = file.read_bytes()
    report = _report_in(content, file)
    ids = _of_data(file) if report is None else _of_report(report)
    if not ids:
        raise SteerError(
            f"{shown(file)} holds no claim that was measured, so nothing can have been set on it: name the report of a run that ended"
        )
    measured = None if report is None else _day(report)
    return Pilot(shown(file), hashlib.sha256(content).hexdigest(), frozenset(ids), measured)


def _report_in(content: bytes, file: Path) -> Json | None:
    """The report that a file holds; None if it holds something else."""
    try:
        found = json.loads(content)
    except ValueError:
        if f'"{_REPORT}/'.encode() in content[:200]:
            raise SteerError(
                f"{shown(file)} is damaged: it begins as a report and is not whole JSON. Take a copy that is, or write it again"
            ) from None
        return None
    schema = found.get("schema") if isinstance(found, dict) else None
    if not (isinstance(schema, str) and schema.startswith(f"{_REPORT}/")):
        return None
    if schema != SCHEMA_NAME or not isinstance(found.get("claims"), list):
        raise SteerError(f"{shown(file)} is a report of another schema: {schema!r}, and this pytest-steer reads {_VERSION}")
    return dict(found)


def _of_report(report: Json) -> set[str]:
    """The hashes of all units that its claims were measured on."""
    found: set[str] = set()
    for claim in report["claims"]:
        found.update((claim.get("units") or {}).get("ids", ()))
        for item in claim.get("items") or ():
            try:
                found.add(content_hash(ContrastItem(item["question"], item["matching"], item["not_matching"]).form))
            except (KeyError, DataError):  # rows of another kind
                break
    return found


def _of_data(file: Path) -> set[str]:
    """The hashes of what a data file holds."""
    readers: list[Callable[[], Sequence[Sequence[str]]]] = [
        lambda: read_items(file).forms,
        lambda: read_tasks(file).forms,
        lambda: read_questions(file).forms,
        lambda: read_texts(file).forms,
    ]
    found: set[str] = set()
    first: DataError | None = None
    for read in readers:
        try:
            found.update(map(content_hash, read()))
        except DataError as error:
            first = first or error
    if not found:
        raise SteerError(f"{shown(file)} is neither a report of pytest-steer nor data that can be read: {first}")
    return found


def _day(report: Json) -> datetime.date | None:
    try:
        return datetime.datetime.fromisoformat(report["provenance"]["started"]).date()
    except (KeyError, TypeError, ValueError):
        return None


seen_before = code(
    "threshold-set-on-these-data",
    signal="The threshold was set on data that the claim is judged on again.",
    meaning="A pass says little: the promise was made from its own evidence.",
    cure="Judge it on other data.",
    weight=Weight.MEANINGLESS,
)
odd_day = code(
    "threshold-day",
    signal="The day on which the threshold was set is in the future, or before its pilot was measured.",
    meaning="The record of where the threshold comes from is wrong.",
    cure="Correct `set` or `from`.",
)


def note_threshold(evidence: Evidence, given: Promised | None, claim: Any) -> tuple[ThresholdSet | None, list[Finding]]:
    """The source of the evidence's threshold, with findings that speak against a pass.

    Args:
        claim: whose data are compared with those of the pilot, where the evidence has no ``units``.
    """
    if given is None or given.value is None or (given.set_on is None and given.source is None):
        return None, []
    pilot = None if given.source is None else read_pilot(given.source)
    unit, own = _judged_on(evidence, claim)
    is_known = pilot is not None and bool(own)
    record = ThresholdSet(
        date=None if given.set_on is None else given.set_on.isoformat(),
        file=None if pilot is None else pilot.path,
        sha256=None if pilot is None else pilot.sha256,
        measured=None if pilot is None or pilot.measured is None else pilot.measured.isoformat(),
        seen=len(own & pilot.ids) if pilot is not None and own else None,
        of=len(own) if is_known else None,
        before_data=None,
    )
    doubts = _doubts(unit, record, given, pilot)
    if is_known and (record.seen or given.set_on is not None):
        record = replace(record, before_data=not doubts)
    return record, doubts


def _judged_on(evidence: Evidence, claim: Any) -> tuple[str, set[str]]:
    """The units that a claim is judged on: their name, and their hashes."""
    if evidence.units is not None:
        return evidence.units.unit, set(evidence.units.ids)
    for name, form in (("items", _form), ("tasks", _form), ("texts", form_of), ("questions", _form)):
        if given := getattr(claim, name, None):
            return name, {content_hash(form(one)) for one in given}
    return evidence.unit, set()


def _form(one: Any) -> Sequence[str]:
    form: Sequence[str] = one.form
    return form


def _doubts(unit: str, record: ThresholdSet, given: Promised, pilot: Pilot | None) -> list[Finding]:
    found: list[Finding] = []
    if record.seen:
        what = "these" if record.seen == record.of else f"{record.seen} of these {record.of}"
        found.append(
            seen_before(f"the threshold was set on {what} {unit} ({record.file}): a pass says little. Judge it on others")
        )
    if given.set_on is not None and given.set_on > datetime.date.today() + _ONE_DAY:
        found.append(odd_day(f"the threshold is said to be set on {given.set_on}, which is in the future"))
    if (
        given.set_on is not None
        and pilot is not None
        and pilot.measured is not None
        and given.set_on < pilot.measured - _ONE_DAY
    ):
        found.append(
            odd_day(
                f"the threshold is said to be set on {given.set_on}, and {pilot.path}, which it comes from, was measured on {pilot.measured}: one of "
                "the two is wrong"
            )
        )
    return found


def threshold_line(evidence: Evidence) -> list[str]:
    """The source of the threshold in one line, as far as it is known."""
    record = evidence.threshold_set
    if record is None:
        return []
    when = f"set on {record.date}" if record.date else "set on a day that is not said"
    if record.file is None:
        return [f"threshold {when}; `from` does not say on which data"]
    of = f" of {record.measured}" if record.measured else ""
    source = f"from {record.file}{of} (sha256 {(record.sha256 or '')[:12]})"
    if record.of is None:
        return [f"threshold {when} {source}; what this claim is judged on has no hashes to compare"]
    known = "none" if not record.seen else "all" if record.seen == record.of else str(record.seen)
    return [
        f"threshold {when} {source}: {known} of the {record.of} judged here {'is' if known in ('none', '1') else 'are'} in it"
    ]
