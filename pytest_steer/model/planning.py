"""Choose which bundles run together, the prefix that they share, and the way that takes the fewest operations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .abilities import abilities_of
from .layout import Kind, Way, in_order
from .model import Model
from .probes import Bundle, Pair, common_prefix
from .state import structure_of


@dataclass(frozen=True)
class Budget:
    """How large a batch may be.

    Attributes:
        tokens: in the mean over the blocks; one block may have twice as many.
        logits: how many logits it may hold.
    """

    tokens: int
    logits: int


def ways_of(model: Model, bundle: Bundle, prefix: int) -> dict[Way, float]:
    """The ways a bundle can go, each with its operations as a number of plain tokens through one block."""
    kinds: list[Kind] = ["plain"]
    longest = max(len(probe.ids) for probe in bundle.probes)
    abilities = abilities_of(model)
    # A branch takes positions of its own, and all layers have to heed a tree mask.
    can_branch = (
        abilities.branches
        and structure_of(model).told_positions
        and longest <= abilities.reach
        and not any(pair.looks_at_rows for pair in bundle.pairs)
    )
    if abilities.shares_depth and (bundle.entries > 1 or prefix):
        if len(bundle.probes) == 1 or can_branch:
            kinds.append("shared depth")
        if can_branch and any(not pair.is_idle for pair in bundle.pairs) and bundle.steer_from >= prefix:
            kinds.append("shared positions")
    found: dict[Way, float] = {}
    for kind in kinds:
        found[Way(kind)] = _cost(model, bundle, 0, kind)
        if prefix and can_branch and kind != "plain":
            found[Way(kind, True)] = _cost(model, bundle, prefix, kind)
    return found


def cost_of(model: Model, batch: Sequence[Bundle], prefix: int, kind: Kind) -> float:
    """The operations of a batch, in the unit of :func:`ways_of`."""
    return sum(_cost(model, bundle, prefix, kind) for bundle in batch)


def tokens_of(model: Model, batch: Sequence[Bundle], prefix: int, kind: Kind) -> float:
    """How many tokens of a batch go through a block, in the mean over the blocks; padding is not counted."""
    total = 0.0
    for bundle in batch:
        if kind == "plain":
            total += sum(len(row.probe.ids) for row in bundle.rows) + sum(len(probe.ids) for probe in bundle.compared)
        else:
            rows, length = _entries(bundle, prefix, kind, model.n_layers)
            total += float((rows * length).mean())
    return total


def _cost(model: Model, bundle: Bundle, prefix: int, kind: Kind) -> float:
    """Token-blocks, with attention: a block of width w takes about 24 w^2 operations per token, and attention to n tokens 4 n w."""
    rows, length = _entries(bundle, prefix, kind, model.n_layers)
    seen = length + prefix
    cost: float = (rows * length * (1 + seen / (6 * model.width))).sum()
    return cost


def _entries(bundle: Bundle, prefix: int, kind: Kind, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """[blocks] how many rows a bundle has at each block, and how many tokens each of them."""
    one = np.ones(blocks)
    if kind == "plain":
        return one * bundle.entries, one * max(len(probe.ids) for probe in bundle.probes)
    _, later = in_order(bundle.pairs)
    born = np.array([pair.birth for pair in later], dtype=int)
    alive = (born[None, :] <= np.arange(blocks)[:, None]).sum(1)
    own = bundle.tokens - prefix
    if kind == "shared depth":
        return 1 + alive, one * own
    return one, own + alive * (bundle.tokens - bundle.trunk)


def batches(
    model: Model, group: Group, choose: Callable[[Bundle, int], Way], budget_now: Callable[[], Budget]
) -> Iterator[tuple[list[Bundle], Way]]:
    """Bundles of a group that go the same way, of similar length, within the budgets.

    Args:
        choose: the way of a bundle, given the length of its group's prefix.
        budget_now: asked before each bundle, since the budget shrinks when memory runs out.
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
            more = used.with_one(model, bundle, prefix, way.kind)
            if batch and more.exceeds(budget_now()):
                yield batch, way
                batch, more = [], _Use().with_one(model, bundle, prefix, way.kind)
            batch.append(bundle)
            used = more
        if batch:
            yield batch, way


@dataclass(frozen=True)
class _Use:
    """The size of a batch: rows and the longest row at each block, and logits."""

    rows: np.ndarray | float = 0.0
    length: np.ndarray | float = 0.0
    logits: int = 0

    def with_one(self, model: Model, bundle: Bundle, prefix: int, kind: Kind) -> _Use:
        rows, length = _entries(bundle, prefix, kind, model.n_layers)
        reads = sum(len(row.probe.reads) for row in bundle.rows if row.probe.candidates is None)
        reads += sum(len(probe.reads) for probe in bundle.compared)
        return _Use(self.rows + rows, np.maximum(self.length, length), self.logits + reads * model.vocabulary)

    @property
    def tokens(self) -> np.ndarray:
        """[blocks] tokens at each block, padding included."""
        return np.asarray(self.rows * self.length)

    def exceeds(self, budget: Budget) -> bool:
        over = self.tokens.mean() > budget.tokens or self.tokens.max() > 2 * budget.tokens
        return bool(over or self.logits > budget.logits)


def half_of(model: Model, batch: Sequence[Bundle], prefix: int, kind: Kind, budget: Budget) -> Budget:
    """A budget that allows half of this batch, and no more than the present one does."""
    used = _Use()
    for bundle in batch:
        used = used.with_one(model, bundle, prefix, kind)
    tokens, logits = int(used.tokens.mean()) // 2, used.logits // 2
    return Budget(min(budget.tokens, max(1, tokens)), min(budget.logits, max(1, logits or budget.logits)))


def halves(batch: Sequence[Bundle]) -> list[list[Bundle]]:
    """A batch in two parts: by bundles, else by pairs; nothing if it cannot be divided."""
    if len(batch) > 1:
        return [list(batch[: len(batch) // 2]), list(batch[len(batch) // 2 :])]
    pairs = tuple(dict.fromkeys(row.pair for row in batch[0].rows))
    if len(pairs) > 1:
        first = set(pairs[: len(pairs) // 2])
        return [[batch[0].where(lambda row: row.pair in first)], [batch[0].where(lambda row: row.pair not in first)]]
    return []


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
