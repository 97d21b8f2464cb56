"""What a reply is: its span, and whether there is one to judge."""

import builders
import pytest

from pytest_steer import wrap_model
from pytest_steer.measures.outcomes import looped, outcome_of, read_reply
from pytest_steer.model.replies import Reply
from pytest_steer.prompting.chat import Parts, end_of_open_thought, ends_in_thought, markers_in, parts_of

THINK = markers_in(["{{ '<think>\n' }}"])
COHERE = markers_in(["<|START_THINKING|>"])


@pytest.mark.parametrize(
    ("text", "begun", "kinds", "thought", "answer"),
    [
        ("Yes.", False, THINK, None, "Yes."),
        ("<think>Hm.</think>Yes.", False, THINK, "Hm.", "Yes."),
        ("Hm.</think>Yes.", True, THINK, "Hm.", "Yes."),
        ("Hm.</think>Yes.", False, THINK, "Hm.", "Yes."),  # opened in the prompt, by a template that does not say so
        ("<think>Hm.", False, THINK, "Hm.", None),
        ("<think>a</think>b<think>c</think>d", False, THINK, "ac", "bd"),
        ("In HTML, <think> is no tag.", False, frozenset(), None, "In HTML, <think> is no tag."),
        ("<|START_THINKING|>Hm.<|END_THINKING|>Yes.", False, COHERE, "Hm.", "Yes."),
    ],
)
def test_a_reply_is_split_at_its_markers_of_thought(text, begun, kinds, thought, answer):
    assert parts_of(text, begun=begun, kinds=kinds) == Parts(thought, answer)


def test_a_prompt_that_opens_a_block_of_thought():
    assert ends_in_thought("user: Hi\nassistant: <think>\n")
    assert end_of_open_thought("<|START_THINKING|>") == "<|END_THINKING|>"
    assert not ends_in_thought("assistant: <think>\n\n</think>\n\n")
    assert not ends_in_thought("Mark thoughts by <think>. Hi")


def outcome(thought, answer, tokens=range(20), finish="stop", span="answer"):
    return outcome_of(Parts(thought, answer), list(tokens), finish, span)


@pytest.mark.parametrize(
    ("given", "text", "why"),
    [
        ({"thought": None, "answer": " Yes. "}, "Yes.", None),
        ({"thought": None, "answer": "Yes, and", "finish": "length"}, "Yes, and", None),  # only cut
        ({"thought": None, "answer": ""}, "", "empty"),
        ({"thought": None, "answer": "...\n\n!?"}, "...\n\n!?", "stalls"),
        ({"thought": "Hm.", "answer": "Yes.", "span": "both"}, "Hm.\n\nYes.", None),
        ({"thought": None, "answer": "Yes.", "span": "thought"}, "", "has no block of thought"),
        ({"thought": "Hm.", "answer": None}, "", "never leaves its block of thought"),
        ({"thought": "Hm.", "answer": None, "finish": "length"}, "", "cut inside its block of thought"),
        ({"thought": None, "answer": "a a a", "tokens": [1] * 16, "finish": "length"}, "a a a", "loops"),
        ({"thought": None, "answer": "a a a", "tokens": [1] * 16}, "a a a", None),  # it ended
        ({"thought": "a a", "answer": None, "tokens": [1] * 16, "finish": "length"}, "", "loops"),
    ],
)
def test_why_a_reply_is_undetermined(given, text, why):
    found = outcome(**given)
    assert found.text == text
    assert found.cut == (given.get("finish") == "length")
    assert (found.why is None) if why is None else found.why.startswith(why)
    assert found.is_undetermined == (why is not None)


def plain_loop(tokens):
    """The definition, by counting copies from the end: three of one n-gram, a cut one at the end allowed."""
    lengths = []
    for n in range(1, len(tokens) // 3 + 1):
        length = max(k for k in range(n, len(tokens) + 1) if all(tokens[-1 - i] == tokens[-1 - i - n] for i in range(k - n)))
        if length >= 3 * n and length >= max(min(8, len(tokens)), len(tokens) / 4):
            lengths.append(length)
    return lengths[0] if lengths else None


@pytest.mark.parametrize(
    ("tokens", "length"),
    [
        ([1] * 16, 16),
        ([1, 2, 3] * 5 + [1], 16),
        ([*range(50, 58), *[1, 2] * 4], 8),
        ([*range(50, 90), *[1, 2] * 4], None),  # less than a quarter
        ([5, 5, 5], 3),
        ([1, 2, 3, 4, 5, 6] * 2, None),  # two copies
        ([], None),
    ],
)
def test_a_loop_is_three_copies_of_one_n_gram_at_the_end(tokens, length):
    assert looped(tokens) == length == plain_loop(tokens)


# --- with a model -----------------------------------------------------------------------------------------------------------

THINKING = builders.CHATML + "{#- a thought stands between <think> and </think> #}"
# As transformers writes it; these markers are named by no template.
PARSED = {
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {"thinking": {"open": "((", "close": "))"}, "content": {"close": "<|im_end|>"}},
}


def model_with(template, response_template=None):
    tokenizer = builders.tokenizer(template)
    model = wrap_model(builders.random_hf("llama"), tokenizer, "thinks")
    if response_template is not None:
        tokenizer.response_template = response_template
    return model


def reply(text, prompt="<|im_start|>assistant\n", finish="stop"):
    return Reply(text, f"{text}<|im_end|>" if finish == "stop" else text, tuple(range(20)), finish, prompt, None)


@pytest.mark.parametrize(
    ("template", "text", "prompt", "expected"),
    [
        (THINKING, "<think>Hm.</think>Yes.", "", ("Yes.", None)),
        (THINKING, "Hm.</think>Yes.", "<think>\n", ("Yes.", None)),
        (THINKING, "Hm.", "<think>\n", ("", "never leaves its block of thought")),
        (
            builders.CHATML,
            "<think>Hm.</think>Yes.",
            "",
            ("<think>Hm.</think>Yes.", None),
        ),  # a text in brackets, to this model
    ],
)
def test_the_markers_are_those_of_the_template(template, text, prompt, expected):
    found = read_reply(model_with(template), reply(text, prompt), "answer")
    assert (found.text, found.why) == expected


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("((Hm.))Yes.", "stop", ("Yes.", None)),
        ("Yes.", "stop", ("Yes.", None)),
        ("((Hm.))", "stop", ("", "never leaves its block of thought")),
        ("((Hm.", "length", ("", "cut inside its block of thought")),
    ],
)
def test_the_tokenizers_own_parsing_comes_first(text, finish, expected):
    found = read_reply(model_with(builders.CHATML, PARSED), reply(text, finish=finish), "answer")
    assert (found.text, found.why) == expected
