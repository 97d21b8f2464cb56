"""Promises: what each measures, how it is judged, how it explains itself. Knows nothing of pytest or files."""

from ..evidence import Evidence, error_evidence
from ..measures.subject import Subject, describe_model, model_warnings
from .assert_costs import assert_ppl_delta_below, assert_steers_at_cost
from .assert_items import assert_not_anti_steered, assert_performs_task, assert_steers
from .assert_settings import assert_generalizes, assert_holds_in_contexts
from .assert_soundness import assert_hooks_are_sound
from .generalizes import Generalizes
from .holding import Check, raise_unless_held
from .holds_in_contexts import HoldsInContexts
from .hooks_are_sound import HooksAreSound
from .not_anti_steered import NotAntiSteered
from .performs_task import PerformsTask
from .ppl_delta_below import PplDeltaBelow
from .steers import Steers
from .steers_at_cost import SteersAtCost

__all__ = [
    "Check", "Evidence", "Generalizes", "HoldsInContexts", "HooksAreSound", "NotAntiSteered", "PerformsTask", "PplDeltaBelow",
    "Steers", "SteersAtCost", "Subject", "assert_generalizes", "assert_holds_in_contexts", "assert_hooks_are_sound",
    "assert_not_anti_steered", "assert_performs_task", "assert_ppl_delta_below", "assert_steers", "assert_steers_at_cost",
    "describe_model", "error_evidence", "model_warnings", "raise_unless_held",
]  # fmt: skip
