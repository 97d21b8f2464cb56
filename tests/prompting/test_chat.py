"""Which markers of thought are known, and how each is closed; what a template that cannot be helped says."""

from __future__ import annotations

import pytest

from pytest_steer.core.errors import ModelError
from pytest_steer.prompting import PromptFormat


def form_of(before_reply, generation=""):
    """A format whose template writes ``before_reply`` in front of each reply and ``generation`` as generation prompt."""

    def render(messages, opened, **settings):
        text = "".join((before_reply if m["role"] == "assistant" else "|") + m["content"] for m in messages)
        return text + generation * opened

    return PromptFormat(template="{{ 1 }}", render=render)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<think>", "</think>"),
        ("<thought> ", "</thought>"),
        ("<think:on>", "</think:on>"),
        ("[THINK]", "[/THINK]"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|begin_of_thought|>\n\n", "<|end_of_thought|>"),
    ],
)
def test_an_open_thought_is_closed_in_its_own_spelling(begin, end):
    prompt = form_of(f"<bot>{begin}", "<bot>").prompt("So?")
    assert (prompt.turn, prompt.opening) == ("|So?", f"<bot>{begin.rstrip()}{end}")
    assert (prompt.thinking, prompt.notes) == (
        "closed", (f"the template puts the reply inside a block of thought; {end!r} was written to close it",)
    )  # fmt: skip


@pytest.mark.parametrize(
    "before",
    [
        "<bot>",
        "<think></think>",
        "<|END_THINKING|>",
        "<|end_of_thought|>",
        "<no_think>",
        "<think>\nbriefly: ",
    ],
)
def test_what_is_no_open_thought_is_left_alone(before):
    prompt = form_of(before).prompt("So? <think>")
    assert (prompt.text, prompt.notes, prompt.thinking) == (f"|So? <think>{before}", (), "closed")


def test_a_generation_prompt_that_closes_the_thought_says_so():
    prompt = form_of("<bot>", "<bot><think></think>").prompt("So?", thinking_open=True)
    assert (prompt.opening, prompt.thinking) == ("<bot><think></think>", "open")
    assert prompt.notes == ("the chat template's generation prompt closes the block of thought by itself",)


def test_a_template_that_drops_the_question_is_an_error():
    form = PromptFormat(template="{{ 1 }}", render=lambda messages, opened, **settings: "Hello.")
    with pytest.raises(ModelError, match="the chat template drops the question"):
        form.prompt("So?")


def test_a_template_that_writes_no_reply_takes_the_generation_prompt_and_says_so():
    def render(messages, opened, **settings):
        return "".join(f"<{m['content']}>" for m in messages if m["role"] != "assistant") + "bot:" * opened

    prompt = PromptFormat(template="{{ 1 }}", render=render).prompt("So?")
    assert (prompt.text, prompt.thinking) == ("<So?>bot:", "open")
    assert prompt.notes == ("the chat template does not render a reply to this conversation; the generation prompt is used",)
