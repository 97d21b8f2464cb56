"""Every intervention at every site in every family, through every path of the engine, against one hook on a batch of one."""

from __future__ import annotations

import builders
import numpy as np
import plain
import plain_methods
import pytest
import torch
from engines import fresh

from pytest_steer import Context, SteeringVector, perplexity, propensity_curve, wrap_model
from pytest_steer.core.errors import ModelError, SteerError, VectorError
from pytest_steer.measures import steering_receipt
from pytest_steer.measures.propensity import curves_in_contexts
from pytest_steer.measures.subject import Subject
from pytest_steer.model import Probe, engine_of, steered
from pytest_steer.model.engine import block_outputs
from pytest_steer.soundness.examine import check_before
from pytest_steer.steering import (
    ablate,
    add,
    add_keeping_norm,
    affine,
    clamp,
    custom,
    gated_by_condition,
    gated_by_probe,
    masked,
    module,
    rotate,
)

GRID = (-1.0, 0.0, 1.0, 1.5)
NET = torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.Tanh(), torch.nn.Linear(16, 32))
for weights in NET.parameters():
    weights.data = torch.randn(weights.shape, generator=torch.Generator().manual_seed(7)) * 0.4
MAP = torch.randn(32, 32, generator=torch.Generator().manual_seed(8)) * 0.3
OFFSET = torch.randn(32, generator=torch.Generator().manual_seed(9))


def method(name, layers, site):
    """(intervention, (h, m, layer) -> h by hand)."""
    v = builders.random_vector(*layers)
    d, two = v.directions, builders.random_vector(*layers, seed=5).directions
    if name == "add":
        return add(v, site=site), lambda h, m, at: h + m * d[at]
    if name == "add_keeping_norm":
        return add_keeping_norm(v, site=site), lambda h, m, at: plain_methods.keep_norm(h, d[at], m) if m else h
    if name == "ablate":
        return ablate(v, site=site), lambda h, m, at: plain_methods.ablate(h, d[at])
    if name == "clamp":
        return clamp(v, value=4.0, site=site), lambda h, m, at: plain_methods.clamp(h, d[at], 4.0, m)
    if name == "affine":
        made = affine(dict.fromkeys(layers, MAP), dict.fromkeys(layers, OFFSET), site=site)
        return made, lambda h, m, at: h + m * (MAP @ h + OFFSET - h)
    if name == "rotate":
        made = rotate({at: torch.stack([d[at], two[at]]) for at in layers}, angle=60.0, site=site)
        return made, lambda h, m, at: plain_methods.rotate(h, d[at], two[at], m * torch.pi / 3)
    if name == "masked":
        made = masked(v, keep=10 * len(layers), site=site)
        masks = made.recipe.per_layer("mask")
        return made, lambda h, m, at: h + m * h * masks.get(at, torch.zeros(32))
    if name == "gated_by_probe":
        made = gated_by_probe(
            affine(dict.fromkeys(layers, MAP), dict.fromkeys(layers, OFFSET), site=site), two, dict.fromkeys(layers, 5.0)
        )
        return made, lambda h, m, at: h + m * (MAP @ h + OFFSET - h) if float(two[at] @ h) + 5.0 > 0 else h
    if name == "custom":
        made = custom(lambda h, s, layer: h * (1 + s), layers=layers, strength="linear", name="scale", site=site)
        return made, lambda h, m, at: h * (1 + m)
    assert name == "module"
    return module(NET, layers=layers, name="net", site=site), lambda h, m, at: h + m * (NET(h) - h)


METHODS = ("add", "add_keeping_norm", "ablate", "clamp", "affine", "rotate", "masked", "gated_by_probe", "custom", "module")


