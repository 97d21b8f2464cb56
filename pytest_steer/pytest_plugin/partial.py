"""The partial JSON reports of a run that goes on, written as the evidence of each test arrives. Imports nothing heavy at start-up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import Settings

if TYPE_CHECKING:
    from ..report import PartialReport


class PartialReports:
    """``REPORT.partial.json`` beside every JSON report that was asked for. Of another format there is only the whole.

    A claim that finds no room waits and is written with the next one. What could not be written is said when the whole report cannot be
    written either; until then it is no loss.
    """

    def __init__(self, settings: Settings, started: float, commit: dict[str, Any] | None) -> None:
        self._settings, self._started, self._commit = settings, started, commit
        self._open: dict[Path, PartialReport] = {}
        self._waiting: dict[Path, list[dict[str, Any]]] = {
            path: [] for path in settings.reports if path.suffix.lower() == ".json" and (path.is_file() or not path.exists())
        }
        self._written: dict[Path, int] = {}

    def add(self, claims: list[dict[str, Any]]) -> None:
        """Write the evidence of one test into each."""
        if not claims or not self._waiting:
            return
        from ..report import PartialReport, fitting, partial_head, partial_path, with_texts

        claims, _ = fitting([with_texts(claim, self._settings.report_texts) for claim in claims])
        for path, waiting in self._waiting.items():
            waiting += claims
            try:
                if path not in self._open:
                    head = partial_head(
                        waiting[0], started=self._started, commit=self._commit, **provenance_of(self._settings)
                    )
                    self._open[path] = PartialReport(partial_path(path), head)
                while waiting:
                    self._open[path].add(waiting[0])
                    self._written[path] = self._written.get(path, 0) + 1
                    del waiting[0]
            except OSError:
                continue

    def discard(self, path: Path) -> None:
        """Remove that of a report that is written."""
        if path in self._open:
            self._open.pop(path).discard()

    def kept(self, path: Path) -> str:
        """What there is in place of a report that could not be written, and what to do, as a sentence."""
        partial, count = self._open.get(path), self._written.get(path, 0)
        if partial is None or not count or not partial.path.exists():
            return "Run again with --steer-report in a folder that has room"
        noun = "claim is" if count == 1 else "claims are"
        missing = f" ({len(self._waiting[path])} more did not fit)" if self._waiting[path] else ""
        return f"{count} finished {noun} in {partial.path}{missing}"


def provenance_of(settings: Settings) -> dict[str, Any]:
    """What a report says of the run's settings, as arguments of ``build_report``."""
    run = settings.run
    return {"seed": run.seed, "profile": run.effort.name, "options": settings.options}
