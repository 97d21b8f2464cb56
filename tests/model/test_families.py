"""Every causal class of the installed transformers: what is measured equals a plain hook on the same block, or is refused.

One kind of item, one scope and one of the other measures for each family every day, in turn, and generation of every third family; all of
them in the nightly run.
"""

from __future__ import annotations

import itertools
from functools import cache

import builders
import families
import numpy as np
import plain
import pytest
import torch
import transformers
from packaging.version import Version
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from pytest_steer import extract, perplexity, propensity_curve, wrap_model
from pytest_steer.core.errors import ModelError
from pytest_steer.measures.subject import Subject
from pytest_steer.model import block_outputs, steered
from pytest_steer.soundness import check_before

# Random models do not support a vector well, and that is said.
pytestmark = pytest.mark.filterwarnings("ignore:the vector's own training data")
KINDS = {"lettered": builders.LETTERED[:1], "worded": builders.WORDED[:1]}
SCOPES = ("all", "after_prompt", "last")
GRID = (0.0, 1.0)
TEXT = builders.TEXTS[2]
NEW = 4


@cache
def hf_of(family):
    hf = families.build(family)
    assert sum(weights.numel() for weights in hf.parameters()) < 500_000
    return hf


def model_of(family):
    """A model with a memory of its own around the one set of weights."""
    return wrap_model(hf_of(family), builders.tokenizer(), family)


def vector_of(family, norm=6.0):
    return builders.random_vector(families.layer_of(family), norm=norm)


