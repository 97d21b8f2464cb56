"""Questions to the model, and bundles of them that share tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .tokens import Ids


@dataclass(frozen=True)
class Probe:
    """One question to the model about one sequence.

    Attributes:
        ids: the sequence.
        steer_from: index of the first steered token; all from there on are steered.
        candidates: tokens whose raw logits are wanted as the next one after the sequence, or None.
        score_from: without candidates: the log-likelihoods of ``ids[score_from:]`` are wanted.
        name: for messages.
    """

    ids: Ids
    steer_from: int
    candidates: Ids | None = None
    score_from: int = 0
    name: str = "sequence"

    @property
    def reads(self) -> range:
        """The positions whose logits answer the question."""
        last = len(self.ids) - 1
        return range(last, last + 1) if self.candidates is not None else range(self.score_from - 1, last)


@dataclass(frozen=True)
class Row:
    """A probe at one multiplier; ``key`` says which score it is."""

    probe: Probe
    multiplier: float
    key: bytes


@dataclass(frozen=True)
class Bundle:
    """Rows over sequences that begin alike and are steered from the same position on.

    Attributes:
        probes: distinct probes.
        multipliers: distinct multipliers.
        rows: the scores that are wanted; not every pair of the two need be.
        stem: how many tokens all the sequences share.
    """

    probes: tuple[Probe, ...]
    multipliers: tuple[float, ...]
    rows: tuple[Row, ...]
    stem: int

    @property
    def trunk(self) -> int:
        """How many tokens are the same for every probe and every multiplier."""
        return min(self.stem, self.probes[0].steer_from)

    @property
    def tokens(self) -> int:
        """Tokens of all the sequences, shared ones counted once."""
        return self.stem + sum(len(probe.ids) - self.stem for probe in self.probes)

    def branches(self, by_multiplier: bool) -> bool:
        """Whether a sheet of it has branches, if each multiplier is one of its own or not."""
        return len(self.probes) > 1 or (by_multiplier and len(self.multipliers) > 1)

    def at(self, multipliers: tuple[float, ...]) -> Bundle:
        """The bundle at some of its multipliers only."""
        return Bundle(self.probes, multipliers, tuple(row for row in self.rows if row.multiplier in multipliers), self.stem)


def bundle_up(rows: Sequence[Row]) -> list[Bundle]:
    """Puts neighbouring rows together whose sequences share at least half of their tokens, and their scope."""
    bundles: list[Bundle] = []
    current: list[Row] = []
    stem = 0
    for row in rows:
        if current:
            shared = common_prefix(current[0].probe.ids[:stem], row.probe.ids)
            alike = row.probe.steer_from == current[0].probe.steer_from
            if alike and shared >= row.probe.steer_from and 2 * shared >= len(row.probe.ids):
                current.append(row)
                stem = shared
                continue
            bundles.append(_bundle(current, stem))
        current, stem = [row], len(row.probe.ids)
    if current:
        bundles.append(_bundle(current, stem))
    return bundles


def common_prefix(one: Ids, other: Ids) -> int:
    """How many tokens two sequences share at their start."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))


def _bundle(rows: list[Row], stem: int) -> Bundle:
    probes = tuple(dict.fromkeys(row.probe for row in rows))
    return Bundle(probes, tuple(dict.fromkeys(row.multiplier for row in rows)), tuple(rows), stem)
