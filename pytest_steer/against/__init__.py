"""One report held against an earlier one: what can be compared, paired by content, with an interval. Plain data in, plain data out."""

from .conditions import REPORT_CONDITIONS, Condition, conditions
from .held_against import OUTCOMES, Loss, compared, exit_code, held_against, is_part, loss_of
from .pairing import pair_units
from .words import baseline_words, summary_lines

__all__ = [
    "OUTCOMES",
    "REPORT_CONDITIONS",
    "Condition",
    "Loss",
    "baseline_words",
    "compared",
    "conditions",
    "exit_code",
    "held_against",
    "is_part",
    "loss_of",
    "pair_units",
    "summary_lines",
]
