"""A small GGUF model as llama.cpp writes it."""

from __future__ import annotations

import builders
import gguf


def write_gguf(path, hf, *, tokenizer=None, merges=None, template=builders.CHATML, quantised=None):
    """A llama model as llama.cpp's converter writes it: F32, rotary weights permuted, the tokenizer's lists in the file.

    Args:
        tokenizer / merges / template: those of the model, instead of ours for tests.
        quantised: the type of ``gguf`` in which matrices are stored, such as Q8_0.
    """
    config, tokenizer = hf.config, tokenizer or builders.tokenizer(None)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    count = len(tokenizer)
    tokens = [*tokenizer.convert_ids_to_tokens(range(count)), *(f"<unused{i}>" for i in range(config.vocab_size - count))]
    writer.add_token_list(tokens)
    special = {*builders.SPECIAL, *tokenizer.get_added_vocab()}
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{a} {b}" for a, b in merges or builders.merges()])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)

    def permuted(weights, heads):
        return (
            weights.reshape(heads, 2, weights.shape[0] // heads // 2, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)
        )

    def add(name, weights):
        if quantised is None or weights.ndim == 1:
            writer.add_tensor(name, weights)
        else:
            writer.add_tensor(name, gguf.quants.quantize(weights, quantised), raw_dtype=quantised)

    state = {name: value.float().numpy() for name, value in hf.state_dict().items()}
    add("token_embd.weight", state["model.embed_tokens.weight"])
    add("output_norm.weight", state["model.norm.weight"])
    if not config.tie_word_embeddings:
        add("output.weight", state["lm_head.weight"])
    names = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    for layer in range(config.num_hidden_layers):
        for short, long in names.items():
            weights = state[f"model.layers.{layer}.{long}.weight"]
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(short)
            add(f"blk.{layer}.{short}.weight", permuted(weights, heads) if heads else weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_builtin(path, quantised=None):
    """The built-in model as such a file."""
    import json

    from pytest_steer import load_model
    from pytest_steer.core.sources import BUILTIN_FOLDER

    model = load_model("builtin:tiny")
    merges = json.loads((BUILTIN_FOLDER / "tiny" / "tokenizer.json").read_text())["model"]["merges"]
    pairs = [one.split(" ") if isinstance(one, str) else one for one in merges]
    template = model.tokenizer.chat_template
    return write_gguf(path, model.hf, tokenizer=model.tokenizer, merges=pairs, template=template, quantised=quantised)
