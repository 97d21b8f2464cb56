"""Models whose files lack weights or hold others: refused, in every face, and before a conversion is kept."""

from __future__ import annotations

import json

import builders
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_loading import write_gguf

from pytest_steer import load_model
from pytest_steer.core.errors import ModelError
from pytest_steer.model.loading import cache_folder


def saved(folder, hf, change=lambda weights: None):
    """The folder of a model, its weights changed by ``change``."""
    hf.save_pretrained(folder)
    builders.tokenizer().save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


# --- missing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_missing_weights_are_refused_and_named(tmp_path, family):
    hf = builders.random_hf(family)
    name = next(name for name in sorted(hf.state_dict()) if ".1." in name)
    saved(tmp_path, hf, lambda weights: weights.pop(name))
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path)
    assert f"its files lack 1 weight of {type(hf).__name__}: {name}. transformers fills" in str(caught.value)


def test_of_many_the_first_few_and_their_number(tmp_path):
    def change(weights):
        for name in [name for name in weights if ".mlp." in name]:
            del weights[name]

    saved(tmp_path, builders.random_hf("llama"), change)
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path, allow_unexpected=["."])
    wanted = [f"model.layers.0.mlp.{name}_proj.weight" for name in ("down", "gate", "up")]
    assert f"lack 9 weights of LlamaForCausalLM: {', '.join(wanted)} and 6 more." in str(caught.value)


def test_a_backbone_without_its_head_is_no_model_of_language(tmp_path):
    builders.random_hf("llama").model.save_pretrained(tmp_path)
    builders.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"lack 1 weight of LlamaForCausalLM: lm_head\.weight\."):
        load_model(tmp_path)


def test_tied_weights_and_those_that_transformers_ignores_are_not_missing(tmp_path):
    torch.manual_seed(0)
    hf = transformers.LlamaForCausalLM(transformers.LlamaConfig(**builders._LLAMA_LIKE, tie_word_embeddings=True))
    saved(tmp_path, hf)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    model = load_model(tmp_path)
    assert torch.equal(model.hf.lm_head.weight, hf.model.embed_tokens.weight)
    assert model.unexpected == ()


def test_weights_of_another_shape(tmp_path):
    saved(tmp_path, builders.random_hf("llama"), lambda w: w.update({"lm_head.weight": torch.ones(7, builders.WIDTH)}))
    with pytest.raises(
        ModelError, match=r"1 weight of LlamaForCausalLM with another shape in the files: lm_head.weight \[7, 32\] in"
    ):
        load_model(tmp_path)


def test_a_weight_under_another_name_is_named_beside_the_missing_one(tmp_path):
    def renamed(weights):
        weights["model.norm.wait"] = weights.pop("model.norm.weight")

    saved(tmp_path, builders.random_hf("llama"), renamed)
    with pytest.raises(ModelError, match=r"lack 1 weight of .*: model.norm.weight. They hold model.norm.wait instead"):
        load_model(tmp_path)


# --- unexpected ----------------------------------------------------------------------------------------------------------

EXTRA = {"mtp.norm.weight": torch.ones(4), "mtp.layers.0.proj.weight": torch.ones(4, 4)}


def test_unexpected_weights_are_refused_with_the_line_that_accepts_them(tmp_path):
    saved(tmp_path, builders.random_hf("llama"), lambda weights: weights.update(EXTRA))
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path)
    said = str(caught.value)
    assert "hold 2 weights that LlamaForCausalLM has no place for: mtp.layers.0.proj.weight, mtp.norm.weight." in said
    line = said.split("load_model(..., allow_unexpected=")[1].rstrip(")")
    assert line == '["^mtp."]'
    assert f"`allow_unexpected: {line}` beside `model:`" in said
    model = load_model(tmp_path, allow_unexpected=json.loads(line))
    assert model.unexpected == tuple(sorted(EXTRA))


