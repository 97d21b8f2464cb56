"""Finding the decoder blocks of a transformers model."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import ModelError

# Where a text decoder keeps its blocks when a model has several lists of the right length.
_USUAL = ("layers", "h", "blocks", "block")


def find_blocks(hf: Any) -> tuple[nn.Module, nn.ModuleList]:
    """The decoder's blocks and the module that runs them one after the other.

    A list of modules counts as the blocks if it is as long as the configuration says the model is deep and all its
    members are of block classes of one kind. This holds for Llama, Mistral, Qwen, Gemma, Phi, GPT-2, GPT-NeoX, OPT,
    OLMo, GPT-J, BLOOM, Falcon and nearly every other decoder in transformers.

    Raises:
        ModelError: the model is an encoder-decoder, or no list or more than one fits; says what was looked for.
    """
    config = hf.config
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{type(hf).__name__} is an encoder-decoder; steering claims need a decoder-only language model")
    text = config.get_text_config(decoder=True)
    depth = getattr(text, "num_hidden_layers", None)
    if not isinstance(depth, int) or depth < 1:
        raise ModelError(f"{type(hf).__name__}: its configuration has no num_hidden_layers, so its blocks cannot be counted")
    found = [
        (name, module)
        for name, module in hf.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth and _is_decoder_list(name, module)
    ]
    if len(found) > 1:
        usual = [(name, module) for name, module in found if name.rpartition(".")[2] in _USUAL]
        found = usual or found
    if len(found) != 1:
        lists = [f"{n} ({len(m)})" for n, m in hf.named_modules() if isinstance(m, nn.ModuleList)]
        raise ModelError(
            f"{type(hf).__name__}: the decoder blocks were not found. Looked for one module list of {depth} blocks "
            f"(num_hidden_layers), such as model.layers, transformer.h, gpt_neox.layers or model.decoder.layers; "
            f"found {[name for name, _ in found] or 'none'}; all lists: {', '.join(lists) or 'none'}"
        )
    name, blocks = found[0]
    return hf.get_submodule(name.rpartition(".")[0]), blocks


def _is_decoder_list(name: str, blocks: nn.ModuleList) -> bool:
    if any(part in {"vision_tower", "vision_model", "visual", "audio_tower", "encoder"} for part in name.split(".")):
        return False
    # Blocks mix tokens and transform them: each has submodules of its own. Lists of norms or projections do not.
    return all(len(list(block.children())) >= 2 for block in blocks)
