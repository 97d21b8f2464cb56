"""Contrast items, task pairs, texts and the readers of their files. Knows nothing of models or pytest."""

from .formats import data_format, read_contrast_texts, read_items, read_texts
from .items import ContrastItem, ItemLike, Items, as_items
from .safety import safety_items
from .task_items import items_as_tasks, task_items
from .tasks import TaskItem, read_tasks

__all__ = [
    "ContrastItem", "ItemLike", "Items", "TaskItem", "as_items", "data_format", "items_as_tasks", "read_contrast_texts", "read_items",
    "read_tasks", "read_texts", "safety_items", "task_items",
]  # fmt: skip
