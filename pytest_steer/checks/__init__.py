"""Promises: what each measures, how it is judged, how it explains itself. Knows nothing of pytest or files."""

from .evidence import Evidence, error_evidence
from .generalizes import Generalizes
from .holds_in_contexts import HoldsInContexts
from .hooks_are_sound import HooksAreSound
from .not_anti_steered import NotAntiSteered
from .performs_task import PerformsTask
from .ppl_delta_below import PplDeltaBelow
from .steers import Steers
from .steers_at_cost import SteersAtCost
from .subject import Subject, describe_model, model_warnings

Check = Steers | NotAntiSteered | PplDeltaBelow | Generalizes | HoldsInContexts | HooksAreSound | PerformsTask | SteersAtCost

__all__ = [
    "Check", "Evidence", "Generalizes", "HoldsInContexts", "HooksAreSound", "NotAntiSteered", "PerformsTask", "PplDeltaBelow",
    "Steers", "SteersAtCost", "Subject", "describe_model", "error_evidence", "model_warnings",
]  # fmt: skip
