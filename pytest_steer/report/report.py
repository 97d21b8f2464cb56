"""The report: what was measured, as plain data, and its files."""

from __future__ import annotations

import copy
import datetime
import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from ..core import registry
from ..core.errors import SteerError, exceptions_named
from ..core.evidence import SCORING, Json, error_evidence, plain
from ..core.file_formats import format_of, write_whole
from ..core.record import SCHEMA_NAME, ClaimRecord, Commit, Comparison, Provenance, record_of
from .matrix_rows import entanglement_rows, matrix_rows
from .schema import claim_validator

_PACKAGES = ("pytest-steer", "pytest", "torch", "transformers", "tokenizers", "numpy", "scipy", "hypothesis")


def build_report(
    claims: Sequence[Json],
    *,
    seed: int,
    profile: str,
    started: float,
    interrupted: bool = False,
    not_run: int | None = 0,
    commit: Commit | None = None,
    options: Json | None = None,
) -> Json:
    """The report as one object.

    Args:
        claims: evidence as ``Evidence.to_dict`` gives it.
        started: when the run began, in seconds since the epoch.
        interrupted: the run was ended from outside, as by Ctrl-C.
        not_run: how many claims of claim files were selected and not measured; None if not known.
        commit: of the suites' repository, see ``commit_of``. options: those that decide what is measured and how it is judged.
    """
    for claim in claims:
        claim_validator().validate(claim)
    records = [record_of(claim) for claim in claims]
    rows, tasks = matrix_rows(records)
    provenance = Provenance(
        **models_of(records),
        versions=_versions(),
        scoring=SCORING,
        seed=seed,
        profile=profile,
        options=options or {},
        commit=commit,
        started=datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(timespec="seconds"),
        seconds=round(time.time() - started, 3),
        interrupted=interrupted,
        not_run=not_run,
    )
    comparison = Comparison(
        rows=tuple(row.whole() for row in rows), tasks=tuple(tasks), entanglement=tuple(entanglement_rows(records))
    )
    return {
        "schema": SCHEMA_NAME,
        "provenance": plain(provenance),
        "claims": list(claims),
        "comparison": plain(comparison),
        "against": None,
    }


def partial_head(claim: Json, **known: Any) -> Json:
    """What a partial report begins with when its first claim is finished: a report without claims. ``known`` as in :func:`build_report`."""
    report = build_report([claim], not_run=None, **known)
    return {"schema": report["schema"], "provenance": report["provenance"] | {"partial": True}}


def models_of(claims: Sequence[ClaimRecord]) -> Json:
    """What provenance says of the models under test: all, and of the first one its template and the threads that computed it."""
    known = tuple(dict.fromkeys(claim.model for claim in claims if claim.model is not None))
    first = known[0] if known else None
    return {
        "model": first,
        "models": known,
        "template": first and first.template,
        "threads": first and first.threads,
    }


def fitting(claims: Sequence[Json]) -> tuple[list[Json], list[str]]:
    """The records that the schema allows. In the place of any other stands an error, and its name and fault are among the second."""
    checks = claim_validator()
    fit, faults = [], []
    for claim in claims:
        error = next(checks.iter_errors(claim), None)
        if error is not None:
            said = f"a report cannot hold this evidence: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
            faults.append(f"{claim['id']}: {said}")
            known = {key: str(claim[key]) for key in ("id", "suite")}
            claim = error_evidence(str(claim["check"]), str(claim["name"]), said, message=said, **known).to_dict()
        fit.append(claim)
    return fit, faults


def write_report(path: Path, report: Json) -> None:
    """Write the report in the format of the path's suffix, as a whole or not at all.

    Raises:
        SteerError: the function of the format fails.
        OSError: the file cannot be written; one that was there before is untouched.
    """
    known = format_of("report format", path)
    assert known is not None  # the option --steer-report was checked at start-up
    home = registry.home_of("report format", known.name)
    what, instead = f"the report format {known.name!r} of {home}", f"write another format too, such as {path.stem}.json"
    try:
        with exceptions_named():  # another package's function raises what it likes, and the other reports are to be written
            content = known.function(copy.deepcopy(report))
    except SteerError as error:
        raise SteerError(f"{what} failed: {error}. Correct it there, or {instead}") from error
    if not isinstance(content, (str, bytes)):
        raise SteerError(
            f"{what} gave {type(content).__name__}, not text or bytes. Let it return one of these, or {instead}"
        )
    # Half a character, which a model can write, has no UTF-8; in JSON its escape means the same.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    write_whole(path, data)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
