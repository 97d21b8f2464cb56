"""The letters of failed tests among pytest's dots: ``?`` for not enough evidence, ``!`` for what could not be measured, ``F`` for a broken promise.

Only the letter is ours. All are failed: pytest counts and lists them so, and its exit code is its own.
"""

from __future__ import annotations

import pytest

from ..core.errors import SteerError
from ..core.failures import SteeringInconclusive

_LETTER = "steer_letter"


def note_letter(report: pytest.TestReport, error: BaseException) -> None:
    """Keep the letter of a failed test in its report, which may come from an xdist worker."""
    if report.when != "call" or not report.failed:
        return
    if isinstance(error, SteeringInconclusive):
        report.__dict__[_LETTER] = "?"
    elif isinstance(error, SteerError):
        report.__dict__[_LETTER] = "!"


def status_of(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    """What ``pytest_report_teststatus`` returns: category, letter and word; None for what has no letter of ours."""
    letter = getattr(report, _LETTER, None)
    return ("failed", letter, "FAILED") if isinstance(letter, str) else None
