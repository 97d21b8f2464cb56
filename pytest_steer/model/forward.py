"""One forward of the model over a plan, its logits at a few positions, and the scores made of them: log-likelihoods, margins and divergences.

The unembedding computes only these positions, and only the wanted tokens. A prefix may have been run before, and a user's own context manager may
steer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from ..core.errors import SteerError
from ..steering import Rows
from .abilities import additive, inputs_of, traits_of
from .hooks import entered, hooked
from .layout import Dose, Plan, Way, growing, lay_out
from .memo import Scores
from .model import Inputs, Model, once_per_model
from .noise import FLOOR, MISFITS, eps_of, is_coarse, noise_between, spacing, trial_ids
from .probes import Bundle, Pair, Probe, Row, bundle_up, key_of
from .tokens import Padding


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
        logits_at(model, _inputs(model, plan, 0, prefix.filled), [(0, 0)])
    return prefix


@torch.inference_mode()
def run(
    model: Model, bundles: Sequence[Bundle], way: Way, padding: Padding, prefix: Prefix | None
) -> list[tuple[Row, Scores]]:
    """Scores of all rows of the bundles, and with divergences the log-likelihoods of the same tokens, see :func:`scores_of`."""
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
    inputs = _inputs(model, plan, shared, cache)
    with _planned(model, plan, shared):
        read = hidden_at(model, inputs, reads) if apart else logits_at(model, inputs, reads, only).float()

    def logits(asked: torch.Tensor) -> torch.Tensor:
        own = read[asked.to(read.device)]
        return unembedded(model, own) if apart else own

    starts = [bases.get(row.probe) for row in plan.rows]
    return scores_of(plan.rows, logits, only, starts, most // model.vocabulary, beside=True)


def _inputs(model: Model, plan: Plan, prefix: int = 0, cache: Cache | None = None) -> Inputs:
    """Arguments of the model's forward; with a cache, its keys come before those of the plan."""
    mask = plan.real.long()
    if plan.seen is not None:
        before = torch.ones(*plan.seen.shape[:2], prefix, dtype=torch.bool)
        mask = additive(model, torch.cat([before, plan.seen], dim=2))
    return inputs_of(model, plan.ids, mask, plan.positions, cache)


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


