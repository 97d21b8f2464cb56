"""pytest-steer: steering regression tests for language models.

Importing this package loads nothing heavy: every public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "AnswerLikelihoods": "measures",
    "AtCost": "measures",
    "Axis": "prompting",
    "Baseline": "claims",
    "Capability": "measures",
    "Completion": "data",
    "ContrastItem": "data",
    "Context": "prompting",
    "Deployed": "measures",
    "Dialogue": "data",
    "Divergence": "measures",
    "Drawing": "model",
    "Evidence": "core.evidence",
    "Generation": "model",
    "Intervention": "steering",
    "Items": "data",
    "Model": "model",
    "Noise": "prompting",
    "OtherData": "claims",
    "Perplexity": "measures",
    "PropensityCurve": "measures",
    "Question": "data",
    "Questions": "data",
    "Replies": "model.replies",
    "Reply": "model.replies",
    "SteerError": "core.errors",
    "SteerWarning": "core.errors",
    "SteeringFailure": "core.evidence",
    "SteeringInconclusive": "core.evidence",
    "SteeringVector": "steering",
    "TaskAccuracy": "measures",
    "TaskItem": "data",
    "answer_likelihoods": "measures",
    "assert_beats": "claims",
    "assert_calls_tool": "claims",
    "assert_capability_delta_below": "claims",
    "assert_drifts_less": "claims",
    "assert_generalizes": "claims",
    "assert_generates": "claims",
    "assert_holds_in_contexts": "claims",
    "assert_hooks_are_sound": "claims",
    "assert_kl_below": "claims",
    "assert_leaves_alone": "claims",
    "assert_no_cliff": "claims",
    "assert_not_anti_steered": "claims",
    "assert_performs_task": "claims",
    "assert_ppl_delta_below": "claims",
    "assert_promotes": "claims",
    "assert_stays_fluent": "claims",
    "assert_steers": "claims",
    "assert_steers_at_cost": "claims",
    "assert_suppresses": "claims",
    "axis": "prompting",
    "capability": "measures",
    "contexts": "prompting.strategies",
    "effects_at": "measures",
    "generate": "model",
    "kl_divergence": "measures",
    "load_model": "model",
    "multipliers_at_cost": "measures",
    "noises": "prompting.strategies",
    "perplexity": "measures",
    "prompts": "prompting.strategies",
    "propensity_curve": "measures",
    "read_items": "data",
    "read_prompts": "data",
    "read_questions": "data",
    "read_tasks": "data",
    "read_texts": "data",
    "replies": "model.replies",
    "steered": "model",
    "task_accuracy": "measures",
    "wrap_model": "model",
}

__all__ = ["__version__", "extract", *_HOMES]

if TYPE_CHECKING:
    from . import extract as extract
    from .claims import Baseline as Baseline
    from .claims import OtherData as OtherData
    from .claims import assert_beats as assert_beats
    from .claims import assert_calls_tool as assert_calls_tool
    from .claims import assert_capability_delta_below as assert_capability_delta_below
    from .claims import assert_drifts_less as assert_drifts_less
    from .claims import assert_generalizes as assert_generalizes
    from .claims import assert_generates as assert_generates
    from .claims import assert_holds_in_contexts as assert_holds_in_contexts
    from .claims import assert_hooks_are_sound as assert_hooks_are_sound
    from .claims import assert_kl_below as assert_kl_below
    from .claims import assert_leaves_alone as assert_leaves_alone
    from .claims import assert_no_cliff as assert_no_cliff
    from .claims import assert_not_anti_steered as assert_not_anti_steered
    from .claims import assert_performs_task as assert_performs_task
    from .claims import assert_ppl_delta_below as assert_ppl_delta_below
    from .claims import assert_promotes as assert_promotes
    from .claims import assert_stays_fluent as assert_stays_fluent
    from .claims import assert_steers as assert_steers
    from .claims import assert_steers_at_cost as assert_steers_at_cost
    from .claims import assert_suppresses as assert_suppresses
    from .core.errors import SteerError as SteerError
    from .core.errors import SteerWarning as SteerWarning
    from .core.evidence import Evidence as Evidence
    from .core.evidence import SteeringFailure as SteeringFailure
    from .core.evidence import SteeringInconclusive as SteeringInconclusive
    from .data import Completion as Completion
    from .data import ContrastItem as ContrastItem
    from .data import Dialogue as Dialogue
    from .data import Items as Items
    from .data import Question as Question
    from .data import Questions as Questions
    from .data import TaskItem as TaskItem
    from .data import read_items as read_items
    from .data import read_prompts as read_prompts
    from .data import read_questions as read_questions
    from .data import read_tasks as read_tasks
    from .data import read_texts as read_texts
    from .measures import AnswerLikelihoods as AnswerLikelihoods
    from .measures import AtCost as AtCost
    from .measures import Capability as Capability
    from .measures import Deployed as Deployed
    from .measures import Divergence as Divergence
    from .measures import Perplexity as Perplexity
    from .measures import PropensityCurve as PropensityCurve
    from .measures import TaskAccuracy as TaskAccuracy
    from .measures import answer_likelihoods as answer_likelihoods
    from .measures import capability as capability
    from .measures import effects_at as effects_at
    from .measures import kl_divergence as kl_divergence
    from .measures import multipliers_at_cost as multipliers_at_cost
    from .measures import perplexity as perplexity
    from .measures import propensity_curve as propensity_curve
    from .measures import task_accuracy as task_accuracy
    from .model import Drawing as Drawing
    from .model import Generation as Generation
    from .model import Model as Model
    from .model import generate as generate
    from .model import load_model as load_model
    from .model import steered as steered
    from .model import wrap_model as wrap_model
    from .model.replies import Replies as Replies
    from .model.replies import Reply as Reply
    from .model.replies import replies as replies
    from .prompting import Axis as Axis
    from .prompting import Context as Context
    from .prompting import Noise as Noise
    from .prompting import axis as axis
    from .prompting.strategies import contexts as contexts
    from .prompting.strategies import noises as noises
    from .prompting.strategies import prompts as prompts
    from .steering import Intervention as Intervention
    from .steering import SteeringVector as SteeringVector


def __getattr__(name: str) -> Any:
    if name == "extract":
        value: Any = import_module(f"{__name__}.extract")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