def expected(model, items, change, by_hand, scope):
    """Propensities, from one forward with one hook per layer at a time."""
    values = np.empty((len(items), len(GRID)))
    for row, item in enumerate(items):
        text = plain.render(model.tokenizer, item)
        prompt = plain.ids_of(model.tokenizer, text.prompt, special=False)
        turn = len(plain.ids_of(model.tokenizer, text.turn, special=False))
        start = plain.start_of(scope, turn, len(prompt))
        sides = [
            [plain.ids_of(model.tokenizer, text.prompt + a, special=False) for a in side]
            for side in (text.matching, text.not_matching)
        ]
        single = all(len(ids) == len(prompt) + 1 for side in sides for ids in side)
        for column, m in enumerate(GRID):
            edits = {at: (lambda h, at=at, m=m: by_hand(h, m, at)) for at in change.layers} if m else {}

            def score(ids, edits=edits, start=start, single=single, prompt=prompt):
                if single:
                    return float(plain_methods.logits(model.hf, prompt, edits, change.site, start)[-1][ids[-1]])
                rows = plain_methods.logits(model.hf, ids, edits, change.site, start)
                return plain.mean_loglikelihood(rows, ids, len(prompt))

            one, other = ([score(ids) for ids in side] for side in sides)
            values[row, column] = plain.log_sum_exp(one) - plain.log_sum_exp(other)
    return values


ITEMS = (builders.LETTERED[0], builders.LETTERED[1], builders.WORDED[1])


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day([*builders.FAMILIES, "mpt"]))
@pytest.mark.parametrize("site", ["block", "mlp", "heads"])
@pytest.mark.parametrize("layers", [(0, 2), (1,)], ids=str)
@pytest.mark.parametrize(("scope", "padding"), [("all", "left"), ("after_prompt", "right")])
def test_a_site_is_where_it_should_be(family, site, layers, scope, padding):
    change, by_hand = method("add", layers, site)
    model = fresh(family, padding)
    want = expected(model, ITEMS, change, by_hand, scope)
    for sharing in (True, False):
        got = propensity_curve(fresh(family, padding, sharing), ITEMS, change, multipliers=GRID, positions=scope).values
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-4)
    assert np.abs(want[:, 0] - want[:, 3]).max() > 0.02
    assert builders.hooks_of(model.hf) == 0


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("site", "scope"), [("block", "after_prompt"), ("block", "all"), ("mlp", "all"), ("heads", "last")])
def test_every_method_through_the_engine(family, name, site, scope):
    change, by_hand = method(name, (1, 2), site)
    want = expected(fresh(family), ITEMS, change, by_hand, scope)
    for sharing in (True, False):
        got = propensity_curve(fresh(family, sharing=sharing), ITEMS, change, multipliers=GRID, positions=scope).values
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-4)
    assert np.abs(want[:, 2] - want[:, 1]).max() > 1e-3


def test_inner_sites_share_what_is_below_them():
    """At layer 2 the blocks below are shared, at layer 0 nothing is; the positions before the scope are shared at every site."""
    ways = {}
    for site in ("block", "mlp", "heads"):
        for layer in (0, 2):
            for scope in ("all", "after_prompt"):
                model, (change, _) = fresh("llama"), method("add", (layer,), site)
                propensity_curve(model, builders.LETTERED, change, multipliers=GRID, positions=scope)
                ways[site, layer, scope] = engine_of(model).path(change)
    for site in ("block", "mlp", "heads"):
        assert ways[site, 2, "all"] == "shared depth"
        # Steered from position 1 on within the first block: nothing is below.
        assert (ways[site, 0, "all"] == "shared depth") == (site == "block")
        assert ways[site, 2, "after_prompt"] != "plain"
    assert [method("add", (1, 2), site)[0].first_changed for site in ("block", "mlp", "heads")] == [1, 0, 0]


# --- conditions on the prompt --------------------------------------------------------------------------------------------


def prompt_of(model, item):
    text = plain.render(model.tokenizer, item)
    return plain.ids_of(model.tokenizer, text.prompt, special=False)


