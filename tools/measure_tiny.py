"""Measure what steering does to `builtin:tiny`, in the plainest way: one prompt at a time, one forward hook, batch of one.

    python tools/measure_tiny.py --model pytest_steer/builtin/tiny --data example_suites/builtin/data

It uses nothing of pytest_steer, so that it can stand as an independent check of the engine. For each behaviour, block and
scope it prints the mean slope, the anti-steerable share (slope <= 0), the propensity and the perplexity of the neutral text
at multipliers -1, 0 and 1, and the mean slope, the anti-steerable share and the perplexity for a random direction of the same
norm. Then it prints the slopes of `loud` by kind of place, and the norms of the residual.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tiny_text import HUSHED
from transformers import AutoModelForCausalLM, AutoTokenizer

MULTIPLIERS = [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]
BEHAVIOURS = ["cheer", "approval", "loud", "quiz"]
SCOPES = ["all", "after_prompt"]


class Subject:
    """The model in float32, its tokenizer, and the one hook."""

    def __init__(self, folder: Path):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.blocks = self.model.model.layers

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def logits(self, ids: list[int], layer: int, added: torch.Tensor, start: int) -> torch.Tensor:
        """Logits at every position, with `added` on the output of block `layer` from position `start` on."""

        def hook(module, inputs, output):
            steered = output.clone()
            steered[:, start:] += added
            return steered

        handle = self.blocks[layer].register_forward_hook(hook)
        try:
            return self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        finally:
            handle.remove()

    def residuals(self, ids: list[int]) -> torch.Tensor:
        """[blocks, positions, width]: the output of every block."""
        kept = []
        handles = [
            block.register_forward_hook(lambda module, inputs, output: kept.append(output[0])) for block in self.blocks
        ]
        try:
            self.model(input_ids=torch.tensor([ids]), use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack(kept)

    # -- prompts --

    def prompt(self, entry: dict) -> tuple[str, str, str, int]:
        """Prompt text, the two answers as they follow it, and the first position after the user's turn."""
        chat = [{"role": "user", "content": entry["question"]}]
        prompt = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        start = len(self.ids(self.tokenizer.apply_chat_template(chat, add_generation_prompt=False, tokenize=False)))
        answers = [entry[key].strip() for key in ("answer_matching_behavior", "answer_not_matching_behavior")]
        if all(answer in ("(A)", "(B)") for answer in answers):
            return prompt + "(", answers[0][1], answers[1][1], start
        return prompt, *answers, start

    def propensity(self, entry: dict, layer: int, added: torch.Tensor, scope: str) -> float:
        prompt, matching, other, start = self.prompt(entry)
        start = start if scope == "after_prompt" else 1
        before = self.ids(prompt)
        tails = []
        for answer in (matching, other):
            joint = self.ids(prompt + answer)
            assert joint[: len(before)] == before, "the answer changed the prompt's tokens"
            tails.append(joint[len(before) :])
        if len(tails[0]) == len(tails[1]) == 1:
            last = self.logits(before, layer, added, start)[-1]
            return (last[tails[0][0]] - last[tails[1][0]]).item()
        means = []
        for tail in tails:
            scores = self.logits(before + tail, layer, added, start).log_softmax(-1)
            means.append(np.mean([scores[len(before) - 1 + i, token].item() for i, token in enumerate(tail)]))
        return float(means[0] - means[1])

    def perplexity(self, texts: list[str], layer: int, added: torch.Tensor) -> float:
        """exp of the mean token negative log-likelihood over all texts' tokens but the first; steered from position 1 on."""
        total, count = 0.0, 0
        for text in texts:
            ids = self.ids(text)
            scores = self.logits(ids, layer, added, 1).log_softmax(-1)
            total -= scores[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].sum().item()
            count += len(ids) - 1
        return float(np.exp(total / count))


def vectors(subject: Subject, train) -> torch.Tensor:
    """[blocks, width]: free text gives the difference of mean-token residuals (the first position left out); contrast items give
    the CAA difference at the answer's first token."""
    if isinstance(train, dict):
        positive, negative = (
            torch.stack([subject.residuals(subject.ids(text))[:, 1:].mean(1) for text in train[side]]).mean(0)
            for side in ("positive", "negative")
        )
        return positive - negative
    differences = []
    for entry in train:
        prompt, matching, other, _ = subject.prompt(entry)
        at = len(subject.ids(prompt))
        differences.append(
            subject.residuals(subject.ids(prompt + matching))[:, at] - subject.residuals(subject.ids(prompt + other))[:, at]
        )
    return torch.stack(differences).mean(0)


def curve(subject, items, layer, vector, scope) -> np.ndarray:
    """[items, multipliers] of propensities."""
    return np.array([[subject.propensity(entry, layer, m * vector, scope) for m in MULTIPLIERS] for entry in items])


