"""Extraction: equal to the plain way for every family, and what it says about its data."""

from __future__ import annotations

import warnings

import builders
import plain
import pytest
import torch

from pytest_steer import Context, ContrastItem, extract, wrap_model
from pytest_steer.core.errors import DataError, MeasurementError, SteerWarning, VectorError
from pytest_steer.extract.contrast import read_contrast
from pytest_steer.model import block_outputs, memo

POSITIVE = ("I am glad.", "What a fine day it is, all in all!", "Good.")
NEGATIVE = ("I am sad.", "It rains on and on and on, and the roof lets in the wet.")


def lettered(n, letter="A"):
    other = "B" if letter == "A" else "A"
    return [ContrastItem(f"Is it {letter}{i}?\n(A) x\n(B) y", (f"({letter})",), (f"({other})",)) for i in range(n)]


def close(found, want):
    torch.testing.assert_close(found, want.float(), rtol=0, atol=2e-5)


@pytest.mark.covering(1)  # with or without a template other text stands before the answer
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES))
@pytest.mark.parametrize("chat", [True, False])
def test_caa_equals_the_plain_way(family, chat):
    model = builders.random_model(family, chat)
    items = builders.LETTERED + builders.WORDED[:2]
    vector = extract.caa(model, items, layer=[2, 0, 1])
    assert vector.layers == (0, 1, 2)
    for layer in vector.layers:
        close(vector.directions[layer], plain.caa(model.hf, model.tokenizer, items, layer))
        close(extract.caa(model, items, layer=layer).directions[layer], vector.directions[layer])
    assert builders.hooks_of(model.hf) == 0


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES))
@pytest.mark.parametrize("readout", ["mean", "last"])
def test_mean_difference_equals_the_plain_way(family, readout):
    model = builders.random_model(family)
    vector = extract.mean_difference(model, POSITIVE, NEGATIVE, layer=[0, 2], readout=readout)
    assert vector.layers == (0, 2)
    for layer in vector.layers:
        want = plain.mean_difference(model.hf, model.tokenizer, POSITIVE, NEGATIVE, layer, readout)
        close(vector.directions[layer], want)


def test_the_first_position_is_left_out_of_the_mean():
    """One token of the texts stands out: at the first position it must not count, elsewhere it must."""
    hf = builders.random_hf("gpt2")
    with torch.no_grad():
        hf.get_input_embeddings().weight[plain.ids_of(builders.tokenizer(), "#", False)[0]] = 1000.0
    model = wrap_model(hf, builders.tokenizer(), "sink")
    apart = extract.mean_difference(model, ["ab#"], ["ab."], layer=0).norms[0]
    first = extract.mean_difference(model, ["#ab"], [".ab"], layer=0).norms[0]
    assert apart > 100 > first


@pytest.mark.parametrize("begin", [True, False])
def test_a_begin_token_is_the_first_position(begin):
    base = builders.random_model("llama")
    model = wrap_model(base.hf, builders.tokenizer(None, begin=begin, end=True), "m")
    other = builders.tokenizer(None, begin=begin)
    close(
        extract.mean_difference(model, POSITIVE, NEGATIVE, layer=1).directions[1],
        plain.mean_difference(base.hf, other, POSITIVE, NEGATIVE, 1),
    )
    close(extract.caa(model, builders.LETTERED, layer=1).directions[1], plain.caa(base.hf, other, builders.LETTERED, 1))


def test_many_texts_are_read_in_several_batches_and_stay_in_order():
    model = builders.random_model("llama")
    texts = [f"text number {n} " + "x" * (n % 7) for n in range(70)]
    vector = extract.mean_difference(model, texts[:40], texts[40:], layer=1)
    close(vector.directions[1], plain.mean_difference(model.hf, model.tokenizer, texts[:40], texts[40:], 1))


