"""The ``steering`` context manager: dose and positions, padding, cached generation, and nothing left behind."""

from __future__ import annotations

import inspect

import builders
import plain
import pytest
import torch

from pytest_steer import wrap_model
from pytest_steer.core.errors import SteerError
from pytest_steer.model import steered

SCOPES = ("all", "after_prompt", "last")
ROWS = ("Hi", "What is it, then?", "Which of the two is it to be, and why?")
OPENING = 12  # "<|im_start|>", "assistant" in nine bytes, the line feed, "("


def chat_ids(tokenizer, question):
    text = tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)
    return plain.ids_of(tokenizer, text + "(", special=False)


def batch(sequences, side):
    """Ids, mask and position ids of sequences, padded on one side."""
    length = max(map(len, sequences))
    ids, mask = (torch.zeros(len(sequences), length, dtype=torch.long) for _ in range(2))
    for row, sequence in enumerate(sequences):
        place = slice(length - len(sequence), length) if side == "left" else slice(0, len(sequence))
        ids[row, place], mask[row, place] = torch.tensor(sequence), 1
    return {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}


def inputs_of(family, sequences, side):
    inputs = batch(sequences, side)
    if family == "bloom":  # finds positions through the mask
        inputs.pop("position_ids")
    return inputs


def start_of(scope, ids, include_first=False):
    return plain.start_of(scope, len(ids) - OPENING, len(ids), include_first)


@torch.no_grad()
def block_output(model, layer, inputs):
    found = []

    def hook(_module, _inputs, output):
        found.append((output[0] if isinstance(output, (tuple, list)) else output).clone())

    handle = plain.blocks_of(model.hf)[layer].register_forward_hook(hook)
    try:
        model.hf(**inputs, use_cache=False)
    finally:
        handle.remove()
    return found[0]


def cache_name(hf):
    """transformers 5.24 renamed the argument and the output."""
    return "cache" if "cache" in inspect.signature(hf.forward).parameters else "past_key_values"


def sequences_of(model):
    return [chat_ids(model.tokenizer, question) for question in ROWS]


# --- dose and positions --------------------------------------------------------------------------------------------------


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES))
@pytest.mark.parametrize("scope", [*SCOPES, "all with first"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_dose_is_exact_at_the_declared_positions_and_zero_elsewhere(family, scope, side):
    scope, _, first = scope.partition(" with ")
    model, vector, doses = builders.random_model(family), builders.random_vector(1), (2.0, -1.0, 0.5)
    sequences = sequences_of(model)
    inputs = inputs_of(family, sequences, side)
    before = block_output(model, 1, inputs)
    with steered(model, vector, doses, positions=scope, include_first=bool(first)):
        after = block_output(model, 1, inputs)
    inside = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    for row, (ids, m) in enumerate(zip(sequences, doses, strict=True)):
        offset = inside.shape[1] - len(ids) if side == "left" else 0
        start, end = offset + start_of(scope, ids, bool(first)), offset + len(ids)
        inside[row, start:end] = True
        want = before[row, start:end] + m * vector.directions[1]
        torch.testing.assert_close(after[row, start:end], want, rtol=0, atol=1e-6)
    assert torch.equal(after[~inside], before[~inside])
    assert builders.hooks_of(model.hf) == 0
    assert torch.equal(block_output(model, 1, inputs), before)


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES))
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_padded_batches_equal_one_at_a_time(family, scope, side):
    model, vector, doses = builders.random_model(family), builders.random_vector(0, 2), (1.0, -1.5, 0.0)
    sequences = sequences_of(model)
    with steered(model, vector, doses, positions=scope):
        logits = model.hf(**inputs_of(family, sequences, side), use_cache=False).logits
    for row, (ids, m) in enumerate(zip(sequences, doses, strict=True)):
        own = logits[row, -len(ids) :] if side == "left" else logits[row, : len(ids)]
        want = plain.logits(model.hf, ids, vector.directions, m, start_of(scope, ids))
        torch.testing.assert_close(own, want, rtol=0, atol=1e-4)


@torch.no_grad()
def test_multiplier_zero_and_the_time_after_leave_every_bit():
    model = builders.random_model("bloom")
    inputs = inputs_of("bloom", sequences_of(model), "right")
    before = model.hf(**inputs, use_cache=False).logits
    for multiplier in (0.0, (0.0, 0.0, 0.0)):
        with steered(model, builders.random_vector(0, 2), multiplier):
            assert torch.equal(model.hf(**inputs, use_cache=False).logits, before)
    with steered(model, builders.random_vector(0, 2), 3.0):
        assert not torch.equal(model.hf(**inputs, use_cache=False).logits, before)
    assert torch.equal(model.hf(**inputs, use_cache=False).logits, before)


# --- generation ----------------------------------------------------------------------------------------------------------


