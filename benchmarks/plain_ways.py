"""How the same work is done without pytest-steer. Nothing of its engine is used here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from work import Question

from pytest_steer.model import Model


@contextmanager
def hook(block: Any, change: Any) -> Iterator[None]:
    def on_output(_module: Any, _inputs: Any, output: Any) -> Any:
        if isinstance(output, (tuple, list)):
            return type(output)((change(output[0]), *output[1:]))
        return change(output)

    handle = block.register_forward_hook(on_output)
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def loop(
    model: Model,
    asked: Sequence[Question],
    directions: dict[int, torch.Tensor],
    grid: Sequence[float],
    per_answer: bool = False,
) -> np.ndarray:
    """One item, one multiplier, one hook, a batch of one, as the code of CAA does it: [items, layers * multipliers].

    Args:
        per_answer: a forward for each of the two answers, as benchmark code of the field does it.
    """
    values = np.empty((len(asked), len(directions) * len(grid)))
    for row, question in enumerate(asked):
        ids = torch.tensor([question.ids], device=model.device)
        column = 0
        for layer, direction in directions.items():
            for multiplier in grid:

                def change(
                    hidden: torch.Tensor, dose: torch.Tensor = multiplier * direction, start: int = question.start
                ) -> torch.Tensor:
                    hidden = hidden.clone()
                    hidden[:, start:] += dose.to(hidden)
                    return hidden

                found = []
                for answer in question.answers:
                    if per_answer or not found:
                        with hook(model.blocks[layer], change):
                            logits = model.hf(ids, use_cache=False).logits[0, -1]
                    found.append(float(logits[answer]))
                values[row, column] = found[0] - found[1]
                column += 1
    return values


@torch.inference_mode()
def batched(
    model: Model, asked: Sequence[Question], directions: dict[int, torch.Tensor], grid: Sequence[float], size: int
) -> np.ndarray:
    """Right-padded batches of similar length, one pass per layer and multiplier; the unembedding sees the last positions only."""
    values = np.empty((len(asked), len(directions) * len(grid)))
    order = sorted(range(len(asked)), key=lambda i: len(asked[i].ids))
    head = model.hf.get_output_embeddings()
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        ids, mask = _padded([asked[i].ids for i in rows], model.device)
        steered = torch.zeros(*ids.shape, 1, device=model.device)
        for place, i in enumerate(rows):
            steered[place, asked[i].start : len(asked[i].ids)] = 1
        yes, no = (torch.tensor([asked[i].answers[side] for i in rows], device=model.device) for side in (0, 1))
        here = torch.arange(len(rows), device=model.device)
        column = 0
        for layer, direction in directions.items():
            for multiplier in grid:
                dose = (multiplier * steered * direction.to(model.device)).to(next(model.hf.parameters()).dtype)
                with hook(model.blocks[layer], lambda hidden, dose=dose: hidden + dose):
                    hidden = model.backbone(input_ids=ids, attention_mask=mask, use_cache=False)[0]
                logits = head(hidden[here, mask.sum(1) - 1])
                values[rows, column] = (logits[here, yes] - logits[here, no]).float().cpu().numpy()
                column += 1
    return values


@torch.inference_mode()
def text_loop(
    model: Model, texts: Sequence[Sequence[int]], layer: int, direction: torch.Tensor, grid: Sequence[float]
) -> np.ndarray:
    """Mean negative log-likelihood of each text at each multiplier, a batch of one: [texts, multipliers]."""
    values = np.empty((len(texts), len(grid)))
    for row, tokens in enumerate(texts):
        ids = torch.tensor([list(tokens)], device=model.device)
        for column, multiplier in enumerate(grid):

            def change(hidden: torch.Tensor, dose: torch.Tensor = multiplier * direction) -> torch.Tensor:
                hidden = hidden.clone()
                hidden[:, 1:] += dose.to(hidden)
                return hidden

            with hook(model.blocks[layer], change):
                logits = model.hf(ids, use_cache=False).logits[0, :-1].float()
            values[row, column] = float(torch.nn.functional.cross_entropy(logits, ids[0, 1:]))
    return values


@torch.inference_mode()
def text_batched(
    model: Model, texts: Sequence[Sequence[int]], layer: int, direction: torch.Tensor, grid: Sequence[float], size: int
) -> np.ndarray:
    """The same in right-padded batches of similar length, one pass per multiplier."""
    values = np.empty((len(texts), len(grid)))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        ids, mask = _padded([texts[i] for i in rows], model.device)
        steered = mask[:, :, None].float()
        steered[:, 0] = 0
        for column, multiplier in enumerate(grid):
            dose = (multiplier * steered * direction.to(model.device)).to(next(model.hf.parameters()).dtype)
            with hook(model.blocks[layer], lambda hidden, dose=dose: hidden + dose):
                logits = model.hf(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
            losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
            real = mask[:, 1:]
            values[rows, column] = ((losses * real).sum(1) / real.sum(1)).cpu().numpy()
    return values


@torch.inference_mode()
def kl_loop(
    model: Model, texts: Sequence[Sequence[int]], layer: int, direction: torch.Tensor, grid: Sequence[float]
) -> np.ndarray:
    """Mean KL(unsteered || steered) of each text, two whole forwards per text and multiplier: [texts, multipliers]."""
    values = np.empty((len(texts), len(grid)))
    for row, tokens in enumerate(texts):
        ids = torch.tensor([list(tokens)], device=model.device)
        for column, multiplier in enumerate(grid):

            def change(hidden: torch.Tensor, dose: torch.Tensor = multiplier * direction) -> torch.Tensor:
                hidden = hidden.clone()
                hidden[:, 1:] += dose.to(hidden)
                return hidden

            base = model.hf(ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
            with hook(model.blocks[layer], change):
                moved = model.hf(ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
            values[row, column] = float((base.exp() * (base - moved)).sum(-1).mean())
    return values


@torch.inference_mode()
def kl_batched(
    model: Model, texts: Sequence[Sequence[int]], layer: int, direction: torch.Tensor, grid: Sequence[float], size: int
) -> np.ndarray:
    """The same in right-padded batches of similar length: one unsteered pass, and one per multiplier."""
    values = np.empty((len(texts), len(grid)))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        ids, mask = _padded([texts[i] for i in rows], model.device)
        steered, real = mask[:, :, None].float(), mask[:, 1:]
        steered[:, 0] = 0
        base = model.hf(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float().log_softmax(-1)
        for column, multiplier in enumerate(grid):
            dose = (multiplier * steered * direction.to(model.device)).to(next(model.hf.parameters()).dtype)
            with hook(model.blocks[layer], lambda hidden, dose=dose: hidden + dose):
                logits = model.hf(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
            found = (base.exp() * (base - logits.float().log_softmax(-1))).sum(-1)
            values[rows, column] = ((found * real).sum(1) / real.sum(1)).cpu().numpy()
    return values


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(map(len, rows))
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, own in enumerate(rows):
        ids[place, : len(own)] = torch.tensor(own)
        mask[place, : len(own)] = 1
    return ids.to(device), mask.to(device)


class SteeringVectors:
    """The steering-vectors package in an environment of its own: one item and one multiplier at a time, as it is used.

    Args:
        python: the interpreter of that environment.
        folder: the model as a transformers folder.
    """

    def __init__(self, python: str, folder: str, threads: int) -> None:
        worker = Path(__file__).with_name("steering_vectors_worker.py")
        self._process = subprocess.Popen(
            [python, str(worker), folder, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.versions = self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with {self._process.wait()}")
        return json.loads(line)

    def __call__(
        self, asked: Sequence[Question], directions: dict[int, torch.Tensor], grid: Sequence[float]
    ) -> tuple[np.ndarray, float]:
        """Values and the seconds that the worker needed for them."""
        work = {
            "questions": [[list(q.ids), q.start, list(q.answers)] for q in asked],
            "directions": {layer: direction.tolist() for layer, direction in directions.items()},
            "grid": list(grid),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        return np.array(answer["values"]), answer["seconds"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
