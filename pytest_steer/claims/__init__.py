"""Promises: what each measures, how it is judged, how it explains itself, its assertion. Knows nothing of pytest or files."""

from ..soundness import check_before
from .asserting import raise_unless_held
from .base import AnyClaim, Claim
from .explain import complete, explain
from .kind import ClaimKind, claim, kind_of
from .kinds.baselines import Baseline
from .kinds.beats import Beats, assert_beats
from .kinds.calls_tool import CallsTool, assert_calls_tool
from .kinds.capability_delta_below import CapabilityDeltaBelow, assert_capability_delta_below
from .kinds.drifts_less import DriftsLess, assert_drifts_less
from .kinds.generalizes import Generalizes, assert_generalizes
from .kinds.generates import Generates, assert_generates
from .kinds.holds_in_contexts import HoldsInContexts, assert_holds_in_contexts
from .kinds.hooks_are_sound import HooksAreSound, assert_hooks_are_sound
from .kinds.kl_below import KlBelow, assert_kl_below
from .kinds.leaves_alone import LeavesAlone, assert_leaves_alone
from .kinds.no_cliff import NoCliff, assert_no_cliff
from .kinds.no_regression import NoRegression
from .kinds.not_anti_steered import NotAntiSteered, assert_not_anti_steered
from .kinds.performs_task import PerformsTask, assert_performs_task
from .kinds.ppl_delta_below import PplDeltaBelow, assert_ppl_delta_below
from .kinds.sides import Promotes, Suppresses, assert_promotes, assert_suppresses
from .kinds.stays_fluent import StaysFluent, assert_stays_fluent
from .kinds.steers import Steers, assert_steers
from .kinds.steers_at_cost import SteersAtCost, assert_steers_at_cost
from .other_data import OtherData
from .running import evidence_of

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
