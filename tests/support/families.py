"""Every causal class of the installed transformers as a tiny random model: the list is data, one line a family.

The families are the keys of transformers' own ``MODEL_FOR_CAUSAL_LM_MAPPING_NAMES``. ``SMALL`` is what every configuration
gets of the settings that it knows; a line of ``FAMILIES`` adds what the family needs beyond that. Hybrid models get at
least one layer of each kind, and windows are shorter than the prompts.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

# The newest release whose families were all tried. A later one may add families that have no line yet.
TRIED_UP_TO = "5.25.0"
WIDTH, VOCABULARY = 32, 304

_NONE = (
    "hidden_dropout", "attention_dropout", "resid_pdrop", "embd_pdrop", "emb_pdrop", "attn_pdrop", "dropout",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "activation_dropout", "residual_dropout", "resid_dropout",
    "attention_dropout_prob", "layerdrop", "decoder_layerdrop", "ffn_dropout", "embedding_dropout", "embed_dropout",
    "summary_first_dropout", "summary_last_dropout", "dropout_p", "local_attention_probs_dropout_prob",
)  # fmt: skip
SMALL: dict[str, Any] = {
    **dict.fromkeys(_NONE, 0.0),
    "vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
    "hidden_size": WIDTH, "n_embd": WIDTH, "d_model": WIDTH, "dim": WIDTH, "emb_dim": WIDTH, "word_embed_proj_dim": WIDTH,
    "embedding_size": WIDTH, "input_embedding_size": WIDTH, "output_embedding_size": WIDTH,
    "intermediate_size": 48, "ffn_dim": 48, "n_inner": 48, "d_ff": 48, "d_inner": 48, "dim_ff": 48, "dff": 48,
    "ffn_hidden_size": 48, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "intermediate_size_mlp": 48,
    "shared_intermediate_size": 48, "feed_forward_size": 48, "dense_intermediate_size": 48,
    "num_hidden_layers": 3, "n_layer": 3, "n_layers": 3, "num_layers": 3, "decoder_layers": 3, "encoder_layers": 3,
    "num_decoder_layers": 3, "num_encoder_layers": 3,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "decoder_attention_heads": 4,
    "encoder_attention_heads": 4, "num_key_value_heads": 2, "num_kv_heads": 2, "head_dim": 8, "d_head": 8, "dim_head": 8,
    "max_position_embeddings": 512, "n_positions": 512, "max_seq_len": 512, "context_length": 512,
    "max_source_positions": 512, "max_target_positions": 512,
    "is_decoder": True, "is_encoder_decoder": False, "sliding_window": 8, "attention_window_size": 8,
    "sliding_window_size": 8, "attention_chunk_size": 8, "local_attention": 8,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "moe_k": 2, "moe_topk": 2, "moe_intermediate_size": 16, "expert_ffn_hidden_size": 16, "n_shared_experts": 1,
    "moe_shared_expert_intermediate_size": 16, "shared_expert_intermediate_size": 16, "n_group": 1, "topk_group": 1,
    "kv_lora_rank": 8, "q_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8, "rotary_dim": 4,
    "index_head_dim": 8, "index_n_heads": 16, "index_topk": 16,
    "mamba_d_state": 4, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_expand": 2, "mamba_n_groups": 1,
    "mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 4, "state_size": 4, "n_groups": 1,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "linear_num_heads": 4, "linear_head_dim": 8,
}  # fmt: skip

_VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 14}
_MIXED = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
_LINEAR = {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}
_CONV = {"layer_types": ["conv", "full_attention", "conv"]}
_LATENT = {"num_key_value_heads": 4}  # attention over latent vectors has as many keys as queries
_GEMMA = {**_MIXED, "query_pre_attn_scalar": 8}
_PER_LAYER = {"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8}
# Gemma 4 wants its last layer to attend to everything.
_GEMMA4 = {"layer_types": ["sliding_attention", "full_attention", "full_attention"], **_PER_LAYER,
           "num_kv_shared_layers": 1, "global_head_dim": 16}  # fmt: skip
_DOTS3 = {
    **_LATENT,
    "layer_types": ["sliding_attention", "indexed_attention", "sliding_attention"],
    "shared_experts_intermediate_size": 16,
    "swa_num_attention_heads": 2,
    "swa_num_key_value_heads": 2,
    "swa_q_lora_rank": 16,
    "swa_kv_lora_rank": 8,
    "swa_head_dim": 12,
    "swa_qk_nope_head_dim": 8,
    "swa_v_head_dim": 8,
}
_INKLING = {
    "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 8,
    "unpadded_vocab_size": VOCABULARY,
    "rel_extent": 16,
    "logits_mup_width_multiplier": 1.0,
}
_INKLING2 = {**_INKLING, "n_layers_per_attn_res_block": 1}
_QWEN4 = {
    **_LINEAR,
    "hc_lowrank": 8,
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 16,
    "indexer_compress_ratio": 4,
}

FAMILIES: dict[str, dict[str, Any]] = {
    "afmoe": _MIXED,
    "apertus": {},
    "apertus1p5_text": {},
    "arcee": {},
    "aria_text": {},
    "axk1": _LATENT,
    "axk2": _LATENT,
    "bailing_hybrid": {**_LINEAR, **_LATENT, "mlp_layer_types": ["dense", "sparse", "sparse"]},
    "bamba": {"attn_layer_indices": [1]},
    "bart": {},
    "beam": {},
    "bert": {},
    "bert-generation": {},
    "big_bird": {"attention_type": "original_full"},
    "bigbird_pegasus": {"attention_type": "original_full"},
    "biogpt": {},
    "bitnet": {},
    "blenderbot": {},
    "blenderbot-small": {},
    "bloom": {},
    "blt": {"encoder_hash_byte_group_vocab": 64, "patcher_config": {}, "global_config": {},
            "encoder_config": {"hidden_size_global": WIDTH}, "decoder_config": {"hidden_size_global": WIDTH}},
    "camembert": {},
    "codegen": {},
    "cohere": {"logit_scale": 1.0},
    "cohere2": {**_MIXED, "logit_scale": 1.0},
    "cohere2_moe": {**_MIXED, "logit_scale": 1.0},
    "cohere_compass_text": {**_MIXED, "logit_scale": 1.0, "rope_parameters": {
        kind: {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
        for kind in ("full_attention", "sliding_attention")}},
    "cpmant": {"prompt_length": 4},
    "ctrl": {},
    "cwm": {},
    "data2vec-text": {},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4}, "ffn_config": {}},
    "deepseek_v2": _LATENT,
    "deepseek_v3": _LATENT,
    "deepseek_v32": _LATENT,
    "deepseek_v4": {"o_groups": 2, "o_lora_rank": 8,
                    "layer_types": ["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"]},
    "diffllama": {},
    "doge": {},
    "dory": {"n_input_layers": 1, "n_recurrent_layers": 1, "n_output_layers": 1},
    "dots1": _MIXED,
    "dots3_note": {"text_config": _DOTS3,
                   "vision_config": {**_VISION, "pyramid_num_routed": [-1], "adapter_in_dim": 16, "adapter_out_dim": WIDTH},
                   "audio_config": {"adapter_input_size": WIDTH, "adapter_out_dim": WIDTH}},
    "dots3_note_text": _DOTS3,
    "electra": {},
    "emu3": {"text_config": {}},
    "ergo": {**_MIXED, "first_dense_intermediate_size": 48},
    "ernie": {},
    "ernie4_5": {},
    "ernie4_5_moe": {},
    "exaone": {},
    "exaone4": _MIXED,
    "exaone_moe": _MIXED,
    "falcon": {"alibi": False},
    "falcon_h1": {"mamba_d_ssm": 64},
    "falcon_mamba": {},
    "flex_olmo": {},
    "flint": {},
    "fuyu": {"text_config": {"model_type": "persimmon"}},
    "gemma": {},
    "gemma2": {**_GEMMA, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 6.0},
    "gemma3": {"text_config": _GEMMA, "vision_config": {"model_type": "siglip_vision_model", **_VISION, "image_size": 28},
               "mm_tokens_per_image": 1, "image_token_index": 300},
    "gemma3_text": _GEMMA,
    "gemma3n_text": {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"], **_PER_LAYER,
                     "num_kv_shared_layers": 1, "laurel_rank": 4, "intermediate_size": 48},
    "gemma4": {"text_config": _GEMMA4, "vision_config": _VISION, "audio_config": None, "image_token_id": 300,
               "video_token_id": 301, "audio_token_id": 302},
    "gemma4_text": _GEMMA4,
    "gemma4_unified": {"text_config": _GEMMA4, "vision_config": {**_VISION, "patch_size": 4, "mm_embed_dim": 16},
                       "audio_config": {}},
    "gemma4_unified_text": _GEMMA4,
    "git": {"vision_config": {**_VISION, "image_size": 28}},
    "glm": {},
    "glm4": {},
    "glm4_moe": {},
    "glm4_moe_lite": _LATENT,
    "glm_moe_dsa": _LATENT,
    "gpt-sw3": {},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 8},
    "gpt_neox": {},
    "gpt_neox_japanese": {},
    "gpt_oss": {},
    "gptj": {},
    "granite": {},
    "granite_swa": {},
    "granitemoe": {},
    "granitemoe_swa": {},
    "granitemoehybrid": {"layer_types": ["mamba", "attention", "mamba"]},
    "granitemoeshared": {},
    "helium": {},
    "hrm_text": {},
    "hunyuan_v1_dense": {},
    "hunyuan_v1_moe": {"moe_topk": [2, 2, 2]},
    "hy_v3": {},
    "hy_v4": {},
    "hyperclovax": {},
    "inkling2_loop_text": {**_INKLING2, "num_hidden_layers": 4, "layer_types": ["hybrid_sliding", "hybrid"] * 2,
                           "loop_layer_index_start": 1, "loop_layer_index_end": 3, "loop_num_passes": 2, "loop_gate_rank": 4},
    "inkling2_text": _INKLING2,
    "inkling_text": _INKLING,
    "internlm3": {},
    "iquestcoder": {},
    "jais2": {},
    "jamba": {"attn_layer_period": 3, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "jetmoe": {"kv_channels": 8},
    "kimi_linear": {**_LINEAR, **_LATENT},
    "kolibri1": _MIXED,
    "kolibri1_1": {"layer_types": ["sliding_attention", "indexed_attention", "sliding_attention"], "head_dim": 16,
                   "index_num_heads": 2, "index_num_local_tokens": 4, "index_num_sink_tokens": 1, "index_pool_size": 16,
                   "index_compression": 4, "mlp_only_intermediate_size": 48},
    "laguna": _MIXED,
    "lara_mini": {},
    "lfm2": _CONV,
    "lfm2_moe": {**_CONV, "num_dense_layers": 1},
    "lfm3": {},
    "llama": {},
    "llama4": {"text_config": {"layer_types": ["chunked_attention", "full_attention", "chunked_attention"]},
               "vision_config": _VISION},
    "llama4_text": {"layer_types": ["chunked_attention", "full_attention", "chunked_attention"]},
    "longcat_flash": {**_LATENT, "zero_expert_num": 2, "head_dim": 4},
    "mamba": {},
    "mamba2": {"head_dim": 16},
    "marian": {},
    "mbart": {},
    "megatron-bert": {},
    "mellum": _MIXED,
    "mimo_v2_flash": {},
    "minicpm3": _LATENT,
    "minicpm5_moe": {},
    "minimax": _LINEAR,
    "minimax_m2": {},
    "minimax_m3_vl_text": {},
    "ministral": _MIXED,
    "ministral3": {},
    "mistral": {},
    "mixtral": {},
    "mllama": {"text_config": {"cross_attention_layers": [1]}, "vision_config": _VISION},
    "modernbert-decoder": {},
    "moshi": {},
    "moss_transcribe_diarize": {"text_config": {"model_type": "qwen3"}, "audio_config": {}},
    "mpt": {},
    "mvp": {},
    "nanochat": {},
    "nemotron": {},
    "nemotron_h": {"layers_block_type": ["mamba", "moe", "attention", "mlp"], "use_mamba_kernels": False},
    "olmo": {},
    "olmo2": {},
    "olmo3": _MIXED,
    "olmo_hybrid": {},
    "olmoe": {},
    "openai-gpt": {},
    "opt": {},
    "param2moe": {},
    "pegasus": {},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "phimoe": {},
    "plbart": {},
    "prophetnet": {},
    "qwen2": {},
    "qwen2_moe": {},
    "qwen3": {},
    "qwen3_5": {"text_config": _LINEAR, "vision_config": {}},
    "qwen3_5_moe": {"text_config": _LINEAR, "vision_config": {}},
    "qwen3_5_moe_text": _LINEAR,
    "qwen3_5_text": _LINEAR,
    "qwen3_moe": {},
    "qwen3_next": _LINEAR,
    "qwen4_exp": {"text_config": _QWEN4, "vision_config": {}},
    "qwen4_exp_text": _QWEN4,
    "recurrent_gemma": {"block_types": ["recurrent", "attention", "recurrent"]},
    "reformer": {"axial_pos_shape": [16, 32], "axial_pos_embds_dim": [8, 24], "attention_head_size": 8},
    "rembert": {},
    "roberta": {},
    "roberta-prelayernorm": {},
    "roc_bert": {"enable_pronunciation": False, "enable_shape": False, "pronunciation_vocab_size": 9, "shape_vocab_size": 9},
    "roformer": {},
    "rwkv": {},
    "sarvam_mla": _LATENT,
    "sarvam_moe": {},
    "seed_oss": {},
    "smollm3": {},
    "solar_open": {},
    "stablelm": {},
    "starcoder2": {},
    "trocr": {},
    "vaultgemma": {},
    "whisper": {},
    "xglm": {},
    "xlm": {"causal": True},
    "xlm-roberta": {},
    "xlm-roberta-xl": {},
    "xlnet": {},
    "xlstm": {},
    "xmod": {"default_language": "en_XX"},
    "youtu": _LATENT,
    "zamba": {"layers_block_type": ["mamba", "hybrid", "mamba"], "use_mamba_kernels": False},
    "zamba2": {"layers_block_type": ["mamba", "hybrid", "mamba"], "use_mamba_kernels": False},
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}  # fmt: skip

# Families of the mapping that are not built here, and why.
NOT_BUILT: dict[str, str] = {
    "gemma3n": "its vision tower is a timm model, and timm is not installed; its text model is gemma3n_text",
    "gemma4_assistant": "drafts tokens for another model, whose hidden states it needs",
    "gemma4_unified_assistant": "drafts tokens for another model, whose hidden states it needs",
    "got_ocr2": "reads pictures by layers whose size no setting changes; its text model is qwen2",
    "musicgen": "writes the codes of several codebooks of sound at once, not text",
    "musicgen_melody": "writes the codes of several codebooks of sound at once, not text",
    "phi4_multimodal": "hears and sees by layers whose size no setting changes; its text model is that of phi3",
}


def build(family: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """A random transformers model of a family, in evaluation mode.

    The weights are larger than transformers' own start values, so that steering visibly moves the logits. What is neither a
    matrix nor a norm nor a bias (decays, time steps) keeps its start value: a recurrence of random decays explodes.
    """
    torch.manual_seed(seed)
    hf = transformers.AutoModelForCausalLM.from_config(config_of(family)).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in sorted(hf.named_parameters()):
            noise = torch.randn(weights.shape, generator=generator)
            if name.rpartition(".")[2] in _KEPT:
                continue
            if weights.ndim >= 2:
                weights.copy_(noise * (0.5 if "emb" in name or "wte" in name or "wpe" in name else 0.2))
            elif "norm" in name or "ln_" in name:
                weights.add_(0.1 * noise)
            elif "bias" in name.rpartition(".")[2]:
                weights.copy_(0.1 * noise)
    hf.generation_config.pad_token_id, hf.generation_config.eos_token_id = 0, None
    return hf.to(dtype)


# Decays and time steps, by the last part of their names in transformers.
_KEPT = ("A_log", "dt_bias", "time_decay", "time_first", "D", "recurrent_param", "slope_rate")


def config_of(family: str) -> Any:
    """The small configuration of a family."""
    return _config(getattr(transformers, CONFIG_MAPPING_NAMES[family]), FAMILIES[family])


def _config(config_class: Any, more: dict[str, Any]) -> Any:
    names = config_class.__dataclass_fields__
    settings = {name: value for name, value in SMALL.items() if name in names}
    for name, value in more.items():
        inner = config_class.sub_configs.get(name)
        if inner is not None and value is not None:
            value = {**value}
            kind = value.pop("model_type", None)
            value = _config(inner if kind is None else getattr(transformers, CONFIG_MAPPING_NAMES[kind]), value)
        settings[name] = value
    return config_class(**settings)


# --- what was seen of them ---------------------------------------------------------------------------------------------------

_STREAMS = "several streams side by side"
_HYPER = "hyper-connections: several residual streams, mixed anew by each block"
_AHEAD = "its tokens see those after them"
# Families that are refused as a whole: when, part of the message, and the reason in the page of models.
REFUSED: dict[str, tuple[str, str, str]] = {
    "blt": (
        "loading",
        "its configuration has no num_hidden_layers",
        "bytes and patches of bytes pass three stacks of blocks",
    ),
    "hrm_text": ("loading", "the decoder blocks were not found", "two stacks of blocks are run in turns, many times"),
    "xlm": ("loading", "the decoder blocks were not found", "attentions and MLPs stand in two lists, there are no blocks"),
    "cpmant": ("use", _AHEAD, _AHEAD),
    "prophetnet": ("use", _AHEAD, _AHEAD),
    "xlnet": ("use", _AHEAD, _AHEAD),
    "deepseek_v4": ("use", _STREAMS, _HYPER),
    "gemma3n_text": ("use", _STREAMS, "AltUp: four residual streams, predicted and corrected by each block"),
    "hy_v4": ("use", _STREAMS, _HYPER),
    "qwen4_exp": ("use", _STREAMS, _HYPER),
    "qwen4_exp_text": ("use", _STREAMS, _HYPER),
    "reformer": ("use", "an object of its own kind", "reversible blocks: two residual streams"),
}
# Families of which some layers are refused.
REFUSED_LAYERS: dict[str, tuple[tuple[int, ...], str, str]] = {
    "dory": ((1,), "the model runs this block 2 times in one forward", "blocks in the middle run several times"),
    "inkling2_loop_text": (
        (1, 2), "the model runs this block 2 times in one forward", "blocks in the middle run several times",
    ),
    "mllama": ((1,), "the model leaves this block out when it reads text alone", "blocks that read pictures only"),
}  # fmt: skip
# What the unsteered models themselves do not keep to (positions that count padding, no use of the mask, a cache that transformers
# cannot go on from), so that steering cannot be held to it either; the check of hooks says so.
_SIDE = (
    "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "marian", "mbart", "mvp", "pegasus", "plbart", "recurrent_gemma",
    "roformer", "rwkv", "trocr", "whisper", "xlstm",
)  # fmt: skip
NOT_CHECKED: dict[str, tuple[str, ...]] = {
    "padding_side": _SIDE,
    "cached_decoding": ("openai-gpt", "recurrent_gemma", "xlstm"),
}
MEASURED = tuple(family for family in FAMILIES if family not in REFUSED)


def layer_of(family: str) -> int:
    """The layer that tests steer: the second one, or the first if that is refused."""
    return 0 if family in REFUSED_LAYERS else 1


# --- the page of models ------------------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def filled(text: str) -> str:
    """The page with its lists made anew: what stands between ``<!-- NAME -->`` and ``<!-- end -->``."""
    whole = [(family, reason) for family, (*_, reason) in REFUSED.items()]
    layers = [(f"{family} (some layers)", reason) for family, (*_, reason) in REFUSED_LAYERS.items()]
    lists = {
        "measured": textwrap.fill(", ".join(f"`{family}`" for family in MEASURED), 200),
        "refused": _table("Family", [*whole, *layers]),
        "not built": _table("Family", NOT_BUILT.items()),
        "not checked": "\n".join(
            ["| Property | Families |", "|---|---|"]
            + [f"| `{name}` | {', '.join(f'`{family}`' for family in own)} |" for name, own in NOT_CHECKED.items()]
        ),
        "numbers": f"{len(FAMILIES)} build as tiny random models, {len(MEASURED)} are measured, {len(REFUSED)} are refused.",
    }
    for name, content in lists.items():
        start, end = f"<!-- {name} -->", "<!-- end -->"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}\n{content}\n{end}{after}"
    return text


def _table(head: str, rows: Any) -> str:
    return "\n".join([f"| {head} | Why |", "|---|---|", *(f"| `{name}` | {why} |" for name, why in rows)])


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
