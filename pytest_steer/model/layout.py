"""Plan forwards: choose which bundles run together, the prefix that they share and the way that takes the fewest operations; lay them out for
one forward; and let the forward grow as the layout says.

There are three ways, which share more and more work:

``plain``            one row per probe and pair (of intervention and multiplier).
``shared depth``     one row per bundle at first; the row of each pair branches off it where the pair's intervention begins.
``shared positions`` one row per bundle; the tokens from the first steered one on branch off, once per pair, as a
                     segment of the same row, and again only where the pair's intervention begins.

In the last two the probes of one bundle (the answers of one prompt) are branches of one sequence as well. A branch sees
what it grew from and itself (a tree mask), and its positions go on from there, so every token is computed as if it
stood in its own sequence. With a shared prefix, rows hold only what follows it; its keys and values are given.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch

from ..prompting.chat import common_prefix
from ..steering import Intervention
from .abilities import abilities_of
from .model import Model
from .probes import Bundle, Pair, Probe, Row
from .sites import hidden_of, with_hidden
from .state import structure_of
from .tokens import Padding


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
        found[Way(kind)] = cost_of(model, bundle, 0, kind)
        if prefix and can_branch and kind != "plain":
            found[Way(kind, True)] = cost_of(model, bundle, prefix, kind)
    return found


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


def cost_of(model: Model, bundle: Bundle, prefix: int, kind: Kind) -> float:
    """The operations of a bundle, as a number of plain tokens through one block, with attention: a block of width w takes about 24 w^2 operations per token, and attention to n tokens 4 n w."""
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


_BASE = b""  # the key of rows that are only read for the sake of others
Kind = Literal["plain", "shared depth", "shared positions"]


@dataclass(frozen=True)
class Way:
    """How a batch is run: its layout, and whether a prefix is shared among its bundles."""

    kind: Kind
    prefix: bool = False

    def __str__(self) -> str:
        return self.kind + (", shared prefix" if self.prefix else "")


@dataclass
class Sheet:
    """The tokens of one bundle after the prefix, each once.

    Attributes:
        ids / positions: tokens and their positions.
        segment: for each token the number of its segment.
        parents: for each segment the one it grew from (-1: none).
        places: for each probe where in the sheet its tokens after the prefix are.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    places: dict[Probe, list[int]] = field(default_factory=dict)

    def grow(self, probe: Probe, start: int, end: int, parent: int) -> int:
        """Add ``probe.ids[start:end]`` as a segment after its parent; returns its number, or the parent's if it is empty."""
        if start >= end:
            return parent
        self.ids += probe.ids[start:end]
        self.positions += range(start, end)
        self.parents.append(parent)
        self.segment += [len(self.parents) - 1] * (end - start)
        return len(self.parents) - 1

    @property
    def is_chain(self) -> bool:
        """Whether it is one sequence without branches, for which the ordinary causal mask is right."""
        return all(parent == index - 1 for index, parent in enumerate(self.parents))

    def seen(self) -> torch.Tensor:
        """bool [tokens, tokens]: which token sees which."""
        related = torch.zeros(len(self.parents), len(self.parents), dtype=torch.bool)
        for segment, parent in enumerate(self.parents):
            if parent >= 0:
                related[segment] = related[parent]
            related[segment, segment] = True
        segments = torch.tensor(self.segment)
        return related[segments][:, segments] & torch.ones(len(self.ids), len(self.ids), dtype=torch.bool).tril()


@dataclass(frozen=True)
class Dose:
    """Where one intervention acts: entries ``start`` to ``end`` (rows, or places in every row), with their strengths [entries]."""

    intervention: Intervention
    start: int
    end: int
    strength: torch.Tensor


@dataclass
class Plan:
    """One forward. Its entries are rows (``axis`` 0) or places in every row (1); some are there from the first block on, others
    are born at the input of a later block, as copies of earlier ones. Entries are in the order of their birth.

    Attributes:
        ids / positions / steered: [rows, tokens] as they are at the last block.
        real: bool [rows, tokens]: False for padding.
        seen: bool [rows, tokens, tokens], or None if the ordinary causal mask is right.
        births: for each block at whose input entries are born, the entries they copy: [new] (axis 0) or [rows, new] (axis 1).
        rows: the wanted scores.
        reads: for each of them the (row, place) pairs to read.
        unsteered: for probes whose answers are differences from the unsteered model, where that is read.
        starts: for axis 0, the first row of each pair.
        prompt: for axis 0, bool [rows, tokens]: the prompt of each row's one probe, for conditions on it.
    """

    axis: int
    ids: torch.Tensor
    positions: torch.Tensor
    real: torch.Tensor
    steered: torch.Tensor
    seen: torch.Tensor | None
    births: dict[int, torch.Tensor] = field(default_factory=dict)
    doses: list[Dose] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    reads: list[list[tuple[int, int]]] = field(default_factory=list)
    unsteered: dict[Probe, list[tuple[int, int]]] = field(default_factory=dict)
    starts: dict[Pair, int] = field(default_factory=dict)
    prompt: torch.Tensor | None = None

    def alive(self, block: int) -> int:
        """How many entries the input of a block has."""
        late = sum(source.shape[-1] for birth, source in self.births.items() if birth > block)
        return int(self.ids.shape[self.axis]) - late


