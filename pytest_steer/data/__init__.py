"""Contrast items, task pairs, texts and the readers of their files. Knows nothing of models or pytest."""

from .dialogues import Dialogue, DialogueLike, Dialogues, as_dialogues, read_prompts
from .formats import data_format, read_contrast_texts, read_items, read_texts
from .items import ContrastItem, ItemLike, Items, as_items
from .leave_out import leave_out
from .questions import OWN_QUESTIONS, Question, Questions, as_questions, read_questions
from .safety import safety_items
from .task_items import items_as_tasks, task_items
from .tasks import TaskItem, read_tasks
from .texts import Completion, TextLike, Texts, as_texts

__all__ = [
    "OWN_QUESTIONS", "Completion", "ContrastItem", "Dialogue", "DialogueLike", "Dialogues", "ItemLike", "Items", "Question", "Questions", "TaskItem", "TextLike", "Texts",
    "as_dialogues", "as_items", "as_questions", "as_texts", "data_format", "items_as_tasks", "leave_out", "read_contrast_texts", "read_items",
    "read_prompts", "read_questions", "read_tasks", "read_texts", "safety_items", "task_items",
]  # fmt: skip
