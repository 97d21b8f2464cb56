"""Replies after a transcript with calls of tools: the prompt is the template's own, and the tokens are those of whole forwards over it."""

from __future__ import annotations

import builders
import plain
import pytest
import torch

from pytest_steer import Context, Dialogue, SteeringVector, wrap_model
from pytest_steer.core.errors import DataError, ModelError
from pytest_steer.model.replies import replies
from pytest_steer.model.writing import Drawing

TEMPLATE = (
    "{% for tool in tools or [] %}<tool>{{ tool.function.name }}</tool>{% endfor %}"
    "{% for message in messages %}<s>{{ message.role }}:{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<call>{{ call.function.name }} {{ call.function.arguments | tojson }}</call>{% endfor %}</s>"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant:{% endif %}"
)
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
AGENT = Dialogue(
    ("And in Paris?", "Thank you."),
    messages=(
        {"role": "user", "content": "Is it warm in Rome?"},
        {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": {"city": "Rome"}}]},
        {"role": "tool", "content": "23 degrees"},
        {"role": "assistant", "content": "It is."},
    ),
    tools=(TOOL,),
)
NEW = 5


@pytest.fixture(scope="module")
def model():
    return wrap_model(builders.random_model("llama").hf, builders.tokenizer(TEMPLATE), "agent")


@pytest.mark.parametrize("from_turn", [1, 2])
def test_a_reply_is_that_of_whole_forwards_over_the_templates_own_prompt(model, from_turn):
    vector = SteeringVector({1: 3 * torch.ones(model.width)})
    found = replies(model, [AGENT], vector, multipliers=[0.0, 1.0], drawing=Drawing(NEW), from_turn=from_turn)
    for m, own in zip((0.0, 1.0), found.of[0], strict=True):
        said = [*AGENT.messages]
        (turns,) = own
        starts = []
        for number, (user, reply) in enumerate(zip(AGENT.turns, turns, strict=True), start=1):
            said.append({"role": "user", "content": user})
            prompt, turn = (
                model.tokenizer.apply_chat_template(
                    said, tokenize=False, add_generation_prompt=opened, tools=list(AGENT.tools)
                )
                for opened in (True, False)
            )
            assert reply.prompt == prompt
            assert "<tool>weather</tool>" in prompt
            ids = plain.ids_of(model.tokenizer, prompt, special=False)
            starts.append(len(plain.ids_of(model.tokenizer, turn, special=False)))
            start = starts[from_turn - 1] if number >= from_turn else 0
            strength = m if number >= from_turn else 0.0
            want = plain.greedy(model.hf, ids, NEW, vector.directions, strength, start, keep=1)
            assert list(reply.tokens) == want[: len(reply.tokens)]
            said.append({"role": "assistant", "content": reply.text})
    assert found.of[0][0] != found.of[0][1]


RESULT = Dialogue(messages=AGENT.messages[:3], tools=AGENT.tools)


def test_a_tools_result_at_the_end_of_the_transcript_is_replied_to(model):
    vector = SteeringVector({1: 3 * torch.ones(model.width)})
    asked = [RESULT, Dialogue(("Hello.",))]  # of other lengths, so that one row is padded
    found = replies(model, asked, vector, multipliers=[0.0, 1.0], drawing=Drawing(NEW))
    prompt, result = (
        model.tokenizer.apply_chat_template(
            [*RESULT.messages], tokenize=False, add_generation_prompt=opened, tools=[*RESULT.tools]
        )
        for opened in (True, False)
    )
    ids, before = (plain.ids_of(model.tokenizer, text, special=False) for text in (prompt, result))
    for m, ((reply,),) in zip((0.0, 1.0), found.of[0], strict=True):
        assert (reply.prompt, reply.steer_from) == (prompt, len(before))
        want = plain.greedy(model.hf, ids, NEW, vector.directions, m, len(before), keep=1)
        assert list(reply.tokens) == want[: len(reply.tokens)]
    assert found.of[0][0] != found.of[0][1]
    with pytest.raises(DataError, match=r"prompt 0: has 1 turn\(s\), so nothing is steered from turn 2 on"):
        replies(model, [RESULT], vector, multipliers=[1.0], drawing=Drawing(NEW), from_turn=2)
    with pytest.raises(DataError, match="ends with a tool's result, and the context changes the user's question"):
        replies(model, [RESULT], vector, multipliers=[1.0], drawing=Drawing(NEW), context=Context(wording="please"))


def test_a_template_without_tools_is_named_with_the_prompt(model):
    other = wrap_model(model.hf, builders.tokenizer(TEMPLATE.replace("<tool>{{ tool.function.name }}</tool>", "")), "bare")
    with pytest.raises(ModelError, match=r"prompt 0.*: the chat template drops the tools: the name of 'weather'"):
        replies(other, [AGENT], SteeringVector({1: torch.ones(model.width)}), multipliers=[0.0], drawing=Drawing(NEW))
