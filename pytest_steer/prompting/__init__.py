"""Contrast items, readers of the known data files, contexts, and rendering. Knows nothing of models or pytest.

The Hypothesis strategies live in ``prompting.strategies``, which is imported only by who needs it.
"""

from .axes import Axis, Noise, swap_options
from .contexts import AS_GIVEN, AXES, Context
from .formats import PromptFormat
from .items import ContrastItem, ItemLike, Items, as_items
from .readers import read_contrast_texts, read_items, read_texts
from .rendering import RenderedItem, render_item
from .task_items import IN_TASK_FORM, items_as_tasks, task_items
from .tasks import TaskItem, read_tasks

__all__ = [
    "AS_GIVEN",
    "AXES",
    "IN_TASK_FORM",
    "Axis",
    "Context",
    "ContrastItem",
    "ItemLike",
    "Items",
    "Noise",
    "PromptFormat",
    "RenderedItem",
    "TaskItem",
    "as_items",
    "items_as_tasks",
    "read_contrast_texts",
    "read_items",
    "read_tasks",
    "read_texts",
    "render_item",
    "swap_options",
    "task_items",
]  # fmt: skip