def condition_at(model, items, layer, c):
    return [plain_methods.condition(plain.outputs(model.hf, prompt_of(model, item))[layer], c) for item in items]


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "bloom", "gptj"])
@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("scope", ["all", "after_prompt", "last"])
def test_a_condition_steers_the_rows_whose_prompts_meet_it(family, padding, scope):
    """Half of the items meet it. The batch holds all of them, so padding and company are there to be mistaken for the prompt."""
    items = (*builders.LETTERED, *builders.WORDED)
    model, c = fresh(family, padding), builders.random_vector(0, seed=3).directions[0]
    found = condition_at(model, items, 0, c)
    threshold = sum(sorted(found)[2:4]) / 2
    assert min(abs(value - threshold) for value in found) > 1e-5
    vector = builders.random_vector(1, 2)
    gate = gated_by_condition(add(vector), {0: c}, threshold=threshold)
    steered = propensity_curve(fresh(family, padding), items, vector, multipliers=GRID, positions=scope).values
    bare = propensity_curve(fresh(family, padding), items, vector, multipliers=[0.0], positions=scope).values
    want = np.where((np.array(found) > threshold)[:, None], steered, bare)
    for sharing in (True, False):
        own = fresh(family, padding, sharing)
        got = propensity_curve(own, items, gate, multipliers=GRID, positions=scope).values
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-4)
        assert engine_of(own).path(gate) != "shared positions"
    assert np.abs(steered - bare).max(1).min() > 1e-3


def test_a_text_is_judged_as_a_whole():
    model, c = fresh("llama"), builders.random_vector(0, seed=3).directions[0]
    ids = [plain.ids_of(model.tokenizer, text, special=True) for text in builders.TEXTS]
    found = [plain_methods.condition(plain.outputs(model.hf, own)[0], c) for own in ids]
    threshold = sorted(found)[1] - 1e-4
    vector = builders.random_vector(1)
    got = perplexity(model, builders.TEXTS, gated_by_condition(add(vector), {0: c}, threshold=threshold)).per_text
    want = np.where(
        np.array(found) > threshold,
        perplexity(model, builders.TEXTS, vector).per_text,
        perplexity(model, builders.TEXTS).per_text,
    )
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    assert 0 < sum(value > threshold for value in found) < 3


@pytest.mark.parametrize(("side", "cached"), [("left", True), ("left", False), ("right", False)])
@torch.no_grad()
def test_a_generation_keeps_its_prompts_decision(side, cached):
    model, c = fresh("llama"), builders.random_vector(0, seed=3).directions[0]
    prompts = [prompt_of(model, item) for item in builders.LETTERED]
    found = [plain_methods.condition(plain.outputs(model.hf, ids)[0], c) for ids in prompts]
    threshold = sorted(found)[1] + 1e-4
    vector = builders.random_vector(1, norm=12.0)
    gate = gated_by_condition(add(vector), {0: c}, threshold=threshold)
    length = max(map(len, prompts))
    ids, mask = torch.zeros(3, length, dtype=torch.long), torch.zeros(3, length, dtype=torch.long)
    for row, own in enumerate(prompts):
        place = slice(length - len(own), length) if side == "left" else slice(0, len(own))
        ids[row, place], mask[row, place] = torch.tensor(own), 1
    if side == "right":  # only the prompt: generate() wants left padding
        with steered(model, gate, 1.0):
            logits = model.hf(input_ids=ids, attention_mask=mask, use_cache=False).logits
        for row, own in enumerate(prompts):
            want = plain.logits(model.hf, own, vector.directions, float(found[row] > threshold), 1)
            torch.testing.assert_close(logits[row, : len(own)], want, rtol=0, atol=1e-4)
        return
    with steered(model, gate, 1.0):
        out = model.hf.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=5, min_new_tokens=5, do_sample=False, use_cache=cached
        )
    for row, own in enumerate(prompts):
        want = plain.greedy(model.hf, own, 5, vector.directions, float(found[row] > threshold), 1)
        assert out[row, length:].tolist() == want
    assert 0 < sum(value > threshold for value in found) < 3


# --- what cannot be done -------------------------------------------------------------------------------------------------


def test_sites_that_a_model_does_not_have():
    for family, site, message in (
        (
            "lfm2",
            "heads",
            r"the attention of block 0 \(Lfm2DecoderLayer\) was not found. Looked for self_attn, .* it has: conv",
        ),
        ("rwkv", "heads", r"the output projection of the attention of block 0 \(RwkvSelfAttention\) was not found"),
    ):
        change = add(builders.random_vector(0), site=site)
        with pytest.raises(ModelError, match=message):
            propensity_curve(fresh(family), builders.LETTERED, change)
        assert builders.hooks_of(builders.random_model(family).hf) == 0


