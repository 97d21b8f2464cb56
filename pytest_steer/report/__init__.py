"""Evidence to reports: terminal table and JSON. Knows nothing of pytest."""

from .json_report import build_report, report_schema, write_json
from .table import claim_table, claim_warnings, expected_false, verdict_counts

__all__ = [
    "build_report",
    "claim_table",
    "claim_warnings",
    "expected_false",
    "report_schema",
    "verdict_counts",
    "write_json",
]
