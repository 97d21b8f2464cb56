"""Interventions and methods of extraction a second time, as plain as can be, written from the papers' formulas.

Like plain.py: a batch of one, hooks written out by hand, nothing shared with the package. Sites are found by class name.
"""

from __future__ import annotations

import math
from typing import Any

import plain
import torch

# Where a class keeps what its MLP adds to the residual stream, and its output projection, seen from a block.
INNER = {
    "LlamaForCausalLM": ("mlp", "self_attn.o_proj"),
    "Qwen2ForCausalLM": ("mlp", "self_attn.o_proj"),
    "Qwen3ForCausalLM": ("mlp", "self_attn.o_proj"),
    "Gemma2ForCausalLM": ("mlp", "self_attn.o_proj"),
    "Gemma3ForCausalLM": ("mlp", "self_attn.o_proj"),
    "MistralForCausalLM": ("mlp", "self_attn.o_proj"),
    "Phi3ForCausalLM": ("mlp", "self_attn.o_proj"),
    "Olmo2ForCausalLM": ("mlp", "self_attn.o_proj"),
    "GPT2LMHeadModel": ("mlp", "attn.c_proj"),
    "GPTJForCausalLM": ("mlp", "attn.out_proj"),
    "BloomForCausalLM": ("mlp.dense_4h_to_h", "self_attention.dense"),
    "FalconForCausalLM": ("mlp", "self_attention.dense"),
    "GPTNeoXForCausalLM": ("mlp", "attention.dense"),
    "OPTForCausalLM": ("fc2", "self_attn.out_proj"),
    "MptForCausalLM": ("ffn.down_proj", "attn.out_proj"),
}


def place(hf: Any, layer: int, site: str) -> Any:
    block = plain.blocks_of(hf)[layer]
    if site == "block":
        return block
    return block.get_submodule(INNER[type(hf).__name__][site == "heads"])


@torch.no_grad()
def logits(hf: Any, ids: list[int], edits: dict[int, Any], site: str = "block", start: int = 0) -> Any:
    """Logits [tokens, vocabulary] with ``edits[layer](h) -> h`` at every position from ``start`` on, one position at a time."""

    def change(hidden: Any, edit: Any) -> Any:
        shape = hidden.shape
        rows = hidden.reshape(-1, shape[-1]).clone()  # a batch of one: positions, however they are arranged
        for position in range(start, rows.shape[0]):
            rows[position] = edit(rows[position].clone())
        return rows.reshape(shape)

    def output_hook(edit: Any) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (change(output[0], edit), *output[1:])
            return change(output, edit)

        return hook

    def input_hook(edit: Any) -> Any:
        return lambda _module, args: (change(args[0], edit), *args[1:])

    handles = []
    for layer, edit in edits.items():
        module = place(hf, layer, site)
        if site == "heads":
            handles.append(module.register_forward_pre_hook(input_hook(edit)))
        else:
            handles.append(module.register_forward_hook(output_hook(edit)))
    try:
        return hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def heads(hf: Any, ids: list[int]) -> list[Any]:
    """What the output projection of each block reads, [tokens, width of the heads side by side]."""
    found: list[Any] = []
    handles = [
        place(hf, layer, "heads").register_forward_pre_hook(lambda _module, args: found.append(args[0][0].clone().float()))
        for layer in range(len(plain.blocks_of(hf)))
    ]
    try:
        hf(input_ids=torch.tensor([ids]), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return found


# --- edits of one hidden state --------------------------------------------------------------------------------------------


def keep_norm(h: Any, v: Any, m: float) -> Any:
    moved = h + m * v
    return moved * (math.sqrt(float(h @ h)) / math.sqrt(float(moved @ moved)))


def ablate(h: Any, v: Any) -> Any:
    r = v / math.sqrt(float(v @ v))
    return h - r * float(r @ h)


def clamp(h: Any, v: Any, value: float, m: float) -> Any:
    u = v / math.sqrt(float(v @ v))
    return h + m * (value - float(u @ h)) * u


def rotate(h: Any, one: Any, two: Any, radians: float) -> Any:
    """The whole rotation matrix, written out."""
    b1 = one / one.norm()
    b2 = two - (two @ b1) * b1
    b2 = b2 / b2.norm()
    c, s = math.cos(radians), math.sin(radians)
    outer = torch.outer
    plane = c * outer(b1, b1) - s * outer(b1, b2) + s * outer(b2, b1) + c * outer(b2, b2)
    return (torch.eye(len(h)) - outer(b1, b1) - outer(b2, b2) + plane) @ h


def condition(prompt_hidden: Any, c: Any) -> float:
    """sim(h, proj_c h) of CAST with the whole projection matrix, h the mean over the prompt's tokens but the first."""
    h = prompt_hidden[1:].mean(0).double()
    c = c.double()
    projected = torch.outer(c, c) @ h / (c @ c)
    return float((h @ projected) / (h.norm() * projected.norm()))
