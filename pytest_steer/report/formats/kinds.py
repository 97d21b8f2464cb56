"""Formats of reports: the decorator :func:`report_format`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ...core.evidence import Json
from ...core.file_formats import format_decorator

Writer = TypeVar("Writer", bound=Callable[[Json], str | bytes])


def report_format(name: str, *, suffixes: Sequence[str]) -> Callable[[Writer], Writer]:
    """Register a function from a report to the content of a file, for ``--steer-report``.

    The function gets the report as docs/report.md describes it, in plain dictionaries and lists, and returns text or bytes.

    Args:
        suffixes: those of its files, such as ``[".json"]``.

    Raises:
        SteerError: the name or a suffix is taken.
    """
    return format_decorator("report format", name, suffixes)
