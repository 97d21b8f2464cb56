"""Small models and tokenizers for the tests, built in code: nothing is downloaded and nothing is trained.

Two kinds of models: random ones, one per family of decoders, and models with known answers, whose weights are set by
hand so that slopes, anti-steerable items and perplexities have a closed form (see the classes at the end).
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as token_models
from transformers import PreTrainedTokenizerFast

from pytest_steer import ContrastItem, Model, SteeringVector, wrap_model

WIDTH = 32
LAYERS = 3
VOCABULARY = 304
WINDOW = 8  # of the families with sliding windows: far shorter than the prompts

# --- tokenizers ----------------------------------------------------------------------------------------------------------

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe brief.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
# Each word is one token, with and without a space before it; everything else is spelled in bytes.
WORDS = ("Yes", "No")
SPACE, LINE_FEED = "\u0120", "\u010a"  # as byte-level tokenizers spell them


def merges() -> list[tuple[str, str]]:
    pairs = []
    for word in WORDS:
        pairs += [(word[:end], word[end]) for end in range(1, len(word))]
        pairs.append((SPACE, word))
    return pairs


@cache
def tokenizer(
    template: str | None = CHATML,
    merged: tuple[tuple[str, str], ...] = (),
    begin: bool = False,
    end: bool = False,
) -> Any:
    """A byte-level BPE tokenizer of at most ``VOCABULARY`` tokens.

    Args:
        template: the chat template; None for a tokenizer without one.
        merged: further pairs of tokens (in byte-level spelling) that become one.
        begin / end: put ``<s>`` before, ``</s>`` behind a text.
    """
    pairs = [*merges(), *merged]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *alphabet, *(a + b for a, b in pairs)])}
    assert len(vocabulary) <= VOCABULARY
    fast = Tokenizer(token_models.BPE(vocab=vocabulary, merges=pairs))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    if begin or end:
        parts = " ".join(["<s>"] * begin + ["$A"] + ["</s>"] * end)
        fast.post_processor = processors.TemplateProcessing(single=parts, special_tokens=[("<s>", 1), ("</s>", 2)])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=fast, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    wrapped.chat_template = template
    return wrapped


@cache
def word_tokenizer(words: tuple[str, ...]) -> Any:
    """A tokenizer without a chat template whose tokens are words between white space, and "("; other words are ``<unk>``."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", *words])}
    fast = Tokenizer(token_models.WordLevel(vocab=vocabulary, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern=Regex(r"\s+"), behavior="removed"),
            pre_tokenizers.Split(pattern="(", behavior="isolated"),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=fast, unk_token="<unk>")


class Slow:
    """A tokenizer that cannot say where its tokens stand in the text."""

    is_fast = False

    def __init__(self, fast: Any) -> None:
        self._fast = fast

    def __call__(self, text: str, *, return_offsets_mapping: bool = False, **more: Any) -> Any:
        assert not return_offsets_mapping
        return self._fast(text, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fast, name)


# --- random models, one per family -----------------------------------------------------------------------------------------

