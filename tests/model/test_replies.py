"""Replies to dialogues: equal to each conversation by itself, in every family; remembered; what a template or a context cannot take."""

from __future__ import annotations

import contextlib
import sqlite3

import builders
import numpy as np
import plain
import pytest
import torch
from plain_replies import drawn, in_one_forward, likeliest, prompt_ids

from pytest_steer import Dialogue, generate, wrap_model
from pytest_steer.core.errors import DataError, ModelError, SteerError
from pytest_steer.model import engine_of
from pytest_steer.model.memo import DiskMemo
from pytest_steer.model.rehearsal import rehearsing
from pytest_steer.model.replies import Drawing, replies
from pytest_steer.steering import applied, as_intervention, custom, gated_by_condition

SCOPES = ("all", "after_prompt", "last")
GRID = (-1.0, 0.0, 2.0)
TWO = [Dialogue(("Hi there", "Why?"), id="a"), Dialogue(("What is it?", "And " + builders.LONG), id="b")]
DRAWN = Drawing(max_new_tokens=5, samples=2, temperature=0.8, seed=3)
VECTOR = builders.random_vector(0, 2)


def text_of(tokenizer, turns, said, opened=True):
    """The template's rendering of a conversation, up to the reply or to the end of its last turn."""
    messages = [{"role": "user", "content": turns[0]}]
    for reply, turn in zip(said, turns[1:], strict=False):
        messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": turn}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened)


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day([*builders.FAMILIES, *builders.FURTHER, "rwkv"]))
@pytest.mark.parametrize("scope", SCOPES)
def test_the_second_turn_steered_otherwise_equals_each_conversation_by_itself(family, scope):
    """Turn 1 is the unsteered model's, whatever the multiplier. Two samples, of prompts and replies of several lengths, in one batch."""
    model = wrap_model(builders.random_hf(family), builders.tokenizer(), family)
    found = replies(model, TWO, VECTOR, multipliers=GRID, drawing=DRAWN, positions=scope, from_turn=2)
    for dialogue, row in zip(TWO, found.of, strict=True):
        for m, samples in zip(GRID, row, strict=True):
            for sample, (first, second) in enumerate(samples):
                ids, _ = prompt_ids(model, dialogue.turns[0])
                choose = drawn(iter(DRAWN.points(tuple(ids), 0.0, sample)), 0.8)
                assert list(first.tokens) == in_one_forward(model, ids, list(first.tokens), VECTOR, 0.0, 1, choose)
                assert first.text == model.tokenizer.decode(first.tokens, skip_special_tokens=True)
                text, turn = (text_of(model.tokenizer, dialogue.turns, [first.text], opened) for opened in (True, False))
                assert second.prompt == text
                ids, end = (plain.ids_of(model.tokenizer, part, False) for part in (text, turn))
                choose = drawn(iter(DRAWN.points(tuple(ids), m, sample)), 0.8)
                start = plain.start_of(scope, len(end), len(ids))
                assert list(second.tokens) == in_one_forward(model, ids, list(second.tokens), VECTOR, m, start, choose)
    firsts = [{row[m][sample][0].tokens for m in range(3)} for row in found.of for sample in range(2)]
    assert all(len(one) == 1 for one in firsts)
    assert (
        len({turns[1].tokens for row in found.of for samples in row for turns in samples}) > 4
    )  # some random models repeat a token
    assert builders.hooks_of(model.hf) == 0


@pytest.mark.parametrize("scope", SCOPES)
def test_steering_from_the_first_turn_covers_what_follows_it(scope):
    model = builders.random_model("llama")
    drawing = Drawing(max_new_tokens=4)
    found = replies(model, TWO, VECTOR, multipliers=GRID, drawing=drawing, positions=scope)
    for dialogue, row in zip(TWO, found.of, strict=True):
        for m, ((first, second),) in zip(GRID, row, strict=True):
            ids, turn = prompt_ids(model, dialogue.turns[0])
            start = plain.start_of(scope, turn, len(ids))
            assert list(first.tokens) == in_one_forward(model, ids, list(first.tokens), VECTOR, m, start, likeliest)
            later = plain.ids_of(model.tokenizer, text_of(model.tokenizer, dialogue.turns, [first.text]), False)
            assert later[: len(ids)] == ids  # so the scope begins at the same token
            assert list(second.tokens) == in_one_forward(model, later, list(second.tokens), VECTOR, m, start, likeliest)


