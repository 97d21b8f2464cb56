"""What a model's layers can do is told from what they keep of the past, and neither it nor the trial is trusted alone."""

from __future__ import annotations

import builders
import numpy as np
import plain
import pytest
import torch
from engines import check, probes_of, tokens
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from pytest_steer import generate, wrap_model
from pytest_steer.model import activations, engine, engine_of, writing
from pytest_steer.model.abilities import Abilities, abilities_of
from pytest_steer.model.activations import Patch, Patcher
from pytest_steer.model.writing import ways_tried
from pytest_steer.steering import as_intervention

GRID = (-1.0, 0.0, 1.0)
PAIRS = [(1, m) for m in GRID]
ATTENTION = ("attention",) * builders.LAYERS
KINDS = {
    **dict.fromkeys(builders.FAMILIES + builders.FURTHER, ATTENTION),
    **dict.fromkeys(["gemma2", "gemma3", "gemma2 wide", "gemma3 wide"], ("window", "attention", "window")),
    **dict.fromkeys(["mistral", "mistral wide"], ("window",) * 3),
    "openai": (),
    **dict.fromkeys(["lfm2", "jamba", "bamba", "qwen3 next", "qwen3.5"], ("recurrent", "attention", "recurrent")),
    "nemotron h": ("recurrent", "attention", "keeps nothing"),
    **dict.fromkeys(["falcon h1", "zamba2", "mamba", "mamba2"], ("recurrent",) * 3),
    **dict.fromkeys(["rwkv", "minimax"], None),  # a list of states; a cache of its own with fewer layers than blocks
}


def fresh(family, dtype=torch.float32, **changes):
    hf = (
        builders.random_hf(family, **changes).to(dtype)
        if changes or dtype != torch.float32
        else builders.random_model(family).hf
    )
    return wrap_model(hf, builders.tokenizer(), family)


# One family by day of each way of keeping a state: convolutions, a list, states among attention, delta rules, a cache of its own, alone.
STATEFUL = [
    pytest.param(
        family, marks=[] if family in ("lfm2", "rwkv", "jamba", "qwen3 next", "minimax", "mamba2") else [pytest.mark.nightly]
    )
    for family in builders.STATEFUL
]


@pytest.mark.parametrize("family", KINDS)
def test_what_each_layer_keeps(family):
    abilities = abilities_of(fresh(family))
    assert abilities.kinds == KINDS[family]
    assert abilities.branches == (family not in (*builders.STATEFUL, "openai"))
    assert abilities.shares_depth == (family not in ("rwkv", "minimax"))
    windowed = KINDS[family] is not None and "window" in KINDS[family]
    assert abilities.reach == ((256 if "wide" in family else builders.WINDOW) if windowed else float("inf"))


class Odd(DynamicLayer):
    pass


class OwnCache(DynamicCache):
    pass


def _cache(layers, shape=(1, 2, 6, 8)):
    cache = DynamicCache()
    cache.layers = layers
    for layer in layers:
        layer.update(torch.zeros(shape), torch.zeros(shape))
    return cache


def _own(cache):
    own = OwnCache()
    own.layers = cache.layers
    return own


@pytest.mark.parametrize(
    ("returned", "kinds"),
    [
        (lambda: {"past_key_values": _cache([DynamicLayer() for _ in range(3)])}, ATTENTION),
        (lambda: {"cache": _cache([DynamicLayer() for _ in range(3)])}, ATTENTION),
        (lambda: {"cache": _cache([DynamicLayer(), Odd(), DynamicLayer()])}, ("attention", "unknown", "attention")),
        (lambda: {"cache": _cache([DynamicLayer() for _ in range(3)], (1, 2, 5, 8))}, ("unknown",) * 3),
        (lambda: {"cache": _cache([DynamicLayer() for _ in range(2)])}, None),  # shared by layers, or kept elsewhere
        (lambda: {"cache": _own(_cache([DynamicLayer() for _ in range(3)]))}, None),
        (lambda: {"past_key_values": ((torch.zeros(1, 2, 6, 8),) * 2,) * 3}, None),
        (lambda: {"cache": _cache([DynamicLayer() for _ in range(3)]), "state": [torch.zeros(1)]}, None),
        (dict, ()),
    ],
)
def test_what_is_made_of_each_kind_of_cache(returned, kinds):
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    model.hf.forward = lambda **_: {"logits": torch.zeros(1, 6, 8), **returned()}
    abilities = abilities_of(model)
    assert abilities.kinds == kinds
    assert abilities.branches == (kinds == ATTENTION)
    assert abilities.shares_depth == (kinds is not None and "unknown" not in kinds)


def test_a_model_that_refuses_a_cache_goes_the_plain_way():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    whole = model.hf.forward

    def forward(*args, use_cache=False, **kwargs):
        if use_cache:
            raise NotImplementedError("no cache here")
        return whole(*args, use_cache=False, **kwargs)

    model.hf.forward = forward
    assert abilities_of(model) == Abilities(None)
    change, probes = as_intervention(builders.random_vector(1)), probes_of("letter", 17)
    found = engine_of(model).run(probes, change, GRID)
    assert engine_of(model).path(change) == "plain"
    check(model, probes, PAIRS, found)


