"""16 bits: what the fast ways add to a score is no more than what the shape of a plain batch does."""

from __future__ import annotations

import copy
import math
from functools import cache

import builders
import numpy as np
import plain
import pytest
import torch
from engines import probes_of, tokens

from pytest_steer import wrap_model
from pytest_steer.model import Engine, Probe, engine_of
from pytest_steer.model.layout import Budget
from pytest_steer.model.noise import Noise, agree, noise_between, shortened, spacing
from pytest_steer.steering import as_intervention

GRID = (-1.0, 0.0, 1.0)
EVERY = builders.FAMILIES + builders.FURTHER + tuple(f for f in builders.STATEFUL if f not in builders.FURTHER)
HALF = [pytest.param(torch.bfloat16, id="bf16"), pytest.param(torch.float16, id="fp16")]


def measured(hf, probes, change, **how):
    model = wrap_model(hf, builders.tokenizer(), "m")
    model.kept[engine_of] = Engine(model, **how)
    found = engine_of(model).run(probes, change, GRID)
    return np.concatenate([scores for per_probe in found for scores in per_probe]), engine_of(model)


def by_hand(hf, probes, vector):
    """Each row by itself, with one hook."""
    return np.concatenate([plain.scores(hf, probe, vector.directions, m) for probe in probes for m in GRID])


KINDS = {
    "letters": ("letter", 1, 0),
    "letters behind a prefix": ("letter", 17, 60),
    "words": ("words", 17, 0),
    "words behind a prefix": ("words", 1, 60),
}


@pytest.mark.covering(
    1
)  # what the kind of numbers decides in the package is the noise that is allowed, which knows nothing of families
@pytest.mark.parametrize("family", builders.each_kind_by_day(EVERY))
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", KINDS)
def test_the_fast_ways_add_no_noise(family, dtype, name):
    kind, start, prefix = KINDS[name]
    exact = builders.random_model(family).hf
    hf = copy.deepcopy(exact).to(dtype)
    probes, vector = probes_of(kind, start, prefix, count=3), builders.random_vector(1, norm=3.0)
    change = as_intervention(vector)
    bare, _ = measured(hf, probes, change, sharing=False)
    shared, engine = measured(hf, probes, change)
    true, alone = by_hand(exact, probes, vector), by_hand(hf, probes, vector)
    step = torch.finfo(dtype).eps * 2.0 ** math.floor(math.log2(np.abs(bare).max()))
    noise = max(np.abs(bare - true).max(), np.abs(bare - alone).max())
    assert np.abs(shared - bare).max() <= max(2 * noise, step), engine.path(change)
    assert np.abs(shared - true).max() <= 2 * max(np.abs(bare - true).max(), step)
    apart = np.sqrt(((shared - bare) ** 2).mean()) / np.sqrt(((bare - true) ** 2).mean())
    assert apart <= 1  # in the mean the difference is smaller than the error that both have


@pytest.mark.parametrize(
    ("family", "dtype"), [("llama", torch.bfloat16), ("gpt2", torch.float16), ("gemma3 wide", torch.bfloat16)]
)
def test_16_bits_take_the_fast_ways_too(family, dtype):
    for start, way in ((1, "shared depth"), (17, "shared positions")):
        change = as_intervention(builders.random_vector(1, norm=3.0))
        _, engine = measured(builders.random_hf(family).to(dtype), probes_of("letter", start, count=3), change)
        assert engine.path(change) == way


@cache
def in_numbers(family, dtype):
    return builders.random_hf(family).to(dtype)


@cache
def each_by_itself(family, dtype, kind):
    return by_hand(in_numbers(family, dtype), probes_of(kind, 17, count=3), builders.random_vector(1, norm=3.0))


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "jamba"])
@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
@pytest.mark.parametrize("kind", ["letter", "words"])
@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize("size", [None, 1, 60])
def test_batch_size_padding_and_sharing_do_not_matter(family, dtype, kind, padding, sharing, size):
    """Every way of running the same questions, base and steered, differs from each row by itself by rounding alone."""
    probes, want = probes_of(kind, 17, count=3), each_by_itself(family, dtype, kind)
    step = torch.finfo(dtype).eps * 2.0 ** math.floor(math.log2(np.abs(want).max()))
    model = wrap_model(in_numbers(family, dtype), builders.tokenizer(), "m")
    model.kept[engine_of] = Engine(model, padding=padding, sharing=sharing)
    engine_of(model)._budget = Budget(size or 1024, 2**25)
    found = engine_of(model).run(probes, as_intervention(builders.random_vector(1, norm=3.0)), GRID)
    got = np.concatenate([scores for per_probe in found for scores in per_probe])
    assert np.abs(got - want).max() <= (1e-4 if dtype is torch.float32 else 6 * step)


