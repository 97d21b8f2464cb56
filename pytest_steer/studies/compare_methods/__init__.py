"""Comparing methods: all of them on the same behaviours, at their own strength and at equal perplexity cost. Knows nothing of pytest."""

from .choose import best_of, split_entries, within
from .measure import Comparison, Entry, Failure, compare
from .plan import Plan, behaviour_name, entries_of, plan_of

__all__ = [
    "Comparison", "Entry", "Failure", "Plan", "behaviour_name", "best_of", "compare", "entries_of", "plan_of", "split_entries",
    "within",
]  # fmt: skip
