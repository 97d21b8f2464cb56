"""One pytest run: its claims are measured once, their evidence is collected, and partial reports are written meanwhile."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .options import Settings

if TYPE_CHECKING:
    from ..core.evidence import Evidence, Json
    from ..core.record import Commit
    from ..files import BrokenClaim, ClaimSpec, Suite
    from ..files.build import Measuring
    from ..report import PartialReport


class SteerSession:
    """The state of a run, which fixtures and claim items share. It is a plugin of the run, so that pytest hands it every report.

    Attributes:
        settings: the options of this run.
        started: when it began, in seconds since the epoch.
        claims: the records of all evidence, from this process or from xdist workers.
        ended: the ids of the tests that have ended, skipped ones too.
        places: file (relative to pytest's root) and line (from 1) of the tests with claims, by id.
        saved: lines for the user about counterexamples and reports that were written.
        collected: the ids of all tests that xdist's workers collected; None without workers, and before they have.
        header: prints the header line before the first test of xdist's workers; None if there is nothing to print.
        commit: the commit of the repository that holds the suites, if a report was asked for.
        partials: the partial reports; None if no report was asked for, and in xdist's workers.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.time()
        self.claims: list[Json] = []
        self.ended: set[str] = set()
        self.places: dict[str, tuple[str, int]] = {}
        self.saved: list[str] = []
        self.collected: list[str] | None = None
        self.header: Callable[[], None] | None = None
        self.commit: Commit | None = None
        self.partials: PartialReports | None = None
        self._families: dict[int, dict[str, Evidence]] = {}

    @cached_property
    def measuring(self) -> Measuring:
        """Measures the claims of this run; models, vectors and data are loaded once."""
        from ..files.build import Measuring

        return Measuring(self.settings.run)

    @pytest.hookimpl(tryfirst=True)  # before pytest names the test
    def pytest_runtest_logstart(self) -> None:
        if self.header is not None:
            self.header()
            self.header = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        claims = getattr(report, "steer_evidence", [])
        self.claims += claims
        if self.partials is not None:
            self.partials.add(claims)
        if hasattr(report, "steer_evidence"):
            file, line, _ = report.location
            self.places[report.nodeid] = (file, (line or 0) + 1)
        if report.when == "teardown":
            self.ended.add(report.nodeid)

    def sort_claims(self) -> None:
        """Sort the evidence by the order of collection. From xdist's workers it arrives in any order."""
        places = {nodeid: place for place, nodeid in enumerate(self.collected or ())}
        self.claims.sort(key=lambda claim: places.get(claim["id"], len(places)))

    def begin_reports(self, folder: Path) -> None:
        """Note the commit of the repository that holds a folder, and begin the partial reports."""
        self.commit = commit_of(folder)
        self.partials = PartialReports(self.settings, self.started, self.commit)

    def model_name(self, suite: Suite, claim: ClaimSpec | BrokenClaim) -> str:
        """The model of a claim: the option's, else its choice in ``matrix``, else the file's, else the built-in one."""
        return self.settings.run.model_name(claim.model, suite.model)

    def measure(self, suite: Suite, claim: ClaimSpec) -> Evidence:
        """The evidence of one claim, or of an error if it cannot be measured.

        With Holm's adjustment all claims of the file are measured, whichever were selected.
        """
        if not (self.settings.holm or suite.holm):
            return self.measuring.evidence_of(suite, claim)
        family = self._families.get(id(suite))
        if family is None:
            family = self._families[id(suite)] = self.measuring.family_of(suite)
        return family[claim.name]


class PartialReports:
    """Writes ``REPORT.partial.json`` for every JSON report that was asked for. Other formats are written at the end only.

    A claim that cannot be written waits and is written with the next one. Missing claims are reported only if the whole report cannot be
    written either.
    """

    def __init__(self, settings: Settings, started: float, commit: Commit | None) -> None:
        self._settings, self._started, self._commit = settings, started, commit
        self._open: dict[Path, PartialReport] = {}
        self._waiting: dict[Path, list[Json]] = {
            path: [] for path in settings.reports if path.suffix.lower() == ".json" and (path.is_file() or not path.exists())
        }

    def add(self, claims: list[Json]) -> None:
        """Write the evidence of one test into each file."""
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
                    del waiting[0]
            except OSError:
                continue

    def discard(self, path: Path) -> None:
        """Remove the partial file of a report that has been written."""
        if path in self._open:
            self._open.pop(path).discard()

    def kept(self, path: Path) -> str:
        """A sentence about a report that could not be written: where its finished claims are, or what to do."""
        partial = self._open.get(path)
        if partial is None or not partial.count or not partial.path.exists():
            return "Run again with --steer-report in a folder that has room"
        count, noun = partial.count, "claim is" if partial.count == 1 else "claims are"
        missing = f" ({len(self._waiting[path])} more did not fit)" if self._waiting[path] else ""
        return f"{count} finished {noun} in {partial.path}{missing}"


def provenance_of(settings: Settings) -> Json:
    """The settings of the run that a report lists, as arguments of ``build_report``."""
    run = settings.run
    return {"seed": run.seed, "profile": run.effort.name, "options": settings.options}


# Settings of a repository could name programs to run; none of ours has a reason to.
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
_SECONDS = 10


def commit_of(folder: Path) -> Commit | None:
    """The commit of the repository that holds a folder.

    Returns:
        None if there is no repository, no commit in it yet, or no git.
    """
    from ..core.record import Commit

    found = _git(folder, "rev-parse", "--verify", "HEAD")
    if not found:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return Commit(id=found.strip(), dirty=None if changed is None else bool(changed))


def _git(folder: Path, *arguments: str) -> str | None:
    # A run inside a git hook has variables that name that hook's repository.
    plain = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            [*_GIT, *arguments], cwd=folder, env=plain, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
