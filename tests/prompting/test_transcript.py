"""The axis ``transcript``: messages with calls of tools before the question, as the chat template itself renders them."""

from __future__ import annotations

from functools import cache

import builders
import pytest
from hypothesis import find
from hypothesis import strategies as st

from pytest_steer import Context, ContrastItem, Dialogue, SteeringFailure, assert_holds_in_contexts, contexts, wrap_model
from pytest_steer.core.errors import DataError, ModelError
from pytest_steer.prompting import AS_GIVEN, PromptFormat, known_axes, render_item, render_turn
from pytest_steer.prompting.axes.transcript import Transcript

ITEM = ContrastItem("Is it so?", ("Yes",), ("No",), "0")
WEATHER = {
    "name": "weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SAID = (
    {"role": "user", "content": "Is it warm in Rome?"},
    {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": {"city": "Rome"}}]},
    {"role": "tool", "content": "23 degrees"},
    {"role": "assistant", "content": "It is."},
)
VALUE = {"messages": list(SAID), "tools": [WEATHER]}
TALK = {"messages": [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]}
# Renders all that it is given: tools, calls with their arguments, and results.
TEMPLATE = (
    "{% for tool in tools or [] %}<tool>{{ tool | tojson }}</tool>{% endfor %}"
    "{% for message in messages %}<s>{{ message.role }}:{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<call>{{ call.function.name }} {{ call.function.arguments | tojson }}</call>{% endfor %}</s>"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant:{% endif %}"
)


@cache
def form(template=TEMPLATE):
    return wrap_model(builders.random_model("llama").hf, builders.tokenizer(template), "m").format


def plain(messages, **more):
    """transformers' own rendering with the generation prompt."""
    return builders.tokenizer(TEMPLATE).apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **more)


def test_the_prompt_is_the_templates_rendering_of_the_transcript_and_the_question():
    value = Transcript(SAID, (WEATHER,))
    question = {"role": "user", "content": ITEM.question}
    rendered = render_item(ITEM, form(), Context(transcript=VALUE))
    assert rendered.prompt == plain([*value.messages, question], tools=list(value.tools))
    assert rendered.turn.endswith("<s>user:Is it so?</s>")
    assert rendered.opening == "<s>assistant:"
    only_tools = render_item(ITEM, form(), Context(transcript={"tools": [WEATHER]}))
    assert only_tools.prompt == plain([question], tools=list(value.tools))
    assert "<call>" in rendered.prompt
    assert "<call>" not in only_tools.prompt


def test_other_axes_go_with_it():
    """Earlier turns stand after the transcript, and the context's own system prompt is the one that counts."""
    system = {"role": "system", "content": "Be kind."}
    both = Context(transcript={"messages": [system, *TALK["messages"]]}, history=[["Once?", "Twice."]])
    said = [system, *TALK["messages"], {"role": "user", "content": "Once?"}, {"role": "assistant", "content": "Twice."}]
    question = {"role": "user", "content": ITEM.question}
    assert render_item(ITEM, form(), both).prompt == plain([*said, question])
    other = Context({**dict(both.values)}, system="Be terse.")
    assert render_item(ITEM, form(), other).prompt == plain([{**system, "content": "Be terse."}, *said[1:], question])


def test_a_dialogue_takes_it_too():
    found = render_turn(Dialogue(("One?", "Two?")), ("Yes.",), form(), Context(transcript=TALK))
    said = [("user", "One?"), ("assistant", "Yes."), ("user", "Two?")]
    assert found.prompt.text == plain([*TALK["messages"], *({"role": role, "content": content} for role, content in said)])
    assert [found.prompt.text[:end].rpartition("<s>")[2] for end in found.turn_ends] == ["user:One?</s>", "user:Two?</s>"]


def test_it_is_written_read_and_printed_alike():
    context = Context(transcript=VALUE)
    assert Context.from_dict(context.to_dict()) == context
    assert eval(repr(context), {"Context": Context}) == context
    assert hash(context) == hash(Context(transcript=Transcript(SAID, (WEATHER,))))
    assert Context(transcript="as_given") == AS_GIVEN
    assert known_axes()["transcript"].value_schema["examples"]


