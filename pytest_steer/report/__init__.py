"""Evidence to reports: terminal table, JSON and the HTML page. Knows nothing of pytest."""

from .comparison import comparison_tables
from .formats import report_format
from .matrix_rows import comparison_of, entanglement_map, entanglement_rows, matrix_rows
from .partial import PartialReport, partial_path
from .reading import baseline_of, read_report, report_of
from .report import build_report, fitting, partial_head, write_report
from .schema import report_schema
from .table import (
    claim_table,
    claim_warnings,
    control_ranks,
    deployed_moves,
    expected_false,
    noted_lines,
    texts_left_out,
    verdict_counts,
)
from .texts import with_texts

__all__ = [
    "PartialReport",
    "baseline_of",
    "build_report",
    "claim_table",
    "claim_warnings",
    "comparison_of",
    "comparison_tables",
    "control_ranks",
    "deployed_moves",
    "entanglement_map",
    "entanglement_rows",
    "expected_false",
    "fitting",
    "matrix_rows",
    "noted_lines",
    "partial_head",
    "partial_path",
    "read_report",
    "report_format",
    "report_of",
    "report_schema",
    "texts_left_out",
    "verdict_counts",
    "with_texts",
    "write_report",
]