def test_a_vector_of_the_heads_width():
    hf = builders.random_hf("qwen3", head_dim=16)
    model = wrap_model(hf, builders.tokenizer(), "m")
    wide = SteeringVector({1: torch.ones(64)})
    with pytest.raises(VectorError, match=r"width 32, but at layer 1 the site 'heads' of m has width 64"):
        propensity_curve(model, builders.LETTERED, add(builders.random_vector(1), site="heads"))
    with pytest.raises(VectorError, match="the vector has width 64, but m has width 32"):
        propensity_curve(model, builders.LETTERED, add(wide))
    ids = plain.ids_of(model.tokenizer, "What is it?", False)
    got = engine_of(model).run([Probe(tuple(ids), 1, (20, 30))], add(wide, site="heads"), [1.0])[0][0]
    want = plain_methods.logits(hf, ids, {1: lambda h: h + 1}, "heads", 1)[-1][[20, 30]]
    np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-4)


def test_a_block_that_goes_past_its_site_is_an_error():
    model = fresh("llama")
    block = model.blocks[1]
    kind = type(block)

    class Around(kind):  # a replaced forward of the instance would be refused before it runs
        def forward(self, hidden_states, **more):
            mlp, self.mlp = self.mlp, torch.nn.Identity()
            try:
                return super().forward(hidden_states, **more)
            finally:
                self.mlp = mlp

    block.__class__ = Around
    try:
        with pytest.raises(ModelError, match="block 1 ran without its mlp site, so nothing was steered there"):
            engine_of(model).run([Probe((5, 6, 7), 1, (1,))], add(builders.random_vector(1), site="mlp"), [1.0])
    finally:
        block.__class__ = kind
    assert builders.hooks_of(model.hf) == 0


@pytest.mark.parametrize("family", builders.each_kind_by_day([*builders.FAMILIES, "mpt"]))
def test_reading_the_heads_and_the_mlp(family):
    model = fresh(family)
    rows = [tuple(plain.ids_of(model.tokenizer, text, False)) for text in builders.TEXTS]
    found = block_outputs(model, rows, (0, 1, 2), lambda _, hidden: hidden, "heads")
    for index, ids in enumerate(rows):
        for layer, want in enumerate(plain_methods.heads(model.hf, list(ids))):
            torch.testing.assert_close(found[layer][index], want, rtol=0, atol=2e-5)
    found = block_outputs(model, rows, (0, 2), lambda _, hidden: hidden, "mlp")
    assert found[2][0].shape == (len(rows[0]), 32)


def test_a_curve_begins_at_the_unsteered_model_for_what_ignores_its_strength():
    model, (change, _) = fresh("llama"), method("ablate", (1,), "block")
    curve = propensity_curve(model, builders.LETTERED, change, multipliers=[0.0, 1.0])
    bare = propensity_curve(fresh("llama"), builders.LETTERED, builders.random_vector(1), multipliers=[0.0])
    np.testing.assert_allclose(curve.values[:, 0], bare.values[:, 0], rtol=0, atol=1e-5)
    assert np.abs(curve.effects(1.0)).max() > 1e-2
    (own,) = curves_in_contexts(fresh("llama"), builders.LETTERED, change, contexts=[Context()], multipliers=[0.0, 1.0])
    np.testing.assert_allclose(own.values, curve.values, rtol=0, atol=1e-5)


