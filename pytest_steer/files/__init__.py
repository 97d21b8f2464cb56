"""The claim file: from text to :class:`Suite`, or to an error that says where, what and what to do."""

from __future__ import annotations

from pytest_steer.files.reader import read_suite
from pytest_steer.files.specs import BrokenClaim, ClaimSpec, Suite, VectorSpec

__all__ = ["BrokenClaim", "ClaimSpec", "Suite", "VectorSpec", "read_suite"]
