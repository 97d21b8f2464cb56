"""Share a prefix among bundles: items of one context begin with the same system prompt and demonstrations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from .layout import Plan
from .probes import Bundle, common_prefix

# A forward of a prefix costs about as much as this many more tokens in a batch; saving fewer does not pay.
_WORTH = 128


@dataclass(frozen=True)
class Group:
    """Bundles that share their first ``prefix`` tokens (0: none)."""

    bundles: tuple[Bundle, ...]
    prefix: int = 0


def group_by_prefix(bundles: Sequence[Bundle]) -> list[Group]:
    """Group bundles by their prefixes, so that the most tokens are saved.

    Bundles of one group have the same pairs. A prefix ends before the first steered token, unless steering begins so early
    that all of it is steered alike; and before the first position that is read.
    """
    alike: dict[tuple[object, ...], list[Bundle]] = {}
    for bundle in bundles:
        early = bundle.steer_from if bundle.steer_from < 2 else None
        alike.setdefault((bundle.pairs, early), []).append(bundle)
    groups: list[Group] = []
    for members in alike.values():
        members.sort(key=lambda bundle: bundle.ids)
        shared = [common_prefix(one.ids, other.ids) for one, other in itertools.pairwise(members)]
        groups += _split(members, shared)
    return groups


def _split(members: list[Bundle], shared: list[int]) -> list[Group]:
    """The bundles as one group, or cut where neighbours share least, whichever saves more tokens."""
    done: list[Group] = []
    loose: list[Bundle] = []
    todo = [(members, shared)]
    while todo:
        members, shared = todo.pop()
        whole = _length(members, shared)
        cuts = [at for at, size in enumerate(shared) if size == min(shared)]
        parts, start = [], 0
        for end in [*(at + 1 for at in cuts), len(members)]:
            parts.append((members[start:end], shared[start : end - 1]))
            start = end
        saved, saved_by_parts = _saved(members, whole), sum(_saved(own, _length(own, sizes)) for own, sizes in parts)
        if saved >= saved_by_parts and saved > 0:
            done.append(Group(tuple(members), whole))
        elif len(members) == 1 or (saved_by_parts == 0 and not _may_save(members)):
            loose += members
        else:
            todo += parts
    return done + ([Group(tuple(loose))] if loose else [])


def _length(members: list[Bundle], shared: list[int]) -> int:
    """How long the prefix of a group can be."""
    limit = min(min(bundle.stem, len(bundle.ids) - 1, bundle.first_read) for bundle in members)
    if members[0].steer_from >= 2:
        limit = min(limit, min(bundle.steer_from for bundle in members))
    return min([limit, *shared])


def _saved(members: list[Bundle], length: int) -> int:
    return max(0, length * (len(members) - 1) - _WORTH) if length else 0


def _may_save(members: list[Bundle]) -> bool:
    """Whether some part of the bundles, deeper down, could still share a prefix that pays."""
    return sum(len(bundle.ids) for bundle in members) > 2 * _WORTH


class _Kept(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of a prefix, put before those of every row without being stored anew."""

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
