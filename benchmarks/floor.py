"""The floating-point operations that a work cannot avoid.

A hidden state is fixed by the tokens up to it, by its block, and, behind the steered block, by the pair of layer and
multiplier. Each distinct one is counted once: two operations per weight of the block's matrices and four per width and
token that it attends to. Of the unembedding, the answers' rows are counted, or the whole where log-likelihoods are wanted.
"""

from __future__ import annotations

from collections.abc import Sequence

from work import Question

from pytest_steer.model import Model


def of_questions(model: Model, asked: Sequence[Question], layers: Sequence[int], grid: Sequence[float]) -> float:
    """Operations of propensities at all pairs of layers and multipliers; at multiplier 0 all layers are one."""
    pairs = sum(multiplier != 0 for multiplier in grid)
    unsteered = {question.ids[: end + 1] for question in asked for end in range(len(question.ids))}
    # A steered state depends on where steering began as well.
    steered = {
        (question.start, question.ids[: end + 1]) for question in asked for end in range(question.start, len(question.ids))
    }
    total = model.n_layers * sum(_block(model, len(ids)) for ids in unsteered)
    behind = sum(_block(model, len(ids)) for _, ids in steered)
    for layer in layers:
        total += behind * pairs * (model.n_layers - layer - 1)
    answers = 2 * (1 + pairs * len(layers)) * len(asked)
    return total + 2 * model.width * answers


def of_texts(model: Model, texts: Sequence[Sequence[int]], layer: int, grid: Sequence[float]) -> float:
    """Operations of the log-likelihoods of every token but the first."""
    pairs = sum(multiplier != 0 for multiplier in grid)
    states = {tuple(text[: end + 1]) for text in texts for end in range(len(text))}
    blocks = model.n_layers + pairs * (model.n_layers - layer - 1)
    total = blocks * sum(_block(model, len(ids)) for ids in states)
    scored = sum(len(text) - 1 for text in texts)
    head = model.hf.get_output_embeddings().weight.numel()
    return total + 2 * head * scored * len(set(grid))


def _block(model: Model, seen: int) -> float:
    """Operations of one token in one block that attends to so many tokens."""
    matrices = sum(weight.numel() for weight in model.blocks[0].parameters() if weight.ndim == 2)
    return 2 * matrices + 4 * seen * model.width
