"""The claims of claim files measured on one model, as the records that a report holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import progress
from ...claims.explain import complete
from ...claims.multiplicity import adjusted
from ...errors import SteerError, exceptions_named
from ...evidence import Evidence
from ...files import BrokenClaim, Suite
from ...files.failed import failed_evidence
from ...files.measuring import Measuring
from ...sources import shown


def measure_claims(measuring: Measuring, suites: Sequence[Suite], called: str) -> list[dict[str, Any]]:
    """The record of every claim, in the order of the files; a claim that cannot be measured is an error among them.

    Verdicts of a file with ``holm: true`` are adjusted for its number of claims, as in a run of pytest.

    Args:
        measuring: of a run whose model is the one to measure on.
        called: the model's name in progress.
    """
    entries = [(suite, entry) for suite in suites for entry in suite.entries]
    measured = []
    for index, (suite, entry) in enumerate(entries, 1):
        progress.report(f"{called}: claim {entry.name} ({index} of {len(entries)})")
        measured.append((suite, entry, measuring.evidence_of(suite, entry)))
    for suite in suites:
        if suite.holm:
            own = [place for place, (one, *_) in enumerate(measured) if one is suite]
            for place, evidence in zip(own, adjusted([measured[place][2] for place in own]), strict=True):
                measured[place] = (*measured[place][:2], evidence)
    return [_record(evidence, suite, entry) for suite, entry, evidence in measured]


def _record(evidence: Evidence, suite: Suite, entry: Any) -> dict[str, Any]:
    try:
        with exceptions_named():
            return _labelled(evidence, suite, entry).to_dict()
    except SteerError as error:
        if isinstance(entry, BrokenClaim):
            raise
        return _labelled(failed_evidence(error, suite, entry), suite, entry).to_dict()


def _labelled(evidence: Evidence, suite: Suite, entry: Any) -> Evidence:
    return complete(
        evidence.but(
            suite=suite.name,
            id=f"{shown(suite.path)}::{entry.name}",
            matrix=getattr(entry, "choice", None) or None,
            xfail=getattr(entry, "xfail", None),
        )
    )
