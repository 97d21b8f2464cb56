"""Comparing methods: all of them on the same behaviours, at their own strength and at equal perplexity cost. Knows nothing of pytest."""

from .measure import Comparison, Entry, Failure, compare
from .plan import Plan, entries_of, plan_of

__all__ = ["Comparison", "Entry", "Failure", "Plan", "compare", "entries_of", "plan_of"]
