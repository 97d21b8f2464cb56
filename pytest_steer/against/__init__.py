"""One report held against an earlier one: what can be compared, paired by content, with an interval. Plain data in, plain data out."""

from .conditions import REPORT_CONDITIONS, Condition, conditions
from .held_against import exit_code, held_against
from .losses import Loss, loss_of
from .words import baseline_words, summary_lines

__all__ = [
    "REPORT_CONDITIONS",
    "Condition",
    "Loss",
    "baseline_words",
    "conditions",
    "exit_code",
    "held_against",
    "loss_of",
    "summary_lines",
]