@pytest.mark.parametrize("family", STATEFUL)
def test_with_a_trial_that_takes_everything_states_are_right_all_the_same(family, monkeypatch):
    """What the layers are decides, not the trial."""
    for module in (engine, writing, activations):
        monkeypatch.setattr(module, "agree", lambda *_: True)
    model, change = fresh(family), as_intervention(builders.random_vector(1))
    for kind, prefix in (("letter", 0), ("words", 60)):
        probes = probes_of(kind, 17, prefix)
        check(model, probes, PAIRS, engine_of(model).run(probes, change, GRID))
    assert not any(way in engine_of(model).path(change) for way in ("positions", "prefix"))
    assert not engine_of(model)._misfits


@pytest.mark.covering(1)  # a kind of numbers decides what noise is allowed, whatever the family
@pytest.mark.parametrize("family", STATEFUL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_layers_that_are_taken_for_attention_are_found_out_in_16_bits(family, dtype):
    """The trial alone: what a wrong way would add is told from the noise of 16 bits."""
    model, change = fresh(family, dtype), as_intervention(builders.random_vector(1, norm=3.0))
    model.kept[abilities_of] = Abilities(ATTENTION)
    bare = wrap_model(model.hf, model.tokenizer, family)
    bare.kept[engine_of] = engine.Engine(bare, sharing=False)
    for kind in ("letter", "words"):
        probes = probes_of(kind, 17)
        want, found = (
            np.concatenate([scores for per_probe in engine_of(own).run(probes, change, GRID) for scores in per_probe])
            for own in (bare, model)
        )
        step = torch.finfo(dtype).eps * 2.0 ** np.floor(np.log2(np.abs(want).max()))
        assert np.abs(found - want).max() <= 4 * step
    takes_positions = family not in ("rwkv", "mamba", "mamba2")  # else nothing can branch, whatever the layers are
    assert bool(engine_of(model)._misfits) == takes_positions


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", ["llama", "gemma3 wide", "gemma3", "jamba", "qwen3 next", "minimax"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
def test_patches_branch_where_every_layer_heeds_a_mask(family, dtype):
    model = fresh(family, dtype)
    generator = torch.Generator().manual_seed(0)
    patches = [Patch(1, 8 * head, 8 * head + 8, torch.randn(8, generator=generator)) for head in range(4)]
    patcher, ids = Patcher(model, patches), tokens(4, 23)
    base, found = patcher.run(ids, 30)
    found = found.detach()
    whole = patcher._under(ids, 30, [Patch(1, 0, 0, torch.zeros(0)), *patches], branching=False).detach()
    assert patcher.branching == (family in ("llama", "gemma3 wide") or (family == "gemma3" and patcher.branching))
    tolerance = 1e-4 if dtype is torch.float32 else 2 * torch.finfo(dtype).eps * float(whole.abs().max())
    assert abs(base - float(whole[0])) <= tolerance
    assert float((found - whole[1:]).abs().max()) <= tolerance
    assert float((found - base).abs().max()) > 0.05


@pytest.mark.parametrize("family", ["jamba", "minimax", "rwkv", "mamba2", "llama"])
def test_generation_repeats_no_states(family):
    model = fresh(family)
    generate(model, ("Hi there", builders.LONG), builders.random_vector(1), multipliers=GRID, max_new_tokens=3)
    tried = {way for way, _ in ways_tried(model)}
    caches = {"one batch"} if KINDS[family] is not None else set()
    assert tried == ({"shared prompt"} if family == "llama" else caches)


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", [*STATEFUL, "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
def test_what_is_generated_is_what_the_model_says_row_by_row(family, dtype):
    """Each token that was chosen is, in one forward of that row by itself, the likeliest up to the noise of its numbers."""
    # All experts: where one of two is chosen, a rounding can choose the other.
    changes = {"num_experts_per_tok": 2} if family in ("jamba", "minimax") else {}
    model, vector = fresh(family, dtype, **changes), builders.random_vector(1, norm=3.0)
    prompts = ("Hi there", builders.LONG)
    for question, row in zip(prompts, generate(model, prompts, vector, multipliers=GRID, max_new_tokens=6), strict=True):
        said = [{"role": "user", "content": question}]
        turn, prompt = (
            model.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=opened)
            for opened in (False, True)
        )
        ids = plain.ids_of(model.tokenizer, prompt, False)
        start = len(plain.ids_of(model.tokenizer, turn, False))
        for m, generation_ in zip(GRID, row, strict=True):
            own, begin = [*ids, *generation_.tokens], len(ids)
            logits = plain.logits(model.hf, own[:-1], vector.directions, m, start)[begin - 1 :]
            chosen = logits.gather(1, torch.tensor(generation_.tokens)[:, None])[:, 0]
            room = 1e-4 if dtype is torch.float32 else 4 * torch.finfo(dtype).eps * float(logits.abs().max())
            assert float((logits.amax(1) - chosen).max()) <= room
