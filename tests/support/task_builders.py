"""A small model that answers questions of a task, some of them right, built in code."""

from __future__ import annotations

from functools import cache
from typing import Any

import builders
import plain
import plain_tasks
import torch

from pytest_steer import Model, TaskItem, wrap_model
from pytest_steer.model import Engine, engine_of

ANSWERS = ("Yes", "No", "YesYes", "No Yes", "NoNo")
TASKS = tuple(TaskItem(f"case {7 * i}", ANSWERS[i % len(ANSWERS)]) for i in range(15))


@cache
def trained(family: str) -> tuple[Any, Any]:
    """A random model whose unembedding is set so that it answers Yes to some cases and No to others, and mostly ends there."""
    hf, tokenizer = builders.random_hf(family), builders.tokenizer(None)
    head, seen = hf.get_output_embeddings(), []
    handle = head.register_forward_pre_hook(lambda _module, args: seen.append(args[0][0].float()))
    asked, answered = [], []
    for index, task in enumerate(TASKS):
        text = plain_tasks.prompt_of([], task.input)
        plain.logits(hf, plain.ids_of(tokenizer, text + (" Yes" if index % 2 else " No"), True))
        asked.append(seen[-1][-2])
        answered.append(seen[-1][-1])
    handle.remove()
    asked, answered = torch.stack(asked), torch.stack(answered)
    apart = asked.mean(0) - answered.mean(0)
    apart = apart / apart.norm()
    first = torch.linalg.svd(asked - asked.mean(0)).Vh[0]
    with torch.no_grad():
        for token, row in {"\u0120Yes": apart + first, "\u0120No": apart - first, "\u010a": -apart}.items():
            head.weight[tokenizer.convert_tokens_to_ids(token)] = 4 * row
    return hf, tokenizer


def talkative(family: str, sharing: bool = True) -> Model:
    """That model, with an engine of its own."""
    model = wrap_model(*trained(family), family)
    model.kept[engine_of] = Engine(model, sharing=sharing)
    return model
