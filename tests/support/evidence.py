"""The evidence of an assertion, whether it holds or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_steer import SteeringFailure
from pytest_steer.core.evidence import Evidence


def evidence_of(assertion: Callable[..., Evidence], *arguments: Any, **settings: Any) -> Evidence:
    try:
        return assertion(*arguments, **settings)
    except SteeringFailure as failure:  # SteeringInconclusive is one
        return failure.evidence


def shown(evidence: Evidence, kind: type[Any], title: str | None = None) -> Any:
    """The first block of a kind that the evidence shows, with this title if one is given."""
    return next(one for one in evidence.blocks if isinstance(one, kind) and title in (None, getattr(one, "title", None)))


def said(evidence: Evidence, words: str) -> list[str]:
    """The warnings with these words."""
    return [warning for warning in evidence.warnings if words in warning]