# --- the measures themselves -------------------------------------------------------------------------------------------------


def scores(*values):
    return [np.array(values)]


def test_spacing_is_that_of_the_numbers():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        for value in (0.3, 1.0, 1.99, 2.0, 5.3, -17.0):
            own = torch.tensor(value, dtype=dtype)
            next_one = torch.nextafter(own.abs(), torch.tensor(torch.inf, dtype=dtype))
            assert spacing(name, scores(0.01, value)) == float(next_one - own.abs())
    assert spacing("bfloat16", scores(0.0)) == torch.finfo(torch.bfloat16).eps
    assert spacing("bfloat16", []) == torch.finfo(torch.bfloat16).eps


def test_noise_is_the_largest_difference_and_the_typical_one():
    found = noise_between(scores(1.0, 2.0), scores(1.5, 2.0))
    assert (found.largest, found.typical) == (0.5, pytest.approx(math.sqrt(0.125)))
    assert Noise(1.0, 0.1) | Noise(0.5, 0.3) == Noise(1.0, 0.3)


def test_in_16_bits_one_spacing_is_allowed_and_twice_the_noise():
    plain_scores = scores(*np.linspace(4.5, 7.5, 20))  # neighbours are 1/32 apart
    one = np.zeros(20)
    one[3] = 1 / 32
    assert agree("bfloat16", [plain_scores[0] + one], plain_scores, Noise())
    assert not agree("bfloat16", [plain_scores[0] + 1.1 * one], plain_scores, Noise())
    assert agree("bfloat16", [plain_scores[0] + 1.9 * one], plain_scores, Noise(1 / 32, 0.01))
    assert not agree("bfloat16", [plain_scores[0] + 2.1 * one], plain_scores, Noise(1 / 32, 0.01))
    # Many scores that are a little off are a mistake, though one of them is none.
    other = np.arange(20) % 2 / 32
    assert agree("bfloat16", [plain_scores[0] + other], plain_scores, Noise())
    assert not agree("bfloat16", [plain_scores[0] + 1 / 32], plain_scores, Noise())
    assert agree("bfloat16", [plain_scores[0] + 1 / 32], plain_scores, Noise(1 / 32, 0.6 / 32))


def test_in_float32_the_floor_holds_whatever_the_noise():
    assert agree("float32", scores(5.0, 1.0 + 1.9e-4), scores(5.0, 1.0), Noise())
    assert not agree("float32", scores(5.0, 1.0 + 2.1e-4), scores(5.0, 1.0), Noise(1.0, 1.0))


def test_what_is_not_finite_agrees_with_itself_alone():
    for dtype in ("float32", "bfloat16"):
        assert agree(dtype, scores(np.nan, np.inf, 1.0), scores(np.nan, np.inf, 1.0), Noise())
        assert not agree(dtype, scores(np.nan, 1.0), scores(0.5, 1.0), Noise(9.0, 9.0))
        assert not agree(dtype, scores(1.0, np.inf), scores(1.0, 0.5), Noise(9.0, 9.0))


def test_a_shortened_question_reads_the_same_tokens():
    letter = shortened(Probe(tokens(1, 50), 47, (20, 30)))
    assert (letter.ids, letter.steer_from, letter.candidates) == (tokens(1, 50)[-12:], 9, (20, 30))
    answer = shortened(Probe(tokens(1, 50), 40, score_from=45))
    assert answer.ids[answer.score_from :] == tokens(1, 50)[45:]
    assert (len(answer.ids), answer.steer_from) == (17, 7)
    text = shortened(Probe(tokens(1, 50), 1, score_from=1))
    assert (text.ids, text.steer_from, text.score_from) == (tokens(1, 12), 1, 1)
    tiny = Probe(tokens(1, 3), 2, (20,))
    assert shortened(tiny) == tiny
