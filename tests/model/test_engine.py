"""The engine: fast paths equal the plain way, families stay on the path they had, and the memo changes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
from functools import cache

import builders
import numpy as np
import plain
import pytest
import torch
from engines import fresh

from pytest_steer import perplexity, propensity_curve, wrap_model
from pytest_steer.core.errors import DataError, MeasurementError, SteerError
from pytest_steer.measures import steering_receipt
from pytest_steer.model import Engine, Probe, engine_of, steered, tokenize_item
from pytest_steer.prompting import render_item
from pytest_steer.steering import as_intervention, custom, first_steered

GRID = (-1.0, 0.0, 1.5)
WAYS = [
    pytest.param(padding, sharing, id=f"{padding}-{'shared' if sharing else 'plain'}")
    for padding in ("right", "left")
    for sharing in (True, False)
]


@cache
def expected(family, items, layers, scope):
    model = builders.random_model(family)
    directions = builders.random_vector(*layers).directions
    values = plain.curve(model.hf, model.tokenizer, items, directions, [m for m in GRID if m], scope)
    return np.insert(values, GRID.index(0.0), unsteered(family, items), axis=1)


@cache
def unsteered(family, items):
    """The same for all layers and scopes."""
    model = builders.random_model(family)
    return plain.curve(model.hf, model.tokenizer, items, {}, [0.0], "all")[:, 0]


def probe_of(model, item, scope="after_prompt"):
    """The probe of a lettered item."""
    tokens = tokenize_item(model.tokenizer, render_item(item, model.format))
    start = first_steered(scope, turn_end=tokens.turn_end, prompt_end=len(tokens.prompt))
    return Probe(tokens.prompt, start, tuple(answer.scored[0] for answer in tokens.answers), name=f"item {item.id}")


# --- equal to the plain way ----------------------------------------------------------------------------------------------


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.FAMILIES + builders.FURTHER)
@pytest.mark.parametrize("scope", ["all", "after_prompt", "last"])
@pytest.mark.parametrize(("padding", "sharing"), WAYS)
@pytest.mark.parametrize("layers", [(1,), (0, 2)], ids=str)
def test_equals_the_plain_way(family, scope, padding, sharing, layers):
    """One engine is asked for answers of one token and of several: what it learned of a model on the first has to hold for
    the second, whose alternatives stand in one sequence as branches."""
    model, vector = fresh(family, padding, sharing), builders.random_vector(*layers)
    for items in (builders.LETTERED, builders.WORDED):
        want = expected(family, items, layers, scope)
        got = propensity_curve(model, items, vector, multipliers=GRID, positions=scope).values
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)
        assert np.abs(want[:, 2] - want[:, 0]).max() > 0.02  # steering moves these models, or nothing would be tested


def path_of(family, scope, items):
    """The way that was observed for each family with a vector at the first or second of three layers."""
    if family in builders.WINDOWED | builders.UNPLACED:
        return "shared depth" if items is builders.LETTERED else "plain"
    return "shared depth" if scope == "all" else "shared positions"


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", [*builders.FAMILIES, "gemma2 wide", "gemma3 wide", "mistral wide"])
@pytest.mark.parametrize("items", [builders.LETTERED, builders.WORDED], ids=["lettered", "worded"])
@pytest.mark.parametrize("scope", ["all", "after_prompt", "last"])
def test_every_family_stays_on_its_path(family, items, scope):
    vector = builders.random_vector(0, 2)
    for sharing in (True, False):
        model = fresh(family, sharing=sharing)
        assert engine_of(model).path(as_intervention(vector)) == "plain"
        propensity_curve(model, items, vector, multipliers=GRID, positions=scope)
        assert engine_of(model).path(as_intervention(vector)) == (path_of(family, scope, items) if sharing else "plain")


def test_all_ways_are_named_in_the_order_of_their_first_use():
    model, vector = fresh("llama"), as_intervention(builders.random_vector(1))
    probe = probe_of(model, builders.LETTERED[0])
    early = dataclasses.replace(probe, steer_from=1)
    engine_of(model).run([probe], vector, [1.0, 2.0])
    engine_of(model).run([early], vector, [1.0, 2.0, 3.0])
    engine_of(model).run([probe_of(model, builders.LETTERED[1])], vector, [1.0, 2.0])
    engine_of(model).run([dataclasses.replace(probe, ids=probe.ids[3:], steer_from=1)], vector, [1.0])
    assert engine_of(model).path(vector) == "shared positions; shared depth; plain"
    assert engine_of(model).paths(vector) == {"shared positions": 4, "shared depth": 3, "plain": 1}
    receipt = steering_receipt(model, [probe, early], vector, 1.0)
    assert (receipt.path, receipt.ways) == (engine_of(model).path(vector), engine_of(model).paths(vector))


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES))
@pytest.mark.parametrize("padding", ["right", "left"])
def test_perplexity_equals_the_plain_way(family, padding):
    model, vector, found = fresh(family, padding), builders.random_vector(1), []
    for m, first in ((0.0, False), (1.5, False), (1.5, True)):
        got = perplexity(model, builders.TEXTS, vector, multiplier=m, include_first=first)
        want = [
            plain.nll(model.hf, model.tokenizer, text, vector.directions, m, start=0 if first else 1)
            for text in builders.TEXTS
        ]
        np.testing.assert_allclose(got.per_text, [value for value, _ in want], rtol=0, atol=1e-4)
        assert got.tokens.tolist() == [n for _, n in want]
        assert got.value == pytest.approx(plain.perplexity(want), rel=1e-4)
        found.append(got.per_text)
    assert np.abs(np.diff(found, axis=0)).max(1).min() > 1e-3


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES + builders.FURTHER))
@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize(("n", "length"), [(2, 2), (3, 3), (6, 6), (2, 11), (3, 11), (4, 11), (8, 11)])
def test_as_many_sequences_as_tokens_or_attention_heads(family, padding, n, length):
    """Batched arguments are told from others by their first size, so n sequences of n tokens are the hard case; and all of these
    models have four heads: an argument with one entry per head is no batched argument."""
    model, vector = fresh(family, padding), builders.random_vector(0, 2)
    rows = [tuple((7 * i + j) % 250 + 10 for j in range(length)) for i in range(n)]
    probes = [Probe(ids, 1, (20, 30)) for ids in rows]
    found = engine_of(model).run(probes, as_intervention(vector), GRID)
    for probe, scores in zip(probes, found, strict=True):
        for m, got in zip(GRID, scores, strict=True):
            np.testing.assert_allclose(got, plain.scores(model.hf, probe, vector.directions, m), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("family", "padding"), [("gpt2", "right"), ("opt", "left"), ("llama", "left")])
def test_sequences_as_long_as_the_model_allows(family, padding):
    limits = {"n_positions": 6, "n_ctx": 6} if family == "gpt2" else {"max_position_embeddings": 6}
    model = wrap_model(builders.random_hf(family, **limits), builders.tokenizer(), "m")
    engine, vector = Engine(model, padding=padding), builders.random_vector(1)
    rows = [tuple((7 * i + j) % 250 + 10 for j in range(6)) for i in range(6)]
    found = engine.run([Probe(ids, 1, (20,)) for ids in rows], as_intervention(vector), [0.0, 1.0])
    for ids, scores in zip(rows, found, strict=True):
        for m, got in zip([0.0, 1.0], scores, strict=True):
            assert got[0] == pytest.approx(
                float(plain.logits(model.hf, list(ids), vector.directions, m, 1)[-1][20]), abs=1e-4
            )
    with pytest.raises(DataError, match="item 9: has 7 tokens, but m takes at most 6"):
        engine.run([Probe((*rows[0], 11), 1, (20,), name="item 9")], None, [0.0])


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_model_that_hides_its_unembedding(family, monkeypatch):
    """Then whole logits are read; the answer is the same."""
    model = fresh(family)
    monkeypatch.setattr(model.hf, "get_output_embeddings", lambda: None)
    got = propensity_curve(model, builders.LETTERED, builders.random_vector(1), multipliers=GRID).values
    np.testing.assert_allclose(got, expected(family, builders.LETTERED, (1,), "after_prompt"), rtol=0, atol=1e-4)


# --- the memo ------------------------------------------------------------------------------------------------------------


def test_asking_twice_runs_nothing():
    model, vector = fresh("llama"), builders.random_vector(1)
    calls = []
    # From the start on: what is remembered is forgotten when hooks change.
    handle = model.hf.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        first = propensity_curve(model, builders.LETTERED + builders.WORDED, vector, multipliers=GRID).values
        ran = engine_of(model).forwards
        assert ran > 0
        assert calls
        assert engine_of(model).remembered == 0
        calls.clear()
        again = propensity_curve(model, (builders.LETTERED + builders.WORDED)[::-1], vector, multipliers=GRID[::-1]).values
        subset = propensity_curve(model, builders.LETTERED[1:2], vector, multipliers=[1.5, -1.0]).values
    finally:
        handle.remove()
    assert not calls
    assert engine_of(model).forwards == ran
    assert np.array_equal(again, first[::-1, ::-1])
    assert np.array_equal(subset, first[1:2, [2, 0]])


def test_the_unsteered_model_is_asked_once_for_all_vectors_and_scopes():
    model = fresh("llama")
    propensity_curve(model, builders.LETTERED, builders.random_vector(1), multipliers=[0.0], positions="all")
    assert engine_of(model).forwards == len(builders.LETTERED)
    propensity_curve(model, builders.LETTERED, builders.random_vector(0), multipliers=[0.0], positions="last")
    engine_of(model).run([probe_of(model, item) for item in builders.LETTERED], None, [1.0])
    assert engine_of(model).forwards == len(builders.LETTERED)


def test_one_engine_gives_every_question_its_own_answer():
    """Everything that an answer depends on is varied alone; each answer equals that of an engine that never saw another."""
    base = fresh("llama")
    item = builders.LETTERED[1]
    one = probe_of(base, item)
    tokens = one.ids + tokenize_item(base.tokenizer, render_item(item, base.format)).matching[0].scored + (50, 60)
    two = Probe(tokens, one.steer_from, score_from=len(one.ids))
    vector, other = as_intervention(builders.random_vector(1)), as_intervention(builders.random_vector(1, seed=2))
    questions = [
        (probe, change, m)
        for probe in [
            one,
            dataclasses.replace(one, steer_from=one.steer_from + 2),
            dataclasses.replace(one, candidates=one.candidates[::-1]),
            dataclasses.replace(one, candidates=(77, 78)),
            dataclasses.replace(one, ids=(*one.ids[:-1], 99)),
            two,
            dataclasses.replace(two, score_from=two.score_from + 1),
            dataclasses.replace(two, steer_from=two.steer_from + 2),
        ]
        for change in (vector, other)
        for m in (0.0, 1.0, -1.0)
    ]
    order = np.random.default_rng(0).permutation(len(questions))
    shared = {i: engine_of(base).run([questions[i][0]], questions[i][1], [questions[i][2]])[0][0] for i in order}
    for i, (probe, change, m) in enumerate(questions):
        alone = engine_of(fresh("llama")).run([probe], change, [m])[0][0]
        np.testing.assert_allclose(shared[i], alone, rtol=0, atol=1e-5)


# --- a path is taken only where it was tried ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES + builders.FURTHER))
def test_a_path_is_tried_on_what_it_has_to_carry(family):
    """The unsteered rows of the two short items are remembered, so they come to the steered run with one row each: nothing in
    them shows whether a block's arguments fan out. The long item, in the same run, has two rows."""
    model, vector = fresh(family), builders.random_vector(1)
    short = [builders.LETTERED[0], builders.LETTERED[2]]
    propensity_curve(model, short, vector, multipliers=[0.0])
    got = propensity_curve(model, [*short, builders.LETTERED[1]], vector, multipliers=[0.0, 1.5]).values
    want = expected(family, builders.LETTERED, (1,), "after_prompt")[[0, 2, 1]][:, 1:]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "bloom", *builders.FURTHER, "rwkv"])
