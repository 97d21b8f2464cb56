"""Finding the decoder blocks of a transformers model."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from ..errors import ModelError

# What a list of blocks is called, for the choice among several lists of the right length.
_USUAL = ("layers", "layer", "h", "blocks", "block")
# Parts of the names of modules that read pictures or sound.
_OTHER_SENSES = ("vision", "visual", "image", "audio", "video", "speech", "sound", "vqmodel")


def find_blocks(hf: Any) -> tuple[nn.Module, nn.ModuleList]:
    """The module that takes tokens and runs the decoder's blocks one after the other, and the blocks.

    A list of modules counts as the blocks if its length is the depth in the configuration and each of its members has at least
    two submodules. Whether the model runs them in that order is checked later (``structure.py``).

    Raises:
        ModelError: the model is an encoder-decoder or fills masks, or no list or more than one fits.
    """
    config = hf.config
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{type(hf).__name__} is an encoder-decoder; steering claims need a decoder-only language model")
    if "MaskedLM" in type(hf).__name__:
        raise ModelError(
            f"{type(hf).__name__} fills masked tokens in and does not predict the next one; steering claims need a decoder-only "
            "language model"
        )
    text = config.get_text_config(decoder=True)
    depth = _depth(text)
    if depth is None:
        raise ModelError(f"{type(hf).__name__}: its configuration has no num_hidden_layers, so its blocks cannot be counted")
    lists = [
        (name, module) for name, module in hf.named_modules() if isinstance(module, nn.ModuleList) and _is_text(name, module)
    ]
    found = [(name, module) for name, module in lists if len(module) == depth]
    if not found:
        # LongCat counts each of its blocks as two layers.
        found = [(name, module) for name, module in lists if len(module) == getattr(text, "num_layers", None)]
    if len(found) > 1:
        usual = [(name, module) for name, module in found if name.rpartition(".")[2] in _USUAL]
        found = usual or found
    if len(found) != 1:
        every = [f"{n} ({len(m)})" for n, m in hf.named_modules() if isinstance(m, nn.ModuleList)]
        raise ModelError(
            f"{type(hf).__name__}: the decoder blocks were not found. Looked for one module list of {depth} blocks "
            f"(num_hidden_layers), such as model.layers, transformer.h, gpt_neox.layers or model.decoder.layers; "
            f"found {[name for name, _ in found] or 'none'}; all lists: {', '.join(every) or 'none'}"
        )
    name, blocks = found[0]
    return _runner(hf, name), blocks


def _runner(hf: Any, name: str) -> nn.Module:
    """The innermost module around the blocks that takes tokens. BERT and its kin run their blocks in one that does not."""
    parts = name.split(".")[:-1]
    for end in range(len(parts), -1, -1):
        module = hf.get_submodule(".".join(parts[:end]))
        if "input_ids" in inspect.signature(module.forward).parameters:
            return module  # type: ignore[no-any-return]
    return hf.get_submodule(".".join(parts))  # type: ignore[no-any-return]


def _depth(text: Any) -> int | None:
    """How many blocks the decoder has. Configurations of BART and its kin call the depth of their encoder num_hidden_layers."""
    for name in ("decoder_layers", "num_decoder_layers", "num_hidden_layers"):
        depth = getattr(text, name, None)
        if isinstance(depth, int) and depth > 0:
            return depth
    return None


def _is_text(name: str, blocks: nn.ModuleList) -> bool:
    if any(sense in name.lower() for sense in _OTHER_SENSES):
        return False
    # Blocks mix tokens and transform them: each has submodules of its own. Lists of norms or projections do not.
    return len(blocks) > 0 and all(len(list(block.children())) >= 2 for block in blocks)