def test_one_turn_is_what_generate_writes():
    model = builders.random_model("llama", chat=False)
    written = generate(model, ["Hi there", builders.LONG], VECTOR, multipliers=GRID, max_new_tokens=4)
    found = replies(model, ["Hi there", builders.LONG], VECTOR, multipliers=GRID, drawing=Drawing(4))
    assert [[one.tokens for one in row] for row in written] == [[own[0][0].tokens for own in row] for row in found.of]


def test_samples_are_independent_and_a_reply_does_not_depend_on_the_others():
    model = builders.random_model("llama")
    two = replies(model, ["Hi there", "Why?"], VECTOR, multipliers=GRID, drawing=Drawing(6, 3, 0.9, seed=1))
    fresh = wrap_model(model.hf, model.tokenizer, model.id)
    one = replies(fresh, ["Why?"], VECTOR, multipliers=GRID[2:], drawing=Drawing(6, 2, 0.9, seed=1))
    assert one.of[0][0] == two.of[1][2][:2]
    assert len({turns[0].tokens for row in two.of for samples in row for turns in samples}) == 2 * 3 * 3


@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
def test_draws_by_inversion_equal_those_spelled_out(top_p):
    """More tokens than nucleus sampling sorts at first, many of them equally likely."""
    logits = torch.randn(2, 700, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    drawing = Drawing(temperature=2.0, top_p=top_p)
    for point in (0.0, 0.2, 0.77, 1 - 1e-9):
        want = (
            [drawn(iter([point]), 2.0, top_p)(row) for row in logits.double().tolist()]
            if point not in (0.0, 1 - 1e-9)
            else None
        )
        got = drawing.choose(logits, [point] * 2)
        assert want is None or got == want
        assert all(0 <= token < 700 for token in got)


# --- remembered -----------------------------------------------------------------------------------------------------------


def test_a_second_claim_on_the_same_replies_costs_no_forward():
    model, ran = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m"), []
    handle = model.hf.register_forward_hook(lambda *_: ran.append(1))
    try:
        first = replies(model, TWO, VECTOR, multipliers=GRID, drawing=DRAWN)
        assert ran
        ran.clear()
        assert replies(model, TWO, VECTOR, multipliers=GRID, drawing=DRAWN) == first
        assert replies(model, TWO[:1], VECTOR, multipliers=GRID[1:], drawing=DRAWN).of[0] == first.of[0][1:]
        # Of another vector the unsteered replies are known, of more samples the first ones.
        replies(model, TWO, builders.random_vector(1), multipliers=[0.0], drawing=DRAWN)
        assert not ran
    finally:
        handle.remove()


def test_what_determines_a_reply_is_part_of_its_key():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    engine = engine_of(model)

    def computed(vector=VECTOR, **changed):
        before = engine.forwards
        given = {"multipliers": [1.0], "drawing": DRAWN, "positions": "all", **changed}
        replies(model, ["Hi there"], vector, **given)
        return engine.forwards - before

    assert computed() == 2
    assert computed() == 0
    assert computed(drawing=Drawing(5, 3, 0.8, seed=3)) == 1  # one more sample
    assert [
        computed(drawing=Drawing(6, 2, 0.8, seed=3)),
        computed(drawing=Drawing(5, 2, 0.7, seed=3)),
        computed(drawing=Drawing(5, 2, 0.8, 0.9, seed=3)),
        computed(drawing=Drawing(5, 2, 0.8, seed=4)),
        computed(multipliers=[2.0]),
        computed(positions="after_prompt"),
        computed(include_first=True),
        computed(builders.random_vector(1)),
    ] == [2] * 8
    assert computed(drawing=Drawing(5)) == 1
    assert computed(drawing=Drawing(5, seed=9)) == 0  # nothing is drawn
    model.hf.generation_config.eos_token_id = 7
    assert computed() == 2


def test_replies_outlive_the_run_and_damaged_ones_are_written_again(tmp_path):
    def run():
        model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
        engine_of(model).disk = DiskMemo(tmp_path)
        found = replies(model, TWO, VECTOR, multipliers=GRID, drawing=Drawing(4))
        return found, engine_of(model).forwards

    first, count = run()
    assert count == 2 * 3 * 2
    assert run() == (first, 0)
    with sqlite3.connect(tmp_path / "scores-2.sqlite") as connection:
        connection.execute("UPDATE scores SET value = zeroblob(32) WHERE rowid IN (SELECT rowid FROM scores LIMIT 2)")
    connection.close()
    assert run() == (first, 2)
    assert run() == (first, 0)


def test_a_function_of_the_users_own_is_not_kept_on_disk(tmp_path):
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    engine_of(model).disk = DiskMemo(tmp_path)
    own = custom(lambda h, s, layer: h + s, layers=1, strength="linear", name="own")
    replies(model, ["Hi"], own, multipliers=[0.0, 1.0], drawing=Drawing(2))
    assert engine_of(model).forwards == 2
    with sqlite3.connect(tmp_path / "scores-2.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM scores").fetchone() == (1,)  # the unsteered one
    connection.close()


def test_a_rehearsal_counts_the_replies_and_writes_none():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    twin, engine = rehearsing(model, moves=1.0)
    ran = []
    handle = model.hf.register_forward_hook(lambda *_: ran.append(1))
    try:
        found = replies(twin, TWO, VECTOR, multipliers=GRID, drawing=DRAWN, from_turn=2)
        ran.clear()
        again = replies(twin, TWO, VECTOR, multipliers=GRID, drawing=Drawing(4), from_turn=2)
    finally:
        handle.remove()
    # The first turn is the same at all multipliers.
    assert engine.reply_tokens == 5 * 2 * 2 * 4 + 4 * 2 * 4
    assert not ran
    assert {len(turns) for row in (*found.of, *again.of) for samples in row for turns in samples} == {2}
    assert engine_of(model).forwards == 0


# --- rows that end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "lfm2"])
def test_rows_that_are_done_leave_the_batch(family, monkeypatch):
    """Nearly all rows end early: the others stay what they are, and forwards get narrower."""
    prompts = ["Hi there", "What is it?", builders.LONG, "Why?"]
    model = wrap_model(builders.random_hf(family), builders.tokenizer(), "m")
    free = replies(model, prompts, VECTOR, multipliers=GRID, drawing=Drawing(8))
    said = [turns[0].tokens for row in free.of for samples in row for turns in samples]
    ends = sorted({tokens[2] for tokens in said} - set(said[-1]))
    model.hf.generation_config.eos_token_id = ends
    widths = []
    handle = plain.blocks_of(model.hf)[0].register_forward_pre_hook(lambda _, given: widths.append(given[0].shape[0]))
    try:
        found = replies(model, prompts, VECTOR, multipliers=GRID, drawing=Drawing(8))
    finally:
        handle.remove()
    lengths = []
    for before, turns in zip(said, (turns for row in found.of for samples in row for turns in samples), strict=True):
        cut = next((at + 1 for at, token in enumerate(before) if token in ends), None)
        assert turns[0].tokens == before[:cut]
        assert turns[0].finish_reason == ("length" if cut is None else "stop")
        lengths.append(len(turns[0].tokens))
    left = lengths.count(8)
    assert 0 < left < 8
    assert left <= widths[-1] <= left / (1 - 0.125)


def test_a_condition_on_the_prompt_stays_with_its_row():
    """Rows that share a prompt, are drawn several times or leave, under a condition that some prompts meet."""
    model = builders.random_model("llama")
    condition = builders.random_vector(0, seed=4, norm=1.0)
    prompts = ["Hi there", "What is it?", builders.LONG, "Why?", "No", "Yes or no"]
    gate = None
    for threshold in np.linspace(0.01, 0.5, 25).tolist():
        gate = gated_by_condition(as_intervention(builders.random_vector(1)), condition, threshold=threshold)
        greedy = replies(model, prompts, gate, multipliers=[0.0, 2.0], drawing=Drawing(5))
        steered = [row[0][0][0].tokens != row[1][0][0].tokens for row in greedy.of]
        if 0 < sum(steered) < len(prompts):
            break
    assert 0 < sum(steered) < len(prompts)
    found = replies(model, prompts, gate, multipliers=[0.0, 2.0], drawing=DRAWN)
    for number, prompt in enumerate(prompts):
        fresh = wrap_model(model.hf, model.tokenizer, model.id)
        alone = replies(fresh, [prompt], gate, multipliers=[2.0], drawing=DRAWN)
        assert alone.of[0][0] == found.of[number][1]


def test_a_users_own_context_manager_steers_every_forward():
    model, direction = builders.random_model("llama"), VECTOR.directions

    @contextlib.contextmanager
    def apply(multiplier, batch):
        def hook(layer):
            def on_output(_module, _inputs, output):
                dose = multiplier * direction[layer] * batch.steered[:, :, None]
                return output + dose if not isinstance(output, tuple) else (output[0] + dose, *output[1:])

            return on_output

        handles = [model.blocks[layer].register_forward_hook(hook(layer)) for layer in direction]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    own = applied(apply, as_intervention(VECTOR), positions="after_prompt", vector=VECTOR)
    found = replies(model, ["Hi there"], own, multipliers=GRID, drawing=Drawing(3))
    assert found.of == replies(model, ["Hi there"], VECTOR, multipliers=GRID, drawing=Drawing(3)).of


# --- what cannot be done ---------------------------------------------------------------------------------------------------

ONE_TURN = (
    "{% if messages | length > 1 %}{{ raise_exception('one turn only') }}{% endif %}"
    "<|im_start|>{{ messages[0]['content'] }}<|im_end|>{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
LAST_TURN = "<|im_start|>{{ messages[-1]['content'] }}<|im_end|>{% if add_generation_prompt %}<|im_start|>{% endif %}"
NO_EMPTY = builders.CHATML.replace(
    "{% for message in messages %}",
    "{% for message in messages %}{% if not message['content'] %}{{ raise_exception('empty message') }}{% endif %}",
)


@pytest.mark.parametrize(
    ("template", "words"), [(ONE_TURN, "prompt a.*one turn only"), (LAST_TURN, "prompt a.*drops (earlier turns|the reply)")]
)
def test_a_template_that_takes_one_turn_is_named_before_anything_is_written(template, words):
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(template), "m")
    with pytest.raises(ModelError, match=words):
        replies(model, TWO, VECTOR, multipliers=GRID, drawing=Drawing(2))
    assert engine_of(model).forwards == 0


def test_an_empty_reply_goes_on_if_the_template_takes_it():
    hf = builders.random_hf("llama")
    torch.nn.init.zeros_(hf.lm_head.weight)  # so that the first token, <pad>, is taken
    hf.generation_config.eos_token_id = 0
    for template, turns in ((builders.CHATML, 2), (NO_EMPTY, 1)):
        model = wrap_model(hf, builders.tokenizer(template), "m")
        found = replies(model, [Dialogue(("Hi there", "Why?"))], VECTOR, multipliers=[0.0], drawing=Drawing(2))
        assert [reply.text for reply in found.of[0][0][0]] == [""] * turns
        assert [reply.raw for reply in found.of[0][0][0]] == ["<pad>"] * turns
        assert found.ended.keys() == (set() if turns == 2 else {(0, 0, 0)})
    assert "prompt 0, turn 2" in found.ended[0, 0, 0]
    assert "empty message" in found.ended[0, 0, 0]


def test_a_conversation_that_outgrows_the_model_ends():
    model = wrap_model(builders.random_hf("llama", max_position_embeddings=128), builders.tokenizer(), "m")
    found = replies(model, [Dialogue(("Hi there", "Why?"))], VECTOR, multipliers=[0.0], drawing=Drawing(50))
    assert len(found.of[0][0][0]) == 1
    assert "takes at most 128; there is no room for 50 more" in found.ended[0, 0, 0]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"from_turn": 0}, SteerError, "from_turn is the number of a turn"),
        ({"from_turn": 2}, DataError, "prompt x: has 1 turn"),
        ({"dialogues": []}, DataError, "no prompts"),
    ],
)
def test_what_cannot_be_done_says_so(given, error, words):
    model = builders.random_model("llama")
    asked = {"dialogues": [Dialogue(("Hi",), id="x")], "multipliers": [1.0], "drawing": Drawing(2), **given}
    with pytest.raises(error, match=words):
        replies(model, asked.pop("dialogues"), VECTOR, **asked)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is a whole number from 1 on, not 0"),
        ({"samples": 2}, "2 samples without a temperature would all be the same"),
        ({"temperature": 0}, "temperature is a finite number above 0"),
        ({"temperature": 1, "top_p": 0}, "top_p is above 0 and at most 1"),
        ({"top_p": 0.5}, "nothing is drawn without a temperature"),
        ({"seed": 1.5}, "seed is a whole number"),
    ],
)
def test_a_drawing_that_means_nothing_is_refused(given, words):
    with pytest.raises(SteerError, match=words):
        Drawing(**given)
