"""What a first look at a model's blocks finds, and steering models that keep their past in ways of their own."""

from __future__ import annotations

import builders
import families
import plain
import pytest
import torch
import transformers

from pytest_steer import SteeringInconclusive, assert_ppl_delta_below, perplexity, wrap_model
from pytest_steer.claims.drawn import explain
from pytest_steer.core.errors import ModelError, SteerError
from pytest_steer.measures.subject import Subject
from pytest_steer.model import block_outputs, steered
from pytest_steer.model.abilities import numbers_of, setting_at
from pytest_steer.model.sites import layers_with_heads, n_heads
from pytest_steer.model.state import structure_of
from pytest_steer.soundness import check_before

VECTOR = builders.random_vector(1, norm=12.0)


def model_of(family):
    return wrap_model(families.build(family), builders.tokenizer(), family)


def ids_of(text):
    return plain.ids_of(builders.tokenizer(), text, False)


def paligemma():
    """Its tokens of a prompt see each other in both directions."""
    text = {"model_type": "gemma", "vocab_size": 304, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}  # fmt: skip
    vision = {"model_type": "siglip_vision_model", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3,
              "num_attention_heads": 2, "image_size": 28, "patch_size": 14}  # fmt: skip
    torch.manual_seed(0)
    config = transformers.PaliGemmaConfig(text_config=text, vision_config=vision, image_token_index=300, projection_dim=32)
    hf = transformers.PaliGemmaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for weights in hf.parameters():
            if weights.ndim > 1:
                weights.mul_(10)
    return hf


# --- the first look ------------------------------------------------------------------------------------------------------


def test_a_prompt_that_is_read_in_both_directions_is_refused():
    model = wrap_model(paligemma(), builders.tokenizer(), "pali")
    with pytest.raises(ModelError, match=r"pali: its tokens see those after them .* reads from left to right"):
        perplexity(model, builders.TEXTS)


def test_a_bert_that_was_not_made_a_decoder_is_refused_and_one_that_was_is_measured():
    config = families.config_of("bert")
    config.is_decoder = False
    both = wrap_model(transformers.AutoModelForCausalLM.from_config(config), builders.tokenizer(), "bert")
    with pytest.raises(ModelError, match="bert: its tokens see those after them"):
        perplexity(both, builders.TEXTS)
    assert not structure_of(model_of("bert")).refused


def test_a_model_that_does_not_run_on_tokens_alone_is_refused():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    straight = model.hf.forward

    def needs_more(input_ids=None, pixel_values=None, **more):
        if pixel_values is None:
            raise ValueError("you have to give pixel_values")
        return straight(input_ids=input_ids, **more)

    model.hf.forward = needs_more
    with pytest.raises(ModelError, match="m: it does not run on tokens alone: ValueError: you have to give pixel_values"):
        perplexity(model, builders.TEXTS)


def test_the_look_is_taken_once_and_leaves_nothing():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    runs = []
    handle = model.hf.register_forward_hook(lambda *_: runs.append(1))
    first = structure_of(model)
    assert structure_of(model) is first
    assert runs == []  # hooks of others take no part in it
    handle.remove()
    assert builders.hooks_of(model.hf) == 0


def test_positions_are_left_to_a_model_that_counts_them_otherwise():
    """RoBERTa's first token has the number of its padding token plus one."""
    assert not structure_of(model_of("roberta")).told_positions
    assert structure_of(model_of("gpt2")).told_positions
    assert not structure_of(model_of("bloom")).told_positions


def test_settings_that_differ_between_layers():
    config = families.config_of("dots3_note_text")
    assert numbers_of(config, "num_attention_heads") == (2, 4)
    assert [setting_at(config, layer, "num_attention_heads") for layer in range(3)] == [2, 4, 2]
    assert numbers_of(config, "hidden_size") == (32,)
    assert numbers_of(config, "nothing_like_it") == ()
    assert [n_heads(model_of("dots3_note_text"), layer) for layer in range(3)] == [2, 4, 2]


def test_layers_with_heads():
    assert layers_with_heads(model_of("jamba")) == (1,)
    assert layers_with_heads(model_of("nemotron_h")) == (2,)
    assert layers_with_heads(model_of("llama")) == (0, 1, 2)
    with pytest.raises(ModelError, match=r"mamba: the attention of block 0 .* was not found"):
        layers_with_heads(model_of("mamba"))


# --- sites inside of blocks ----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_mlp_of_a_parallel_block_is_read_before_the_attention_is_added_to_it():
    model = wrap_model(builders.random_hf("falcon"), builders.tokenizer(), "m")
    ids = tuple(ids_of(builders.TEXTS[0]))
    inputs = []
    handle = model.blocks[1].register_forward_pre_hook(lambda _module, args: inputs.append(args[0].clone()))
    model.hf(input_ids=torch.tensor([ids]), use_cache=False)
    handle.remove()
    want = model.blocks[1].mlp(model.blocks[1].input_layernorm(inputs[0]))[0]
    found = block_outputs(model, [ids], (1,), lambda _, hidden: hidden, "mlp")[1][0]
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["granitemoeshared", "longcat_flash"])
def test_a_block_that_adds_up_two_mlps_has_no_mlp_site(family):
    with pytest.raises(ModelError, match=f"{family}: block 1 .* adds up two MLPs"):
        block_outputs(model_of(family), [(5, 6, 7)], (1,), lambda _, hidden: hidden, "mlp")


