"""Laying bundles out for one forward: three ways, from the plain one to the one that shares most.

``plain``            one row per probe and pair (of intervention and multiplier).
``shared depth``     one row per bundle at first; the row of each pair branches off it where the pair's intervention begins.
``shared positions`` one row per bundle; what stands behind the first steered token branches off, once per pair, as a
                     segment of the same row, and again only where the pair's intervention begins.

In the last two the probes of one bundle (the answers of one prompt) are branches of one sequence as well. A branch sees
what it grew from and itself (a tree mask), and its positions go on from there, so every token is computed as if it
stood in its own sequence. With a shared prefix, rows hold only what comes behind it; its keys and values are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from ..steering import Intervention
from .probes import Bundle, Pair, Probe, Row

Kind = Literal["plain", "shared depth", "shared positions"]
Padding = Literal["left", "right"]


@dataclass(frozen=True)
class Way:
    """How a batch is run: its layout, and whether a prefix is shared among its bundles."""

    kind: Kind
    prefix: bool = False

    def __str__(self) -> str:
        return self.kind + (", shared prefix" if self.prefix else "")


@dataclass
class Sheet:
    """The tokens of one bundle behind the prefix, each once.

    Attributes:
        ids / positions: tokens and their positions.
        segment: for each token the number of its segment; parents: for each segment the one it grew from (-1: none).
        places: for each probe where in the sheet its tokens behind the prefix are.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    places: dict[Probe, list[int]] = field(default_factory=dict)

    def grow(self, probe: Probe, start: int, end: int, parent: int) -> int:
        """Adds ``probe.ids[start:end]`` as a segment behind another one; returns the segment's number, or the parent's."""
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
    are born at the input of a later block, as copies of earlier ones. Entries stand in the order of their birth.

    Attributes:
        ids, positions, steered: [rows, tokens] as they are at the last block; real: which of them are no padding.
        seen: bool [rows, tokens, tokens], or None if the ordinary causal mask is right.
        births: for each block at whose input entries are born, the entries they copy: [new] (axis 0) or [rows, new] (axis 1).
        rows: the wanted scores; reads: for each of them the (row, place) pairs to read.
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
    starts: dict[Pair, int] = field(default_factory=dict)
    prompt: torch.Tensor | None = None

    def alive(self, block: int) -> int:
        """How many entries the input of a block has."""
        late = sum(source.shape[-1] for birth, source in self.births.items() if birth > block)
        return int(self.ids.shape[self.axis]) - late


def in_order(pairs: Sequence[Pair]) -> tuple[Pair, list[Pair]]:
    """The pair that the first entries stand for, and the others by birth.

    That is the unsteered model if it is asked for, else the pair that is born last: until then it is the unsteered model.
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
            entries that nobody reads make up the difference.
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
    sheets: Sequence[Sheet],
    probes: Sequence[Probe],
    rows: int,
    padding: Padding,
    length: int,
    chains: bool,
) -> tuple[Plan, list[int]]:
    """Sheets as the first rows of a plan, padded to a length, and where in its row each begins.

    Args:
        probes: one of each sheet, for its scope and its prompt.
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
    real[len(sheets) :] = True  # rows that nobody reads
    return Plan(0, ids, positions, real, steered, seen, prompt=prompt), shifts


def _plain(bundles: Sequence[Bundle], padding: Padding) -> Plan:
    rows = [row for bundle in bundles for row in bundle.rows]
    order = {row.pair.intervention: index for index, row in reversed(list(enumerate(rows)))}
    rows.sort(key=lambda row: order[row.pair.intervention])
    sheets = []
    for row in rows:
        sheet = Sheet()
        sheet.grow(row.probe, 0, len(row.probe.ids), -1)
        sheets.append(sheet)
    length = max(len(sheet.ids) for sheet in sheets)
    plan, shifts = _fill(sheets, [row.probe for row in rows], len(rows), padding, length, True)
    plan.rows = rows
    plan.reads = [[(index, shifts[index] + at) for at in row.probe.reads] for index, row in enumerate(rows)]
    plan.doses = _doses([(row.pair, index, index + 1) for index, row in enumerate(rows)])
    return plan