def in_order(pairs: Sequence[Pair]) -> tuple[Pair, list[Pair]]:
    """The pair of the first entries, and the others by birth.

    The first is the unsteered model if it is asked for, else the pair that is born last: until then it is the unsteered model.
    """
    # Pairs of one intervention stay together, in the order in which they were asked for.
    order = {pair.intervention: index for index, pair in reversed(list(enumerate(pairs)))}
    later = sorted((p for p in pairs if not p.is_idle), key=lambda p: (p.birth, order[p.intervention]))
    idle = [pair for pair in pairs if pair.is_idle]
    return (idle[0], later) if idle else (later[-1], later[:-1])


def lay_out(
    bundles: Sequence[Bundle], way: Way, prefix: int = 0, padding: Padding = "right", avoid: frozenset[int] = frozenset()
) -> Plan:
    """The plan of one forward.

    Args:
        bundles: for all ways but the plain one they have the same pairs.
        prefix: how many tokens at the start of every sequence are left out, since they are shared.
        avoid: sizes that the number of entries must not have, so that arguments of blocks can be told apart by it;
            entries that are not read make up the difference.
    """
    if way.kind == "plain":
        return _plain(bundles, padding)
    sheets = [_sheet(bundle, prefix) for bundle in bundles]
    if way.kind == "shared depth":
        return _deep(bundles, sheets, prefix, padding, avoid)
    return _branched(bundles, sheets, prefix, padding, avoid)


def _sheet(bundle: Bundle, prefix: int) -> Sheet:
    sheet = Sheet()
    trunk = sheet.grow(bundle.probes[0], prefix, bundle.trunk, -1)
    stem = sheet.grow(bundle.probes[0], max(prefix, bundle.trunk), bundle.stem, trunk)
    for probe in bundle.probes:
        own = len(sheet.ids)
        sheet.grow(probe, bundle.stem, len(probe.ids), stem)
        sheet.places[probe] = [*range(bundle.stem - prefix), *range(own, len(sheet.ids))]
    return sheet


def _fill(
    sheets: Sequence[Sheet], probes: Sequence[Probe], rows: int, padding: Padding, length: int, chains: bool
) -> tuple[Plan, list[int]]:
    """Sheets as the first rows of a plan, padded to a length, and where in its row each begins.

    Args:
        probes: one of each sheet, for its scope and its prompt.
        rows: how many the plan has; those without a sheet are not read.
        chains: whether the ordinary causal mask is right for all sheets.
    """
    ids = torch.zeros(rows, length, dtype=torch.long)
    positions, real = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    steered, prompt = torch.zeros_like(real), torch.zeros_like(real)
    # Padding sees itself, so that no token sees nothing.
    seen = None if chains else torch.eye(length, dtype=torch.bool).repeat(rows, 1, 1)
    shifts = []
    for row, sheet in enumerate(sheets):
        shift = length - len(sheet.ids) if padding == "left" else 0
        own = slice(shift, shift + len(sheet.ids))
        ids[row, own] = torch.tensor(sheet.ids)
        positions[row, own] = torch.tensor(sheet.positions)
        real[row, own] = True
        steered[row, own] = positions[row, own] >= probes[row].steer_from
        prompt[row, own] = positions[row, own] < probes[row].prompt_tokens
        if seen is not None:
            seen[row, own, own] = sheet.seen()
        shifts.append(shift)
    real[len(sheets) :] = True
    return Plan(0, ids, positions, real, steered, seen, prompt=prompt), shifts


def _plain(bundles: Sequence[Bundle], padding: Padding) -> Plan:
    rows = [row for bundle in bundles for row in bundle.rows]
    rows += [Row(probe, Pair(None, 0.0), _BASE) for bundle in bundles for probe in bundle.compared]
    order = {row.pair.intervention: index for index, row in reversed(list(enumerate(rows)))}
    rows.sort(key=lambda row: order[row.pair.intervention])
    sheets = [Sheet() for _ in rows]
    for sheet, row in zip(sheets, rows, strict=True):
        sheet.grow(row.probe, 0, len(row.probe.ids), -1)
    length = max(len(sheet.ids) for sheet in sheets)
    plan, shifts = _fill(sheets, [row.probe for row in rows], len(rows), padding, length, True)
    for index, row in enumerate(rows):
        reads = [(index, shifts[index] + at) for at in row.probe.reads]
        if row.key == _BASE:
            plan.unsteered[row.probe] = reads
        else:
            plan.rows.append(row)
            plan.reads.append(reads)
    plan.doses = _doses([(row.pair, index, index + 1) for index, row in enumerate(rows)])
    return plan


