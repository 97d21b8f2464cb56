"""pytest-steer: steering regression tests for language models.

Importing this package loads nothing heavy: every public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "AtCost": "metrics",
    "Axis": "prompting",
    "ContrastItem": "prompting",
    "Context": "prompting",
    "Deployed": "metrics",
    "Evidence": "checks",
    "Generation": "model",
    "Intervention": "steering",
    "Items": "prompting",
    "Model": "model",
    "Noise": "prompting",
    "Perplexity": "metrics",
    "PropensityCurve": "metrics",
    "SteerError": "errors",
    "SteerWarning": "errors",
    "SteeringFailure": "errors",
    "SteeringInconclusive": "errors",
    "SteeringVector": "steering",
    "TaskAccuracy": "metrics",
    "TaskItem": "prompting",
    "assert_generalizes": "assertions",
    "assert_holds_in_contexts": "assertions",
    "assert_hooks_are_sound": "assertions",
    "assert_not_anti_steered": "assertions",
    "assert_performs_task": "assertions",
    "assert_ppl_delta_below": "assertions",
    "assert_steers": "assertions",
    "assert_steers_at_cost": "assertions",
    "contexts": "prompting.strategies",
    "effects_at": "metrics",
    "generate": "model",
    "load_model": "model",
    "multipliers_at_cost": "metrics",
    "noises": "prompting.strategies",
    "perplexity": "metrics",
    "prompts": "prompting.strategies",
    "propensity_curve": "metrics",
    "read_items": "prompting",
    "read_tasks": "prompting",
    "read_texts": "prompting",
    "task_accuracy": "metrics",
    "wrap_model": "model",
}

__all__ = ["__version__", "extract", *_HOMES]

if TYPE_CHECKING:
    from . import extract as extract
    from .assertions import assert_generalizes as assert_generalizes
    from .assertions import assert_holds_in_contexts as assert_holds_in_contexts
    from .assertions import assert_hooks_are_sound as assert_hooks_are_sound
    from .assertions import assert_not_anti_steered as assert_not_anti_steered
    from .assertions import assert_performs_task as assert_performs_task
    from .assertions import assert_ppl_delta_below as assert_ppl_delta_below
    from .assertions import assert_steers as assert_steers
    from .assertions import assert_steers_at_cost as assert_steers_at_cost
    from .checks import Evidence as Evidence
    from .errors import SteerError as SteerError
    from .errors import SteeringFailure as SteeringFailure
    from .errors import SteeringInconclusive as SteeringInconclusive
    from .errors import SteerWarning as SteerWarning
    from .metrics import AtCost as AtCost
    from .metrics import Deployed as Deployed
    from .metrics import Perplexity as Perplexity
    from .metrics import PropensityCurve as PropensityCurve
    from .metrics import TaskAccuracy as TaskAccuracy
    from .metrics import effects_at as effects_at
    from .metrics import multipliers_at_cost as multipliers_at_cost
    from .metrics import perplexity as perplexity
    from .metrics import propensity_curve as propensity_curve
    from .metrics import task_accuracy as task_accuracy
    from .model import Generation as Generation
    from .model import Model as Model
    from .model import generate as generate
    from .model import load_model as load_model
    from .model import wrap_model as wrap_model
    from .prompting import Axis as Axis
    from .prompting import Context as Context
    from .prompting import ContrastItem as ContrastItem
    from .prompting import Items as Items
    from .prompting import Noise as Noise
    from .prompting import TaskItem as TaskItem
    from .prompting import read_items as read_items
    from .prompting import read_tasks as read_tasks
    from .prompting import read_texts as read_texts
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
