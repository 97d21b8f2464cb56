"""What properties look at: one example on a bench, and how its rows under steering differ from the unsteered ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .bench import Bench, NotApplicable, Outcome, Way
from .examples import HookExample, Padding
from .lines import Line
from .target import Target

# Units in the last place that a sum of a hidden value and a dose may be off by.
ULPS = 8


@dataclass(frozen=True, eq=False)
class Case:
    """One example on a bench, which runs each forward once."""

    bench: Bench
    example: HookExample

    @property
    def target(self) -> Target:
        return self.bench.target

    @property
    def lines(self) -> tuple[Line, ...]:
        return self.bench.lines(self.example)

    @property
    def low(self) -> int:
        """The lowest declared block. Its input is the unsteered one."""
        return min(self.target.layers)

    @property
    def base(self) -> Outcome:
        return self.bench.run("unsteered", self.lines, self.example.padding)

    @property
    def steered(self) -> Outcome:
        return self.steered_at(self.example.multiplier)

    def steered_at(self, multiplier: float) -> Outcome:
        return self.bench.run("steered", self.lines, self.example.padding, multiplier)

    @property
    def reference(self) -> Outcome | None:
        """The model under plain hooks; None if it is not declared what is done to the hidden states."""
        if self.target.reference is None:
            return None
        return self.bench.run("reference", self.lines, self.example.padding, self.example.multiplier)


def wrong_dose(case: Case, base: Outcome, steered: Outcome, reference: Outcome | None) -> str | None:
    """What is wrong at the lowest declared block. The first position has its own property."""
    for row, line in enumerate(case.lines):
        start = case.target.start(line)
        before, after = base.row(row, case.low), steered.row(row, case.low)
        due = reference.row(row, case.low) if reference is not None else None
        for position in range(1, len(before)):
            if position < start:
                if not case.bench.same(before[position], after[position]):
                    return f"row {row}, token {position} moves, but steering is to begin at token {start}"
            elif due is not None:
                here, moved, wanted = before[position], after[position], due[position]
                room = ULPS * case.bench.epsilon * (here.abs() + wanted.abs()) + 1e-30
                if ((moved - wanted).abs() > room).any():
                    share = _share(moved - here, wanted - here)
                    return f"row {row}, token {position} of {len(before)}: block {case.low} moves by {share}"
    return None


def _share(moved: torch.Tensor, wanted: torch.Tensor) -> str:
    times = float(moved.double() @ wanted.double() / (wanted.double() @ wanted.double()).clamp(min=1e-300))
    return f"{times:.4g} times the declared dose (off by {float((moved - wanted).norm()):.3g} in norm)"


def first_moved(case: Case, steered: Outcome) -> int | None:
    """The first block after which a real position differs from the unsteered model."""
    real = case.base.real
    for number, (before, after) in enumerate(zip(case.base.streams, steered.streams, strict=True)):
        if not case.bench.same(before[real], after[real]):
            return number
    return None


def moved_rows(case: Case, outcome: Outcome) -> list[int]:
    """The rows that move at the lowest declared block."""
    rows = range(len(case.lines))
    return [row for row in rows if not case.bench.same(case.base.row(row, case.low), outcome.row(row, case.low))]


def rows_due(case: Case) -> list[int]:
    """The rows that have to move at the lowest declared block."""
    reference = case.reference
    if reference is None:
        return [row for row, line in enumerate(case.lines) if case.target.start(line) < len(line.prompt)]
    return moved_rows(case, reference)


def later_block_off(case: Case, steered: Outcome, reference: Outcome) -> int | None:
    """The first block after the lowest declared one whose rows differ from the reference; None if that one's differ already."""
    for number in range(case.low, len(steered.streams)):
        for row in range(len(case.lines)):
            if case.bench.off(reference.row(row, number), steered.row(row, number)) is not None:
                return number if number > case.low else None
    return None


def rows_differ(
    case: Case, elsewhere: Callable[[int], tuple[Sequence[Line], Padding, int]], how: str, why_not: str
) -> str | None:
    """How a row of the batch, padded on the right, differs from the same row elsewhere.

    Args:
        elsewhere: row -> the lines of another batch, its padding, and the row's place in it.
        how: the words for the two places.
        why_not: the words for a model whose unsteered rows differ already.
    """
    ways: tuple[tuple[Way, float], ...] = (("unsteered", 0.0), ("steered", case.example.multiplier))
    for row in range(len(case.lines)):
        lines, side, place = elsewhere(row)
        pairs = [
            (case.bench.run(way, case.lines, "right", strength), case.bench.run(way, lines, side, strength))
            for way, strength in ways
        ]
        unsteered, steered = (_row_off(case, one, row, other, place) for one, other in pairs)
        if unsteered is not None:
            raise NotApplicable(why_not)
        if steered is not None:
            return f"row {row} of {len(case.lines)}{how}: {steered}"
    return None


def _row_off(case: Case, one: Outcome, row: int, other: Outcome, place: int) -> str | None:
    off = case.bench.off(one.logits[row], other.logits[place])
    if off is not None:
        return f"logits {off}"
    off = case.bench.off(one.row(row, case.low), other.row(place, case.low))
    return f"hidden states after block {case.low} {off}" if off is not None else None


def listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
