"""Training data in the forms that methods take them: contrast items, pairs of a task or two lists of texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..data import Items, TaskItem, Tasks, items_as_tasks, task_items
from ..errors import DataError
from ..prompting import AS_GIVEN, IN_TASK_FORM, Context
from ..sources import shown

Texts = tuple[list[str], list[str]]


@dataclass(frozen=True)
class Training:
    """The training data of one extraction. One of the first three is there.

    Attributes:
        given: contrast items, as the file holds them.
        texts: (positive texts, negative texts), as the file holds them.
        tasks: pairs of a task, as the file holds them.
        file: where they come from, for messages.
        seed: of the wrong answers that pairs of a task get where contrast items are needed.
    """

    given: Items | None
    texts: Texts | None
    tasks: Tasks | None
    file: Path
    seed: int

    @property
    def held(self) -> Items | Texts | Tasks:
        """The data as the file holds them."""
        found = self.given or self.texts or self.tasks
        assert found is not None  # an empty file is an error of its reader
        return found

    @property
    def context(self) -> Context:
        """How the items of :meth:`contrast` and :meth:`items` are to be asked."""
        return AS_GIVEN if self.tasks is None else IN_TASK_FORM

    def contrast(self, method: str) -> Items | Texts:
        """Contrast items, also those of the pairs of a task, or (positive texts, negative texts).

        Raises:
            DataError: pairs that all have one output.
        """
        return self.texts if self.texts is not None else self.items(method)

    def items(self, method: str) -> Items:
        """Contrast items; of the pairs of a task, each with another pair's output as the answer that does not match.

        Raises:
            DataError: the file holds texts, or pairs that all have one output.
        """
        if self.given is not None:
            return self.given
        if self.tasks is not None:
            return task_items(self.tasks, seed=self.seed, source=shown(self.file))
        raise DataError(
            f"{self.file}: holds texts, and {method} compares two answers to one question. To make a vector of texts, write "
            f"method: mean_difference; {method} takes contrast items ({{question, answer_matching_behavior, "
            "answer_not_matching_behavior}) or pairs of a task ({input, output})"
        )

    def demonstrations(self, method: str) -> Tasks:
        """Pairs of input and output: of contrast items question -> matching answer, of texts negative -> positive, by place.

        Raises:
            DataError: texts that are not paired.
        """
        if self.tasks is not None:
            return self.tasks
        if self.texts is None:
            return items_as_tasks(self.items(method))
        positive, negative = self.texts
        if len(positive) != len(negative):
            raise DataError(
                f"{self.file}: {method} takes texts as demonstrations, negative text i -> positive text i, but there are "
                f"{len(negative)} negative and {len(positive)} positive ones: bring as many of each, or contrast items, or pairs of "
                "a task ({input, output})"
            )
        return Tasks(TaskItem(before, after) for before, after in zip(negative, positive, strict=True))
