"""Contrast items, task pairs, texts and the readers of their files. Knows nothing of models or pytest."""

from .dialogues import Dialogue, DialogueLike, Dialogues, as_dialogues, read_prompts
from .formats import data_format, read_contrast_texts, read_items, read_texts, safety_items
from .items import ContrastItem, ItemLike, Items, as_items
from .questions import OWN_QUESTIONS, Question, Questions, as_questions, read_questions
from .tasks import TaskItem, Tasks, as_tasks, items_as_tasks, read_tasks, task_items
from .texts import Completion, TextLike, Texts, as_texts, leave_out
from .units import Sample, Units, sample_of

__all__ = [
    "OWN_QUESTIONS", "Completion", "ContrastItem", "Dialogue", "DialogueLike", "Dialogues", "ItemLike", "Items", "Question", "Questions", "Sample",
    "TaskItem", "Tasks", "TextLike", "Texts", "Units", "as_dialogues", "as_items", "as_questions", "as_tasks", "as_texts", "data_format",
    "items_as_tasks", "leave_out", "read_contrast_texts", "read_items", "read_prompts", "read_questions", "read_tasks", "read_texts",
    "safety_items", "sample_of", "task_items",
]  # fmt: skip