_COMMON: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_LLAMA_LIKE: dict[str, Any] = {
    **_COMMON, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
_GPT_LIKE: dict[str, Any] = {
    **_COMMON, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4, "n_positions": 512, "n_ctx": 512, "resid_pdrop": 0.0,
    "embd_pdrop": 0.0, "attn_pdrop": 0.0,
}  # fmt: skip

_CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", _LLAMA_LIKE),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", _LLAMA_LIKE),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {**_LLAMA_LIKE, "head_dim": 8}),
    "gemma2": (
        "Gemma2Config",
        "Gemma2ForCausalLM",
        {**_LLAMA_LIKE, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": WINDOW, "attn_logit_softcapping": 5.0,
         "final_logit_softcapping": 6.0, "tie_word_embeddings": False, "attn_implementation": "eager"},
    ),
    "gemma3": (
        "Gemma3TextConfig",
        "Gemma3ForCausalLM",
        {**_LLAMA_LIKE, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": WINDOW, "tie_word_embeddings": False,
         "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "mistral": ("MistralConfig", "MistralForCausalLM", {**_LLAMA_LIKE, "head_dim": 8, "sliding_window": WINDOW}),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", _LLAMA_LIKE),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {**_GPT_LIKE, "tie_word_embeddings": False}),
    "neox": (
        "GPTNeoXConfig",
        "GPTNeoXForCausalLM",
        {k: v for k, v in _LLAMA_LIKE.items() if k != "num_key_value_heads"} | {"hidden_dropout": 0.0, "attention_dropout": 0.0},
    ),
    "opt": (
        "OPTConfig",
        "OPTForCausalLM",
        {**_COMMON, "hidden_size": WIDTH, "ffn_dim": 48, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
         "max_position_embeddings": 512, "word_embed_proj_dim": WIDTH, "dropout": 0.0, "tie_word_embeddings": False},
    ),
    "olmo2": ("Olmo2Config", "Olmo2ForCausalLM", _LLAMA_LIKE),
    "gptj": ("GPTJConfig", "GPTJForCausalLM", {**_GPT_LIKE, "rotary_dim": 4, "tie_word_embeddings": False}),
    "bloom": (
        "BloomConfig",
        "BloomForCausalLM",
        {**_COMMON, "hidden_size": WIDTH, "n_layer": LAYERS, "n_head": 4, "hidden_dropout": 0.0, "attention_dropout": 0.0,
         "tie_word_embeddings": False},
    ),
    "falcon": (
        "FalconConfig",
        "FalconForCausalLM",
        {**_COMMON, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "multi_query": True,
         "parallel_attn": True, "alibi": False, "max_position_embeddings": 512, "hidden_dropout": 0.0,
         "attention_dropout": 0.0, "tie_word_embeddings": False},
    ),
    "openai": (  # its blocks return a list
        "OpenAIGPTConfig",
        "OpenAIGPTLMHeadModel",
        {**{k: v for k, v in _GPT_LIKE.items() if k != "n_ctx"}, "tie_word_embeddings": False},
    ),
}  # fmt: skip

FAMILIES = tuple(_CONFIGS)

# Further models for the engine alone. Windows wider than the prompts; positions that are no argument but a bias of the
# attention scores (ALiBi); tokens mixed by convolutions, which no attention mask can keep apart.
_WIDE = {"sliding_window": 256}
_CONFIGS |= {
    f"{name} wide": (*_CONFIGS[name][:2], {**_CONFIGS[name][2], **_WIDE}) for name in ("gemma2", "gemma3", "mistral")
}
_CONFIGS |= {
    "falcon alibi": (*_CONFIGS["falcon"][:2], {**_CONFIGS["falcon"][2], "alibi": True}),
    "mpt": (
        "MptConfig",
        "MptForCausalLM",
        {**_COMMON, "d_model": WIDTH, "n_heads": 4, "n_layers": LAYERS, "expansion_ratio": 2, "max_seq_len": 512},
    ),
    "lfm2": (
        "Lfm2Config",
        "Lfm2ForCausalLM",
        {**_LLAMA_LIKE, "block_ff_dim": 48, "layer_types": ["conv", "full_attention", "conv"]},
    ),
}
FURTHER = tuple(name for name in _CONFIGS if name not in FAMILIES)
# A recurrence that knows nothing of attention masks and forgets so fast that a branch's mistake is small at first.
_CONFIGS["rwkv"] = (
    "RwkvConfig",
    "RwkvForCausalLM",
    {**_COMMON, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "context_length": 512},
)