def in_turn(names, *options):
    """Each name with one option of each kind, so that all pairs of a name's place and an option come up over the list."""
    places = [range(len(own)) for own in options]
    return [
        pytest.param(
            name, *(own[(number // step) % len(own)] for own, step in zip(options, _steps(places), strict=True)), id=name
        )
        for number, name in enumerate(names)
    ]


def _steps(places):
    steps, step = [], 1
    for own in places:
        steps.append(step)
        step *= len(own)
    return steps


# --- the list ------------------------------------------------------------------------------------------------------------


def test_the_list_is_that_of_transformers():
    known = set(families.FAMILIES) | set(families.NOT_BUILT)
    missing = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - known
    assert not set(families.FAMILIES) & set(families.NOT_BUILT)
    if missing and Version(transformers.__version__) > Version(families.TRIED_UP_TO):
        pytest.skip(
            f"transformers {transformers.__version__} has families that {families.TRIED_UP_TO} had not and that nobody has "
            f"tried: {', '.join(sorted(missing))}. Give each a line in tests/support/families.py."
        )
    assert not missing, f"families without a line in tests/support/families.py: {sorted(missing)}"


def test_the_page_of_models_is_that_of_the_list():
    """``python tests/support/families.py`` writes it."""
    text = families.PAGE.read_text(encoding="utf-8")
    assert families.filled(text) == text


# --- measuring -----------------------------------------------------------------------------------------------------------


def check_curve(family, kind, scope):
    vector = vector_of(family)
    items = KINDS[kind]
    got = propensity_curve(model_of(family), items, vector, multipliers=GRID, positions=scope).values
    want = plain.curve(hf_of(family), builders.tokenizer(), items, vector.directions, GRID, scope)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-4)
    assert np.abs(want[:, 1] - want[:, 0]).max() > 1e-3
    assert builders.hooks_of(hf_of(family)) == 0


def check_perplexity(family):
    vector = vector_of(family)
    (got,) = perplexity(model_of(family), [TEXT], vector, multiplier=1.0).per_text
    want, _ = plain.nll(hf_of(family), builders.tokenizer(), TEXT, vector.directions, 1.0)
    assert got == pytest.approx(want, abs=1e-4)


def check_outputs(family):
    model, layer = model_of(family), families.layer_of(family)
    rows = [tuple(plain.ids_of(model.tokenizer, text, False)) for text in builders.TEXTS]
    found = block_outputs(model, rows, (layer,), lambda _, hidden: hidden)[layer]
    for ids, own in zip(rows, found, strict=True):
        torch.testing.assert_close(own, plain.outputs(hf_of(family), list(ids))[layer], rtol=0, atol=1e-4)


def check_extraction(family):
    layer = families.layer_of(family)
    # Not two items with the answers exchanged: a convolution that sees a few tokens only would give their difference as 0.
    items = builders.LETTERED[::2]
    got = extract.caa(model_of(family), items, layer=layer).directions[layer]
    want = plain.caa(hf_of(family), builders.tokenizer(), items, layer)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


OTHERS = {"perplexity": check_perplexity, "outputs": check_outputs, "extraction": check_extraction}


@pytest.mark.parametrize(
    ("family", "kind", "scope", "other"), in_turn(families.MEASURED, tuple(KINDS), SCOPES, tuple(OTHERS))
)
def test_what_is_measured_equals_a_plain_hook(family, kind, scope, other):
    check_curve(family, kind, scope)
    OTHERS[other](family)


@pytest.mark.nightly
@pytest.mark.parametrize("family", families.MEASURED)
def test_every_kind_scope_and_measure_and_the_check_of_hooks(family):
    for kind, scope in itertools.product(KINDS, SCOPES):
        check_curve(family, kind, scope)
    for other in OTHERS.values():
        other(family)
    record = check_before(model_of(family), Subject(vector=vector_of(family), positions="all"))
    assert record.sound, record.broken
    assert set(record.skipped) == {name for name, own in families.NOT_CHECKED.items() if family in own}


# --- generating ----------------------------------------------------------------------------------------------------------


class Counting:
    """A plain hook that adds a direction from one position on, counting the positions that went through its block."""

    def __init__(self, direction, start, cached):
        self.direction, self.start, self.cached = direction, start, cached
        self.seen = self.steered = 0

    def __call__(self, _module, _inputs, output):
        hidden = output[0] if isinstance(output, (tuple, list)) else output
        changed = hidden.clone()
        before = self.seen if self.cached else 0
        for position in range(hidden.shape[1]):
            if before + position >= self.start:
                changed[:, position] = hidden[:, position] + self.direction
                self.steered += 1
        self.seen = before + hidden.shape[1]
        return type(output)([changed, *output[1:]]) if isinstance(output, (tuple, list)) else changed


def generated(hf, ids, cached):
    out = hf.generate(
        input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=NEW,
        min_new_tokens=NEW, do_sample=False, use_cache=cached, return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    return torch.stack(out.logits, dim=1)[0].float()


def check_generation(family, scope, cached):
    model, hf, vector = model_of(family), hf_of(family), vector_of(family, norm=12.0)
    layer = families.layer_of(family)
    ids = plain.ids_of(model.tokenizer, TEXT, False)
    turn = len(ids) - 5
    start = plain.start_of(scope, turn, len(ids))
    lengths = {"all": None, "after_prompt": turn, "last": len(ids)}[scope]
    by_hand = Counting(vector.directions[layer], start, cached)
    handle = plain.blocks_of(hf)[layer].register_forward_hook(by_hand)
    try:
        want = generated(hf, ids, cached)
    finally:
        handle.remove()
    with steered(model, vector, 1.0, positions=scope, prompt_lengths=lengths):
        got = generated(hf, ids, cached)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-4)
    alone = len(ids) - start
    assert by_hand.steered == (alone + NEW - 1 if cached else sum(alone + new for new in range(NEW)))
    assert builders.hooks_of(hf) == 0


# xLSTM of transformers 5.24 cannot go on from its own cache; OpenAI GPT has none.
UNCACHED = ("xlstm", "openai-gpt")


def is_cached(family, wanted):
    return wanted and family not in UNCACHED


@pytest.mark.parametrize(("family", "cached", "scope"), in_turn(families.MEASURED[::3], (True, False), SCOPES))
def test_steered_generation_equals_a_plain_hook(family, cached, scope):
    check_generation(family, scope, is_cached(family, cached))


@pytest.mark.nightly
@pytest.mark.parametrize("family", families.MEASURED)
def test_every_scope_with_and_without_a_cache(family):
    for scope, cached in itertools.product(SCOPES, (True, False)):
        check_generation(family, scope, is_cached(family, cached))


# --- refusing ------------------------------------------------------------------------------------------------------------


def uses(model, layer):
    """Everything that reads or changes a layer."""
    vector = builders.random_vector(layer)
    ids = torch.tensor([plain.ids_of(model.tokenizer, TEXT, False)])

    def by_hand():
        with steered(model, vector, 1.0):
            model.hf(input_ids=ids)

    return {
        "curve": lambda: propensity_curve(model, KINDS["lettered"], vector, multipliers=GRID),
        "perplexity": lambda: perplexity(model, [TEXT], vector, multiplier=1.0),
        "outputs": lambda: block_outputs(model, [(5, 6, 7)], (layer,), lambda _, hidden: hidden),
        "extraction": lambda: extract.caa(model, builders.LETTERED, layer=layer),
        "steering": by_hand,
        "check": lambda: check_before(model, Subject(vector=vector, positions="all")),
    }


@pytest.mark.parametrize("family", families.REFUSED)
def test_a_family_that_cannot_be_steered_is_refused_by_name(family):
    when, message, _ = families.REFUSED[family]
    if when == "loading":
        with pytest.raises(ModelError, match=message):
            model_of(family)
        return
    for use in uses(model_of(family), 1).values():
        with pytest.raises(ModelError, match=f"{family}.*{message}"):
            use()
    assert builders.hooks_of(hf_of(family)) == 0


@pytest.mark.parametrize("family", families.REFUSED_LAYERS)
def test_a_layer_that_cannot_be_steered_is_refused_by_name(family):
    layers, message, _ = families.REFUSED_LAYERS[family]
    for layer in layers:
        for use in uses(model_of(family), layer).values():
            with pytest.raises(ModelError, match=f"{family}: layer {layer} can be neither read nor steered: {message}"):
                use()
    assert builders.hooks_of(hf_of(family)) == 0
