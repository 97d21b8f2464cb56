"""The claim file: from text to :class:`Suite`, or to an error that says where, what and what to do."""

from __future__ import annotations

from pytest_steer.suites.claims import BrokenClaim, ClaimSpec, Suite, VectorSpec
from pytest_steer.suites.reader import read_suite

__all__ = ["BrokenClaim", "ClaimSpec", "Suite", "VectorSpec", "read_suite"]