# Layers that keep a state in the place of keys and values of every token, alone or among layers of attention.
_MAMBA: dict[str, Any] = {"mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2}
_MAMBA2: dict[str, Any] = {
    **_MAMBA, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16,
}  # fmt: skip
_DELTA: dict[str, Any] = {
    "head_dim": 8, "layer_types": ["linear_attention", "full_attention", "linear_attention"], "linear_num_key_heads": 2,
    "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4,
}  # fmt: skip
_STATES: dict[str, Any] = {
    **_COMMON, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "state_size": 8, "conv_kernel": 4, "expand": 2,
}  # fmt: skip
_CONFIGS |= {
    "jamba": (
        "JambaConfig",
        "JambaForCausalLM",
        {**_LLAMA_LIKE, **_MAMBA, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "num_experts_per_tok": 1,
         "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_dt_rank": 4, "use_mamba_kernels": False},
    ),
    "bamba": ("BambaConfig", "BambaForCausalLM", {**_LLAMA_LIKE, **_MAMBA2, "attn_layer_indices": [1]}),
    "falcon h1": ("FalconH1Config", "FalconH1ForCausalLM", {**_LLAMA_LIKE, **_MAMBA2, "head_dim": 8, "mamba_d_ssm": 64}),
    "nemotron h": (
        "NemotronHConfig",
        "NemotronHForCausalLM",
        {**_LLAMA_LIKE, "layers_block_type": ["mamba", "attention", "mlp"], "head_dim": 8, "mamba_num_heads": 8,
         "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1, "conv_kernel": 4, "chunk_size": 16},
    ),
    "qwen3 next": (
        "Qwen3NextConfig",
        "Qwen3NextForCausalLM",
        {**_LLAMA_LIKE, **_DELTA, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
         "shared_expert_intermediate_size": 16, "decoder_sparse_step": 1},
    ),
    "qwen3.5": ("Qwen3_5TextConfig", "Qwen3_5ForCausalLM", {**_LLAMA_LIKE, **_DELTA}),
    "zamba2": (
        "Zamba2Config",
        "Zamba2ForCausalLM",
        {**_LLAMA_LIKE, "layers_block_type": ["mamba", "hybrid", "mamba"], "hybrid_layer_ids": [1], "mamba_d_state": 8,
         "mamba_d_conv": 4, "mamba_expand": 2, "mamba_ngroups": 1, "n_mamba_heads": 8, "mamba_headdim": 8, "chunk_size": 16,
         "num_mem_blocks": 1, "adapter_rank": 4, "use_mem_rope": True},
    ),
    "minimax": (
        "MiniMaxConfig",
        "MiniMaxForCausalLM",
        {**_LLAMA_LIKE, "head_dim": 8, "layer_types": _DELTA["layer_types"], "block_size": 16, "num_local_experts": 2,
         "num_experts_per_tok": 1},
    ),
    "mamba": ("MambaConfig", "MambaForCausalLM", {**_STATES, "time_step_rank": 4}),
    "mamba2": ("Mamba2Config", "Mamba2ForCausalLM", {**_STATES, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 16}),
}  # fmt: skip
STATEFUL = (
    "lfm2", "rwkv", "jamba", "bamba", "falcon h1", "nemotron h", "qwen3 next", "qwen3.5", "zamba2", "minimax", "mamba", "mamba2",
)  # fmt: skip

# The fast paths as they were observed. Where tokens stand in branches, windows shorter than the prompts forbid it.
WINDOWED = frozenset({"gemma2", "gemma3", "mistral"})
# BLOOM's tokens take no positions of their own, OpenAI GPT takes no mask but one for padding: nothing can branch.
UNPLACED = frozenset({"bloom", "openai"})
SHARING = frozenset(FAMILIES) - UNPLACED


# One family of each kind that the package tells apart: ordinary, windows, positions that have to be told, positions that follow from the
# mask and blocks that return a tuple, blocks that return a list and no cache, a state in the place of keys and values.
KINDS = ("llama", "gemma2", "gpt2", "bloom", "openai", "lfm2")


def each_kind_by_day(names: Any) -> list[Any]:
    """One family of each kind by day; the others in the nightly run. ``test_families.py`` measures every family every day."""
    return [pytest.param(name, marks=[] if name in KINDS else [pytest.mark.nightly]) for name in names]


def random_hf(family: str, seed: int = 0, **changes: Any) -> Any:
    """A random transformers model of a family, in float32 and evaluation mode.

    The weights are larger than transformers' own start values, so that steering visibly moves the logits.
    """
    config_class, model_class, settings = _CONFIGS[family]
    config = getattr(transformers, config_class)(**{**settings, **changes})
    attention = {**settings, **changes}.get("attn_implementation")
    if attention is not None:
        config._attn_implementation = attention
    hf = getattr(transformers, model_class)(config).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in sorted(hf.named_parameters()):
            noise = torch.randn(weights.shape, generator=generator)
            if weights.ndim >= 2:
                weights.copy_(noise * (0.5 if "emb" in name or "wte" in name or "wpe" in name else 0.2))
            elif "norm" in name or "ln_" in name or "layernorm" in name:
                weights.add_(0.1 * noise)
            else:
                weights.copy_(0.1 * noise)
    hf.generation_config.pad_token_id, hf.generation_config.eos_token_id = 0, None
    return hf


@cache
def random_model(family: str, chat: bool = True) -> Model:
    """A random model of a family with the byte-level tokenizer; built once, so its memo is shared: use a fresh Engine
    where it matters."""
    return wrap_model(random_hf(family), tokenizer(CHATML if chat else None), f"random {family}")


@cache
def random_vector(*layers: int, width: int = WIDTH, norm: float = 6.0, seed: int = 1) -> SteeringVector:
    """A random direction at each of the layers."""
    generator = torch.Generator().manual_seed(seed)
    directions = {}
    for layer in layers:
        direction = torch.randn(width, generator=generator)
        directions[layer] = direction / direction.norm() * norm
    return SteeringVector(directions)


def hooks_of(hf: Any) -> int:
    """How many forward hooks of any kind hang on the modules of a model."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in hf.modules() for kind in kinds)


def multimodal() -> Any:
    """A text decoder within a model that also sees pictures; its configuration is nested."""
    text = {**_CONFIGS["gemma3"][2], **_WIDE}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    config = transformers.Gemma3Config(
        text_config={key: value for key, value in text.items() if key != "tie_word_embeddings"},
        vision_config={**vision, "image_size": 28, "patch_size": 14}, mm_tokens_per_image=1, image_token_index=300,
        boi_token_index=301, eoi_token_index=302,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.Gemma3ForConditionalGeneration(config).eval()


def encoder_decoder() -> Any:
    config = transformers.T5Config(
        vocab_size=50, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=2, decoder_start_token_id=0, pad_token_id=0
    )
    return transformers.T5ForConditionalGeneration(config)


def encoder_only() -> Any:
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    return transformers.BertForMaskedLM(config)


# --- items ---------------------------------------------------------------------------------------------------------------

LONG = "Which of these two would you rather hear said aloud?"
LETTERED = (
    ContrastItem("Is it so?\n(A) Yes\n(B) No", ("(A)",), ("(B)",), "short"),
    ContrastItem(LONG + "\n(A) Slow\n(B) Quick", ("(B)",), ("(A)",), "long"),
    ContrastItem("Or?\n(A) a\n(B) b\n(C) c", ("(C)", "(A)"), ("(B)",), "list"),
)
WORDED = (
    ContrastItem("Do you?", ("surely",), ("no way at all",), "worded"),
    ContrastItem("Why " + LONG, ("Yes",), ("never",), "mixed lengths"),
    ContrastItem("When?", ("now", "Yes"), ("some day",), "lists"),
)
TEXTS = ("A short one.", LONG, "Tea is hot. Ice is not, and it never was.")


# --- models with known answers ---------------------------------------------------------------------------------------------


class Linear:
    """A model whose next-token logits are exactly linear in the multiplier.

    OPT without a final norm, its attention and MLP outputs zero: the residual stream is the embedding of the last token
    plus what steering adds. With embedding E_t = a_t * e0 (no positions), unembedding U_j = b_j * e0 + c_j * e1 and vector
    v = e1 at any layer, after the tokens ..., t (t steered at multiplier m)

        logit_j = a_t * b_j + m * c_j

    Beside the words there are as many tokens that it knows never to come: their logits are far below. So it reads texts of its words better than
    chance, even where all words are alike to it. The embedding of every token has a small part along e7 for that.
    """

    def __init__(self, words: tuple[str, ...], a: dict[str, float], b: dict[str, float], c: dict[str, float]) -> None:
        self.words, self.c = ("<unk>", *words), c
        self.tokenizer = word_tokenizer(words)
        width = 8
        config = transformers.OPTConfig(
            vocab_size=2 * len(self.words), hidden_size=width, ffn_dim=8, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=64, word_embed_proj_dim=width, dropout=0.0, tie_word_embeddings=False,
            do_layer_norm_before=True, _remove_final_layer_norm=True, bos_token_id=0, eos_token_id=0, pad_token_id=None,
        )  # fmt: skip
        hf = transformers.OPTForCausalLM(config).eval()
        with torch.no_grad():
            for name, weights in hf.named_parameters():
                if "out_proj" in name or "fc2" in name or "embed" in name or "lm_head" in name:
                    weights.zero_()
            for number, word in enumerate(self.words):
                hf.get_input_embeddings().weight[number, 0] = a.get(word, 0.0)
                hf.get_output_embeddings().weight[number, 0] = b.get(word, 0.0)
                hf.get_output_embeddings().weight[number, 1] = c.get(word, 0.0)
            hf.get_input_embeddings().weight[:, 7] = 1e-5
            hf.get_output_embeddings().weight[len(self.words) :, 7] = -60e5
        self.model = wrap_model(hf, self.tokenizer, "linear")

    def vector(self, layer: int = 0, size: float = 1.0) -> SteeringVector:
        return SteeringVector({layer: size * torch.eye(8)[1]})


class Counting:
    """A Llama that counts steered positions, with the norms of the real class in the closed form.

    Two blocks. Block 0 adds nothing. Block 1 attends to all positions alike (queries and keys are zero), its values and
    output projection are the identity, its MLP adds nothing. Every embedding is e * w and the vector is v * a, both
    along axes; U_j = c_j * a. Steered after block 0, k of the n positions so far, the last one among them or not (l = 1
    or 0), with ms(x) the mean square of one position's x over d = width and r(x) = sqrt(ms(x) + eps):

        steered position:    x = e w + m v a,  r1 = sqrt((e^2 + (m v)^2) / d + eps)
        unsteered position:  x = e w,          r0 = sqrt(e^2 / d + eps)
        after block 1:       along a:  A = l m v + (k / n) m v / r1
                             along w:  W = e + ((n - k) / n) e / r0 + (k / n) e / r1
        logit_j = c_j A / sqrt((A^2 + W^2) / d + eps)
    """

    e, v, width = 2.0, 1.5, 8

    def __init__(self, c: dict[str, float], tokens: Any) -> None:
        self.tokenizer, self.c = tokens, c
        config = transformers.LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=self.width, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1,
            num_key_value_heads=1, max_position_embeddings=512, rms_norm_eps=1e-6, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )  # fmt: skip
        self.eps = config.rms_norm_eps
        hf = transformers.LlamaForCausalLM(config).eval()
        with torch.no_grad():
            for name, weights in hf.named_parameters():
                if "norm" not in name:
                    weights.zero_()
            attention = hf.model.layers[1].self_attn
            attention.v_proj.weight.copy_(torch.eye(self.width))
            attention.o_proj.weight.copy_(torch.eye(self.width))
            hf.get_input_embeddings().weight[:, 0] = self.e
            for token, value in c.items():
                hf.get_output_embeddings().weight[tokens.convert_tokens_to_ids(token), 1] = value
        self.model = wrap_model(hf, tokens, "counting")

    def vector(self) -> SteeringVector:
        return SteeringVector({0: self.v * torch.eye(self.width)[1]})

    def logit(self, token: str, m: float, n: int, k: int, last: bool = True) -> float:
        """The closed form above."""
        dose, d = m * self.v, self.width
        r1 = ((self.e**2 + dose**2) / d + self.eps) ** 0.5
        r0 = (self.e**2 / d + self.eps) ** 0.5
        along_a = last * dose + k / n * dose / r1
        along_w = self.e + (n - k) / n * self.e / r0 + k / n * self.e / r1
        return self.c.get(token, 0.0) * along_a / ((along_a**2 + along_w**2) / d + self.eps) ** 0.5


class Gated:
    """A model that steers towards the good option, except where "angry" is said and the good option comes second.

    OPT whose norms are taken out, with ReLU blocks and attention that is uniform over the positions so far (queries and keys
    are zero), so that every step is exact. Embeddings mark good options (GOOD), bad ones (BAD) and the word "angry" (ANGRY).

        block 0:  SEEN = mean of BAD so far, LATE = relu(64 SEEN + 99 GOOD - 99): at least 1 on a good option behind a bad one, 0
                  everywhere else, with fewer than 64 tokens
        block 1:  LATER = mean of LATE, MOOD = mean of ANGRY, SWAPPED = relu(4096 LATER) - relu(4096 LATER - 1), which is 0 or 1
        block 2:  CALM = relu(SWAPPED - 4096 MOOD): 1 if swapped and not angry, else 0; behind it the vector adds m along X
        block 3:  Y = -2 (relu(X + 100 CALM - 50) - relu(100 CALM - 50)), which is -2 X if CALM is 1 and 0 if it is 0 (|X| < 50)

    The logit of "A" is X + Y, that of "B" is 0. So the slope towards the good option, times the size of the vector, is

        not swapped: 1      swapped, not angry: 1 (the good option is "B")      swapped and angry: -1
    """

    GOOD, BAD, ANGRY, SEEN, LATE, LATER, MOOD, SWAPPED, CALM, X, Y = range(11)
    width = 16

    def __init__(self, words: tuple[str, ...], good: tuple[str, ...], bad: tuple[str, ...]) -> None:
        self.tokenizer = word_tokenizer(words)
        config = transformers.OPTConfig(
            vocab_size=len(words) + 1, hidden_size=self.width, ffn_dim=8, num_hidden_layers=4, num_attention_heads=1,
            max_position_embeddings=64, word_embed_proj_dim=self.width, dropout=0.0, tie_word_embeddings=False,
            do_layer_norm_before=True, _remove_final_layer_norm=True, bos_token_id=0, eos_token_id=0, pad_token_id=None,
        )  # fmt: skip
        hf = transformers.OPTForCausalLM(config).eval()
        layers = hf.model.decoder.layers
        for layer in layers:
            layer.self_attn_layer_norm = layer.final_layer_norm = torch.nn.Identity()
        with torch.no_grad():
            for weights in hf.parameters():
                weights.zero_()
            token = self.tokenizer.convert_tokens_to_ids
            embed = hf.get_input_embeddings().weight
            for words_of, axis in ((good, self.GOOD), (bad, self.BAD), (("angry",), self.ANGRY)):
                for word in words_of:
                    embed[token(word), axis] = 1
            self._mean(layers[0], {self.BAD: self.SEEN})
            self._relus(layers[0], [({self.SEEN: 64, self.GOOD: 99}, -99, {self.LATE: 1})])
            self._mean(layers[1], {self.LATE: self.LATER, self.ANGRY: self.MOOD})
            self._relus(
                layers[1], [({self.LATER: 4096}, 0, {self.SWAPPED: 1}), ({self.LATER: 4096}, -1, {self.SWAPPED: -1})]
            )
            self._relus(layers[2], [({self.SWAPPED: 1, self.MOOD: -4096}, 0, {self.CALM: 1})])
            gate = {self.CALM: 100}
            self._relus(layers[3], [({self.X: 1, **gate}, -50, {self.Y: -2}), (gate, -50, {self.Y: 2})])
            answer = hf.get_output_embeddings().weight
            answer[token("A"), self.X] = answer[token("A"), self.Y] = 1
        self.model = wrap_model(hf, self.tokenizer, "gated")

    def _mean(self, layer: Any, axes: dict[int, int]) -> None:
        for source, to in axes.items():
            layer.self_attn.v_proj.weight[source, source] = 1
            layer.self_attn.out_proj.weight[to, source] = 1

    def _relus(self, layer: Any, units: list[tuple[dict[int, float], float, dict[int, float]]]) -> None:
        """One hidden unit each: weights of what it reads, its bias, weights of what it adds to."""
        for number, (reads, bias, adds) in enumerate(units):
            for axis, weight in reads.items():
                layer.fc1.weight[number, axis] = weight
            layer.fc1.bias[number] = bias
            for axis, weight in adds.items():
                layer.fc2.weight[axis, number] = weight

    def vector(self, size: float = 1.0) -> SteeringVector:
        return SteeringVector({2: size * torch.eye(self.width)[self.X]})


def write_json(path: Any, content: Any) -> Any:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path