@pytest.mark.parametrize(
    ("layers", "scope", "asked"),
    [
        ((2,), "all", [(builders.LETTERED, GRID), (builders.WORDED, GRID)]),
        ((2,), "last", [(builders.LETTERED, GRID), (builders.WORDED, GRID)]),
        ((0, 2), "after_prompt", [(builders.LETTERED, GRID), (builders.WORDED, GRID)]),
        ((0, 2), "all", [(builders.WORDED, GRID[2:]), (builders.WORDED, GRID)]),
    ],
    ids=["nothing fans out", "at the last token", "nearly right", "one multiplier"],
)
def test_a_way_that_held_once_says_nothing_of_what_is_asked_next(family, layers, scope, asked):
    """Steered at the last block nothing has to fan out, so every family passes the trial; then answers come as branches. With one
    multiplier answers are branches but nothing fans out. RWKV's branches leak into each other: 4e-4 on the trial's two rows, then
    0.09 on answers of several tokens."""
    model, vector = fresh(family), builders.random_vector(*layers)
    for items, grid in asked:
        got = propensity_curve(model, items, vector, multipliers=grid, positions=scope).values
        want = expected(family, items, layers, scope)[:, -len(grid) :]
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(sorted(builders.SHARING)))
@pytest.mark.parametrize("padding", ["right", "left"])
def test_branches_may_be_longer_together_than_the_model_allows_one_sequence(family, padding):
    """Sixteen tokens at most, of which twelve come before the first steered one: five branches of four are 32 tokens."""
    limits = {"n_positions": 16, "n_ctx": 16} if family in ("gpt2", "gptj") else {"max_position_embeddings": 16}
    wide = {"sliding_window": 256} if family in builders.WINDOWED else {}
    model = wrap_model(builders.random_hf(family, **limits, **wide), builders.tokenizer(), "m")
    vector, grid = builders.random_vector(0), [-1.0, -0.5, 0.5, 1.0, 1.5]
    rows = [tuple((7 * i + j) % 250 + 10 for j in range(16)) for i in range(2)]
    engine = Engine(model, padding=padding)
    found = engine.run([Probe(ids, 12, (20,)) for ids in rows], as_intervention(vector), grid)
    assert engine.path(as_intervention(vector)) == "shared positions"
    for ids, scores in zip(rows, found, strict=True):
        want = [float(plain.logits(model.hf, list(ids), vector.directions, m, 12)[-1][20]) for m in grid]
        np.testing.assert_allclose([s[0] for s in scores], want, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sharing", [True, False])
def test_multiplier_zero_is_the_unsteered_model_in_any_company(sharing):
    """Also for a function that does something at strength 0, or moves the last bits there."""
    bare = engine_of(fresh("llama")).run([probe_of(fresh("llama"), item) for item in builders.LETTERED], None, [0.0])
    model = fresh("llama", sharing=sharing)
    odd = custom(lambda h, s, layer: 0.5 * h + s, layers=1, strength="linear", name="odd")
    found = engine_of(model).run([probe_of(model, item) for item in builders.LETTERED], odd, [0.0, 1.0])
    for want, got in zip(bare, found, strict=True):
        np.testing.assert_allclose(got[0], want[0], rtol=0, atol=1e-5)


# --- what cannot be answered ---------------------------------------------------------------------------------------------


def test_nothing_steered_is_an_error_that_names_the_item():
    model, vector = fresh("llama"), as_intervention(builders.random_vector(1))
    with pytest.raises(
        DataError, match="text 5: no token is steered: the scope begins at token 3 of 3; steer 'all', or take"
    ):
        engine_of(model).run([Probe((5, 6, 7), 3, (1,), name="text 5")], vector, [1.0])
    assert engine_of(model).run([Probe((5, 6, 7), 3, (1,))], None, [1.0])[0][0].shape == (1,)


@pytest.mark.parametrize("sharing", [True, False])
def test_nan_is_an_error_and_never_a_number(sharing):
    model = fresh("llama", sharing=sharing)
    boom = custom(lambda h, s, layer: h / (1 - s), layers=1, strength="linear", name="pole")
    probes = [probe_of(model, item) for item in builders.LETTERED]
    with pytest.raises(
        MeasurementError, match=r"item \w+: the model gives NaN or infinity at multiplier 1; a smaller multiplier"
    ):
        engine_of(model).run(probes, boom, [0.0, 1.0])
    with pytest.raises(MeasurementError):
        engine_of(model).run(probes, boom, [0.0, 1.0])  # nor is it remembered as something else
    assert builders.hooks_of(model.hf) == 0
    assert all(np.isfinite(scores).all() for scores in engine_of(model).run(probes, boom, [0.0])[0])


def test_nothing_is_left_on_the_model():
    model = fresh("bloom")
    before = {name: value.clone() for name, value in model.hf.state_dict().items()}
    propensity_curve(model, builders.LETTERED, builders.random_vector(0, 2), multipliers=GRID)
    perplexity(model, builders.TEXTS[:1], builders.random_vector(0, 2))
    assert builders.hooks_of(model.hf) == 0
    assert all(torch.equal(value, before[name]) for name, value in model.hf.state_dict().items())


# --- what else is on the model -------------------------------------------------------------------------------------------


def test_measuring_within_a_steering_block_spoils_nothing():
    """It may be refused; but what is measured there must not be remembered as the unsteered model's."""
    model, vector = fresh("llama"), builders.random_vector(1)
    want = perplexity(fresh("llama"), builders.TEXTS).per_text
    with contextlib.suppress(SteerError), steered(model, vector, 2.0):
        perplexity(model, builders.TEXTS)
    np.testing.assert_allclose(perplexity(model, builders.TEXTS).per_text, want, rtol=0, atol=1e-5)


def test_a_model_made_in_inference_mode_can_be_measured():
    with torch.inference_mode():
        model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    got = propensity_curve(model, builders.LETTERED, builders.random_vector(1), multipliers=GRID).values
    np.testing.assert_allclose(got, expected("llama", builders.LETTERED, (1,), "after_prompt"), rtol=0, atol=1e-4)