def _deep(bundles: Sequence[Bundle], sheets: list[Sheet], prefix: int, padding: Padding, avoid: frozenset[int]) -> Plan:
    base, later = in_order(bundles[0].pairs)
    count, length = len(bundles), max(len(sheet.ids) for sheet in sheets)
    avoid |= {length, prefix + length}
    total = next(size for size in itertools.count(count * (1 + len(later))) if not later or size not in avoid)
    first_rows = total - count * len(later)
    chains = prefix == 0 and all(sheet.is_chain for sheet in sheets)
    first, shifts = _fill(sheets, [bundle.probes[0] for bundle in bundles], first_rows, padding, length, chains)
    entries = torch.cat([torch.arange(first_rows), torch.arange(count).repeat(len(later))])
    plan = replace(
        first, ids=first.ids[entries], positions=first.positions[entries], real=first.real[entries], steered=first.steered[entries],
        seen=None if first.seen is None else first.seen[entries], prompt=None if first.prompt is None else first.prompt[entries],
        births=_births(later, torch.arange(count)),
    )  # fmt: skip
    plan.starts = {base: 0} | {pair: first_rows + index * count for index, pair in enumerate(later)}
    plan.doses = _doses([(pair, start, start + count) for pair, start in plan.starts.items()])
    _add_reads(plan, bundles, sheets, prefix, lambda index, pair, place: (plan.starts[pair] + index, shifts[index] + place))
    return plan


def _branched(bundles: Sequence[Bundle], sheets: list[Sheet], prefix: int, padding: Padding, avoid: frozenset[int]) -> Plan:
    base, later = in_order(bundles[0].pairs)
    trunks = [bundle.trunk - prefix for bundle in bundles]
    tails = [len(sheet.ids) - trunk for sheet, trunk in zip(sheets, trunks, strict=True)]
    tail, avoid = max(tails), avoid | {len(sheets)}
    shortest = max(len(sheet.ids) for sheet in sheets) + tail * len(later)
    length = next(size for size in itertools.count(shortest) if size not in avoid and prefix + size not in avoid)
    width = length - tail * len(later)
    plan, shifts = _fill(sheets, [bundle.probes[0] for bundle in bundles], len(sheets), padding, width, False)
    first = plan.seen
    assert first is not None
    starts = {pair: width + index * tail for index, pair in enumerate(later)}
    seen = torch.eye(length, dtype=torch.bool).repeat(len(sheets), 1, 1)
    seen[:, :width, :width] = first
    source = torch.zeros(len(sheets), tail, dtype=torch.long)
    for at, (shift, trunk, own) in enumerate(zip(shifts, trunks, tails, strict=True)):
        after = slice(shift + trunk, shift + trunk + own)
        source[at, :own] = torch.arange(after.start, after.stop)
        for start in starts.values():
            seen[at, start : start + own, shift : shift + trunk] = True
            seen[at, start : start + own, start : start + own] = first[at, after, after]
    entries = torch.cat([torch.arange(width).repeat(len(sheets), 1), source.repeat(1, len(later))], dim=1)
    padded = torch.arange(tail)[None] >= torch.tensor(tails)[:, None]
    real = torch.cat([plan.real, ~padded.repeat(1, len(later))], dim=1)
    plan = Plan(
        1, plan.ids.gather(1, entries), plan.positions.gather(1, entries), real, plan.steered.gather(1, entries) & real, seen,
        _births(later, source),
    )  # fmt: skip
    plan.doses = _doses([(base, 0, width), *((pair, start, start + tail) for pair, start in starts.items())])

    def where(index: int, pair: Pair, place: int) -> tuple[int, int]:
        if pair in starts and place >= trunks[index]:
            return index, starts[pair] + place - trunks[index]
        return index, shifts[index] + place

    _add_reads(plan, bundles, sheets, prefix, where)
    return plan


def _births(later: Sequence[Pair], source: torch.Tensor) -> dict[int, torch.Tensor]:
    """For each block at which pairs are born, the entries that they copy: ``source`` for each of them."""
    counts = Counter(pair.birth for pair in later)
    return {birth: torch.cat([source] * count, dim=-1) for birth, count in sorted(counts.items())}


