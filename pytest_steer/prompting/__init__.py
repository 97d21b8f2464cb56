"""How an item is put to a model: contexts and their axes, rendering, chat templates. Knows nothing of models or pytest.

The Hypothesis strategies are in ``prompting.strategies``, which is imported only where they are needed.
"""

from .axes.noise import Noise
from .contexts import AS_GIVEN, IN_TASK_FORM, Context
from .formats import PromptFormat
from .kinds import Axis, axis, known_axes
from .options import exchange_labels, swap_options
from .rendering import RenderedItem, render_item, render_turn

__all__ = [
    "AS_GIVEN", "IN_TASK_FORM", "Axis", "Context", "Noise", "PromptFormat", "RenderedItem", "axis", "exchange_labels", "known_axes", "render_item",
    "render_turn", "swap_options",
]  # fmt: skip
