"""From an item to the text that the model reads: the chat template, or plain question and answer."""

from __future__ import annotations

import copy
import dataclasses

import builders
import pytest

from pytest_steer import Context, ContrastItem, wrap_model
from pytest_steer.core.errors import ModelError
from pytest_steer.prompting import PromptFormat, render_item

LETTERED = ContrastItem("Red?\n(A) Yes\n(B) No", (" (A)",), (" (B)", "(C)"))
WORDED = ContrastItem("Red?", (" Yes ", "yes"), ("No",))
USER = "<|im_start|>user\n{}<|im_end|>\n"
OPENING = "<|im_start|>assistant\n"


def format_of(template):
    """The prompt format of a model whose tokenizer has this template."""
    return wrap_model(builders.random_model("llama").hf, builders.tokenizer(template), "m").format


@pytest.mark.parametrize(
    ("system", "before"),
    [
        (None, "<|im_start|>system\nBe brief.<|im_end|>\n"),  # the template's own default
        ("", "<|im_start|>system\n<|im_end|>\n"),
        ("Sing.", "<|im_start|>system\nSing.<|im_end|>\n"),
    ],
)
def test_chat_lettered(system, before):
    text = render_item(LETTERED, format_of(builders.CHATML), Context(system=system))
    assert text.turn == before + USER.format(LETTERED.question)
    assert text.opening == OPENING + "("
    assert (text.matching, text.not_matching, text.special_tokens) == (("A",), ("B", "C"), False)
    assert text.prompt == text.turn + text.opening


def test_chat_worded():
    text = render_item(WORDED, format_of(builders.CHATML))
    assert text.opening == OPENING
    assert (text.matching, text.not_matching) == (("Yes", "yes"), ("No",))


@pytest.mark.parametrize(("system", "before"), [(None, ""), ("", ""), ("Sing.", "Sing.\n\n")])
def test_plain_form(system, before):
    lettered = render_item(LETTERED, PromptFormat(), Context(system=system))
    assert lettered.turn == before + "Question: Red?\n(A) Yes\n(B) No"
    assert lettered.opening == "\n\nAnswer: ("
    assert (lettered.matching, lettered.not_matching, lettered.special_tokens) == (("A",), ("B", "C"), True)
    worded = render_item(WORDED, PromptFormat(), Context(system=system))
    assert worded.opening == "\n\nAnswer: "
    assert (worded.matching, worded.not_matching) == (("Yes", "yes"), ("No",))


def test_the_context_is_applied_before_rendering():
    text = render_item(
        LETTERED_TWO := ContrastItem("?\n(A) x\n(B) y", ("(A)",), ("(B)",)), PromptFormat(), Context(option_order="swapped")
    )
    assert "(A) y\n(B) x" in text.turn
    assert (text.matching, text.not_matching) == (("B",), ("A",))
    assert text.item != LETTERED_TWO


def test_a_template_that_marks_the_end_when_nothing_follows():
    """Phi-3's template writes an end marker unless a reply is to follow: the turn ends where the two texts part."""
    template = (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}[reply]{% endif %}{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}[reply]{% else %}#{% endif %}"
    )
    text = render_item(WORDED, format_of(template))
    assert (text.turn, text.opening) == ("Red?", "[reply]")


def test_a_template_without_a_generation_prompt():
    text = render_item(LETTERED, format_of("{% for m in messages %}[{{ m['content'] }}]{% endfor %}"))
    assert (text.turn, text.opening) == (f"[{LETTERED.question}]", "[(")


def test_a_template_that_refuses_is_an_error_with_its_words():
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}x"
    with pytest.raises(ModelError, match=r"cannot render \['system', 'user'\]: TemplateError: System role not supported"):
        render_item(WORDED, format_of(template), Context(system="S"))


def test_the_hash_is_that_of_the_templates_source():
    hashes = [format_of(builders.CHATML).hash, format_of(builders.CHATML + " ").hash, format_of(None).hash]
    assert len(set(hashes)) == 3
    assert format_of(builders.CHATML).hash == hashes[0]
    assert PromptFormat().hash == hashes[2]
    assert dataclasses.replace(PromptFormat(), render=lambda *_: "").hash == hashes[2]


def test_a_template_that_drops_earlier_turns_is_refused():
    template = "### {{ (messages | selectattr('role', 'equalto', 'user') | list)[-1]['content'] }}"
    assert render_item(WORDED, format_of(template)).turn == "### Red?"
    with pytest.raises(ModelError, match="drops earlier turns"):
        render_item(WORDED, format_of(template), Context(history=[["Hello?", "never drop me"]]))


def test_a_system_prompt_that_stands_elsewhere_is_not_taken_for_one():
    template = "{% for m in messages if m['role'] != 'system' %}[{{ m['content'] }}]{% endfor %}"
    text = render_item(ContrastItem("It rains. Red?", ("Yes",), ("No",)), format_of(template), Context(system="It rains."))
    assert text.turn == "[It rains.\n\nIt rains. Red?]"
    assert "no place for a system prompt" in text.notes[0]


@pytest.mark.parametrize("change", [".replace('\\n\\n', '\\n')", " | tojson"])
def test_a_template_that_changes_the_questions_white_space_keeps_the_question(change):
    template = "{% for m in messages %}<{{ m['content']" + change + " }}>{% endfor %}"
    text = render_item(ContrastItem("One\n\ntwo?\n (A) x\n (B) y", ("(A)",), ("(B)",)), format_of(template))
    assert text.turn.startswith("<")
    assert text.matching == ("A",)


def test_another_template_on_the_tokenizer_is_another_format():
    tokenizer = copy.deepcopy(builders.tokenizer(builders.CHATML))
    model = wrap_model(builders.random_model("llama").hf, tokenizer, "m")
    before = render_item(WORDED, model.format)
    tokenizer.chat_template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    assert render_item(WORDED, model.format).turn == "[Red?]" != before.turn


LOST_ONCE_A_REPLY_FOLLOWS = (
    "{% if messages[0]['role'] == 'system' %}{% set system, said = messages[0]['content'], messages[1:] %}"
    "{% else %}{% set system, said = '', messages %}{% endif %}"
    "{% for m in said %}{% if m['role'] == 'user' %}[{% if loop.last and system %}{{ system }} | {% endif %}{{ m['content'] }}]"
    "{% else %} {{ m['content'] }};{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("system", ["Sing.", "Red?"], ids=["elsewhere not", "also in the question"])
def test_a_system_prompt_that_is_lost_once_a_reply_follows_is_kept(system):
    text = render_item(WORDED, format_of(LOST_ONCE_A_REPLY_FOLLOWS), Context(system=system))
    assert text.prompt == f"[{system} | Red?] "
    assert "drops the system prompt once a reply follows" in text.notes[0]


def test_turns_that_are_lost_once_a_reply_follows_are_kept():
    """Then the template has no rendering of the whole conversation to go by, and its generation prompt is taken, which is said."""
    template = (
        "{% if messages[-1]['role'] == 'assistant' %}[{{ messages[-2]['content'] }}] {{ messages[-1]['content'] }}"
        "{% else %}{% for m in messages %}[{{ m['content'] }}]{% endfor %}{% endif %}"
    )
    text = render_item(WORDED, format_of(template), Context(history=[["Hello?", "Yes?"]]))
    assert text.prompt.startswith("[Hello?][Yes?][Red?]")
    assert text.notes