def test_the_context_is_applied():
    model, items = builders.random_model("llama"), builders.LETTERED[:2]
    swapped = extract.caa(model, items, layer=1, context=Context(option_order="swapped"))
    by_hand = [Context(option_order="swapped").put(item) for item in items]
    close(swapped.directions[1], plain.caa(model.hf, model.tokenizer, by_hand, 1))
    assert swapped.metadata["context"] == "Context(option_order='swapped')"
    assert "context" not in extract.caa(model, items, layer=1).metadata


def test_the_record():
    model = builders.random_model("llama")
    items = builders.LETTERED[:2]
    record = extract.caa(model, items, layer=1).metadata
    assert record["method"] == "caa"
    assert (record["model"], record["model_fingerprint"], record["template_hash"]) == (
        model.id, model.fingerprint, model.template_hash
    )  # fmt: skip
    assert (record["n"], record["readout"], record["label_balance"]) == (2, "answer", {"A": 1, "B": 1})
    assert len(record["item_hashes"]) == 2
    record = extract.mean_difference(model, POSITIVE, NEGATIVE, layer=1).metadata
    assert (record["method"], record["n"], record["readout"], record["template_hash"]) == (
        "mean_difference",
        5,
        "mean",
        None,
    )
    assert record["data_hash"] != extract.mean_difference(model, POSITIVE[:2], NEGATIVE, layer=1).metadata["data_hash"]


# --- warnings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b", "label"), [(13, 7, "A"), (7, 13, "B"), (7, 0, "A")])
def test_unbalanced_letters_are_a_warning(a, b, label):
    """558 of the 815 A/B answers of the field's survival-instinct set are "(A)", 68 %."""
    items = lettered(a) + lettered(b, "B")
    with pytest.warns(SteerWarning, match=rf"the matching answer is '{label}' in {max(a, b)} of {a + b} items"):
        extract.caa(builders.random_model("llama"), items, layer=0)


@pytest.mark.parametrize(("a", "b"), [(12, 8), (8, 12), (0, 0)])
def test_balanced_letters_are_none(a, b):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="the vector's own training data support it weakly")
        extract.caa(builders.random_model("llama"), [*lettered(a), *lettered(b, "B"), *builders.WORDED[:2]], layer=0)


# --- errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (3, r"layer 3: random llama has 3 decoder blocks \(0 to 2\)"),
        (-1, "layer -1"),
        ([0, 5], "layer 5"),
        ([], r"layer \(\)"),
    ],
)
def test_layers_that_the_model_does_not_have(layer, message):
    model = builders.random_model("llama")
    with pytest.raises(VectorError, match=message):
        extract.caa(model, builders.LETTERED, layer=layer)
    with pytest.raises(VectorError, match=message):
        extract.mean_difference(model, POSITIVE, NEGATIVE, layer=layer)


def test_data_that_cannot_be_used():
    model = builders.random_model("llama")
    with pytest.raises(DataError, match="there are no items to extract a vector from"):
        extract.caa(model, [], layer=1)
    for sides in (([], NEGATIVE), (POSITIVE, [])):
        with pytest.raises(DataError, match="texts have to be a list with at least one text"):
            extract.mean_difference(model, *sides, layer=1)
    with pytest.raises(DataError, match="positive_texts is the text 'one text'"):
        extract.mean_difference(model, "one text", NEGATIVE, layer=1)
    with pytest.raises(DataError, match=r"negative text 1: has 1 token\(s\)"):
        extract.mean_difference(model, POSITIVE, ["ab", "a"], layer=1)
    with pytest.raises(DataError, match="readout is 'mean' or 'last', not 'median'"):
        extract.mean_difference(model, POSITIVE, NEGATIVE, layer=1, readout="median")
    with pytest.raises(DataError, match="has 600 tokens, but random llama takes at most 512"):
        extract.mean_difference(model, ["x" * 600], NEGATIVE, layer=1)


def test_equal_sides_make_no_vector():
    with pytest.raises(VectorError, match="every value is 0"):
        extract.mean_difference(builders.random_model("llama"), POSITIVE, POSITIVE, layer=1)


