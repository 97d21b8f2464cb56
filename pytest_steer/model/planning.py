"""Which bundles run together, and in which way: the one that takes the fewest operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .layout import Kind, Way, in_order
from .prefixes import Group
from .probes import Bundle, Pair


@dataclass(frozen=True)
class Limits:
    """What one model and its device allow.

    Attributes:
        blocks, width, vocabulary: of the model.
        depth: whether rows may be copied between its blocks.
        branches: whether a sequence can branch: its tokens take positions of their own, and all its layers heed a tree mask.
        reach: how far back every token sees; a tree mask would stand in for a shorter mask of the model's.
        tokens: token budget of a batch, in the mean over the blocks; at most twice as many at one.
        logits: how many logits a batch may hold.
    """

    blocks: int
    width: int
    vocabulary: int
    depth: bool
    branches: bool
    reach: float
    tokens: int
    logits: int


def ways_of(bundle: Bundle, prefix: int, limits: Limits) -> dict[Way, float]:
    """The ways a bundle can go, each with its operations as a number of plain tokens through one block."""
    kinds: list[Kind] = ["plain"]
    longest = max(len(probe.ids) for probe in bundle.probes)
    can_branch = limits.branches and longest <= limits.reach and not any(pair.looks_at_rows for pair in bundle.pairs)
    if limits.depth and (len(bundle.rows) > 1 or prefix):
        if len(bundle.probes) == 1 or can_branch:
            kinds.append("shared depth")
        if can_branch and any(not pair.is_idle for pair in bundle.pairs) and bundle.steer_from >= prefix:
            kinds.append("shared positions")
    found: dict[Way, float] = {}
    for kind in kinds:
        found[Way(kind)] = _cost(bundle, 0, kind, limits)
        if prefix and can_branch and kind != "plain":
            found[Way(kind, True)] = _cost(bundle, prefix, kind, limits)
    return found


def _cost(bundle: Bundle, prefix: int, kind: Kind, limits: Limits) -> float:
    """Token-blocks, with attention: a block of width w takes about 24 w^2 operations per token, and attention to n tokens 4 n w."""
    rows, length = _entries(bundle, prefix, kind, limits.blocks)
    seen = length + prefix
    cost: float = (rows * length * (1 + seen / (6 * limits.width))).sum()
    return cost


def _entries(bundle: Bundle, prefix: int, kind: Kind, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """[blocks] how many rows a bundle has at each block, and how many tokens each of them."""
    one = np.ones(blocks)
    if kind == "plain":
        return one * len(bundle.rows), one * max(len(probe.ids) for probe in bundle.probes)
    _, later = in_order(bundle.pairs)
    born = np.array([pair.birth for pair in later], dtype=int)
    alive = (born[None, :] <= np.arange(blocks)[:, None]).sum(1)
    own = bundle.tokens - prefix
    if kind == "shared depth":
        return 1 + alive, one * own
    return one, own + alive * (bundle.tokens - bundle.trunk)


def batches(
    group: Group, choose: Callable[[Bundle, int], Way], limits_now: Callable[[], Limits]
) -> Iterator[tuple[list[Bundle], Way]]:
    """Bundles of a group that go the same way, of similar length, within the budgets.

    Args:
        choose: the way of a bundle, given the length of its group's prefix.
        limits_now: asked before each bundle, since budgets shrink when memory runs out.
    """
    alike: dict[tuple[Way, bool, tuple[Pair, ...]], list[Bundle]] = {}
    for bundle in group.bundles:
        way = choose(bundle, group.prefix)
        branching = way.kind != "plain" and len(bundle.probes) > 1
        alike.setdefault((way, branching, () if way.kind == "plain" else bundle.pairs), []).append(bundle)
    for (way, _, _), members in alike.items():
        prefix = group.prefix if way.prefix else 0
        batch: list[Bundle] = []
        used = _Use()
        for bundle in sorted(members, key=lambda b: -b.tokens):
            limits = limits_now()
            more = used.with_one(bundle, prefix, way.kind, limits)
            if batch and more.exceeds(limits):
                yield batch, way
                batch, more = [], _Use().with_one(bundle, prefix, way.kind, limits)
            batch.append(bundle)
            used = more
        if batch:
            yield batch, way


@dataclass(frozen=True)
class _Use:
    """What a batch takes: rows and the longest row at each block, and reads."""

    rows: np.ndarray | float = 0.0
    length: np.ndarray | float = 0.0
    reads: int = 0

    def with_one(self, bundle: Bundle, prefix: int, kind: Kind, limits: Limits) -> _Use:
        rows, length = _entries(bundle, prefix, kind, limits.blocks)
        reads = sum(len(row.probe.reads) for row in bundle.rows if row.probe.candidates is None)
        return _Use(self.rows + rows, np.maximum(self.length, length), self.reads + reads)

    @property
    def tokens(self) -> np.ndarray:
        """[blocks] tokens at each block, padding included."""
        return np.asarray(self.rows * self.length)

    def exceeds(self, limits: Limits) -> bool:
        over = self.tokens.mean() > limits.tokens or self.tokens.max() > 2 * limits.tokens
        return bool(over or self.reads * limits.vocabulary > limits.logits)


def half_of(batch: Sequence[Bundle], prefix: int, kind: Kind, limits: Limits) -> tuple[int, int]:
    """Budgets of tokens and of logits that allow half of this batch, and no more than the limits do."""
    used = _Use()
    for bundle in batch:
        used = used.with_one(bundle, prefix, kind, limits)
    tokens, logits = int(used.tokens.mean()) // 2, used.reads * limits.vocabulary // 2
    return min(limits.tokens, max(1, tokens)), min(limits.logits, max(1, logits or limits.logits))


def halves(batch: Sequence[Bundle]) -> list[list[Bundle]]:
    """A batch in two parts: by bundles, else by pairs; nothing if it cannot be divided."""
    if len(batch) > 1:
        return [list(batch[: len(batch) // 2]), list(batch[len(batch) // 2 :])]
    pairs = batch[0].pairs
    if len(pairs) > 1:
        first = set(pairs[: len(pairs) // 2])
        return [[batch[0].where(lambda row: row.pair in first)], [batch[0].where(lambda row: row.pair not in first)]]
    return []
