"""Interventions and methods of extraction a second time, as plain as can be, written from the papers' formulas.

Like plain.py: a batch of one, hooks written out by hand, nothing shared with the package. Sites are found by class name.
"""

from __future__ import annotations

import math
from typing import Any

import plain
import plain_tasks
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
    "OpenAIGPTLMHeadModel": ("mlp", "attn.c_proj"),
    "MptForCausalLM": ("ffn.down_proj", "attn.out_proj"),
    "Dots3NoteForCausalLM": ("mlp", "self_attn.o_proj"),
    "JambaForCausalLM": ("feed_forward", "self_attn.o_proj"),
    "NemotronHForCausalLM": ("mixer", "mixer.o_proj"),
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
            if isinstance(output, (tuple, list)):
                return type(output)([change(output[0], edit), *output[1:]])
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


def at_unit_norm(h: torch.Tensor, v: torch.Tensor, m: float) -> torch.Tensor:
    """The code of In-Context Vectors, in words of its own: only directions count, and more where h points away from v."""
    rows = []
    for row in h.reshape(-1, h.shape[-1]).double():
        unit, w = row / torch.linalg.norm(row), v.double() / torch.linalg.norm(v.double())
        away = max(0.0, -float(unit @ w))
        turned = unit + m * (1 + away) * w
        rows.append(torch.linalg.norm(row) * turned / torch.linalg.norm(turned))
    return torch.stack(rows).view(h.shape).to(h.dtype)


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


# --- extraction: (positive rows, negative rows) -> direction or map, float64 -----------------------------------------------


def sides(hf: Any, tokenizer: Any, items: Any, layer: int, readout: str = "answer") -> tuple[Any, Any]:
    """Activations of each item's matching and not matching completion, one forward each."""
    found: tuple[list[Any], list[Any]] = ([], [])
    for item in items:
        text = plain.render(tokenizer, item)
        lettered = len(item.matching[0].strip()) == 3 and item.matching[0].strip().startswith("(")
        for side, answer in zip(found, (text.matching[0], text.not_matching[0]), strict=True):
            whole = answer + (")" if lettered and readout != "answer" else "")
            ids, n = plain.answer_ids(tokenizer, text, whole)
            hidden = plain.outputs(hf, ids)[layer].double()
            side.append(hidden[n:].mean(0) if readout == "mean" else hidden[-1])
    return torch.stack(found[0]), torch.stack(found[1])


def principal(differences: Any) -> Any:
    """First eigenvector of the second-moment matrix, by power iteration."""
    moment = differences.T @ differences
    v = torch.ones(len(moment), dtype=torch.float64)
    for _ in range(20000):
        before, v = v, moment @ v
        v = v / v.norm()
        if (v - before).abs().max() < 1e-14:
            break
    return v


def root(matrix: Any, power: float) -> Any:
    """A power of a symmetric positive definite matrix, by its singular values."""
    u, s, vh = torch.linalg.svd(matrix)
    return u @ torch.diag(s**power) @ vh


def covariance(rows: Any, ddof: int) -> Any:
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for row in rows:
        total += torch.outer(row - rows.mean(0), row - rows.mean(0))
    return total / (len(rows) - ddof)


def transport(source: Any, target: Any, ridge: float) -> tuple[Any, Any]:
    s, t = covariance(source, 1), covariance(target, 1)
    more = ridge * float(s.trace() + t.trace()) / (2 * len(s)) * torch.eye(len(s), dtype=torch.float64)
    s, t = s + more, t + more
    w = root(s, -0.5) @ root(root(s, 0.5) @ t @ root(s, 0.5), 0.5) @ root(s, -0.5)
    return w, target.mean(0) - w @ source.mean(0)


def logistic(positive: Any, negative: Any, strength: float) -> Any:
    """L2-regularised logistic regression with an intercept by Newton's method; weights only. ``strength`` is C."""
    x = torch.cat([positive, negative])
    x = x - x.mean(0)
    x = x / x.pow(2).mean().sqrt()
    y = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))]).double()
    x1 = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    penalty = torch.eye(x1.shape[1], dtype=torch.float64)
    penalty[-1, -1] = 0
    w = torch.zeros(x1.shape[1], dtype=torch.float64)
    for _ in range(60):
        p = torch.sigmoid(x1 @ w)
        gradient = strength * x1.T @ (p - y) + penalty @ w
        hessian = strength * x1.T @ torch.diag(p * (1 - p)) @ x1 + penalty
        w = w - torch.linalg.solve(hessian + 1e-12 * torch.eye(len(w), dtype=torch.float64), gradient)
    return w[:-1]


def shots(tokenizer: Any, shown: Any, query: Any) -> tuple[list[int], int]:
    """Tokens of a prompt that shows (input, output) pairs before a query, and the first token of the answer."""
    text = plain_tasks.prompt_of(shown, query.input)
    ids = plain.ids_of(tokenizer, text, True)
    return ids, plain.ids_of(tokenizer, f"{text} {query.output}", True)[len(ids)]


def few_shot(tokenizer: Any, tasks: Any, draw: Any, n: int, shuffle: bool = False) -> list[tuple[list[int], int]]:
    """Prompts drawn as the package documents it: a sample of four pairs, the last one the query, outputs dealt out anew."""
    found = []
    for _ in range(n):
        *shown, query = draw.sample(list(tasks), 4)
        outputs = [task.output for task in shown]
        if shuffle:
            draw.shuffle(outputs)
        found.append(shots(tokenizer, zip((task.input for task in shown), outputs, strict=True), query))
    return found


def mean_head_outputs(hf: Any, prompts: list[list[int]], n_heads: int) -> Any:
    """[layers, heads, head width]: mean over prompts of the last token."""
    total: Any = 0
    for ids in prompts:
        total = total + torch.stack([h[-1].double().view(n_heads, -1) for h in heads(hf, ids)])
    return total / len(prompts)


def indirect_effects(hf: Any, means: Any, prompts: list[tuple[list[int], int]]) -> Any:
    """[layers, heads], one whole forward per head and prompt."""
    layers, n_heads, width = means.shape
    total = torch.zeros(layers, n_heads, dtype=torch.float64)
    for ids, token in prompts:
        base = logits(hf, ids, {})[-1].double().softmax(0)[token]
        for layer in range(layers):
            for head in range(n_heads):

                def patch(h: Any, layer: int = layer, head: int = head) -> Any:
                    h[head * width : (head + 1) * width] = means[layer, head].float()
                    return h

                patched = logits(hf, ids, {layer: patch}, "heads", len(ids) - 1)[-1].double().softmax(0)[token]
                total[layer, head] += patched - base
    return total / len(prompts)