def generate(model, sequences, n, **more):
    inputs = batch(sequences, "left")
    out = model.hf.generate(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=n, do_sample=False,
        return_dict_in_generate=True, output_logits=True, **more,
    )  # fmt: skip
    length = inputs["input_ids"].shape[1]
    return out.sequences[:, length:].tolist(), torch.stack(out.logits, dim=1)


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES))
@pytest.mark.parametrize("scope", SCOPES)
def test_generation_equals_token_by_token_whole_forwards(family, scope):
    model, vector, n, doses = builders.random_model(family), builders.random_vector(0, 2), 5, (1.0, -1.0)
    sequences = sequences_of(model)[1:]
    found = {}
    for cached in (True, False):
        with steered(model, vector, doses, positions=scope):
            found[cached] = generate(model, sequences, n, use_cache=cached)
    assert builders.hooks_of(model.hf) == 0
    for row, (ids, m) in enumerate(zip(sequences, doses, strict=True)):
        start = start_of(scope, ids)
        want = plain.greedy(model.hf, ids, n, vector.directions, m, start)
        rows = plain.logits(model.hf, ids + want, vector.directions, m, start)[len(ids) - 1 : -1]
        for cached, (tokens, logits) in found.items():
            assert tokens[row] == want, f"use_cache={cached}"
            torch.testing.assert_close(logits[row], rows, rtol=0, atol=1e-4)
        # Steering only the prompt, or only what is generated, would give other logits.
        for begin, directions in ((10**6, vector.directions), (start, {})):
            other = plain.logits(model.hf, ids + want, directions, m, begin)[len(ids) - 1 : -1]
            assert (other - rows).abs().max() > 0.01


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_beams_and_samples_of_a_batch_are_steered_row_by_row(family):
    """generate repeats rows: each copy keeps its prompt's scope."""
    model, vector = builders.random_model(family), builders.random_vector(1)
    sequences = sequences_of(model)
    inputs = batch(sequences, "left")
    with steered(model, vector, 2.0, positions="after_prompt"):
        out = model.hf.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=3,
            num_beams=2,
            do_sample=False,
        )
    length = inputs["input_ids"].shape[1]
    for row, ids in enumerate(sequences):
        with steered(model, vector, 2.0, positions="after_prompt"):
            alone = model.hf.generate(
                input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long(), max_new_tokens=3, num_beams=2,
                do_sample=False,
            )  # fmt: skip
        assert out[row, length:].tolist() == alone[0, len(ids) :].tolist()


@pytest.mark.parametrize("scope", SCOPES)
@torch.no_grad()
def test_step_by_step_with_a_cache_by_hand_and_without_a_mask(scope):
    model, vector = builders.random_model("gpt2"), builders.random_vector(1)
    ids = chat_ids(model.tokenizer, "And?")
    want = plain.logits(model.hf, [*ids, 40, 41], vector.directions, 1.0, start_of(scope, ids))
    with steered(model, vector, positions=scope):
        out = model.hf(input_ids=torch.tensor([ids]), use_cache=True)
        rows, name = [out.logits[0]], cache_name(model.hf)
        for token in (40, 41):
            out = model.hf(input_ids=torch.tensor([[token]]), use_cache=True, **{name: out[name]})
            rows.append(out.logits[0])
    torch.testing.assert_close(torch.cat(rows), want, rtol=0, atol=1e-4)


# --- scopes that are told, and scopes that are looked for ------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("scope", "shift"), [("after_prompt", 0), ("last", -1)])
@torch.no_grad()
def test_prompt_lengths_say_where_the_prompt_ends(side, scope, shift):
    """Real tokens, whatever the padding: one number for all rows, or one per row."""
    model, vector = builders.random_model("opt"), builders.random_vector(1)
    sequences = [list(range(10, 10 + n)) for n in (6, 9)]
    inputs = inputs_of("opt", sequences, side)
    for lengths in ([3, 7], 5):
        with steered(model, vector, positions=scope, prompt_lengths=lengths):
            logits = model.hf(**inputs, use_cache=False).logits
        for row, ids in enumerate(sequences):
            end = lengths if isinstance(lengths, int) else lengths[row]
            own = logits[row, -len(ids) :] if side == "left" else logits[row, : len(ids)]
            want = plain.logits(model.hf, ids, vector.directions, 1.0, end + shift)
            torch.testing.assert_close(own, want, rtol=0, atol=1e-4)


@torch.no_grad()
def test_after_prompt_takes_the_last_reply_of_a_conversation():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    messages = [{"role": r, "content": c} for r, c in (("user", "a"), ("assistant", "b"), ("user", "c"))]
    text = model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = plain.ids_of(model.tokenizer, text, special=False)
    with steered(model, vector, positions="after_prompt"):
        logits = model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    want = plain.logits(model.hf, ids, vector.directions, 1.0, len(ids) - OPENING + 1)
    torch.testing.assert_close(logits, want, rtol=0, atol=1e-4)


@pytest.mark.parametrize("chat", [True, False])
def test_after_prompt_names_the_row_without_an_opening(chat):
    model = builders.random_model("llama", chat)
    sequences = [*([chat_ids(model.tokenizer, "Hi")] if chat else []), [10, 11, 12]]
    words = rf"row {len(sequences) - 1} does not contain the end of a user's turn as the chat template writes it.*prompt_lengths="
    with (
        pytest.raises(SteerError, match="positions 'after_prompt': " + words),
        steered(model, builders.random_vector(1), positions="after_prompt"),
    ):
        model.hf(**batch(sequences, "left"))
    assert builders.hooks_of(model.hf) == 0


