"""Answers to multiple-choice questions: against a plain loop, one option and one hook at a time, and against a closed form."""

from __future__ import annotations

import math

import builders
import numpy as np
import plain
import pytest

from pytest_steer import Question, SteerError, capability, load_model
from pytest_steer.core.errors import DataError
from pytest_steer.data import read_questions

QUESTIONS = [
    Question("Is it so?", ("surely", "no way at all", "some day"), 1, id="words"),
    Question("Which of these two would you rather hear said aloud?", ("Quick", "Slow"), 0, id="two"),
    Question("Or?\n\nChoices:\n(A) a\n(B) b", ("(A)", "(B)"), 1, id="recast"),
    Question("When?", ("now", "Yes", "never", "a day after all the others", "x"), 3, id="five"),
]
GRID = [-1.0, 0.0, 0.5, 2.0]
FAMILIES = ["llama", "gpt2", "gemma3", "qwen3.5"]


def plainly(model, question, directions, m, by, prompt, scope):
    """The scores of the options, from the definition."""
    tokenizer, hf = model.tokenizer, model.hf
    text, options = question.question, [option.strip() for option in question.choices]
    lettered = options[0].startswith("(")
    if by == "letters" and not lettered:
        labels = "ABCDEFG"[: len(options)]
        text += "\n\nChoices:" + "".join(f"\n({label}) {option}" for label, option in zip(labels, options, strict=True))
        options, lettered = [f"({label})" for label in labels], True
    if prompt == "plain":
        turn = f"Question: {text}"
        start, special = turn + "\nAnswer: ", True
    else:
        messages = [{"role": "user", "content": text}]
        turn = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
        whole = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": options[0]}], tokenize=False)
        start, special = whole[: whole.rindex(options[0])], False
    if lettered:
        start, options = start + "(", [option[1] for option in options]
    turn_tokens = len(plain.ids_of(tokenizer, turn, special))
    scores = []
    for option in options:
        found = tokenizer(start + option, add_special_tokens=special, return_offsets_mapping=True)
        ids = list(found["input_ids"])
        first = next(i for i, (_, end) in enumerate(found["offset_mapping"]) if end > len(start))
        begin = plain.start_of(scope, min(turn_tokens, first - 1), first)
        mean = plain.mean_loglikelihood(plain.logits(hf, ids, directions, m, begin), ids, first)
        scores.append(mean if by == "mean" else mean * (len(ids) - first))
    return np.array(scores)


def check(model, questions, vector, by, prompt, scope, grid=GRID):
    directions = dict(vector.directions)
    found = capability(model, questions, vector, multipliers=grid, by=by, prompt=prompt, positions=scope)
    for index, question in enumerate(questions):
        for column, m in enumerate(grid):
            scores = plainly(model, question, directions, m, by, prompt, scope)
            # Logits of single tokens are known up to what all options share.
            ours = found.scores[index][:, column]
            assert ours - ours.max() == pytest.approx(scores - scores.max(), abs=1e-3)
            odds = np.exp(scores - scores.max())
            assert found.probabilities[index, column] == pytest.approx(odds[question.answer] / odds.sum(), abs=1e-4)
            margin = scores[question.answer] - np.delete(scores, question.answer).max()
            if abs(margin) > 1e-3:
                assert found.right[index, column] == (margin > 0)
    return found


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("by", "prompt", "scope"),
    [("sum", "plain", "after_prompt"), ("mean", "chat", "all"), ("letters", "plain", "last"), ("sum", "chat", "after_prompt"), ("letters", "chat", "all")],
)  # fmt: skip
def test_the_scores_are_those_of_a_plain_loop(family, by, prompt, scope):
    check(builders.random_model(family), QUESTIONS, builders.random_vector(1), by, prompt, scope)


def test_the_built_in_model():
    model = load_model("builtin:tiny")
    vector = builders.random_vector(1, width=model.width, norm=12.0)
    check(model, read_questions()[::60], vector, "sum", "plain", "after_prompt", grid=[0.0, 1.0])


def test_a_closed_form():
    """The options of one token; after "Answer:" at multiplier m the logit of word j is b_j + m c_j."""
    b, c = {"rock": 1.0, "sand": 0.5, "tea": 0.0}, {"rock": -1.0, "sand": 0.25}
    linear = builders.Linear(("Answer:", *b), {"Answer:": 1.0}, b, c)
    questions = [
        Question("What?", ("rock", "sand"), 0, weight=3),
        Question("Who?", ("tea", "sand", "rock"), 1),
        Question("Why?", ("tea", "tea sand"), 0),
    ]
    grid = [0.0, 0.2, 1.0]
    found = capability(linear.model, questions[:2], linear.vector(), multipliers=grid)
    for column, m in enumerate(grid):
        logit = {word: b[word] + m * c.get(word, 0.0) for word in b}
        for index, question in enumerate(questions[:2]):
            right = logit[question.choices[question.answer]]
            every = [logit[choice] for choice in question.choices]
            assert found.probabilities[index, column] == pytest.approx(math.exp(right) / sum(map(math.exp, every)), abs=1e-5)
            assert found.right[index, column] == (sorted(every)[-1] == right)
    assert found.right.tolist() == [[True, True, False], [False, False, True]]  # rock 1, .8, 0; sand .5, .55, .75
    assert found.accuracy == pytest.approx([0.75, 0.75, 0.25])
    # "tea sand" is two tokens: its log-likelihood is the sum.
    words = ["<unk>", "Answer:", *b]
    (two,) = capability(linear.model, questions[2:], None, multipliers=[0.0]).scores
    partition = math.log(sum(math.exp(b.get(word, 0.0)) for word in words))
    assert two[0, 0] == pytest.approx(b["tea"] - partition, abs=1e-5)
    assert two[1, 0] == pytest.approx(b["tea"] - partition - math.log(len(words)), abs=1e-5)  # after "tea" all are equal


def test_a_tie_is_not_right():
    linear = builders.Linear(("Answer:", "tea", "rock"), {}, {}, {})
    found = capability(linear.model, [Question("What?", ("tea", "rock"), 0)], None, multipliers=[0.0])
    assert not found.right.any()
    assert found.probabilities[0, 0] == pytest.approx(0.5)


def test_what_cannot_be_asked():
    model = builders.random_model("llama", chat=False)
    with pytest.raises(SteerError, match="has no chat template: write prompt: plain"):
        capability(model, QUESTIONS, None, prompt="chat")
    with pytest.raises(SteerError, match="by is 'sum', 'mean' or 'letters', not 'letter'"):
        capability(model, QUESTIONS, None, by="letter")
    with pytest.raises(SteerError, match="prompt is 'plain' or 'chat', not 'raw'"):
        capability(model, QUESTIONS, None, prompt="raw")
    many = [Question("Which?", tuple(f"number {i}" for i in range(27)), 3, id="many")]
    with pytest.raises(DataError, match="question many: has 27 options, more than there are letters: write by: sum"):
        capability(model, many, None, by="letters")
    with pytest.raises(DataError, match="there are no questions"):
        capability(model, [], None)
    with pytest.raises(SteerError, match=r"questions is the text 'q\.json': read a file with read_questions"):
        capability(model, "q.json", None)