class _Kept(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of a prefix, put before those of every row without being stored again."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, rows: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.rows = keys, values, rows.to(keys.device)
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found = []
        for kept, new in ((self.keys, key_states), (self.values, value_states)):
            assert kept is not None
            count = len(new)
            before = kept.expand(count, -1, -1, -1) if len(kept) == 1 else kept.index_select(0, self.rows[:count])
            found.append(torch.cat([before, new], dim=-2))
        return found[0], found[1]


def replaying(filled: DynamicCache, prefix: Plan, plan: Plan) -> Cache:
    """A cache that gives each row of a plan the prefix of its pair.

    Args:
        prefix: the plan that filled the cache; it has one row per pair, or one for all of them.
    """
    source, born = torch.zeros(plan.ids.shape[0], dtype=torch.long), torch.zeros(plan.ids.shape[0], dtype=torch.long)
    if len(prefix.starts) > 1:
        starts = sorted(plan.starts.items(), key=lambda entry: entry[1])
        ends = [start for _, start in starts[1:]] + [len(source)]
        for (pair, start), end in zip(starts, ends, strict=True):
            source[start:end], born[start:end] = prefix.starts[pair], 0 if pair.is_idle else pair.birth
    # Until its birth a pair is the unsteered model, which is the first row of the prefix.
    kept: list[Any] = list(filled.layers)
    layers: list[Any] = [_Kept(layer.keys, layer.values, source * (born <= block)) for block, layer in enumerate(kept)]
    return Cache(layers=layers)


# How many spacings of a 16-bit type the shape of a batch may move a score by.
_SPACINGS = 4
# The sizes of the batches in which a row is asked again.
_COUNTS = (1, 1, 2, 4)


def run_batch(
    model: Model, batch: Sequence[Bundle], way: Way, padding: Padding, prefix: Prefix | None
) -> list[tuple[Row, Scores]]:
    """Scores of all rows of the bundles; those that a user's context manager steers run by themselves, one multiplier at a time."""
    applied = [row for bundle in batch for row in bundle.rows if row.pair.applied]
    if not applied:
        return run(model, batch, way, padding, prefix)
    rest = [own for own in (bundle.where(lambda row: not row.pair.applied) for bundle in batch) if own.rows]
    found = run(model, rest, way, padding, prefix) if rest else []
    for rows in _alike(applied):
        found += _run_applied(model, rows)
    return found


def check_steady(
    model: Model, rows: Sequence[Row], scores: Mapping[bytes, Scores], unsteered: Mapping[bytes, Scores], *, thorough: bool
) -> None:
    """Ask a few of the rows that a user's context manager steered again: by themselves, and in a batch of copies.

    Args:
        rows: that were measured under one such manager. scores: what was found, by the key of the row.
        unsteered: scores of the same probes without steering, by the key of the steered row, where they are known.
        thorough: ask several in batches of several sizes; else one, once by itself.

    Raises:
        SteerError: the same tokens get other scores.
    """
    largest = max(_alike(rows), key=len)
    # The row that moved least was most likely not steered, and the one that moved most was.
    moved = {row.key: noise_between([scores[row.key]], [unsteered[row.key]]).largest for row in rows if row.key in unsteered}
    known = sorted((row for row in rows if row.key in moved), key=lambda row: moved[row.key]) or [*rows]
    for row in dict.fromkeys([largest[0], known[0], known[-1]] if thorough else known[:1]):
        before = scores[row.key]
        limit = FLOOR * max(1.0, float(np.abs(before).max(initial=0.0)))
        if is_coarse(model.dtype):
            limit = max(limit, _SPACINGS * spacing(model.dtype, [before]))
        for count in _COUNTS if thorough else _COUNTS[:1]:
            copies = [replace(row, probe=replace(row.probe, name=f"copy {copy}")) for copy in range(count)]
            apart = noise_between([before] * count, [now for _, now in _run_applied(model, copies)]).largest
            if apart > limit:
                again = "by themselves" if count == 1 else f"in {count} rows at once"
                raise SteerError(
                    f"apply steers some forwards and others not, or not alike: {row.probe.name} at multiplier {row.pair.multiplier:g} has "
                    f"scores that differ by {apart:.3g} when the same tokens are asked again {again}. Steer every forward in the body "
                    "of its context manager alike, whatever the size of the batch"
                )


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one length and one first steered token: no padding that the manager could steer, and one number says where it begins."""
    alike: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault((row.pair, len(row.probe.ids), row.probe.steer_from), []).append(row)
    return list(alike.values())


@torch.no_grad()  # as hooks are checked: an inference tensor is more than some libraries can take
def _run_applied(model: Model, rows: Sequence[Row]) -> list[tuple[Row, Scores]]:
    own, start = rows[0].pair.applied, rows[0].probe.steer_from
    assert own is not None
    plan = lay_out(bundle_up(rows), Way("plain"))
    inputs = _inputs(model, plan)
    count = len(plan.ids)
    with entered(own, inputs["input_ids"], inputs["attention_mask"], start, rows[0].pair.multiplier):
        logits = model.hf(**inputs).logits
    base = None
    if any(row.probe.diverges for row in rows):
        base = model.hf(**inputs).logits  # of the same batch: where nothing was steered, nothing differs
    read = torch.tensor([pair for places in plan.reads for pair in places], device=logits.device)
    found = torch.cat([own[read[:, 0], read[:, 1]] for own in (logits, base) if own is not None]).float()
    starts = [len(read) + sum(len(row.probe.reads) for row in plan.rows[:index]) for index in range(count)]
    return scores_of(plan.rows, lambda asked: found[asked.to(found.device)], bases=starts)
