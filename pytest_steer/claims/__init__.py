"""Promises: what each measures, how it is judged, how it explains itself, its assertion. Knows nothing of pytest or files."""

from ..registry import discover
from ..soundness import check_before
from .asserting import raise_unless_held
from .base import AnyClaim, Claim
from .baselines import Baseline
from .beats import Beats, assert_beats
from .calls_tool import CallsTool, assert_calls_tool
from .capability_delta_below import CapabilityDeltaBelow, assert_capability_delta_below
from .drifts_less import DriftsLess, assert_drifts_less
from .explain import complete, explain
from .generalizes import Generalizes, assert_generalizes
from .generates import Generates, assert_generates
from .holds_in_contexts import HoldsInContexts, assert_holds_in_contexts
from .hooks_are_sound import HooksAreSound, assert_hooks_are_sound
from .kinds import ClaimKind, claim, kind_of
from .kl_below import KlBelow, assert_kl_below
from .leaves_alone import LeavesAlone, assert_leaves_alone
from .no_cliff import NoCliff, assert_no_cliff
from .no_regression import NoRegression
from .not_anti_steered import NotAntiSteered, assert_not_anti_steered
from .other_data import OtherData
from .performs_task import PerformsTask, assert_performs_task
from .ppl_delta_below import PplDeltaBelow, assert_ppl_delta_below
from .running import evidence_of
from .sides import Promotes, Suppresses, assert_promotes, assert_suppresses
from .stays_fluent import StaysFluent, assert_stays_fluent
from .steers import Steers, assert_steers
from .steers_at_cost import SteersAtCost, assert_steers_at_cost

discover(__name__, __path__)

__all__ = [
    "AnyClaim",
    "Baseline",
    "Beats",
    "CallsTool",
    "CapabilityDeltaBelow",
    "Claim",
    "ClaimKind",
    "DriftsLess",
    "Generalizes",
    "Generates",
    "HoldsInContexts",
    "HooksAreSound",
    "KlBelow",
    "LeavesAlone",
    "NoCliff",
    "NoRegression",
    "NotAntiSteered",
    "OtherData",
    "PerformsTask",
    "PplDeltaBelow",
    "Promotes",
    "StaysFluent",
    "Steers",
    "SteersAtCost",
    "Suppresses",
    "assert_beats",
    "assert_calls_tool",
    "assert_capability_delta_below",
    "assert_drifts_less",
    "assert_generalizes",
    "assert_generates",
    "assert_holds_in_contexts",
    "assert_hooks_are_sound",
    "assert_kl_below",
    "assert_leaves_alone",
    "assert_no_cliff",
    "assert_not_anti_steered",
    "assert_performs_task",
    "assert_ppl_delta_below",
    "assert_promotes",
    "assert_stays_fluent",
    "assert_steers",
    "assert_steers_at_cost",
    "assert_suppresses",
    "check_before",
    "claim",
    "complete",
    "evidence_of",
    "explain",
    "kind_of",
    "raise_unless_held",
]
