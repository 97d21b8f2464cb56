"""What the evidence says of how items were put to the model: the date, and thinking that differs from the vector's."""

from __future__ import annotations

import builders
import pytest

from pytest_steer import Context, SteeringVector, assert_steers, wrap_model

THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}<think></think>{% endif %}"
    "{{ m['content'] }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
)


def evidence(template, **context):
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(template), "m")
    vector = SteeringVector(builders.random_vector(1).directions, metadata={"thinking": "closed"})
    return assert_steers(model, vector, builders.LETTERED, steerability=-1e6, min_n=2, context=Context(**context))


@pytest.mark.parametrize(
    ("template", "thinking", "warned"),
    [(THINKING, "open", True), (THINKING, "as_given", False), (builders.CHATML, "open", False)],
    ids=["open", "as the vector's", "a template that does not think"],
)
def test_a_vector_made_with_other_thinking_is_announced_where_the_prompts_differ(template, thinking, warned):
    found = evidence(template, thinking=thinking)
    assert (
        any("made with thinking closed, and this claim is measured with thinking open" in w for w in found.warnings)
        == warned
    )


def test_the_date_of_the_prompts_is_in_the_evidence():
    assert evidence(builders.CHATML, date="2030-05-06").asked.date == "2030-05-06"
    assert evidence(builders.CHATML).asked.date == "2025-01-01"
    assert evidence(None).asked.date is None