def _deep(bundles: Sequence[Bundle], sheets: list[Sheet], prefix: int, padding: Padding, avoid: frozenset[int]) -> Plan:
    base, later = in_order(bundles[0].pairs)
    count, length = len(bundles), max(len(sheet.ids) for sheet in sheets)
    idle = _until_free(count * (1 + len(later)), avoid | {length, prefix + length}) if later else 0
    chains = prefix == 0 and all(sheet.is_chain for sheet in sheets)
    first, shifts = _fill(sheets, [bundle.probes[0] for bundle in bundles], count + idle, padding, length, chains)
    copies = torch.arange(count).repeat(len(later))
    entries = torch.cat([torch.arange(count + idle), copies])
    plan = Plan(
        0, first.ids[entries], first.positions[entries], first.real[entries], first.steered[entries],
        None if first.seen is None else first.seen[entries],
    )  # fmt: skip
    assert first.prompt is not None
    plan.prompt = first.prompt[entries]
    plan.starts = {base: 0} | {pair: count + idle + index * count for index, pair in enumerate(later)}
    plan.births = {
        birth: torch.arange(count).repeat(sum(pair.birth == birth for pair in later))
        for birth in sorted({pair.birth for pair in later})
    }
    plan.doses = _doses([(pair, start, start + count) for pair, start in plan.starts.items()])
    for index, (bundle, sheet) in enumerate(zip(bundles, sheets, strict=True)):
        for row in bundle.rows:
            places = sheet.places[row.probe]
            at = plan.starts[row.pair] + index
            plan.rows.append(row)
            plan.reads.append([(at, shifts[index] + places[read - prefix]) for read in row.probe.reads])
    return plan


def _branched(bundles: Sequence[Bundle], sheets: list[Sheet], prefix: int, padding: Padding, avoid: frozenset[int]) -> Plan:
    base, later = in_order(bundles[0].pairs)
    trunks = [bundle.trunk - prefix for bundle in bundles]
    tails = [len(sheet.ids) - trunk for sheet, trunk in zip(sheets, trunks, strict=True)]
    width, tail = max(len(sheet.ids) for sheet in sheets), max(tails)
    for size in range(width, width + 1000):
        if not {size + tail * len(later), prefix + size + tail * len(later)} & (avoid | {len(sheets)}):
            width = size
            break
    length = width + tail * len(later)
    plan, shifts = _fill(sheets, [bundle.probes[0] for bundle in bundles], len(sheets), padding, width, False)
    first = plan.seen
    assert first is not None
    seen = torch.eye(length, dtype=torch.bool).repeat(len(sheets), 1, 1)
    seen[:, :width, :width] = first
    source = torch.zeros(len(sheets), tail, dtype=torch.long)
    for at, (shift, trunk, own) in enumerate(zip(shifts, trunks, tails, strict=True)):
        behind = slice(shift + trunk, shift + trunk + own)
        source[at, :own] = torch.arange(behind.start, behind.stop)
        for index in range(len(later)):
            place = width + index * tail
            seen[at, place : place + own, shift : shift + trunk] = True
            seen[at, place : place + own, place : place + own] = first[at, behind, behind]
    entries = torch.cat([torch.arange(width).repeat(len(sheets), 1), source.repeat(1, len(later))], dim=1)
    padded = torch.arange(tail)[None] >= torch.tensor(tails)[:, None]
    real = torch.cat([plan.real, ~padded.repeat(1, len(later))], dim=1)
    plan = Plan(
        1, plan.ids.gather(1, entries), plan.positions.gather(1, entries), real, plan.steered.gather(1, entries) & real, seen
    )
    plan.births = {
        birth: source.repeat(1, sum(pair.birth == birth for pair in later))
        for birth in sorted({pair.birth for pair in later})
    }
    plan.doses = _doses(
        [(base, 0, width), *((pair, width + i * tail, width + (i + 1) * tail) for i, pair in enumerate(later))]
    )
    starts = {pair: width + index * tail for index, pair in enumerate(later)}
    for index, (bundle, sheet) in enumerate(zip(bundles, sheets, strict=True)):
        for row in bundle.rows:
            places = []
            for read in row.probe.reads:
                place = sheet.places[row.probe][read - prefix]
                branched = row.pair in starts and place >= trunks[index]
                places.append((index, starts[row.pair] + place - trunks[index] if branched else shifts[index] + place))
            plan.rows.append(row)
            plan.reads.append(places)
    return plan


def _until_free(count: int, avoid: frozenset[int]) -> int:
    """How much to add to a number until it is none of those to avoid."""
    return next(more for more in range(len(avoid) + 1) if count + more not in avoid)


def _doses(entries: Sequence[tuple[Pair, int, int]]) -> list[Dose]:
    """Pairs of one intervention that stand side by side become one dose."""
    doses: list[Dose] = []
    for pair, start, end in entries:
        if pair.is_idle:
            continue
        assert pair.intervention is not None
        strength = torch.full((end - start,), pair.multiplier)
        last = doses[-1] if doses else None
        if last is not None and last.intervention is pair.intervention and last.end == start:
            doses[-1] = Dose(last.intervention, last.start, end, torch.cat([last.strength, strength]))
        else:
            doses.append(Dose(pair.intervention, start, end, strength))
    return doses
