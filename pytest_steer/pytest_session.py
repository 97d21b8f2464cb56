"""One pytest run: models, vectors and data are loaded once, claims are measured once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import progress
from .errors import SteerError, exceptions_named, warnings_noted
from .pytest_options import Settings

if TYPE_CHECKING:
    import pytest

    from .evidence import Evidence
    from .files import BrokenClaim, ClaimSpec, Suite
    from .files.build import Builder
    from .model.models import Models

MODELS_OVERRULED = (
    "--steer-model (steer_model) replaces every model of `matrix.model` by {model}: items that differ only in their model are the same "
    "measurement, whatever they are called"
)


class SteerSession:
    """What the fixtures and the claim items share.

    Attributes:
        settings: the options of this run.
        started: when it began, in seconds since the epoch.
        claims: the evidence of all tests, of this process or of xdist workers.
        ended: the ids of the tests that came to their end, skipped ones too.
        saved: what to tell about counterexamples and reports that were written.
        collected: the ids of all tests that xdist's workers collected; None without workers, and before they have.
        header: prints the header line before the first test of xdist's workers; None without workers, and before they have collected.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.time()
        self.claims: list[dict[str, Any]] = []
        self.ended: set[str] = set()
        self.saved: list[str] = []
        self.collected: list[str] | None = None
        self.header: Callable[[], None] | None = None
        self._builders: dict[int, Builder] = {}
        self._families: dict[int, dict[str, Evidence]] = {}

    @cached_property
    def models(self) -> Models:
        """The models of this run."""
        from .model.models import Models

        return Models(self.settings.run)

    def pytest_runtest_logstart(self) -> None:
        if self.header is not None:
            self.header()
            self.header = _said

    def sort_claims(self, ids: Sequence[str]) -> None:
        """Put the evidence in the order of these ids, that of the files, whichever worker was first."""
        order = {one: at for at, one in enumerate(ids)}
        self.claims.sort(key=lambda claim: order.get(claim["id"], len(order)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The session is a plugin of its run, so that pytest hands it every report."""
        self.claims += getattr(report, "steer_evidence", ())
        if report.when == "teardown":
            self.ended.add(report.nodeid)

    def model_name(self, suite: Suite, claim: ClaimSpec | BrokenClaim) -> str:
        """The model of a claim: the option's, else that of its combination in ``matrix``, else the file's, else the built-in one."""
        return self.settings.run.model_name(getattr(claim, "model", None), suite.model)

    def measure(self, suite: Suite, claim: ClaimSpec) -> Evidence:
        """Evidence of one claim, of an error if it cannot be measured.

        With Holm's adjustment all claims of its file are measured, whichever were selected.
        """
        if not (self.settings.holm or suite.holm):
            return self._measured(suite, claim)
        family = self._families.get(id(suite))
        if family is None:
            family = self._families[id(suite)] = self._measure_family(suite)
        return family[claim.name]

    def _measure_family(self, suite: Suite) -> dict[str, Evidence]:
        from .claims.multiplicity import adjust
        from .files import BrokenClaim

        family = {
            entry.name: broken_evidence(entry) if isinstance(entry, BrokenClaim) else self._measured(suite, entry)
            for entry in suite.entries
        }
        adjust(list(family.values()))
        return family

    def _measured(self, suite: Suite, claim: ClaimSpec) -> Evidence:
        with warnings_noted() as said:
            try:
                with exceptions_named():
                    evidence = self._measure(suite, claim)
            except SteerError as error:
                evidence = failed_evidence(error, suite, claim)
        evidence.warnings += [text for text in said if text not in evidence.warnings]
        return evidence

    def _measure(self, suite: Suite, claim: ClaimSpec) -> Evidence:
        from .files.build import Builder, load_for
        from .measures.subject import model_warnings
        from .model.loaded import looked_at_once

        run = self.settings.run
        progress.report("loading the model")
        model = load_for(self.models, suite, self.model_name(suite, claim))
        builder = self._builders.setdefault(id(model), Builder(model, run))
        progress.report("preparing the vector")
        with looked_at_once():
            evidence = builder.build(suite, claim).measure(model)
        evidence.to_dict()  # which refuses what is not finite
        evidence.warnings += model_warnings(model)
        if claim.model is not None and run.model is not None:
            evidence.warnings.append(MODELS_OVERRULED.format(model=run.model))
        return evidence


def _said() -> None:
    """The header line was printed."""


def failed_evidence(error: SteerError, suite: Suite, claim: ClaimSpec) -> Evidence:
    """Evidence of an error, which begins with the line and the key of the claim's file where that is written."""
    from .evidence import error_evidence

    said = claim.located(error, suite.path)
    return error_evidence(claim.kind, claim.name, said, soundness=getattr(error, "soundness", None))


def broken_evidence(broken: BrokenClaim) -> Evidence:
    """The evidence of a claim that could not even be read."""
    from .evidence import error_evidence

    return error_evidence("", broken.name, str(broken.error))
