"""HTML: one self-contained page."""

from __future__ import annotations

from ...core.evidence import Json
from .kinds import report_format


@report_format("html", suffixes=[".html"])
def to_html(report: Json) -> str:
    """A page to read and to show: verdicts first, figures, what was measured (docs/page.md)."""
    from ..page import page_of

    return page_of(report)
