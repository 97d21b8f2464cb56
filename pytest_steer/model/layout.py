"""Laying bundles out as sequences for one forward: three ways, from the plain one to the one that shares most.

``plain``            one row per probe and multiplier.
``shared depth``     one row per bundle; it fans out into one row per multiplier at the lowest steered block.
``shared positions`` one row per bundle; what stands before the first steered token is there once, and each multiplier
                     is a branch of its own behind it.

In the last two, the answers of one prompt are branches too. A branch sees what it grew from and itself (a tree mask),
and its positions go on from there, so every token is computed as if it stood in its own sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from .probes import Bundle, Probe, Row

Path = Literal["plain", "shared depth", "shared positions"]


@dataclass
class Sheet:
    """One input sequence.

    Attributes:
        ids / positions: tokens and their positions.
        segment: for each token the number of its segment; parents: for each segment the one it grew from (-1: none).
        steered: for each token whether it is steered; strength: by how much, where the row does not say so.
        places: for each probe (and multiplier index) where in the sheet each of its tokens is.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    steered: list[bool] = field(default_factory=list)
    strength: list[float] = field(default_factory=list)
    places: dict[tuple[Probe, float | None], list[int]] = field(default_factory=dict)

    def grow(self, probe: Probe, start: int, end: int, parent: int, strength: float) -> int:
        """Adds ``probe.ids[start:end]`` as a segment behind another one; returns the segment's number, or the parent's."""
        if start >= end:
            return parent
        self.ids += probe.ids[start:end]
        self.positions += range(start, end)
        self.parents.append(parent)
        self.segment += [len(self.parents) - 1] * (end - start)
        self.steered += [at >= probe.steer_from for at in range(start, end)]
        self.strength += [strength] * (end - start)
        return len(self.parents) - 1

    def lineage(self, segment: int) -> list[int]:
        """The segment and those it grew from."""
        found = []
        while segment >= 0:
            found.append(segment)
            segment = self.parents[segment]
        return found

    @property
    def is_chain(self) -> bool:
        """Whether it is one sequence without branches, for which the ordinary causal mask is right."""
        return all(parent == index - 1 for index, parent in enumerate(self.parents))

    def mask(self) -> torch.Tensor:
        """bool [tokens, tokens]: which token sees which."""
        segments = torch.tensor(self.segment)
        related = torch.zeros(len(self.parents), len(self.parents), dtype=torch.bool)
        for segment in range(len(self.parents)):
            related[segment, self.lineage(segment)] = True
        earlier = torch.ones(len(self.ids), len(self.ids), dtype=torch.bool).tril()
        return related[segments][:, segments] & earlier


@dataclass
class Layout:
    """A batch of bundles as sheets, and where each row's answers are read.

    Attributes:
        source: for each output row of the forward, the sheet it comes from.
        row_strength: for each output row its multiplier; None if the sheets' own strengths count.
        rows: the wanted scores. reads: for each of them its (output row, place in the sheet) pairs.
    """

    sheets: list[Sheet]
    source: list[int]
    row_strength: list[float] | None
    rows: list[Row]
    reads: list[list[tuple[int, int]]]


def lay_out(bundles: list[Bundle], path: Path) -> Layout:
    """Bundles as sheets."""
    layout = Layout([], [], [] if path != "shared positions" else None, [], [])
    for bundle in bundles:
        {"plain": _plain, "shared depth": _fan, "shared positions": _branch}[path](bundle, layout)
    return layout


def _plain(bundle: Bundle, layout: Layout) -> None:
    assert layout.row_strength is not None
    for row in bundle.rows:
        sheet = Sheet()
        sheet.grow(row.probe, 0, len(row.probe.ids), -1, 0.0)
        layout.sheets.append(sheet)
        layout.source.append(len(layout.sheets) - 1)
        layout.row_strength.append(row.multiplier)
        layout.rows.append(row)
        layout.reads.append([(len(layout.source) - 1, at) for at in row.probe.reads])


def _fan(bundle: Bundle, layout: Layout) -> None:
    assert layout.row_strength is not None
    sheet = Sheet()
    stem = sheet.grow(bundle.probes[0], 0, bundle.stem, -1, 0.0)
    for probe in bundle.probes:
        own = len(sheet.ids)
        sheet.grow(probe, bundle.stem, len(probe.ids), stem, 0.0)
        sheet.places[probe, None] = [*range(bundle.stem), *range(own, len(sheet.ids))]
    layout.sheets.append(sheet)
    first = len(layout.source)
    for multiplier in bundle.multipliers:
        layout.source.append(len(layout.sheets) - 1)
        layout.row_strength.append(multiplier)
    for row in bundle.rows:
        output = first + bundle.multipliers.index(row.multiplier)
        places = sheet.places[row.probe, None]
        layout.rows.append(row)
        layout.reads.append([(output, places[at]) for at in row.probe.reads])


def _branch(bundle: Bundle, layout: Layout) -> None:
    sheet = Sheet()
    trunk = sheet.grow(bundle.probes[0], 0, bundle.trunk, -1, 0.0)
    for multiplier in bundle.multipliers:
        start = len(sheet.ids)
        stem = sheet.grow(bundle.probes[0], bundle.trunk, bundle.stem, trunk, multiplier)
        shared = [*range(bundle.trunk), *range(start, len(sheet.ids))]
        for probe in bundle.probes:
            own = len(sheet.ids)
            sheet.grow(probe, bundle.stem, len(probe.ids), stem, multiplier)
            sheet.places[probe, multiplier] = [*shared, *range(own, len(sheet.ids))]
    layout.sheets.append(sheet)
    layout.source.append(len(layout.sheets) - 1)
    for row in bundle.rows:
        places = sheet.places[row.probe, row.multiplier]
        layout.rows.append(row)
        layout.reads.append([(len(layout.source) - 1, places[at]) for at in row.probe.reads])
