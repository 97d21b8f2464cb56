"""Accuracy of tasks in context, against a greedy loop of whole forwards and against formulas."""

from __future__ import annotations

import itertools

import builders
import numpy as np
import plain
import plain_tasks
import pytest
import torch
from task_builders import TASKS, talkative

from pytest_steer import TaskAccuracy, TaskItem, task_accuracy, wrap_model
from pytest_steer.core.errors import DataError, MeasurementError, ModelError, SteerError, VectorError
from pytest_steer.data.tasks import draw_demonstrations
from pytest_steer.measures import Scope, steering_receipt, task_accuracies
from pytest_steer.model import answer_ends, engine_of
from pytest_steer.steering import as_intervention, custom

FEW = ("llama", "gpt2", "gemma2", "gemma3 wide", "neox", "opt", "bloom")
SHOWN = ((0, False), (2, False), (3, True))  # how many demonstrations, and whether with shuffled answers

# --- against a greedy loop -------------------------------------------------------------------------------------------------


@pytest.mark.covering(1)
@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize("scope", ["all", "after_prompt", "last"])
@pytest.mark.parametrize("family", FEW)
@pytest.mark.parametrize(("shots", "shuffled"), SHOWN)
def test_flags_equal_greedy_decoding_of_the_line(family, scope, sharing, shots, shuffled):
    model, vector = talkative(family, sharing), builders.random_vector(1)
    vectors = {"bare": (None, 1.0), "steered": (vector, 1.5)}
    found = task_accuracies(model, TASKS, vectors, Scope(scope), n_shots=shots, shuffled=shuffled, seed=3)

    def shown_of(task):
        return draw_demonstrations(task, TASKS, shots, shuffled=shuffled, seed=3)

    for name, directions, m in (("bare", {}, 0.0), ("steered", vector.directions, 1.5)):
        want = plain_tasks.flags(model.hf, model.tokenizer, TASKS, shown_of, directions, m, scope)
        np.testing.assert_array_equal(found[name].first_token, want[:, 0])
        np.testing.assert_array_equal(found[name].exact, want[:, 1])
        assert (found[name].first_token_accuracy, found[name].exact_accuracy) == pytest.approx(tuple(want.mean(0)))


def test_some_answers_are_exact_and_some_only_begin_well():
    """What the comparison above rests on: over the families, both kinds of answers occur in both ways of being right."""
    flags = np.concatenate(
        [
            np.stack([found.first_token, found.exact], 1)
            for family in FEW
            for found in (task_accuracy(talkative(family), TASKS, n_shots=2),)
        ]
    )
    assert {tuple(row) for row in flags.tolist()} == {(False, False), (True, False), (True, True)}


def test_the_first_position_is_steered_only_if_included():
    model, vector = talkative("llama"), builders.random_vector(0)
    for include in (True, False):
        found = task_accuracy(model, TASKS, vector, positions="all", include_first=include)
        for task, margins in zip(TASKS, found.margins, strict=True):
            text = plain_tasks.prompt_of([], task.input)
            ids = plain.ids_of(model.tokenizer, f"{text} {task.output}", True)
            row = plain.logits(model.hf, ids, vector.directions, 1.0, 0 if include else 1)[
                len(plain.ids_of(model.tokenizer, text, True)) - 1
            ]
            right = ids[len(plain.ids_of(model.tokenizer, text, True))]
            others = torch.cat([row[:right], row[right + 1 :]])
            assert margins[0] == pytest.approx(float(row[right] - others.max()), abs=1e-4)


# --- against formulas -------------------------------------------------------------------------------------------------------

WORDS = ("Q:", "A:", "hot", "big", "far", "up", "down", "high")
# logit_j = a_last * b_j + m * c_j, see builders.Linear; "<unk>" is the end of text.
A = {"A:": 1.0, "up": 1.0, "down": -1.0, "high": 1.0}
B = {"up": 3.0, "down": 1.0, "high": -2.0, "<unk>": 2.0, "hot": 0.5}
C = {"down": 2.0, "<unk>": 1.5, "high": 4.0}


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(WORDS, A, B, C)


def logit(last, word, m):
    return A.get(last, 0.0) * B.get(word, 0.0) + m * C.get(word, 0.0)


def margin(last, word, m):
    return logit(last, word, m) - max(logit(last, other, m) for other in ("<unk>", *WORDS) if other != word)


