"""Generation under steering: equal to each row by itself, greedy and drawn, on every family; ends, draws, errors, what is shared."""

from __future__ import annotations

import math

import builders
import numpy as np
import plain
import pytest
import torch
from plain_replies import alone, drawn, in_one_forward, likeliest, prompt_ids

from pytest_steer import Context, ContrastItem, Intervention, generate, load_model, wrap_model
from pytest_steer.core.errors import DataError, MeasurementError, SteerError
from pytest_steer.model import steered
from pytest_steer.model.replies import replies
from pytest_steer.model.writing import Drawing, ways_tried
from pytest_steer.steering import custom

SCOPES = ("all", "after_prompt", "last")
PROMPTS = ("Hi there", "What is it?", builders.LONG)
GRID = (-1.0, 0.0, 2.0)
NEW = 10  # past the window of the families that have one
BROKEN = custom(lambda hidden, strength, layer: hidden * math.nan, layers=[1], strength="linear", name="broken")


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES + builders.FURTHER))
@pytest.mark.parametrize("scope", SCOPES)
def test_greedy_rows_equal_each_by_itself(family, scope):
    model, vector = builders.random_model(family), builders.random_vector(0, 2)
    found = generate(model, PROMPTS, vector, multipliers=GRID, positions=scope, max_new_tokens=NEW)
    for question, row in zip(PROMPTS, found, strict=True):
        ids, turn = prompt_ids(model, question)
        for m, generation in zip(GRID, row, strict=True):
            said = list(generation.tokens)
            want = in_one_forward(model, ids, said, vector, m, plain.start_of(scope, turn, len(ids)), likeliest)
            assert said == want
            assert len(said) == NEW
            assert (generation.prompt, generation.multiplier, generation.finish_reason) == (question, m, "length")
            assert generation.text == model.tokenizer.decode(want, skip_special_tokens=True)
    assert len({generation.tokens for row in found for generation in row}) > 2  # some random models repeat one token
    assert builders.hooks_of(model.hf) == 0


@pytest.mark.covering(1)  # a draw is made from logits, whatever made them
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES + builders.FURTHER))
@pytest.mark.parametrize(("scope", "top_p"), [("all", 0.7), ("after_prompt", 1.0)])
def test_drawn_rows_equal_each_by_itself(family, scope, top_p):
    model, vector = builders.random_model(family), builders.random_vector(0, 2)
    how = {"do_sample": True, "temperature": 0.8, "top_p": top_p, "seed": 5}
    found = generate(model, PROMPTS, vector, multipliers=GRID, positions=scope, max_new_tokens=NEW, **how)
    drawing = Drawing(NEW, temperature=0.8, top_p=top_p, seed=5)
    for question, row in zip(PROMPTS, found, strict=True):
        ids, turn = prompt_ids(model, question)
        for m, generation in zip(GRID, row, strict=True):
            choose = drawn(iter(drawing.points(tuple(ids), m, 0)), 0.8, top_p)
            said = list(generation.tokens)
            assert said == in_one_forward(model, ids, said, vector, m, plain.start_of(scope, turn, len(ids)), choose)
            assert len(said) == NEW


@pytest.mark.parametrize("family", ["gemma2", "lfm2"])
def test_rows_equal_a_forward_per_token(family):
    """The one forward per row, which the two tests above rest on, says what a forward per token says."""
    model, vector = builders.random_model(family), builders.random_vector(0, 2)
    ((found,),) = generate(model, PROMPTS[:1], vector, multipliers=[2.0], positions="after_prompt", max_new_tokens=NEW)
    ids, turn = prompt_ids(model, PROMPTS[0])
    assert list(found.tokens) == alone(model, ids, vector, 2.0, turn, NEW, likeliest)


def unasked(model):
    """The same model, of which no reply is remembered."""
    return wrap_model(model.hf, model.tokenizer, model.id)


def test_a_row_does_not_depend_on_the_rows_beside_it():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    how = {"do_sample": True, "max_new_tokens": NEW}
    together = generate(model, PROMPTS, vector, multipliers=GRID, seed=1, **how)
    for question, row in zip(PROMPTS, together, strict=True):
        for m, generation in zip(GRID, row, strict=True):
            assert generate(unasked(model), [question], vector, multipliers=[m], seed=1, **how) == [[generation]]
    backwards = generate(unasked(model), PROMPTS[::-1], vector, multipliers=GRID[::-1], seed=1, **how)
    assert [row[::-1] for row in backwards[::-1]] == together
    other = generate(model, PROMPTS, vector, multipliers=GRID, seed=2, **how)
    assert all(a.tokens != b.tokens for one, two in zip(together, other, strict=True) for a, b in zip(one, two, strict=True))


def test_rwkv_has_no_cache_to_repeat_and_takes_the_plain_way():
    model, vector = wrap_model(builders.random_hf("rwkv"), builders.tokenizer(), "rwkv"), builders.random_vector(1)
    found = generate(model, PROMPTS[:2], vector, multipliers=(0.0, 2.0), max_new_tokens=3)
    assert not any(ways_tried(model).values())
    for question, row in zip(PROMPTS[:2], found, strict=True):
        ids, turn = prompt_ids(model, question)
        for m, generation in zip((0.0, 2.0), row, strict=True):
            assert list(generation.tokens) == alone(model, ids, vector, m, turn, 3, likeliest)


