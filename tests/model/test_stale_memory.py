"""What is remembered of a model is forgotten as soon as anything changes what the model computes."""

from __future__ import annotations

import builders
import numpy as np
import pytest
import torch
from transformers.models.llama import modeling_llama

from pytest_steer import assert_steers, extract, propensity_curve, wrap_model
from pytest_steer.core.run_context import RunContext, running
from pytest_steer.model import engine_of
from pytest_steer.model.memo import DiskMemo
from pytest_steer.model.model import checksum, hash_of_bytes
from pytest_steer.model.state import disk_key, state_of, structure_of, tokenizer_hash

GRID = (-1.0, 0.0, 1.0)


def fresh(folder=None, tokenizer=None, change=None):
    """A model as a new process would have it."""
    hf = builders.random_hf("llama")
    if change is not None:
        change(hf)
    model = wrap_model(hf, tokenizer or builders.tokenizer(), "m")
    engine_of(model).disk = DiskMemo(folder) if folder is not None else None
    return model


def curve(model):
    return propensity_curve(model, builders.LETTERED, builders.random_vector(1), multipliers=GRID).values


def one_weight(hf):
    hf.model.layers[0].mlp.down_proj.weight.data[3, 5] += 30


def a_whole_weight(hf):
    hf.model.layers[1].self_attn.o_proj.weight.data *= -1


def within_the_rounding(hf):
    """All weights are moved, and none of them over the edge of its bfloat16."""
    for weight in hf.parameters():
        rounded = weight.data.to(torch.bfloat16).float()
        weight.data = rounded + (weight.data - rounded) / 2


def frequencies(hf):
    hf.model.rotary_emb.inv_freq *= 1.5


def a_number_of_a_module(hf):
    for layer in hf.model.layers:
        layer.self_attn.scaling *= 3


def another_tensor(hf):
    hf.lm_head.weight = torch.nn.Parameter(-hf.lm_head.weight)


CHANGES = [one_weight, a_whole_weight, another_tensor, within_the_rounding, frequencies, a_number_of_a_module]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_is_measured_anew_and_found_under_no_key_of_the_model_as_it_was(tmp_path, change):
    model = fresh(tmp_path)
    before, fingerprint, hashed = curve(model), model.fingerprint, model.bytes_hash
    other = fresh(tmp_path, change=change)
    want = curve(other)
    assert engine_of(other).disk.found == 0
    change(model.hf)
    after = curve(model)
    assert (after != before).any()
    np.testing.assert_allclose(after, want, atol=1e-5)
    of_weights = change in (one_weight, a_whole_weight, another_tensor)  # fingerprints are of weights rounded to bfloat16
    assert (model.fingerprint != fingerprint) == of_weights
    assert (model.bytes_hash != hashed) == (change is not a_number_of_a_module)
    there = fresh(tmp_path)
    assert (curve(there) == before).all()
    assert engine_of(there).forwards == 0


def test_a_forward_replaced_on_the_class_is_seen(monkeypatch):
    model = fresh()
    before = curve(model)
    forward = modeling_llama.LlamaMLP.forward
    monkeypatch.setattr(modeling_llama.LlamaMLP, "forward", lambda self, x: 2 * forward(self, x))
    assert (curve(model) != before).any()


def test_another_version_of_this_package_or_its_scoring_finds_nothing(tmp_path, monkeypatch):
    want = curve(fresh(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr("pytest_steer.model.state.SCORING", 10**6)
        model = fresh(tmp_path)
        curve(model)
        assert engine_of(model).disk.found == 0
    with monkeypatch.context() as patched:
        patched.setattr("pytest_steer.model.state.metadata.version", lambda name: "9" if name == "pytest-steer" else "0")
        model = fresh(tmp_path)
        curve(model)
        assert engine_of(model).disk.found == 0
    assert (curve(fresh(tmp_path)) == want).all()


def test_the_key_on_disk_holds_the_tokenizer():
    tokenizers = [builders.tokenizer(), builders.tokenizer(merged=(("a", "b"),)), builders.tokenizer(begin=True)]
    assert len({tokenizer_hash(one) for one in tokenizers}) == 3
    keys = {disk_key(model, state_of(model)) for model in (fresh(tokenizer=one) for one in tokenizers)}
    assert len(keys) == 3
    slow = {tokenizer_hash(builders.Slow(one)) for one in tokenizers[:2]}
    assert len(slow) == 2


def test_activations_receipt_and_noise_floor_are_on_disk_too(tmp_path, monkeypatch):
    def measured(model):
        vector = extract.caa(model, builders.LETTERED, layer=1)
        with running(RunContext(soundness=False)):
            evidence = assert_steers(model, vector, builders.LETTERED, steerability=-100, multipliers=GRID, min_n=2)
        return vector.hash, vector.metadata, evidence.estimate, evidence.receipt.doses, evidence.noise

    want = measured(fresh(tmp_path))
    again = fresh(tmp_path)
    structure_of(again)
    inner = torch.nn.functional.embedding
    forwards = []

    def counted(*args, **more):  # not on the model's own code: what is patched there keeps the disk out of it
        forwards.append(1)
        return inner(*args, **more)

    monkeypatch.setattr(torch.nn.functional, "embedding", counted)
    assert measured(again) == want
    assert forwards == []
    a_whole_weight(again.hf)
    assert extract.caa(again, builders.LETTERED, layer=1).hash != want[0]
    assert forwards


def test_bytes_of_every_kind_of_tensor():
    tensors = [
        torch.zeros(3, dtype=torch.bool), torch.ones(5, dtype=torch.complex64), torch.empty(0), torch.tensor(3.0),
        torch.ones(7, 3, dtype=torch.bfloat16).t(), torch.ones(9).to(torch.float8_e4m3fn), torch.arange(12)[::2],
    ]  # fmt: skip
    before, named = checksum(tensors), [(str(index), tensor) for index, tensor in enumerate(tensors)]
    hashed = hash_of_bytes(named)
    assert (checksum(tensors), hash_of_bytes(named)) == (before, hashed)
    for tensor in tensors:
        for index in range(tensor.numel()):
            flat = tensor.view(torch.uint8) if tensor.dtype.is_floating_point and tensor.element_size() == 1 else tensor
            kept = flat.clone()
            at = tuple(int(i) for i in np.unravel_index(index, flat.shape))
            flat[at] = 1 if flat[at] == 0 else 0
            assert checksum(tensors) != before
            assert hash_of_bytes(named) != hashed
            flat.copy_(kept)
    assert (checksum(tensors), hash_of_bytes(named)) == (before, hashed)
