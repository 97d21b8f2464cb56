"""The hooks that a user's conftest.py can implement. Imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from .prompting import Axis


def pytest_steer_axes(config: pytest.Config) -> Sequence[Axis] | None:
    """Axes of one's own that the claim files of this folder, and of the folders in it, can name under ``contexts.own``."""