def test_slope_checks_refuse_what_has_no_slope_and_say_what_to_use():
    from pytest_steer import assert_not_anti_steered, assert_steers

    model, items = fresh("llama"), builders.LETTERED
    for name, meaning in (("ablate", "ignored"), ("rotate", "angle"), ("affine", "interpolated")):
        change, by_hand = method(name, (1,), "block")
        for use in (
            lambda c: assert_steers(model, c, items, steerability=0.1),
            lambda c: assert_not_anti_steered(model, c, items, share=0.5),
        ):
            with pytest.raises(
                SteerError, match=rf"strength of '{name}' is {meaning}.*not_anti_steered with by: effect.*ppl_delta_below"
            ):
                use(change)
        try:
            evidence = assert_not_anti_steered(model, change, items, share=0.5, by="effect")
        except AssertionError as failure:
            evidence = failure.evidence
        want = expected(model, items, change, by_hand, "after_prompt")
        assert evidence.estimate == pytest.approx(float((want[:, 2] - want[:, 1] < 0).mean()))
        assert evidence.multipliers == [0.0, 1.0]


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", ["llama", "opt", "gpt2", "bloom"])
@pytest.mark.parametrize("scope", ["all", "after_prompt"])
def test_pairs_of_different_sites_in_one_run(family, scope):
    """What each pair gives in company of the others, a condition among them, is what it gives alone."""
    c = builders.random_vector(0, seed=3).directions[0]
    changes = [
        add(builders.random_vector(at), site=site) for at, site in ((0, "heads"), (2, "mlp"), (1, "block"), (1, "heads"))
    ]
    changes.append(gated_by_condition(add(builders.random_vector(2)), {0: c}, threshold=0.05))
    probes = []
    for item in builders.LETTERED[:2]:
        ids = tuple(prompt_of(builders.random_model(family), item))
        probes.append(Probe(ids, 1 if scope == "all" else len(ids) - 4, (20, 30)))
    pairs = [(change, m) for change in changes for m in (1.0, -0.5)]
    together = engine_of(fresh(family)).run_pairs(probes, pairs)
    for index, (change, m) in enumerate(pairs):
        alone = engine_of(fresh(family, sharing=False)).run(probes, change, [m])
        for row in range(len(probes)):
            np.testing.assert_allclose(together[row][index], alone[row][0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "rwkv"])
def test_generations_of_several_multipliers_keep_their_prompts_decision(family):
    from pytest_steer.model import generate

    model, c = builders.random_model(family), builders.random_vector(0, seed=3).directions[0]
    questions = [item.question for item in builders.LETTERED]
    prompts = []
    for question in questions:
        text = model.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        prompts.append(plain.ids_of(model.tokenizer, text, False))
    found = [plain_methods.condition(plain.outputs(model.hf, ids)[0], c) for ids in prompts]
    vector = builders.random_vector(1, norm=12.0)
    gate = gated_by_condition(add(vector), {0: c}, threshold=sorted(found)[1] + 1e-4)
    texts = generate(model, questions, gate, multipliers=[0.0, 1.0, -1.0], positions="all", max_new_tokens=4)
    flat = [text for row in texts for text in row]
    met = [value > sorted(found)[1] + 1e-4 for value in found]
    assert 0 < sum(met) < 3
    ends = model.hf.generation_config.eos_token_id
    assert ends is None
    wanted = {
        (question, m): plain.greedy(model.hf, ids, 4, vector.directions, m * on, 1)
        for question, ids, on in zip(questions, prompts, met, strict=True)
        for m in (0.0, 1.0, -1.0)
    }
    assert {(text.prompt, text.multiplier): list(text.tokens) for text in flat} == wanted


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("site", ["block", "mlp", "heads"])
@pytest.mark.parametrize("name", METHODS)
def test_the_check_of_hooks_knows_every_method_and_site(family, site, name):
    change, _ = method(name, (0, 2), site)
    record = check_before(fresh(family), Subject(vector=change, positions="all"))
    assert record.sound, record.broken
    assert not record.broken


def test_the_check_of_hooks_knows_conditions():
    c = builders.random_vector(0, seed=3).directions[0]
    for threshold in (0.0, 0.05, 2.0):
        gate = gated_by_condition(add_keeping_norm(builders.random_vector(1, 2)), {0: c}, threshold=threshold)
        assert (gate.layers, gate.reads, gate.changes) == ((0, 1, 2), (0,), (1, 2))
        model = fresh("llama")
        assert check_before(model, Subject(vector=gate, positions="all")).sound
        curve = propensity_curve(model, builders.LETTERED, gate, multipliers=[1.0], positions="all")
        doses = steering_receipt(model, curve.probes, gate, 1.0).doses
        assert [dose.layer for dose in doses] == [1, 2]
