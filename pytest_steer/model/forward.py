"""One forward of the model over a plan, and what is read from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from ..steering import Rows
from .abilities import traits_of
from .divergence import divergence
from .growth import growing
from .hooks import hooked
from .layout import Dose, Plan, Way, lay_out
from .memo import Scores
from .model import Model
from .prefixes import replaying
from .probes import Bundle, Pair, Probe, Row, key_of
from .tokens import Padding
from .unembedding import can_unembed_apart, logits_at, reading

# Logits that are held at once where a row is compared with another, so that a long text of a large vocabulary fits in memory.
_MOST_ON_CPU, _MOST = 2**25, 2**28


@dataclass(frozen=True)
class Prefix:
    """A prefix that has been run: its plan, and the keys and values of its rows."""

    length: int
    plan: Plan
    filled: DynamicCache


@torch.inference_mode()
def run_prefix(model: Model, bundle: Bundle, length: int) -> Prefix:
    """Run the first tokens of a bundle, under each of its pairs if they are steered."""
    steered = bundle.steer_from < length
    pairs = bundle.pairs if steered else (Pair(None, 0.0),)
    probe = Probe(bundle.ids[:length], min(bundle.steer_from, length), candidates=())
    start = Bundle((probe,), pairs, (), length)
    plan = lay_out([start], Way("shared depth"), avoid=traits_of(model).sizes)
    prefix = Prefix(length, plan, DynamicCache())
    with _planned(model, plan, 0):
        # The unembedding is of no use here: one position keeps it cheap.
        logits_at(model, inputs_of(model, plan, 0, prefix.filled), [(0, 0)])
    return prefix


@torch.inference_mode()
def run(
    model: Model, bundles: Sequence[Bundle], way: Way, padding: Padding, prefix: Prefix | None
) -> list[tuple[Row, Scores]]:
    """Scores of all rows of the bundles; beside divergences the log-likelihoods that came with them, see :func:`scores_of`."""
    shared = prefix.length if prefix else 0
    plan = lay_out(bundles, way, shared, padding, traits_of(model).sizes)
    cache = replaying(prefix.filled, prefix.plan, plan) if prefix else None
    only: list[int] | None = None
    if way.kind != "plain" and all(row.probe.candidates is not None for row in plan.rows):
        only = sorted({token for row in plan.rows for token in row.probe.candidates or ()}) or None
    reads = [place for places in plan.reads for place in places]
    bases: dict[Probe, int] = {}
    for probe, places in plan.unsteered.items():
        bases[probe] = len(reads)
        reads += places
    most = _MOST_ON_CPU if model.device.type == "cpu" else _MOST
    apart = bool(bases) and len(reads) * model.vocabulary > most and can_unembed_apart(model)
    with _planned(model, plan, shared):
        logits = reading(model, inputs_of(model, plan, shared, cache), reads, only, apart=apart)
    starts = [bases.get(row.probe) for row in plan.rows]
    return scores_of(plan.rows, logits, only, starts, most // model.vocabulary, beside=True)


def inputs_of(model: Model, plan: Plan, prefix: int = 0, cache: Any = None) -> dict[str, Any]:
    """Arguments of the model's forward; with a cache, its keys stand before those of the plan."""
    traits, mask = traits_of(model), plan.real.long()
    if plan.seen is not None:
        kind = next(model.hf.parameters()).dtype
        before = torch.ones(*plan.seen.shape[:2], prefix, dtype=torch.bool)
        seen = torch.cat([before, plan.seen], dim=2)
        mask = torch.zeros(seen.shape, dtype=kind).masked_fill_(~seen, torch.finfo(kind).min)[:, None]
    inputs: dict[str, Any] = {
        "input_ids": plan.ids.to(model.device),
        "attention_mask": mask.to(model.device),
        "use_cache": cache is not None,
    }
    if cache is not None:
        inputs[traits.cache_name] = cache
    if traits.takes_positions:
        # Absolute positions (GPT-2) count real tokens only, on whichever side the padding is.
        inputs["position_ids"] = plan.positions.to(model.device)
    return inputs


@contextmanager
def _planned(model: Model, plan: Plan, prefix: int) -> Iterator[None]:
    """Keep the hooks of a plan on the model: first those that let it grow, then those that steer."""
    with ExitStack() as stack:
        if plan.births:
            stack.enter_context(growing(model, plan, prefix, traits_of(model).heads))
        for dose in plan.doses:
            _steer(stack, model, plan, dose)
        yield


def _steer(stack: ExitStack, model: Model, plan: Plan, dose: Dose) -> None:
    entries = slice(dose.start, dose.end)
    looked: Rows | None = None
    if plan.axis == 0:
        part: tuple[slice, ...] = (entries,)
        strength, steered = dose.strength[:, None], plan.steered[entries]
        if plan.prompt is not None:
            looked = Rows(plan.prompt[entries])
    else:
        part = (slice(None), entries)
        strength, steered = dose.strength[None].expand(len(plan.steered), -1), plan.steered[:, entries]
    placed = strength.to(model.device), steered.to(model.device)
    stack.enter_context(hooked(model, dose.intervention, lambda: placed, part, lambda: looked))


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
        beside: with each divergence also give the log-likelihoods of the same tokens, steered and unsteered. They cost next to
            nothing there, and a claim about perplexity on the same texts would need a forward for them.
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