def test_activations_that_are_no_numbers_are_an_error_and_leave_no_hook():
    hf = builders.random_hf("llama")
    with torch.no_grad():
        hf.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    model = wrap_model(hf, builders.tokenizer(), "broken")
    extract.mean_difference(model, POSITIVE, NEGATIVE, layer=0)
    with pytest.raises(MeasurementError, match="the output of layer 1 has NaN or infinite values"):
        extract.mean_difference(model, POSITIVE, NEGATIVE, layer=[0, 1])
    assert builders.hooks_of(hf) == 0


@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES))
def test_block_outputs_reads_every_block_before_the_final_norm(family):
    model = builders.random_model(family)
    sequences = [tuple(plain.ids_of(model.tokenizer, text, False)) for text in (*POSITIVE, *NEGATIVE)]
    found = block_outputs(
        model, sequences, (0, 1, 2), lambda index, hidden: torch.cat([hidden, torch.full((1, 32), float(index))])
    )
    for index, ids in enumerate(sequences):
        for layer, want in enumerate(plain.outputs(model.hf, list(ids))):
            assert found[layer][index].shape == (len(ids) + 1, builders.WIDTH)
            assert found[layer][index][-1, 0] == index
            torch.testing.assert_close(found[layer][index][:-1], want, rtol=0, atol=2e-5)


def test_methods_on_the_same_data_read_it_once_and_a_changed_model_anew():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "changed below")
    items = builders.WORDED[:3]
    runs = []
    handle = model.backbone.register_forward_pre_hook(lambda *_: runs.append(1))
    try:
        extract.caa(model, items, layer=1)
        assert runs
        runs.clear()
        found = extract.pca(model, items, layer=1)
        assert not runs
        want = extract.pca(builders.random_model("llama", True), items, layer=1)
        close(found.directions[1], want.directions[1])
        # The same data with other labels.
        turned = [ContrastItem(one.question, one.not_matching, one.matching, one.id) for one in reversed(items)]
        close(extract.caa(model, turned, layer=1).directions[1], -extract.caa(model, items, layer=1).directions[1])
        assert not runs
        extract.pca(model, items, layer=1, readout="mean")
        assert runs
        runs.clear()
        extract.caa(model, items, layer=2)
        extract.caa(model, items[:2], layer=1)
        extract.caa(model, items, layer=1, context=Context(template="plain"))
        assert len(runs) >= 3
        before = extract.caa(model, items, layer=1).directions[1]
        runs.clear()
        with torch.no_grad():
            next(model.blocks[0].parameters()).mul_(1.5)
        after = extract.caa(model, items, layer=1).directions[1]
        assert runs
        assert not torch.allclose(before, after)
    finally:
        handle.remove()


def test_kept_activations_are_not_handed_out():
    model = builders.random_model("llama", False)
    first = read_contrast(model, builders.WORDED[:2], layer=0)
    first.positive[0].zero_()
    second = read_contrast(model, builders.WORDED[:2], layer=0)
    assert second.positive[0].any()


@pytest.mark.parametrize("limit", [0, 3 * 2 * 32 * 4])
def test_what_is_kept_is_bounded_by_its_size(limit: int, monkeypatch: pytest.MonkeyPatch):
    """With room for one reading of three items (two sides, width 32, float32) the older one goes; with none nothing is kept."""
    monkeypatch.setattr(memo, "_MOST_IN_MEMORY", limit)
    model = builders.random_model("llama", False)
    reads: list[int] = []
    handle = model.backbone.register_forward_pre_hook(lambda *_: reads.append(1))
    try:
        for layer, read_anew in ((0, True), (0, limit == 0), (1, True), (1, limit == 0), (0, True)):
            reads.clear()
            read_contrast(model, builders.WORDED[:3], layer=layer)
            assert bool(reads) is read_anew
    finally:
        handle.remove()