def _add_reads(
    plan: Plan,
    bundles: Sequence[Bundle],
    sheets: Sequence[Sheet],
    prefix: int,
    where: Callable[[int, Pair, int], tuple[int, int]],
) -> None:
    """Add the rows of bundles to a plan, and what is read for each.

    Args:
        where: (index of the bundle, pair, place in its sheet) -> (row, place) in the plan.
    """
    for index, (bundle, sheet) in enumerate(zip(bundles, sheets, strict=True)):
        for row in bundle.rows:
            places = sheet.places[row.probe]
            plan.rows.append(row)
            plan.reads.append([where(index, row.pair, places[read - prefix]) for read in row.probe.reads])
        base, _ = in_order(bundle.pairs)
        for probe in bundle.compared:
            plan.unsteered[probe] = [where(index, base, sheet.places[probe][read - prefix]) for read in probe.reads]


def _doses(entries: Sequence[tuple[Pair, int, int]]) -> list[Dose]:
    """One dose for each run of neighbouring pairs of one intervention."""
    doses: list[Dose] = []
    for pair, start, end in entries:
        if pair.acting is None:
            continue
        strength = torch.full((end - start,), pair.multiplier)
        last = doses[-1] if doses else None
        if last is not None and last.intervention is pair.acting and last.end == start:
            doses[-1] = Dose(pair.acting, last.start, end, torch.cat([last.strength, strength]))
        else:
            doses.append(Dose(pair.acting, start, end, strength))
    return doses


@contextmanager
def growing(model: Model, plan: Plan, shared: int = 0, per_row: tuple[int, ...] = ()) -> Iterator[None]:
    """Let the forward of a plan begin with its first entries only.

    The model is given the whole plan, so whatever it prepares for its blocks (masks, positions, rotary embeddings, ALiBi)
    has the size of the whole. The input of each block is cut down to the entries that live there, and so are the
    prepared arguments, which are known by their size. Register this before the hooks that steer.

    Args:
        shared: length of a prefix whose keys come before those of the row.
        per_row: numbers of attention heads: an argument may hold that many entries per row.
    """
    axis, full = plan.axis, plan.ids.shape[plan.axis]

    def cut(value: Any, alive: int) -> Any:
        if isinstance(value, torch.Tensor):
            return _cut_rows(value, full, alive, per_row) if axis == 0 else _cut_places(value, full, alive, shared)
        if isinstance(value, (tuple, list)):
            return type(value)(cut(inner, alive) for inner in value)
        if isinstance(value, dict):
            return {key: cut(inner, alive) for key, inner in value.items()}
        return value

    def before(alive: int) -> Callable[[Any, Any, Any], Any]:
        def hook(_module: Any, args: Any, kwargs: Any) -> Any:
            # The hidden states come first. After the first block they have the right size already.
            hidden, rest = (args[0], args[1:]) if args else (kwargs["hidden_states"], ())
            hidden = hidden[:alive] if axis == 0 else hidden[:, :alive]
            rest, named = cut(rest, alive), {k: cut(v, alive) for k, v in kwargs.items() if k != "hidden_states"}
            return ((hidden, *rest), named) if args else ((), {**named, "hidden_states": hidden})

        return hook

    def after(source: torch.Tensor) -> Callable[[Any, Any, Any], Any]:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            hidden = hidden_of(output)
            at = source.to(hidden.device)
            born = hidden.index_select(0, at) if axis == 0 else hidden[torch.arange(len(at), device=at.device)[:, None], at]
            return with_hidden(output, torch.cat([hidden, born], dim=axis))

        return hook

    with ExitStack() as stack:
        for number, block in enumerate(model.blocks):
            if plan.alive(number) < full:
                stack.enter_context(block.register_forward_pre_hook(before(plan.alive(number)), with_kwargs=True))
            if number + 1 in plan.births:
                stack.enter_context(block.register_forward_hook(after(plan.births[number + 1])))
        yield


def _cut_rows(value: torch.Tensor, full: int, alive: int, per_row: tuple[int, ...]) -> torch.Tensor:
    if value.ndim < 2:  # cache positions count tokens, not rows
        return value
    if value.shape[0] == full:
        return value[:alive]
    heads = next((count for count in per_row if value.shape[0] == full * count), 0)
    return value[: alive * heads] if heads else value


def _cut_places(value: torch.Tensor, full: int, alive: int, shared: int) -> torch.Tensor:
    for dimension, size in enumerate(value.shape):
        if size == full:
            value = value.narrow(dimension, 0, alive)
        elif shared and size == shared + full:
            value = value.narrow(dimension, 0, shared + alive)
    return value