def test_a_cache_that_loses_the_multiplier_is_found_out(monkeypatch):
    """A way that is wrong without an error: rows get what the cache keeps of another row's prompt."""
    from transformers import DynamicCache

    right = DynamicCache.reorder_cache
    monkeypatch.setattr(DynamicCache, "reorder_cache", lambda cache, rows: right(cache, rows.roll(1)))
    model, vector = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "llama"), builders.random_vector(1)
    found = generate(model, PROMPTS, vector, multipliers=GRID, max_new_tokens=NEW)
    assert ways_tried(model) == {("shared prompt", True): False, ("one batch", True): True}
    monkeypatch.undo()
    assert found == generate(builders.random_model("llama"), PROMPTS, vector, multipliers=GRID, max_new_tokens=NEW)


@pytest.mark.parametrize("family", ["llama", "gptj"])
def test_what_stands_before_the_first_steered_token_runs_once(family):
    model, vector = builders.random_model(family), builders.random_vector(1)
    generate(model, PROMPTS, vector, multipliers=GRID, max_new_tokens=NEW - 1)  # the trial
    seen = []

    def count(_module, _inputs, output):
        hidden = output[0] if isinstance(output, tuple) else output
        seen.append(hidden.shape[0] * hidden.shape[1])

    handle = plain.blocks_of(model.hf)[0].register_forward_hook(count)
    try:
        generate(model, PROMPTS, vector, multipliers=GRID, max_new_tokens=NEW)
    finally:
        handle.remove()
    ids = [prompt_ids(model, question) for question in PROMPTS]
    longest = max(turn for _, turn in ids)
    common = next(at for at, tokens in enumerate(zip(*(tokens for tokens, _ in ids), strict=False)) if len(set(tokens)) > 1)
    opening = len(ids[0][0]) - ids[0][1]
    rows = len(PROMPTS) * len(GRID)
    assert seen == [common, len(PROMPTS) * (longest - common), rows * opening] + [rows] * (NEW - 1)


@pytest.mark.covering(1)
@pytest.mark.parametrize("scope", ["all", "after_prompt"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom", "mpt", "falcon alibi"])
def test_what_all_prompts_begin_with_runs_once(family, scope):
    """Shorter prompts keep a part of the start only, and run the rest of it again, so that all padding is on the left."""
    model, vector = wrap_model(builders.random_hf(family), builders.tokenizer(), family), builders.random_vector(0, 2)
    prompts, context, seen = ("Hi there", "What is it?", "Why?"), Context(system=builders.LONG), []
    handle = plain.blocks_of(model.hf)[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[:2]))
    try:
        found = generate(model, prompts, vector, multipliers=GRID, positions=scope, max_new_tokens=4, context=context)
    finally:
        handle.remove()
    assert all(ways_tried(model).values())
    put = [prompt_ids(model, question, builders.LONG) for question in prompts]
    common = next(at for at, tokens in enumerate(zip(*(ids for ids, _ in put), strict=False)) if len(set(tokens)) > 1)
    assert (3 if scope == "all" else 1, common) in seen
    for (ids, turn), row in zip(put, found, strict=True):
        for m, generation in zip(GRID, row, strict=True):
            said, start = list(generation.tokens), plain.start_of(scope, turn, len(ids))
            assert said == in_one_forward(model, ids, said, vector, m, start, likeliest)


@pytest.mark.parametrize("chat", [True, False])
def test_multiplier_zero_is_the_models_own_generate(chat):
    model, vector = builders.random_model("qwen2", chat), builders.random_vector(1)
    for question, row in zip(PROMPTS, generate(model, PROMPTS, vector, multipliers=GRID, max_new_tokens=NEW), strict=True):
        ids = torch.tensor([prompt_ids(model, question)[0]])
        want = model.hf.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False)
        assert list(row[1].tokens) == want[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("scope", ["all", "after_prompt"])
def test_the_built_in_model_ends_as_its_own_generate_does(scope):
    model = load_model("builtin:tiny")
    vector = builders.random_vector(1, width=model.width, norm=4.0)
    questions = ["How was the trip?", "Tell me about the new job.", "What do you think of the soup that we had?"]
    found = generate(model, questions, vector, multipliers=[0, 1], positions=scope, max_new_tokens=40)
    ends = model.hf.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    reasons = set()
    for question, row in zip(questions, found, strict=True):
        prompt, turn = prompt_ids(model, question)
        ids = torch.tensor([prompt])
        for m, generation in zip((0.0, 1.0), row, strict=True):
            with steered(model, vector, m, positions=scope, prompt_lengths=turn):
                want = model.hf.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False)
            want = want[0, len(prompt) :].tolist()
            assert list(generation.tokens) == want
            assert generation.finish_reason == ("stop" if want[-1] in ends else "length")
            assert generation.text == model.tokenizer.decode(want, skip_special_tokens=True)
            reasons.add(generation.finish_reason)
    assert "stop" in reasons


