"""Evidence to reports: terminal table, JSON and the HTML page. Knows nothing of pytest."""

from .claim_table import claim_table, notes_below, verdict_counts
from .formats import report_format
from .matrix_rows import comparison_of, entanglement_map
from .partial import PartialReport, partial_path
from .reading import baseline_of, read_report, report_of
from .report import build_report, fitting, partial_head, write_report
from .schema import report_schema
from .texts import with_texts

__all__ = [
    "PartialReport", "baseline_of", "build_report", "claim_table", "comparison_of", "entanglement_map", "fitting", "notes_below",
    "partial_head", "partial_path", "read_report", "report_format", "report_of", "report_schema", "verdict_counts", "with_texts",
    "write_report",
]  # fmt: skip
