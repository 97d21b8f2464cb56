"""One pytest run: models, vectors and data are loaded once, claims are measured once."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .options import Settings
from .partial import PartialReports

if TYPE_CHECKING:
    from ..core.evidence import Evidence
    from ..files import BrokenClaim, ClaimSpec, Suite
    from ..files.build import Measuring
    from ..model.loading import Models


class SteerSession:
    """What the fixtures and the claim items share.

    Attributes:
        settings: the options of this run.
        started: when it began, in seconds since the epoch.
        claims: the evidence of all tests, of this process or of xdist workers.
        ended: the ids of the tests that came to their end, skipped ones too.
        places: of the tests with claims, by id: file, seen from pytest's root, and line, from 1 on.
        saved: what to tell about counterexamples and reports that were written.
        collected: the ids of all tests that xdist's workers collected; None without workers, and before they have.
        header: prints the header line before the first test of xdist's workers; None without workers, and before they have collected.
        commit: that of the repository that holds the suites, where a report was asked for.
        partials: what is written of a report while the run goes on; None where none was asked for, and in xdist's workers.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.time()
        self.claims: list[dict[str, Any]] = []
        self.ended: set[str] = set()
        self.places: dict[str, tuple[str, int]] = {}
        self.saved: list[str] = []
        self.collected: list[str] | None = None
        self.header: Callable[[], None] | None = None
        self.commit: dict[str, Any] | None = None
        self.partials: PartialReports | None = None
        self._families: dict[int, dict[str, Evidence]] = {}

    @cached_property
    def measuring(self) -> Measuring:
        """What measures the claims of this run."""
        from ..files.build import Measuring

        return Measuring(self.settings.run)

    @property
    def models(self) -> Models:
        """The models of this run."""
        return self.measuring.models

    @pytest.hookimpl(tryfirst=True)  # before pytest names the test
    def pytest_runtest_logstart(self) -> None:
        if self.header is not None:
            self.header()
            self.header = _said

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The session is a plugin of its run, so that pytest hands it every report."""
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
        """Put the evidence in the order in which tests were collected; from xdist's workers it arrives in any."""
        places = {nodeid: place for place, nodeid in enumerate(self.collected or ())}
        self.claims.sort(key=lambda claim: places.get(claim["id"], len(places)))

    def begin_reports(self, folder: Path) -> None:
        """Note what reports say of the run's beginning.

        Args:
            folder: one in the repository of the suites.
        """
        from ..core.commit import commit_of

        self.commit = commit_of(folder)
        self.partials = PartialReports(self.settings, self.started, self.commit)

    def model_name(self, suite: Suite, claim: ClaimSpec | BrokenClaim) -> str:
        """The model of a claim: the option's, else that of its combination in ``matrix``, else the file's, else the built-in one."""
        return self.settings.run.model_name(getattr(claim, "model", None), suite.model)

    def measure(self, suite: Suite, claim: ClaimSpec) -> Evidence:
        """Evidence of one claim, of an error if it cannot be measured.

        With Holm's adjustment all claims of its file are measured, whichever were selected.
        """
        if not (self.settings.holm or suite.holm):
            return self.measuring.evidence_of(suite, claim)
        family = self._families.get(id(suite))
        if family is None:
            family = self._families[id(suite)] = self.measuring.family_of(suite)
        return family[claim.name]


def _said() -> None:
    """The header line was printed."""