def test_a_search_shrinks_towards_none():
    space = contexts(transcript=[VALUE, "as_given", TALK], filler=st.integers(0, 3))
    assert find(space, lambda context: True) == AS_GIVEN
    assert find(space, lambda context: context.transcript is not None).transcript == Transcript(tuple(TALK["messages"]))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Hello.", "transcript is a mapping of messages and tools"),
        ({}, "there are no messages and no tools"),
        ({"message": []}, "unknown key 'message': did you mean 'messages'"),
        ({"messages": [SAID[0]]}, "the last message is the user's, and the question follows"),
        ({"tools": [{"name": "f", "parameters": 3}]}, "tool 0, 'f': 'parameters'"),
    ],
)
def test_what_is_no_transcript_is_an_error(value, message):
    with pytest.raises(DataError) as error:
        Context(transcript=value)
    assert message.casefold() in str(error.value).casefold()


@pytest.mark.parametrize(
    ("template", "dropped"),
    [
        (TEMPLATE.replace("{{ tool | tojson }}", ""), "the tools: the name of 'weather' is not in the rendered prompt"),
        (TEMPLATE.replace("{{ call.function.name }}", ""), "a call of a tool"),
        (TEMPLATE.replace("{{ call.function.arguments | tojson }}", ""), "the arguments of a call of a tool"),
        (TEMPLATE.replace("{{ message.content }}", "{% if message.role != 'tool' %}{{ message.content }}{% endif %}"), "the tool of message 2"),
        (TEMPLATE.replace("{{ message.content }}", "{% if message.role != 'assistant' %}{{ message.content }}{% endif %}"), "the reply of message 3"),
        (TEMPLATE.replace("<s>{{", "{% if message.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}<s>{{", 1), "no tools here"),
    ],
)  # fmt: skip
def test_a_template_that_drops_a_part_is_an_error_that_names_it(template, dropped):
    with pytest.raises(ModelError) as error:
        render_item(ITEM, form(template), Context(transcript=VALUE))
    assert dropped in str(error.value)


def test_a_template_that_wants_the_arguments_as_text_gets_them_so():
    """Joined to a text, a mapping would stand there as Python writes it."""
    template = TEMPLATE.replace("{{ call.function.arguments | tojson }}", "{{ call.function.arguments ~ '' }}")
    assert '<call>weather {"city": "Rome"}</call>' in render_item(ITEM, form(template), Context(transcript=VALUE)).prompt


def test_ids_that_a_template_refuses_are_others_with_a_note():
    check = "{% for call in message.tool_calls or [] %}{% if call.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}{% endfor %}"
    call = {"id": "call_0001abc", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
    said = [SAID[0], {"role": "assistant", "tool_calls": [call]}, SAID[2] | {"tool_call_id": "call_0001abc"}, SAID[3]]
    rendered = render_item(
        ITEM,
        form(TEMPLATE + check.join(["{% for message in messages %}", "{% endfor %}"])),
        Context(transcript={"messages": said}),
    )
    assert rendered.notes == ("the chat template refuses the ids of the calls of tools, so they have others",)


def test_without_a_chat_template_turns_are_put_and_tools_are_not():
    rendered = render_item(ITEM, PromptFormat(), Context(transcript=TALK))
    assert rendered.prompt == "Question: Hello.\n\nAnswer: Hi.\n\nQuestion: Is it so?\n\nAnswer: "
    with pytest.raises(ModelError, match="there is no chat template, which alone renders tools"):
        render_item(ITEM, PromptFormat(), Context(transcript=VALUE))


def test_a_search_tries_it_and_shrinks_it_away():
    model, items = (
        wrap_model(builders.random_model("llama").hf, builders.tokenizer(TEMPLATE), "m"),
        [ContrastItem(f"Is it {word}?", ("Yes",), ("No",), str(n)) for n, word in enumerate("abcdefghijkl")],
    )
    with pytest.raises(SteeringFailure) as failure:
        assert_holds_in_contexts(
            model,
            builders.random_vector(1),
            items,
            contexts={"transcript": [None, VALUE, TALK]},
            steerability=1e3,
            multipliers=[-1, 1],
            batch=4,
        )
    evidence = failure.value.evidence
    tried = [row["context"].get("transcript") for row in evidence.details["contexts"]]
    assert Context(transcript=VALUE).to_dict()["transcript"] in tried
    assert TALK in tried
    assert evidence.counterexample["context"] == {}  # it breaks the promise without any transcript