@pytest.mark.parametrize("m", [-1.0, 0.0, 0.6, 0.9, 2.0])
def test_margins_are_formulas(linear, m):
    outputs = ["up", "down", "up high", "down up"]
    tasks = [TaskItem(word, output) for word in ("hot", "big") for output in outputs]
    found = task_accuracy(linear.model, tasks, linear.vector(), multiplier=m)
    want = []
    for task in tasks:
        words = ["A:", *task.output.split(), "<unk>"]
        want.append([margin(last, word, m) for last, word in itertools.pairwise(words)])
    for got, expected in zip(found.margins, want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    assert found.first_token.tolist() == [row[0] > 0 for row in want]
    assert found.exact.tolist() == [min(row) > 0 for row in want]
    assert found.tasks == tuple(tasks)


def test_an_answer_is_exact_if_it_ends_there():
    """The end is likelier than going on only behind "down": 1 * -1 against 2 * -1 for the end, -0.5 for "hot"."""
    model = builders.Linear(
        ("Q:", "A:", "x", "up", "down"), {"A:": 1.0, "up": -1.0, "down": 1.0}, {"up": 2.0, "<unk>": -1.0}, {}
    )
    found = task_accuracy(model.model, [TaskItem("x", "up"), TaskItem("x", "up down"), TaskItem("x", "down")])
    np.testing.assert_allclose(found.margins[0], [2.0, 1.0])  # behind "up" the end has 1, all else 0 or -2
    np.testing.assert_allclose(found.margins[1], [2.0, -1.0, -3.0])
    assert found.first_token.tolist() == [True, True, False]
    assert found.exact.tolist() == [True, False, False]


def test_a_tie_is_not_right():
    model = builders.Linear(("Q:", "A:", "x", "up", "down"), {"A:": 1.0}, {"up": 1.0, "down": 1.0}, {})
    found = task_accuracy(model.model, [TaskItem("x", "up"), TaskItem("x", "down")])
    assert [margins[0] for margins in found.margins] == [0.0, 0.0]
    assert found.first_token.tolist() == found.exact.tolist() == [False, False]


# --- what ends an answer ------------------------------------------------------------------------------------------------------


def test_line_breaks_and_end_of_text_end_an_answer():
    tokenizer = builders.tokenizer(
        None,
        merged=(
            ("\u010a", "\u010a"),
            ("\u0120", "\u010a"),
            (".", "\u010a"),
            ("\u0120", "\u0120"),
            ("\u010a", "A"),
            ("\u010d", "\u010a"),
        ),
    )
    hf = builders.random_hf("llama")
    hf.generation_config.eos_token_id = [2, 4]
    ends = answer_ends(wrap_model(hf, tokenizer, "m"))
    assert sorted(tokenizer.convert_ids_to_tokens(list(ends))) == sorted(
        ["</s>", "<|im_end|>", "\u010a", "\u010d", "\u010a\u010a", "\u0120\u010a", "\u010aA", "\u010d\u010a"]
    )


def test_tokens_beyond_the_models_vocabulary_are_no_ends():
    hf, tokenizer = builders.random_hf("llama", vocab_size=260), builders.tokenizer(None, merged=(("\u010a", "\u010a"),))
    hf.generation_config.eos_token_id = 300
    known = tokenizer.convert_tokens_to_ids(["\u010a", "\u010d"])
    assert tokenizer.convert_tokens_to_ids("\u010a\u010a") >= 260 > max(known)
    assert answer_ends(wrap_model(hf, tokenizer, "m")) == (2, *known)


def test_a_model_without_any_end_is_an_error():
    model = builders.Linear(("Q:", "A:", "x", "up"), {}, {}, {}).model
    model.hf.generation_config.eos_token_id = None
    with pytest.raises(ModelError, match="linear: no token of it begins a line or ends a text"):
        task_accuracy(model, [TaskItem("x", "up")])


# --- demonstrations, company ---------------------------------------------------------------------------------------------------


def test_the_prompts_are_those_of_the_field():
    model = talkative("llama")
    pool = [TaskItem("in one", "out one"), TaskItem("in two", "out two"), TaskItem("in six", "out six")]
    found = task_accuracy(model, [TaskItem(" query ", " Yes ")], n_shots=2, demonstrations=pool, seed=1)
    (probe,) = found.probes
    shown = draw_demonstrations(TaskItem("query", "Yes"), pool, 2, seed=1)
    text = "".join(f"Q: {item.input}\nA: {item.output}\n\n" for item in shown) + "Q: query\nA: Yes"
    assert model.tokenizer.decode(list(probe.ids)) == text
    assert model.tokenizer.decode(list(probe.ids[probe.score_from :])) == " Yes"
    shuffled = task_accuracy(model, [TaskItem("query", "Yes")], n_shots=3, demonstrations=pool, shuffled=True)
    words = model.tokenizer.decode(list(shuffled.probes[0].ids))
    assert words.count("Q: ") == 4
    assert not any(f"Q: {item.input}\nA: {item.output}\n" in words for item in pool)


def test_without_demonstrations_the_other_tasks_are_shown():
    model = talkative("llama")
    found = task_accuracy(model, TASKS[:3], n_shots=2)
    for task, probe in zip(TASKS[:3], found.probes, strict=True):
        text = model.tokenizer.decode(list(probe.ids))
        assert text.count("Q: ") == 3
        assert text.count(f"Q: {task.input}\n") == 1
        assert text.rindex(f"Q: {task.input}\nA: {task.output}") == len(text) - len(f"Q: {task.input}\nA: {task.output}")


def test_all_interventions_at_once_are_each_by_itself():
    model = talkative("llama")
    one, two = builders.random_vector(0), builders.random_vector(2)
    turn = custom(lambda h, s, layer: h * (1 - 0.5 * s), layers=1, strength="ignored", name="shrink")
    asked = {"bare": (None, 0.0), "one": (one, 1.0), "more": (one, -2.0), "two": (two, 1.0), "turn": (turn, 1.0)}
    found = task_accuracies(model, TASKS, asked, n_shots=2)
    assert list(found) == list(asked)
    assert engine_of(model).forwards == len(asked) * len(TASKS)
    for name, (vector, m) in asked.items():
        alone = task_accuracy(talkative("llama"), TASKS, vector, multiplier=m, n_shots=2)
        assert isinstance(alone, TaskAccuracy)
        for got, want in zip(found[name].margins, alone.margins, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)
    task_accuracies(model, TASKS, dict(reversed(asked.items())), n_shots=2)
    assert engine_of(model).forwards == len(asked) * len(TASKS)  # all remembered


@pytest.mark.parametrize(("positions", "steered"), [("last", 1), ("after_prompt", 2), ("all", 13)])
def test_the_receipt(positions, steered):
    """ "Q: case 0", a line break and "A:" are 14 tokens of one byte each, the line of "A:" is its break and two more."""
    model, vector = talkative("llama"), as_intervention(builders.random_vector(1))
    found = task_accuracy(model, [TaskItem("case a", "Yes")], vector, positions=positions)
    (probe,) = found.probes
    prompt = plain.ids_of(model.tokenizer, "Q: case a\nA:", True)
    start = {"last": len(prompt) - 1, "after_prompt": len(prompt) - 3, "all": 1}[positions]
    assert probe.steer_from == start == plain_tasks.start_of(model.tokenizer, "Q: case a\nA:", positions)
    receipt = steering_receipt(model, found.probes, vector, 1.0)
    assert (receipt.sequences, receipt.steered_tokens) == (1, len(prompt) + 1 - start)


# --- what cannot be measured ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tasks": []}, DataError, "tasks: a list of at least one TaskItem is needed"),
        ({"tasks": "hot"}, DataError, "tasks is the text 'hot': read a file with read_tasks"),
        ({"tasks": [("hot", "cold")]}, DataError, "tasks: item 0 is a tuple, not a TaskItem: read a file with read_tasks"),
        ({"n_shots": -1}, SteerError, "a whole number from 0 on, not -1"),
        ({"shuffled": True}, SteerError, "it needs n_shots of at least 2, not 0"),
        (
            {"n_shots": 15},
            DataError,
            "task item 'case 0': 15 demonstrations are asked for, but there are only 14 other pairs",
        ),
        ({"n_shots": 2, "demonstrations": TASKS[:2]}, DataError, "only 1 other pairs"),
        ({"positions": "first"}, SteerError, "positions is one of"),
        ({"multiplier": float("nan")}, SteerError, "finite numbers"),
        ({"vector": builders.random_vector(7)}, VectorError, "acts on layer 7"),
        ({"tasks": [TaskItem("long " * 120, "Yes")]}, DataError, r"task 0 .*: has \d+ tokens, but llama takes at most 512"),
    ],
)
def test_what_cannot_be_measured(arguments, error, message):
    with pytest.raises(error, match=message):
        task_accuracy(talkative("llama"), **{"tasks": TASKS, "vector": builders.random_vector(1), **arguments})


def test_an_output_that_changes_the_tokens_before_it():
    """A colon that becomes one token with the space after it: that token is the first one of the output."""
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(None, merged=((":", "\u0120"),)), "m")
    (margins,) = task_accuracy(model, [TaskItem("hot", "cold")]).margins
    ids = plain.ids_of(model.tokenizer, "Q: hot\nA: cold", special=True)
    assert model.tokenizer.decode([ids[-5]]) == ": "
    rows = plain.logits(model.hf, ids)
    others = [torch.cat([rows[i - 1, : ids[i]], rows[i - 1, ids[i] + 1 :]]).max() for i in range(len(ids) - 5, len(ids))]
    want = [float(rows[i - 1, ids[i]] - other) for i, other in zip(range(len(ids) - 5, len(ids)), others, strict=True)]
    np.testing.assert_allclose(margins[:-1], want, rtol=0, atol=1e-4)


def test_nan_is_an_error():
    boom = custom(lambda h, s, layer: h / (1 - s), layers=1, strength="linear", name="pole")
    with pytest.raises(MeasurementError, match=r"task \d+ \('case \d+'\): the model gives NaN or infinity at multiplier 1"):
        task_accuracy(talkative("llama"), TASKS, boom)
