"""How an item is put to a model: contexts and their axes, rendering, chat templates. Knows nothing of models or pytest.

The Hypothesis strategies live in ``prompting.strategies``, which is imported only by who needs it.
"""

from .axes import Axis, Noise, swap_options
from .contexts import AS_GIVEN, AXES, IN_TASK_FORM, Context
from .formats import PromptFormat
from .rendering import RenderedItem, render_item

__all__ = [
    "AS_GIVEN",
    "AXES",
    "IN_TASK_FORM",
    "Axis",
    "Context",
    "Noise",
    "PromptFormat",
    "RenderedItem",
    "render_item",
    "swap_options",
]