def test_every_weight_has_to_match_a_pattern(tmp_path):
    saved(tmp_path, builders.random_hf("llama"), lambda weights: weights.update(EXTRA))
    for patterns in (("norm", "proj"), [r"^mtp\.(norm|layers\.0\.proj)\.weight$"]):
        assert load_model(tmp_path, allow_unexpected=patterns).unexpected == tuple(sorted(EXTRA))
    for patterns in (["^mtp.norm"], []):
        with pytest.raises(ModelError, match="has no place for: mtp"):
            load_model(tmp_path, allow_unexpected=patterns)


def test_layers_beyond_the_depth_are_named_apart_from_those_that_are_used(tmp_path):
    hf = builders.random_hf("llama")
    saved(tmp_path, hf)
    config = json.loads((tmp_path / "config.json").read_text())
    config["num_hidden_layers"] = builders.LAYERS - 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path)
    assert f'allow_unexpected: ["^model.layers.{builders.LAYERS - 1}."]' in str(caught.value)


def test_what_transformers_ignores_is_not_unexpected(tmp_path):
    """The causal masks that older versions saved with GPT-2, and rotary frequencies that the model computes by itself."""
    masks = {f"transformer.h.{layer}.attn.bias": torch.ones(1, 1, 4, 4) for layer in range(builders.LAYERS)}
    saved(tmp_path / "gpt2", builders.random_hf("gpt2"), lambda weights: weights.update(masks))
    assert load_model(tmp_path / "gpt2").unexpected == ()
    rotary = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4), "model.rotary_emb.inv_freq": torch.ones(4)}
    saved(tmp_path / "llama", builders.random_hf("llama"), lambda weights: weights.update(rotary))
    assert load_model(tmp_path / "llama").unexpected == ()


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ("^mtp.", r"allow_unexpected is a list of patterns: write \[\"\^mtp\.\"\]"),
        (
            ["*.mtp.*"],
            r"'\*\.mtp\.\*' is not a regular expression \(nothing to repeat at position 0\)\. It is looked for anywhere",
        ),
        ([""], "'' is not a pattern"),
    ],
)
def test_wrong_patterns(tmp_path, patterns, message):
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path, allow_unexpected=patterns)


# --- GGUF ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes the GGUF file of a model, without some tensors and with others; the cache is the test's own."""
    monkeypatch.setenv("PYTEST_STEER_CACHE", str(tmp_path / "cache"))
    import gguf

    def write(without=(), more=()):
        class Writer(gguf.GGUFWriter):
            def add_tensor(self, name, *rest, **options):
                if name not in without:
                    super().add_tensor(name, *rest, **options)

            def write_header_to_file(self, *rest, **options):
                for name in more:
                    super().add_tensor(name, np.full(4, 2.0, dtype=np.float32))
                super().write_header_to_file(*rest, **options)

        monkeypatch.setattr(gguf, "GGUFWriter", Writer)
        return write_gguf(tmp_path / "some.gguf", builders.random_hf("llama"))

    return write


def kept():
    models = cache_folder() / "models"
    return list(models.iterdir()) if models.exists() else []


def test_a_gguf_file_that_lacks_tensors_is_refused_each_time_and_never_kept(written):
    file = written(without=("blk.1.ffn_up.weight",))
    for _ in range(2):
        with pytest.raises(
            ModelError, match=r"some\.gguf'?: its files lack 1 weight .*: model\.layers\.1\.mlp\.up_proj\.weight\."
        ):
            load_model(file)
        assert kept() == []


def test_a_gguf_file_without_an_output_matrix_has_tied_weights(written):
    model = load_model(written(without=("output.weight",)))
    assert torch.equal(model.hf.lm_head.weight, model.hf.model.embed_tokens.weight)


def test_what_transformers_passes_over_in_a_gguf_file_is_refused_on_the_first_and_on_later_loads(written):
    file = written(more=("rope_freqs.weight",))
    for _ in range(2):
        with pytest.raises(ModelError, match=r"hold 1 weight that LlamaForCausalLM has no place for: rope_freqs\.weight"):
            load_model(file)
    assert load_model(file, allow_unexpected=["^rope_freqs."]).unexpected == ("rope_freqs.weight",)
    assert len(kept()) == 1
