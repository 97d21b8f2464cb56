"""Tasks as contrast items and contrast items as tasks."""

from __future__ import annotations

import builders
import pytest

from pytest_steer.core.errors import DataError
from pytest_steer.data import ContrastItem, TaskItem, items_as_tasks, read_tasks, task_items
from pytest_steer.data.tasks import shots
from pytest_steer.prompting import IN_TASK_FORM, Context, PromptFormat, render_item
from pytest_steer.prompting.contexts import TASK_TEMPLATE

TASKS = (TaskItem("hot", "cold"), TaskItem("up ", " down"), TaskItem("Up", "Down"), TaskItem("big", "small"))


def test_the_wrong_answer_is_another_pairs_output():
    items = task_items(TASKS)
    assert [item.matching for item in items] == [("cold",), ("down",), ("Down",), ("small",)]
    outputs = {"cold", "down", "Down", "small"}
    for item in items:
        (wrong,) = item.not_matching
        assert wrong in outputs
        assert wrong.casefold() != item.matching[0].casefold()


def test_what_is_drawn_follows_the_seed():
    drawn = {seed: [item.not_matching for item in task_items(TASKS, seed=seed)] for seed in range(8)}
    assert drawn[3] == [item.not_matching for item in task_items(TASKS, seed=3)]
    assert len({str(found) for found in drawn.values()}) > 1


def test_pairs_of_one_output_have_no_wrong_answer():
    with pytest.raises(DataError, match=r"one\.json: pair 0 \('a'\): no pair has another output than 'yes'"):
        task_items([TaskItem("a", "yes"), TaskItem("b", "Yes ".lower())], source="one.json")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_task_form_is_the_prompt_of_function_vectors(count: int):
    """Demonstrations as earlier turns give the text of ``shots``, with the answer behind its space."""
    *shown, query = TASKS[: count + 1]
    context = Context(template=TASK_TEMPLATE, history=[(item.input.strip(), item.output.strip()) for item in shown])
    item = ContrastItem(query.input.strip(), query.output.strip(), "nothing")
    rendered = render_item(item, PromptFormat(template="chat", render=lambda messages, opened: "unused"), context)
    assert rendered.prompt == shots(shown, query.input) + " "
    assert rendered.matching == (query.output.strip(),)
    assert rendered.special_tokens


def test_few_shot_examples_in_the_task_form():
    items = task_items(TASKS)
    context = Context(template=TASK_TEMPLATE, few_shot=2, examples=items)
    prompt = render_item(items[0], PromptFormat(), context).prompt
    assert prompt.count("Q: ") == 3
    assert prompt.endswith("\n\nQ: hot\nA: ")
    assert "A: cold" not in prompt
    assert render_item(items[0], PromptFormat(), IN_TASK_FORM).prompt == "Q: hot\nA: "


def test_items_as_demonstrations():
    items = [ContrastItem(" How was it? ", " Lovely.", "Awful."), ContrastItem("Which?", ("(A)", "(B)"), "(C)")]
    assert items_as_tasks(items) == (TaskItem("How was it?", "Lovely."), TaskItem("Which?", "(A)"))


def test_another_right_answer_is_no_wrong_one():
    tasks = [TaskItem("big", "small"), TaskItem("big ", "Little"), TaskItem("up", "down")]
    for seed in range(6):
        assert [item.not_matching for item in task_items(tasks[:3], seed=seed)][:2] == [("down",), ("down",)]


def test_reading_tasks(tmp_path):
    """Wrong files and tables are those of all data: test_readers.py and test_data_of_others.py."""
    pairs = [{"input": "hot", "output": "cold"}, {"input": 7, "output": ["eight", "8"]}]
    want = (TaskItem("hot", "cold"), TaskItem("7", "eight"))
    assert read_tasks(builders.write_json(tmp_path / "a.json", pairs)) == want
    for content, message in [
        ([], "holds no pairs"),
        ([{"input": "a"}], "item 0: expected an object with 'input' and 'output'"),
        ([{"input": "a", "output": " "}], "item 0: the output of a task item has to be a text that is not empty, not ' '"),
        ([{"input": "a", "output": []}], r"not \[\]"),
        ([{"input": True, "output": "b"}], "the input of a task item has to be a text"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=message):
            read_tasks(builders.write_json(tmp_path / "x.json", content))
    assert shots(want[:1], " up ") == "Q: hot\nA: cold\n\nQ: up\nA:"
