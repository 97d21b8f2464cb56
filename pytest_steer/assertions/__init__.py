"""Assertions: each builds a check, measures it and raises if the claim does not hold."""

from .costs import assert_ppl_delta_below, assert_steers_at_cost
from .holding import raise_unless_held
from .items import assert_not_anti_steered, assert_performs_task, assert_steers
from .settings import assert_generalizes, assert_holds_in_contexts
from .soundness import assert_hooks_are_sound

__all__ = [
    "assert_generalizes",
    "assert_holds_in_contexts",
    "assert_hooks_are_sound",
    "assert_not_anti_steered",
    "assert_performs_task",
    "assert_ppl_delta_below",
    "assert_steers",
    "assert_steers_at_cost",
    "raise_unless_held",
]
