"""One forward of the model over a plan, and what is read from it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache

from ..steering import Rows
from .configuration import numbers_of
from .growth import growing
from .hooks import hooked
from .layout import Plan, Way, lay_out
from .loaded import Model
from .memo import Scores
from .prefixes import recording, replaying
from .probes import Bundle, Pair, Probe, Row
from .structure import structure_of


@dataclass(frozen=True)
class Traits:
    """What forwards need to know of a model's class.

    Attributes:
        takes_positions: whether it can be told the position of each token.
        cache_name: the argument that takes keys and values of earlier tokens.
        heads: numbers of attention heads; sizes: all numbers of its configuration. Arguments of blocks are told apart by size, so
            the number of entries of a plan must be none of them.
    """

    takes_positions: bool
    cache_name: str
    heads: tuple[int, ...]
    sizes: frozenset[int]

    @classmethod
    def of(cls, model: Model) -> Traits:
        arguments = inspect.signature(model.hf.forward).parameters
        config = model.hf.config.get_text_config(decoder=True)
        names = ("num_attention_heads", "num_key_value_heads", "num_kv_heads", "n_head")
        heads = tuple(dict.fromkeys(count for name in names for count in numbers_of(config, name)))
        numbers = {value for value in config.to_dict().values() if isinstance(value, int)}
        numbers |= {model.width // count for count in heads if count}
        # transformers 5.24 renamed the argument; both names may be there.
        cache_name = "past_key_values" if "past_key_values" in arguments else "cache"
        return cls(structure_of(model).told_positions, cache_name, heads, frozenset(numbers))


@dataclass(frozen=True)
class Prefix:
    """A prefix that has been run: its plan, and the keys and values of its rows."""

    length: int
    plan: Plan
    filled: DynamicCache


@torch.inference_mode()
def run_prefix(model: Model, traits: Traits, bundle: Bundle, length: int) -> Prefix:
    """Runs the first tokens of a bundle, under each of its pairs if they are steered."""
    steered = bundle.steer_from < length
    pairs = bundle.pairs if steered else (Pair(None, 0.0),)
    probe = Probe(bundle.ids[:length], min(bundle.steer_from, length), candidates=())
    start = Bundle((probe,), pairs, (), length)
    plan = lay_out([start], Way("shared depth"), avoid=traits.sizes)
    filled = recording()
    inputs = inputs_of(model, traits, plan) | {"use_cache": True, traits.cache_name: filled}
    with ExitStack() as stack:
        _enter(stack, model, traits, plan)
        # The unembedding is of no use here: one position keeps it cheap.
        _head(stack, model, [(0, 0)], [])
        model.hf(**inputs)
    return Prefix(length, plan, filled)


@torch.inference_mode()
def run(
    model: Model, traits: Traits, bundles: Sequence[Bundle], way: Way, padding: Any, prefix: Prefix | None
) -> list[tuple[Row, Scores]]:
    """Scores of all rows of the bundles."""
    plan = lay_out(bundles, way, prefix.length if prefix else 0, padding, traits.sizes)
    inputs = inputs_of(model, traits, plan, prefix.length if prefix else 0)
    if prefix is not None:
        inputs |= {"use_cache": True, traits.cache_name: replaying(prefix.filled, prefix.plan, plan)}
    asked = [row.probe.candidates for row in plan.rows]
    only: list[int] | None = None
    if way.kind != "plain" and all(candidates is not None for candidates in asked):
        only = sorted({token for candidates in asked for token in candidates or ()})
    with ExitStack() as stack:
        _enter(stack, model, traits, plan, prefix.length if prefix else 0)
        reads = [pair for places in plan.reads for pair in places]
        narrowed, picked = _head(stack, model, reads, only)
        logits = model.hf(**inputs).logits
    if not picked:
        rows, places = torch.tensor(reads, device=logits.device).unbind(1)
        logits = logits[rows, places][None]
    columns = {token: index for index, token in enumerate(only)} if narrowed and only is not None else None
    return scores_of(plan.rows, logits[0].float(), columns)


def inputs_of(model: Model, traits: Traits, plan: Plan, prefix: int = 0) -> dict[str, Any]:
    mask = plan.real.long()
    if plan.seen is not None:
        kind = next(model.hf.parameters()).dtype
        before = torch.ones(*plan.seen.shape[:2], prefix, dtype=torch.bool)
        seen = torch.cat([before, plan.seen], dim=2)
        mask = torch.zeros(seen.shape, dtype=kind).masked_fill_(~seen, torch.finfo(kind).min)[:, None]
    inputs: dict[str, Any] = {
        "input_ids": plan.ids.to(model.device),
        "attention_mask": mask.to(model.device),
        "use_cache": False,
    }
    if traits.takes_positions:
        # Absolute positions (GPT-2) count real tokens only, on whichever side the padding is.
        inputs["position_ids"] = plan.positions.to(model.device)
    return inputs


def _enter(stack: ExitStack, model: Model, traits: Traits, plan: Plan, prefix: int = 0) -> None:
    """Puts the hooks of a plan on the model: first those that let it grow, then those that steer."""
    if plan.births:
        stack.enter_context(growing(model, plan, prefix, traits.heads))
    for dose in plan.doses:
        entries = slice(dose.start, dose.end)
        rows = plan.steered.shape[0]
        if plan.axis == 0:
            part: tuple[slice, ...] = (entries,)
            strength, steered = dose.strength[:, None], plan.steered[entries]
        else:
            part = (slice(None), entries)
            strength, steered = dose.strength[None].expand(rows, -1), plan.steered[:, entries]
        strength, steered = strength.to(model.device), steered.to(model.device)
        rows_of = Rows(plan.prompt[entries]) if plan.prompt is not None and plan.axis == 0 else None
        stack.enter_context(
            hooked(model, dose.intervention, partial(_same, strength, steered), part, partial(_known, rows_of))
        )


def _same(strength: torch.Tensor, steered: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return strength, steered


def _known(rows: Rows | None) -> Rows | None:
    return rows


def _head(stack: ExitStack, model: Model, reads: Sequence[tuple[int, int]], only: Sequence[int] | None) -> tuple[bool, bool]:
    """Lets the unembedding see only the positions that are read, and compute only some of its rows.

    What a model does to its logits afterwards (softcapping, scaling) is untouched.

    Returns:
        Whether only those rows are computed, and whether only those positions are.
    """
    head = model.hf.get_output_embeddings()
    if head is None:
        return False, False
    rows, places = torch.tensor(list(reads), device=model.device).unbind(1)
    narrow = only and type(head) is nn.Linear and "forward" not in vars(head)
    stack.enter_context(reading_only(head, rows, places))
    if narrow:
        stack.enter_context(_answering_only(head, torch.tensor(only, device=model.device)))
    return bool(narrow), True


@contextmanager
def reading_only(head: nn.Module, rows: torch.Tensor, places: torch.Tensor) -> Iterator[None]:
    """Lets the unembedding see only some positions; logits are then [1, positions, vocabulary]."""

    def pick(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][rows, places][None], *args[1:])

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _answering_only(head: nn.Linear, tokens: torch.Tensor) -> Iterator[None]:
    weight, bias = head.weight[tokens], None if head.bias is None else head.bias[tokens]

    def narrow(hidden: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(hidden, weight, bias)

    head.forward = narrow  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        del head.forward


def scores_of(rows: Sequence[Row], logits: torch.Tensor, columns: dict[int, int] | None) -> list[tuple[Row, Scores]]:
    scores: list[tuple[Row, Scores]] = []
    start = 0
    for row in rows:
        probe, part = row.probe, logits[start : start + len(row.probe.reads)]
        start += len(probe.reads)
        if probe.candidates is not None:
            places = [columns[token] for token in probe.candidates] if columns is not None else list(probe.candidates)
            found = part[0, torch.tensor(places, device=part.device)]
        elif probe.margins:
            found = _margins(probe, part)
        else:
            targets = torch.tensor(probe.ids[probe.score_from :], device=part.device)
            found = part.gather(1, targets[:, None])[:, 0] - part.logsumexp(1)
        scores.append((row, found.double().cpu().numpy()))
    return scores


def _margins(probe: Probe, logits: torch.Tensor) -> torch.Tensor:
    """Float64 [reads]: how far each answer token, and at last the tokens that end an answer, are ahead of all others."""
    wanted = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    targets = torch.tensor(probe.ids[probe.score_from :], device=logits.device, dtype=torch.long)
    wanted[torch.arange(len(targets), device=logits.device), targets] = True
    if probe.ends is not None:
        wanted[-1, torch.tensor(probe.ends, device=logits.device)] = True
    best = logits.masked_fill(~wanted, -torch.inf).amax(1)
    other = logits.masked_fill(wanted, -torch.inf).amax(1)
    return best.double() - other.double()
