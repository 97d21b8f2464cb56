"""What is raised about a claim that does not hold. Imports nothing heavy."""

from __future__ import annotations

from .evidence import Evidence


class SteeringFailure(AssertionError):
    """A claim does not hold, or there is not enough evidence that it does.

    Two failures are equal if the same check of the same name came to the same verdict: Hypothesis then shrinks
    towards the same failure, however the numbers move.

    Attributes:
        evidence: everything that was measured.
        headline: the first line of the message as it was before a terminal's columns broke it; empty if none did.
    """

    headline: str = ""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        super().__init__(evidence.message)

    def _identity(self) -> tuple[str, str, str]:
        return (self.evidence.check, self.evidence.name, self.evidence.verdict.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SteeringFailure) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


class SteeringInconclusive(SteeringFailure):
    """Not enough evidence: the interval lies across the threshold."""