def test_a_template_that_writes_an_end_marker_unless_a_reply_follows():
    """As Phi-3's does: see test_tokens.py."""
    template = (
        "{% for message in messages %}<|im_start|>{{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% else %}<|im_end|>{% endif %}"
    )
    model = wrap_model(builders.random_model("llama").hf, builders.tokenizer(template), "phi-like")
    ids = chat_ids(model.tokenizer, "Hi")
    with steered(model, builders.random_vector(1), positions="after_prompt"), torch.no_grad():
        logits = model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    want = plain.logits(model.hf, ids, builders.random_vector(1).directions, 1.0, len(ids) - OPENING)
    torch.testing.assert_close(logits, want, rtol=0, atol=1e-4)


# --- errors, and nothing left behind -------------------------------------------------------------------------------------


FOUR = {"input_ids": torch.tensor([[10, 11, 12, 13]])}
THREE_ROWS = {"input_ids": torch.full((3, 4), 10)}


@pytest.mark.parametrize(
    ("block", "inputs", "message"),
    [
        (
            {"positions": "all"},
            {"input_ids": torch.tensor([[10]])},
            r"no token was steered in 1 forward\(s\): with positions 'all'",
        ),
        ({"positions": "after_prompt", "prompt_lengths": 9}, FOUR, "prompt_lengths: row 0 has 4 real tokens, and 9 of them"),
        ({"positions": "last", "prompt_lengths": 5}, FOUR, "row 0 has 4 real tokens, and 5 of them"),
        ({"positions": "after_prompt", "prompt_lengths": 0}, FOUR, "row 0 has 4 real tokens, and 0 of them"),
        ({"multiplier": [1.0, 2.0]}, THREE_ROWS, "2 multipliers for a batch of 3 rows"),
        ({"positions": "last", "prompt_lengths": [1, 2]}, THREE_ROWS, "2 prompt_lengths for a batch of 3 rows"),
        ({"multiplier": float("nan")}, FOUR, ""),
        ({"multiplier": float("inf")}, FOUR, ""),
        ({"multiplier": [1.0, float("nan")]}, {"input_ids": torch.full((2, 4), 10)}, ""),
        ({}, {**FOUR, "attention_mask": torch.ones(1, 1, 4, 4)}, "two-dimensional attention mask"),
        ({}, {**FOUR, "attention_mask": torch.ones(1, 3).long()}, "covers 3 tokens"),
    ],
)
def test_what_cannot_be_steered_is_an_error_and_leaves_nothing(block, inputs, message):
    model = builders.random_model("llama")
    with pytest.raises(SteerError, match=message), steered(model, builders.random_vector(1), **block):
        model.hf(**inputs)
    assert builders.hooks_of(model.hf) == 0


def test_a_block_without_a_forward_is_no_error():
    with steered(builders.random_model("llama"), builders.random_vector(1)) as model:
        assert model is builders.random_model("llama")


def test_nothing_is_left_when_the_body_raises():
    model = builders.random_model("bloom")

    def body():
        assert builders.hooks_of(model.hf) == 4  # two layers, the backbone and the whole model
        model.hf(input_ids=torch.tensor([[10, 11, 12]]))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), steered(model, builders.random_vector(0, 2)):
        body()
    assert builders.hooks_of(model.hf) == 0


@torch.no_grad()
def test_two_blocks_within_each_other_add_up():
    model, one, two = builders.random_model("llama"), builders.random_vector(1), builders.random_vector(1, seed=9)
    ids = sequences_of(model)[0]
    both = {1: one.directions[1] - 2 * two.directions[1]}
    with steered(model, one), steered(model, two, -2.0):
        logits = model.hf(input_ids=torch.tensor([ids])).logits[0]
    torch.testing.assert_close(logits, plain.logits(model.hf, ids, both, 1.0, 1), rtol=0, atol=1e-4)
    assert builders.hooks_of(model.hf) == 0


def test_a_cache_from_outside_is_refused():
    model = builders.random_model("llama")
    name = cache_name(model.hf)
    cache = model.hf(input_ids=torch.full((1, 4), 10), use_cache=True)[name]
    with (
        pytest.raises(SteerError, match="goes on with a cache that was filled outside of this steering block"),
        steered(model, builders.random_vector(1)),
    ):
        model.hf(input_ids=torch.full((1, 1), 10), **{name: cache})


@torch.no_grad()
def test_embeddings_instead_of_tokens():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    ids = sequences_of(model)[0]
    embedded = model.hf.get_input_embeddings()(torch.tensor([ids]))
    with steered(model, vector, positions="last"):
        logits = model.hf(inputs_embeds=embedded).logits[0]
    torch.testing.assert_close(logits, plain.logits(model.hf, ids, vector.directions, 1.0, len(ids) - 1), rtol=0, atol=1e-4)
