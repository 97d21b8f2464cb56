"""Finding the decoder blocks, and what a Model knows of itself."""

from __future__ import annotations

import builders
import plain
import pytest
import torch
from torch import nn

from pytest_steer import wrap_model
from pytest_steer.core.errors import ModelError
from pytest_steer.model.model import find_blocks


@pytest.mark.parametrize("family", builders.FAMILIES)
def test_the_blocks_of_every_family_are_found(family):
    model = builders.random_model(family)
    assert model.blocks is plain.blocks_of(model.hf)
    assert any(child is model.blocks for child in model.backbone.children())
    assert (model.n_layers, model.width, model.dtype) == (builders.LAYERS, builders.WIDTH, "float32")
    assert model.max_positions == (None if family == "bloom" else 512)
    assert not model.hf.training


def test_an_encoder_decoder_is_refused():
    with pytest.raises(
        ModelError, match="T5ForConditionalGeneration is an encoder-decoder; steering claims need a decoder-only"
    ):
        find_blocks(builders.encoder_decoder())


def test_a_model_that_fills_masks_is_refused():
    with pytest.raises(ModelError, match="BertForMaskedLM fills masked tokens in and does not predict the next one"):
        wrap_model(builders.encoder_only(), builders.tokenizer())


class Shape(nn.Module):
    """Modules in lists under the names given; config says how deep the model is."""

    def __init__(self, lists, depth=2):
        super().__init__()
        for name, (length, wide) in lists.items():
            parent = self
            for part in name.split(".")[:-1]:
                if not hasattr(parent, part):
                    parent.add_module(part, nn.Module())
                parent = getattr(parent, part)
            members = [nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)) if wide else nn.Linear(1, 1) for _ in range(length)]
            parent.add_module(name.rpartition(".")[2], nn.ModuleList(members))
        self.config = type("Config", (), {"num_hidden_layers": depth, "get_text_config": lambda self, decoder: self})()


@pytest.mark.parametrize(
    "lists",
    [
        {"model.layers": (2, True)},
        {"model.layers": (2, True), "model.norms": (2, False), "model.heads": (3, True)},
        {"model.layers": (2, True), "model.experts": (2, True)},
        {"model.layers": (2, True), "vision_tower.layers": (2, True)},
    ],
)
def test_one_list_of_the_right_length_is_taken(lists):
    hf = Shape(lists)
    assert find_blocks(hf) == (hf.model, hf.get_submodule(next(iter(lists))))


@pytest.mark.parametrize(
    ("lists", "depth", "message"),
    [
        ({"model.layers": (3, True)}, 2, "found none; all lists: model.layers \\(3\\)"),
        ({"one.layers": (2, True), "two.layers": (2, True)}, 2, r"found \['one.layers', 'two.layers'\]"),
        ({"model.layers": (2, True)}, None, "its configuration has no num_hidden_layers"),
    ],
)
def test_no_list_or_several_is_an_error(lists, depth, message):
    with pytest.raises(ModelError, match=message):
        find_blocks(Shape(lists, depth))


# --- fingerprint ---------------------------------------------------------------------------------------------------------


def fingerprint(**changes):
    return wrap_model(builders.random_hf("llama", **changes), builders.tokenizer()).fingerprint


def test_the_fingerprint_is_that_of_weights_and_configuration():
    base = fingerprint()
    assert base == fingerprint()
    assert base == builders.random_model("llama").fingerprint
    assert base != fingerprint(seed=1)
    assert base != fingerprint(rms_norm_eps=1e-5)  # the same weights compute something else


@pytest.mark.parametrize("name", ["model.norm.weight", "lm_head.weight"])
def test_one_changed_weight_changes_the_fingerprint(name):
    hf = builders.random_hf("llama")
    with torch.no_grad():
        hf.get_parameter(name).view(-1)[-1] *= 1.01
    assert wrap_model(hf, builders.tokenizer()).fingerprint != fingerprint()


def test_the_fingerprint_does_not_depend_on_the_dtype_it_runs_in():
    hf = builders.random_hf("gpt2").to(torch.bfloat16)
    assert wrap_model(hf, builders.tokenizer()).fingerprint == builders.random_model("gpt2").fingerprint
