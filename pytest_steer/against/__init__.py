"""One report compared with an earlier one: what can be compared, paired by content, with an interval. Plain data in, plain data out."""

from .held_against import (
    Loss,
    baseline_words,
    compared,
    counts_line,
    exit_code,
    held_against,
    is_part,
    loss_of,
    summary_lines,
)
from .pairing import pair_units

__all__ = [
    "Loss", "baseline_words", "compared", "counts_line", "exit_code", "held_against", "is_part", "loss_of", "pair_units", "summary_lines",
]  # fmt: skip
