"""Function vectors of models whose layers have heads of different number, or none."""

from __future__ import annotations

import random

import builders
import families
import plain
import plain_methods
import pytest
import torch

from pytest_steer import extract, wrap_model
from pytest_steer.core.errors import ModelError
from pytest_steer.data import TaskItem

TASKS = [TaskItem(one, other) for one, other in zip("abcdefgh", "ABCDEFGH", strict=True)]
# Layer to (heads, width of each), as the configurations have it.
HEADS = {
    "dots3_note_text": {0: (2, 8), 1: (4, 8), 2: (2, 8)},
    "jamba": {1: (4, 8)},
    "nemotron_h": {2: (4, 8)},
}


def prompts(tokenizer, draw, n, shuffle):
    found = []
    for _ in range(n):
        *shown, query = draw.sample(TASKS, 4)
        if shuffle:
            outputs = [task.output for task in shown]
            draw.shuffle(outputs)
            shown = [TaskItem(task.input, output) for task, output in zip(shown, outputs, strict=True)]
        text = "".join(f"Q: {task.input}\nA: {task.output}\n\n" for task in shown) + f"Q: {query.input}\nA:"
        ids = plain.ids_of(tokenizer, text, True)
        found.append((ids, plain.ids_of(tokenizer, f"{text} {query.output}", True)[len(ids)]))
    return found


@torch.no_grad()
def read(hf, ids, layer):
    """What the output projection of a block reads at the last token."""
    found = []
    handle = plain_methods.place(hf, layer, "heads").register_forward_pre_hook(
        lambda _module, args: found.append(args[0][0, -1].double().clone())
    )
    try:
        hf(input_ids=torch.tensor([ids]), use_cache=False)
    finally:
        handle.remove()
    return found[0]


def rise(hf, ids, token, layer, head, width, value):
    """How far the probability of a token rises when one head's output at the last token is replaced."""

    def patch(h):
        h[head * width : (head + 1) * width] = value.float()
        return h

    base = plain_methods.logits(hf, ids, {})[-1].double().softmax(0)[token]
    patched = plain_methods.logits(hf, ids, {layer: patch}, "heads", len(ids) - 1)[-1].double().softmax(0)[token]
    return float(patched - base)


@pytest.mark.filterwarnings("ignore:no head of")
@pytest.mark.parametrize("family", HEADS)
def test_the_function_vector_is_what_the_best_heads_write(family):
    hf, tokenizer = families.build(family), builders.tokenizer()
    found = extract.fv(
        wrap_model(hf, tokenizer, family), TASKS, layer=1, heads=3, n_shots=3, prompts=3, shuffled_prompts=2, seed=5
    )
    draw = random.Random(5)
    clean, shuffled = prompts(tokenizer, draw, 3, False), prompts(tokenizer, draw, 2, True)
    ranked = []
    for layer, (count, width) in HEADS[family].items():
        mean = sum(read(hf, ids, layer) for ids, _ in clean) / len(clean)
        assert len(mean) == count * width
        for head in range(count):
            own = mean[head * width : (head + 1) * width]
            effects = [rise(hf, ids, token, layer, head, width, own) for ids, token in shuffled]
            columns = plain_methods.place(hf, layer, "heads").weight[:, head * width : (head + 1) * width].double()
            ranked.append((sum(effects) / len(effects), layer, head, columns @ own))
    ranked.sort(key=lambda entry: -entry[0])
    heads = [(entry["layer"], entry["head"]) for entry in found.metadata["heads"]]
    assert heads == [(layer, head) for _, layer, head, _ in ranked[:3]]
    want = sum(written for *_, written in ranked[:3])
    torch.testing.assert_close(found.directions[1].double(), want.detach(), rtol=0, atol=1e-5)


def test_a_model_without_attention_has_no_function_vector():
    model = wrap_model(families.build("mamba2"), builders.tokenizer(), "mamba2")
    with pytest.raises(ModelError, match=r"mamba2: the attention of block 0 .* was not found"):
        extract.fv(model, TASKS, heads=1, n_shots=3, prompts=1, shuffled_prompts=1)
