"""JSON: the report as it is."""

from __future__ import annotations

import json

from ...core.evidence import Json
from .kinds import report_format


@report_format("json", suffixes=[".json"])
def to_json(report: Json) -> str:
    """All that was measured, as docs/report.md describes it."""
    return json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
