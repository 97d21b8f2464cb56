"""Contrast items, task pairs, texts and the readers of their files. Knows nothing of models or pytest."""

from .formats import data_format, read_contrast_texts, read_items, read_texts
from .items import ContrastItem, ItemLike, Items, as_items
from .questions import BUILTIN, Question, Questions, as_questions, read_questions
from .task_items import items_as_tasks, task_items
from .tasks import TaskItem, read_tasks

__all__ = [
    "BUILTIN", "ContrastItem", "ItemLike", "Items", "Question", "Questions", "TaskItem", "as_items", "as_questions", "data_format",
    "items_as_tasks", "read_contrast_texts", "read_items", "read_questions", "read_tasks", "read_texts", "task_items",
]  # fmt: skip
