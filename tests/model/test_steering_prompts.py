"""Which input is a prompt of its own: several forwards and calls of ``generate`` in one steering block."""

from __future__ import annotations

import builders
import plain
import pytest
import torch

from pytest_steer.core.errors import SteerError
from pytest_steer.model import steered

VECTOR = builders.random_vector(1)


def chat_ids(model, *turns):
    roles = ["user", "assistant"] * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    text = model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return plain.ids_of(model.tokenizer, text, special=False), plain.ids_of(
        model.tokenizer, model.tokenizer.apply_chat_template(messages, tokenize=False), special=False
    )


@pytest.mark.parametrize("positions", ["last", "after_prompt"])
def test_a_prompt_that_begins_with_the_one_before_is_steered_by_itself(positions):
    model = builders.random_model("llama")
    (first, _), (second, turn) = chat_ids(model, "Hi"), chat_ids(model, "Hi", "Yes.", "So?")
    assert second[: len(first)] == first
    with steered(model, VECTOR, 2.0, positions=positions), torch.no_grad():
        for ids in (first, second):
            logits = model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    start = len(second) - 1 if positions == "last" else len(turn)
    torch.testing.assert_close(logits, plain.logits(model.hf, second, VECTOR.directions, 2.0, start), rtol=0, atol=1e-4)


@pytest.mark.parametrize("cached", [True, False])
def test_each_call_of_generate_has_a_prompt_of_its_own(cached):
    model = builders.random_model("llama")
    first, _ = chat_ids(model, "Hi")
    how = {"do_sample": False, "use_cache": cached, "pad_token_id": 0}
    with steered(model, VECTOR, 2.0, positions="last"):
        whole = model.hf.generate(torch.tensor([first]), max_new_tokens=1, **how)[0].tolist()
        whole = model.hf.generate(torch.tensor([whole]), max_new_tokens=3, **how)[0].tolist()
    assert "generate" not in vars(model.hf)
    prompt = whole[: len(first) + 1]
    assert whole == prompt + plain.greedy(model.hf, prompt, 3, VECTOR.directions, 2.0, len(prompt) - 1)


@pytest.mark.parametrize(
    "more", [{"prefill_chunk_size": 5}, {"prompt_lookup_num_tokens": 2}], ids=lambda more: next(iter(more))
)
def test_a_prompt_in_pieces_is_refused_where_its_end_matters(more):
    model = builders.random_model("llama")
    ids, _ = chat_ids(model, "Hi")
    (name,) = more
    with pytest.raises(SteerError, match=f"generate with {name} does not give"), steered(model, VECTOR, positions="last"):
        model.hf.generate(torch.tensor([ids]), max_new_tokens=2, **more)
    assert "generate" not in vars(model.hf)
    assert builders.hooks_of(model.hf) == 0


def test_a_kept_cache_goes_on_where_all_is_steered():
    model = builders.random_model("llama")
    ids, _ = chat_ids(model, "Hi")
    how = {"do_sample": False, "pad_token_id": 0, "return_dict_in_generate": True}
    with steered(model, VECTOR, 2.0, positions="all"):
        first = model.hf.generate(torch.tensor([ids]), max_new_tokens=2, **how)
        longer = torch.cat([first.sequences, torch.tensor([[40, 41]])], dim=1)
        second = (
            model.hf.generate(longer, past_key_values=first.past_key_values, max_new_tokens=2, **how).sequences[0].tolist()
        )
    prompt = longer[0].tolist()
    assert second == prompt + plain.greedy(model.hf, prompt, 2, VECTOR.directions, 2.0, 1)
