"""Evidence of entries of claim files that cannot be read or measured."""

from __future__ import annotations

from ..errors import SteerError
from ..evidence import Evidence, error_evidence
from .specs import BrokenClaim, ClaimSpec, Suite


def failed_evidence(error: SteerError, suite: Suite, claim: ClaimSpec) -> Evidence:
    """Evidence of an error, which begins with the line and the key of the claim's file where that is written."""
    said = claim.located(error, suite.path)
    return error_evidence(claim.kind, claim.name, said, soundness=getattr(error, "soundness", None))


def broken_evidence(broken: BrokenClaim) -> Evidence:
    """The evidence of a claim that could not even be read."""
    return error_evidence(broken.kind, broken.name, str(broken.error))