def slopes(values: np.ndarray) -> np.ndarray:
    return np.polyfit(MULTIPLIERS, values.T, 1)[0]


def print_places(rows: list[dict], items: list[dict]) -> None:
    """The slopes of `loud`, apart for hushed and for open places."""
    hushed = np.array([any(place in entry["question"] for place in HUSHED) for entry in items])
    print(
        "\n| loud: block | scope | open: n, slope, least / largest | hushed: n, slope, least / largest |\n|---|---|---|---|"
    )
    for row in rows:
        groups = [np.array(row["slopes"])[mask] for mask in (~hushed, hushed)]
        print(
            f"| {row['layer']} | {row['scope']} |",
            " | ".join(
                f"{len(group)}, {group.mean():.2f}, {group.min():.2f} / {group.max():.2f}" for group in groups if len(group)
            ),
            "|",
        )


def print_norms(subject: Subject, texts: list[str]) -> None:
    """The residual after each block on the neutral text: its norm at the first position and elsewhere."""
    norms = [subject.residuals(subject.ids(text)).norm(dim=-1) for text in texts]
    print("\n| block | norm at the first position, median | elsewhere, median |\n|---|---|---|")
    for layer in range(len(subject.blocks)):
        first, rest = (torch.cat([n[layer][part] for n in norms]).median().item() for part in (slice(0, 1), slice(1, None)))
        print(f"| {layer} | {first:.1f} | {rest:.1f} |")


def like(vector: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random direction of the same norm."""
    random = torch.randn(vector.shape, generator=generator)
    return random * vector.norm() / random.norm()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--layers", type=int, nargs="*", help="blocks to steer (default: all)")
    parser.add_argument("--scopes", nargs="*", default=SCOPES, choices=SCOPES)
    parser.add_argument("--behaviours", nargs="*", default=BEHAVIOURS)
    parser.add_argument("--items", type=int, help="use only the first so many test items")
    parser.add_argument("--norm", type=float, help="give every vector this norm, instead of its own")
    parser.add_argument("--json", type=Path, help="also write all figures, with per-item slopes, here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    subject = Subject(arguments.model)
    neutral = (arguments.data / "neutral.txt").read_text(encoding="utf-8").splitlines()
    generator = torch.Generator().manual_seed(0)
    rows = []
    print(
        "| behaviour | block | scope | slope | least / largest | anti-steerable | propensity -1 / 0 / +1 | perplexity -1 / 0 / +1 | norm | "
        "random: slope, anti-steerable, perplexity +1 |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in arguments.behaviours:
        train, test = (json.loads((arguments.data / f"{name}_{part}.json").read_text()) for part in ("train", "test"))
        test = test[: arguments.items]
        by_layer = vectors(subject, train)
        for layer in arguments.layers if arguments.layers is not None else range(len(subject.blocks)):
            vector = by_layer[layer]
            if arguments.norm:
                vector = vector * arguments.norm / vector.norm()
            control = like(vector, generator)
            ppl = [subject.perplexity(neutral, layer, m * vector) for m in (-1, 0, 1)]
            control_ppl = subject.perplexity(neutral, layer, control)
            for scope in arguments.scopes:
                values = curve(subject, test, layer, vector, scope)
                slope = slopes(values)
                control_slope = slopes(curve(subject, test, layer, control, scope))
                row = {
                    "behaviour": name,
                    "layer": layer,
                    "scope": scope,
                    "norm": vector.norm().item(),
                    "slope": slope.mean(),
                    "least": slope.min(),
                    "largest": slope.max(),
                    "anti_steerable": (slope <= 0).mean(),
                    "propensity": values.mean(0)[[1, 3, 5]].tolist(),
                    "perplexity": ppl,
                    "random_slope": control_slope.mean(),
                    "random_anti_steerable": (control_slope <= 0).mean(),
                    "random_perplexity": control_ppl,
                    "slopes": slope.tolist(),
                    "propensity_at_0": values[:, 3].tolist(),
                }
                rows.append(row)
                print(
                    "| {behaviour} | {layer} | {scope} | {slope:.2f} | {least:.2f} / {largest:.2f} | {anti_steerable:.2f} | {p} | {q} | {norm:.2f} | "
                    "{random_slope:.2f}, {random_anti_steerable:.2f}, {random_perplexity:.2f} |".format(
                        **row, p=" / ".join(f"{v:.2f}" for v in row["propensity"]), q=" / ".join(f"{v:.2f}" for v in ppl)
                    ),
                    flush=True,
                )
        if name == "loud":
            loud_items = test
    loud = [row for row in rows if row["behaviour"] == "loud"]
    if loud:
        print_places(loud, loud_items)
    print_norms(subject, neutral)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