def test_any_of_the_end_tokens_ends_a_row_and_the_others_go_on():
    model, vector = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "llama"), builders.random_vector(1)
    free = generate(model, PROMPTS, vector, multipliers=GRID, max_new_tokens=NEW)
    ends = [free[0][0].tokens[4], free[1][2].tokens[6]]
    for given in (ends, ends[0]):
        model.hf.generation_config.eos_token_id = given
        wanted = given if isinstance(given, list) else [given]
        found = generate(model, PROMPTS, vector, multipliers=GRID, max_new_tokens=NEW)
        for before, after in ((b, a) for one, two in zip(free, found, strict=True) for b, a in zip(one, two, strict=True)):
            cut = next((at + 1 for at, token in enumerate(before.tokens) if token in wanted), None)
            assert after.tokens == before.tokens[:cut]
            assert after.finish_reason == ("length" if cut is None else "stop")
        assert {generation.finish_reason for row in found for generation in row} == {"stop", "length"}


def test_draws_follow_the_distribution():
    """Linear: after the prompt's last token (a = 0) the logits are m * c_j; the frequencies of 300 samples are held against them."""
    c = {"red": 1.0, "green": 0.3, "blue": -0.5}
    linear = builders.Linear(("Question:", "Answer:", *c), a={}, b=dict.fromkeys(c, 0.0), c=c)
    m, temperature, count = 1.5, 0.7, 300
    drawing = Drawing(1, samples=count, temperature=temperature, seed=0)
    found = replies(linear.model, ["red"], linear.vector(), multipliers=[m], drawing=drawing, positions="last")
    drawn_tokens = [turns[0].tokens[0] for turns in found.of[0][0]]
    weights = np.exp([m * c.get(word, 0.0) / temperature for word in linear.words])
    chances = weights / weights.sum()
    seen = np.bincount(drawn_tokens, minlength=len(chances))
    assert (np.abs(seen / count - chances) < 4 * np.sqrt(chances * (1 - chances) / count)).all()


def test_context_items_and_interventions():
    model = builders.random_model("llama")
    turn_to = builders.random_vector(1).directions[1]
    pull = custom(lambda h, s, layer: h + s * (turn_to - h) * 0.5, layers=[1], strength="interpolated", name="pull")
    assert isinstance(pull, Intervention)
    item = ContrastItem("Which?\n(A) one\n(B) two", ("(A)",), ("(B)",), "x")
    swapped = "Which?\n(A) two\n(B) one"
    context = Context(system="Be odd.", option_order="swapped")
    ((found,),) = generate(model, [item], pull, multipliers=[0.7], max_new_tokens=4, context=context)
    assert found.prompt == swapped
    ((same,),) = generate(model, [swapped], pull, multipliers=[0.7], max_new_tokens=4, context=Context(system="Be odd."))
    assert same == found
    ids, turn = prompt_ids(model, swapped, "Be odd.")
    tokens = list(ids)
    for _ in range(4):
        with steered(model, pull, 0.7, positions="after_prompt", prompt_lengths=turn), torch.no_grad():
            tokens.append(int(model.hf(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
    assert list(found.tokens) == tokens[len(ids) :]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"prompts": []}, DataError, "no prompts"),
        ({"prompts": "one"}, DataError, "put a single one into a list"),
        ({"prompts": ["fine", " "]}, DataError, "prompt 1: expected a question"),
        ({"prompts": ["x" * 600]}, DataError, "takes at most 512"),
        ({"max_new_tokens": 500}, DataError, "no room for 500 more"),
        ({"max_new_tokens": 0}, SteerError, "max_new_tokens is a whole number"),
        ({"multipliers": [1, math.nan]}, SteerError, "finite number"),
        ({"temperature": 0, "do_sample": True}, SteerError, "temperature is a finite number above 0"),
        ({"temperature": 0.5}, SteerError, "do_sample=True"),
        ({"top_p": 0, "do_sample": True}, SteerError, "top_p is above 0"),
        ({"seed": 0.5}, SteerError, "seed is a whole number"),
        ({"vector": BROKEN, "multipliers": [0, 2]}, MeasurementError, "prompt 0: the model gives NaN or infinity at multiplier 2, token 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_so(arguments, error, words):
    model = builders.random_model("llama")
    given = {"prompts": ["Hi"], "vector": builders.random_vector(1), "multipliers": [1.0], "max_new_tokens": 2, **arguments}
    with pytest.raises(error, match=words):
        generate(model, given.pop("prompts"), given.pop("vector"), **given)


def test_a_steered_model_is_refused():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    with steered(model, vector), pytest.raises(SteerError, match="open steering"):
        generate(model, ["Hi"], vector, multipliers=[1])


@pytest.mark.parametrize("context", [Context(history=[["Hello.", "Hi."]]), Context(template="plain")])
def test_a_context_that_is_not_heeded_is_refused(context):
    with pytest.raises(SteerError, match=r"does not put '(history|template)' of the context to the model: call replies"):
        generate(
            builders.random_model("llama"), ["Hi there"], builders.random_vector(1), multipliers=[0, 1], context=context
        )