# --- masks and states ----------------------------------------------------------------------------------------------------


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", ["gemma3", "gemma4", "mamba2", "llama"])
@pytest.mark.parametrize("scope", ["all", "after_prompt", "last"])
@torch.no_grad()
def test_padded_prompts_of_a_chat_are_generated_from_as_if_alone(family, scope):
    """The scope is found in the tokens that the outer model was given; nothing is said of lengths."""
    model = model_of(family)
    tokenizer = model.tokenizer
    prompts = []
    for question in ("Hi", "Which of the two is it to be, and why?"):
        turns = [{"role": "user", "content": question}]
        prompts.append(
            plain.ids_of(tokenizer, tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True), False)
        )
    length = max(map(len, prompts))
    ids, mask = (torch.zeros(2, length, dtype=torch.long) for _ in range(2))
    for row, own in enumerate(prompts):
        ids[row, length - len(own) :], mask[row, length - len(own) :] = torch.tensor(own), 1
    for cached in (True, False):
        with steered(model, VECTOR, 1.0, positions=scope):
            out = model.hf.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=4, min_new_tokens=4, do_sample=False, use_cache=cached,
                return_dict_in_generate=True, output_logits=True,
            )  # fmt: skip
        for row, own in enumerate(prompts):
            new = out.sequences[row, length:].tolist()
            opening = len(plain.ids_of(tokenizer, "<|im_start|>assistant\n", False))
            start = plain.start_of(scope, len(own) - opening, len(own))
            want = plain.logits(model.hf, own + new, VECTOR.directions, 1.0, start)[len(own) - 1 : -1]
            got = torch.stack([step[row] for step in out.logits]).float()
            torch.testing.assert_close(got, want, rtol=0, atol=1e-3)


@pytest.mark.parametrize("family", ["llama", "mamba2", "rwkv", "minimax"])
@torch.no_grad()
def test_a_state_from_outside_of_the_block_is_an_error(family):
    model = model_of(family)
    ids = torch.tensor([ids_of(builders.TEXTS[0])])
    out = model.hf(input_ids=ids, use_cache=True)
    name = "state" if family == "rwkv" else "cache"
    with (
        pytest.raises(SteerError, match="a cache that was filled outside of this steering block"),
        steered(model, VECTOR, 1.0),
    ):
        model.hf(input_ids=ids[:, :1], use_cache=True, **{name: out[name]})
    assert builders.hooks_of(model.hf) == 0


@pytest.mark.parametrize("family", ["mamba", "rwkv", "minimax", "llama"])
@torch.no_grad()
def test_a_second_prompt_in_one_block_begins_anew(family):
    """What is counted is counted from the prompt that a state began with."""
    model, short, long = model_of(family), ids_of("Hi there"), ids_of(builders.TEXTS[0])

    def logits(ids):
        out = model.hf.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=3,
            min_new_tokens=3, do_sample=False, return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
        return torch.stack(out.logits, 1)

    alone = []
    for ids in (long, short):
        with steered(model, VECTOR, 1.0, positions="last"):
            alone.append(logits(ids))
    with steered(model, VECTOR, 1.0, positions="last"):
        together = [logits(long), logits(short)]
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


# --- what is said of the hooks -------------------------------------------------------------------------------------------


def test_what_the_check_could_not_look_at_is_said():
    model = model_of("xlstm")
    with pytest.raises(SteeringInconclusive) as decided:  # a random model, which reads no text
        assert_ppl_delta_below(model, builders.random_vector(1, norm=1e-3), builders.TEXTS, limit=0.5, min_n=2)
    evidence = decided.value.evidence
    record = evidence.soundness
    assert record.sound is True
    assert "raises ValueError" in record.skipped["cached_decoding"]
    assert "hooks not checked (cached decoding): the unsteered model" in explain(evidence)


def test_a_check_that_saw_nothing_does_not_say_sound():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    with torch.no_grad():
        model.hf.get_output_embeddings().weight[0, 0] = float("nan")
    record = check_before(model, Subject(vector=VECTOR, positions="all"))
    assert record.sound is None
    assert "NaN or infinity" in record.skipped["all"]


def test_recurrent_decoding_is_compared_with_plain_hooks():
    """MiniMax's cached decoding gives other logits than a whole forward. Its steering is checked all the same."""
    record = check_before(model_of("minimax"), Subject(vector=VECTOR, positions="all"))
    assert record.sound
    assert "cached_decoding" in record.holds
