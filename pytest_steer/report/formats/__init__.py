"""The formats of reports: one module per format, which registers it by :func:`report_format`."""

from __future__ import annotations

from ...core.registry import discover
from .kinds import report_format

__all__ = ["report_format"]

discover(__name__, __path__)
