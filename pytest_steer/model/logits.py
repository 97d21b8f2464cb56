"""Logits at a few positions, and the scores made of them: log-likelihoods, margins and divergences.

The unembedding computes only these positions, and only the wanted tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from .memo import Scores
from .model import Inputs, Model, once_per_model
from .noise import MISFITS, eps_of, trial_ids
from .probes import Pair, Probe, Row, key_of


def logits_at(
    model: Model, inputs: Inputs, places: Sequence[tuple[int, int]], only: Sequence[int] | None = None
) -> torch.Tensor:
    """Logits of one forward at some (row, position) pairs.

    Softcapping, scaling and whatever else the model does after the unembedding still applies.

    Args:
        inputs: arguments of the model's forward.
        only: the tokens whose logits are wanted; None for all.

    Returns:
        [places, vocabulary], or [places, only].
    """
    rows, positions = torch.tensor(places, device=model.device).unbind(1)
    head = model.hf.get_output_embeddings()
    logits: torch.Tensor
    if head is None:
        logits = model.hf(**inputs).logits[rows, positions]
        return logits if only is None else logits[:, only]

    def pick(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][rows, positions][None], *args[1:])

    with ExitStack() as stack:
        stack.enter_context(head.register_forward_pre_hook(pick))
        if only is not None and type(head) is nn.Linear and "forward" not in vars(head):
            stack.enter_context(_computing_only(head, torch.tensor(only, device=model.device)))
            only = None
        logits = model.hf(**inputs).logits[0]
    return logits if only is None else logits[:, only]


def unembedded(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """Float32 logits [places, vocabulary] of hidden states [places, width] as the unembedding takes them.

    The model runs on one token, with the hidden states in the place of that token's. So whatever it does to logits is done to these.
    """
    head = model.hf.get_output_embeddings()
    one = torch.zeros(1, 1, dtype=torch.long, device=model.device)

    def put(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden[None], *args[1:])

    with head.register_forward_pre_hook(put):
        logits: torch.Tensor = model.hf(input_ids=one, attention_mask=one + 1, use_cache=False).logits
    return logits[0].float()


@once_per_model
def can_unembed_apart(model: Model) -> bool:
    """Whether the logits of a forward can be had from the hidden states alone; tried on a short text."""
    if model.hf.get_output_embeddings() is None:
        return False
    ids = trial_ids(model)
    places = [(0, at) for at in range(ids.shape[1])]
    try:
        with torch.inference_mode():
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
            found = unembedded(model, hidden_at(model, inputs, places))
            whole = logits_at(model, inputs, places).float()
    except MISFITS:
        return False
    # In 16 bits another shape of the batch may round otherwise.
    room = 4 * max(torch.finfo(torch.float32).eps * 64, eps_of(model.dtype)) * max(1.0, float(whole.abs().max()))
    return found.shape == whole.shape and bool(torch.allclose(found, whole, rtol=0, atol=room, equal_nan=True))


def hidden_at(model: Model, inputs: Inputs, places: Sequence[tuple[int, int]]) -> torch.Tensor:
    """[places, width] what the unembedding would take; one position of it keeps the forward cheap."""
    rows, positions = torch.tensor(places, device=model.device).unbind(1)
    found: list[torch.Tensor] = []

    def keep(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        found.append(args[0][rows, positions])
        return (args[0][:1, :1], *args[1:])

    with model.hf.get_output_embeddings().register_forward_pre_hook(keep):
        model.hf(**inputs)
    (hidden,) = found
    return hidden


@contextmanager
def _computing_only(head: nn.Linear, tokens: torch.Tensor) -> Iterator[None]:
    weight, bias = head.weight[tokens], None if head.bias is None else head.bias[tokens]

    def narrow(hidden: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(hidden, weight, bias)

    head.forward = narrow  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        del head.forward


def scores_of(
    rows: Sequence[Row],
    logits: Callable[[torch.Tensor], torch.Tensor],
    only: Sequence[int] | None = None,
    bases: Sequence[int | None] = (),
    at_once: int = 2**20,
    *,
    beside: bool = False,
) -> list[tuple[Row, Scores]]:
    """The scores of all rows from the logits of their reads.

    Args:
        logits: gives those of some reads, [reads, vocabulary or only], by their numbers; the reads of the rows are in the order of the rows.
        bases: for each row the number of the first read of the unsteered model that it is compared with.
        at_once: how many reads may be asked for together where they are compared.
        beside: with each divergence also give the log-likelihoods of the same tokens, steered and unsteered. They are nearly free here,
            and save a claim about perplexity on the same texts a forward.
    """
    columns = {token: index for index, token in enumerate(only or ())}
    scores: list[tuple[Row, Scores]] = []
    start = 0
    compared: dict[tuple[int, int], list[tuple[Row, int]]] = {}
    for index, row in enumerate(rows):
        probe, count = row.probe, len(row.probe.reads)
        start += count
        if probe.diverges:
            base = bases[index]
            assert base is not None
            compared.setdefault((base, count), []).append((row, start - count))
            continue
        part = logits(torch.arange(start - count, start))
        if probe.candidates is not None:
            places = [columns.get(token, token) for token in probe.candidates]
            found = part[0, torch.tensor(places, device=part.device)]
        elif probe.margins:
            found = _margins(probe, part)
        else:
            found = _log_likelihoods(part, torch.tensor(probe.ids[probe.score_from :], device=part.device))
        scores.append((row, found.double().cpu().numpy()))
    for (base, count), several in compared.items():
        own = [row for row, _ in several]
        divergences, likelihoods = _compared(logits, base, count, several, at_once)
        scores += zip(own, divergences.cpu().numpy(), strict=True)
        if beside:
            with_them = zip(without_divergence(own), likelihoods.double().cpu().numpy(), strict=True)
            # A token of no probability has an ordinary divergence. Whoever asks for its likelihood gets the error.
            scores += [(row, likelihood) for row, likelihood in with_them if np.isfinite(likelihood).all()]
    return scores


def _compared(
    logits: Callable[[torch.Tensor], torch.Tensor], base: int, count: int, several: Sequence[tuple[Row, int]], at_once: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of rows, each with its first read, against the unsteered one whose reads begin at ``base``: divergences float64 [rows, count], and
    log-likelihoods of the scored tokens [1 + rows, count], the unsteered ones first."""
    probe = several[0][0].probe
    targets = torch.tensor(probe.ids[probe.score_from :])
    step = max(1, at_once // (1 + len(several)))
    parts, likelihoods = [], []
    for start in range(0, count, step):
        own = torch.arange(start, min(start + step, count))
        asked = torch.cat([base + own, *(first + own for _, first in several)])
        found = logits(asked).reshape(1 + len(several), len(own), -1)
        parts.append(divergence(found[0], found[1:]))
        likelihoods.append(_log_likelihoods(found, targets[own].to(found.device).expand(len(found), -1)))
    return torch.cat(parts, 1), torch.cat(likelihoods, 1)


def without_divergence(rows: Sequence[Row]) -> list[Row]:
    """The rows of the log-likelihoods at the same positions, that of the unsteered model first."""
    probe = replace(rows[0].probe, diverges=False)
    pairs = [Pair(None, 0.0), *(row.pair for row in rows)]
    return [Row(probe, pair, key_of(probe, pair)) for pair in pairs]


def _log_likelihoods(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """[..., positions] of the targets, from logits [..., positions, vocabulary]."""
    return logits.gather(-1, targets[..., None])[..., 0] - logits.logsumexp(-1)


def _margins(probe: Probe, logits: torch.Tensor) -> torch.Tensor:
    """Float64 [reads]: by how much each answer token, and last the tokens that end an answer, exceed all others."""
    wanted = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    targets = torch.tensor(probe.ids[probe.score_from :], device=logits.device, dtype=torch.long)
    wanted[torch.arange(len(targets), device=logits.device), targets] = True
    if probe.ends is not None:
        wanted[-1, torch.tensor(probe.ends, device=logits.device)] = True
    best = logits.masked_fill(~wanted, -torch.inf).amax(1)
    other = logits.masked_fill(wanted, -torch.inf).amax(1)
    return best.double() - other.double()


# Logits at a time: their float64 copies about fill a processor's cache.
_LOGITS_AT_ONCE = 2**18


def divergence(base: torch.Tensor, steered: torch.Tensor) -> torch.Tensor:
    """KL(base || steered) in nats over the whole vocabulary, at each position.

    The logits are what the model computed; from there on all is float64, since the sum is a small difference of large terms. A token that
    the unsteered model gives no probability counts 0. No divergence is below 0, so a sum below it (by less than 1e-12) is rounding, and is 0.

    Args:
        base: [positions, vocabulary] logits of the unsteered model.
        steered: [rows, positions, vocabulary] those of the steered ones.

    Returns:
        float64 [rows, positions]; NaN or infinity where the logits have one.
    """
    rows, positions, vocabulary = steered.shape
    step = max(1, _LOGITS_AT_ONCE // (vocabulary * (1 + rows)))
    found = torch.empty(rows, positions, dtype=torch.float64, device=base.device)
    for start in range(0, positions, step):
        part = slice(start, start + step)
        log_base = base[part].double().log_softmax(-1)
        weight = log_base.exp()
        terms = log_base - steered[:, part].double().log_softmax(-1)
        # Only where the probability is 0: a NaN must not become 0.
        found[:, part] = (weight * terms.masked_fill_(weight == 0, 0.0)).sum(-1)
    return found.clamp_(min=0.0)
