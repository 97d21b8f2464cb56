"""The properties of a sound hook: for each its name, its promise, and a function that says what breaks it.

Where float arithmetic allows, comparisons are to the last bit. The dose is compared to a few units in the last place of the
model's dtype. Logits of differently shaped batches are compared to 1e-4 in float32 (5e-2 in 16 bits) of their largest value, and
only if the unsteered model itself keeps to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from ..core import registry
from ..core.errors import VectorError
from ..model import Engine, Probe, check_fits
from .bench import Bench, NotApplicable, NotFinite, Outcome, Way
from .examples import HookExample, Line, Padding
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


def wrong_dose(case: Case) -> str | None:
    """The fault in the dose at the lowest declared block. The first position is a property of its own."""
    base, steered, reference = case.base, case.steered, case.reference
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
    real, both = case.base.real, zip(case.base.streams, steered.streams, strict=True)
    moved = (not case.bench.same(before[real], after[real]) for before, after in both)
    return next((number for number, moves in enumerate(moved) if moves), None)


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


def later_block_off(case: Case) -> int | None:
    """The first block after the lowest declared one whose rows differ from the reference; None if that one's differ already."""
    steered, reference = case.steered, case.reference
    if reference is None:
        return None
    for number in range(case.low, len(steered.streams)):
        for row in range(len(case.lines)):
            if case.bench.off(reference.row(row, number), steered.row(row, number)) is not None:
                return number if number > case.low else None
    return None


def rows_differ(
    case: Case, elsewhere: Callable[[int], tuple[Sequence[Line], Padding, int]], how: str, why_not: str
) -> Iterator[str]:
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
            yield f"row {row} of {len(case.lines)}{how}: {steered}"


def _row_off(case: Case, one: Outcome, row: int, other: Outcome, place: int) -> str | None:
    off = case.bench.off(one.logits[row], other.logits[place])
    if off is not None:
        return f"logits {off}"
    off = case.bench.off(one.row(row, case.low), other.row(place, case.low))
    return f"hidden states after block {case.low} {off}" if off is not None else None


def listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


Faults = Iterator[str]
"""What breaks a property on an example, in words; only the first is asked for."""


@dataclass(frozen=True)
class Property:
    """A property of a sound hook.

    Attributes:
        promise: the property in a sentence.
        faults: what breaks it on an example.
    """

    promise: str
    faults: Callable[[Case], Faults]

    def broken_by(self, case: Case) -> str | None:
        """What is wrong on an example, in words, or None."""
        return next(self.faults(case), None)


PROPERTIES: dict[str, Property] = {}
"""The properties by name, in the order in which they are tried."""

_Test = Callable[[Case], Faults]


def _promises(promise: str) -> Callable[[_Test], _Test]:
    """List a function as the property of its name."""

    def declare(test: _Test) -> _Test:
        PROPERTIES[test.__name__] = Property(promise, test)
        return test

    return declare


# --- dose and place ------------------------------------------------------------------------------------------------------


@_promises("A forward runs while it steers. (Where none does, nothing else is asked.)")
def runs(case: Case) -> Faults:
    case.steered_at(case.example.multiplier)
    yield from ()


@_promises("Steering changes hidden states at all.")
def moves(case: Case) -> Faults:
    if first_moved(case, case.steered) is None:
        raise NotApplicable("no hidden state changes on any batch: no condition is met")
    yield from ()


@_promises("A vector that was made under a chat template, on a model, is applied under the same.")
def template(case: Case) -> Faults:
    try:
        check_fits(case.bench.model, case.target.change, case.target.subject.allow_mismatch)
    except VectorError as error:
        yield str(error)


@_promises("The block's output is really changed, in every row, whether the block returns a tensor, a tuple or a list.")
def output_type(case: Case) -> Faults:
    base, steered = case.base, case.steered
    due = rows_due(case)
    moved = moved_rows(case, steered)
    still = [row for row in due if row not in moved]
    kind = f"block {case.low} returns a {base.kinds[case.low]}"
    if due and first_moved(case, steered) is None:
        yield f"nothing moves: {kind}, and the hook changes nothing of it"
    if still and moved:
        yield f"row(s) {listed(still)} of {len(case.lines)} do not move, only {listed(moved)}: {kind}"


@_promises("The declared blocks move, and no other block is touched.")
def layer(case: Case) -> Faults:
    low = case.low
    if not rows_due(case):
        return
    moved = first_moved(case, case.steered)
    if moved is not None and moved != low:
        yield f"block {moved} is the first that moves, declared is {low} (0-based; hidden_states[{low + 1}] is its output)"
    off = later_block_off(case)
    # With a wrong dose, later blocks differ too.
    if off is not None and off not in case.target.layers and wrong_dose(case) is None:
        yield f"block {off} is changed too; declared are {listed(case.target.layers)}"


@_promises("The block's output moves by exactly the dose at exactly the declared positions, and by 0 elsewhere.")
def dose(case: Case) -> Faults:
    if wrong := wrong_dose(case):
        yield wrong
    off = later_block_off(case)
    if off is not None and off in case.target.layers:
        yield f"block {case.low} moves as declared, block {off} does not"


@_promises("The first position, an attention sink, is steered only if that is declared (include_first).")
def first_position(case: Case) -> Faults:
    base, steered, due = case.base, case.steered, case.reference or case.steered
    for row, line in enumerate(case.lines):
        start = case.target.start(line)
        moved = not case.bench.same(base.row(row, case.low)[0], steered.row(row, case.low)[0])
        rests = case.target.change.rests and case.bench.same(base.row(row, case.low)[0], due.row(row, case.low)[0])
        if moved and start > 0:
            yield f"row {row}: the first token moves, but steering is to begin at token {start}"
        if start == 0 and not moved and not rests and rows_due(case):
            yield f"row {row}: the first token does not move, but include_first is declared"


@_promises("Padding is not steered.")
def padding(case: Case) -> Faults:
    base, steered = case.base, case.steered
    for row, pads in enumerate(~base.real):
        if not case.bench.same(base.streams[case.low][row][pads], steered.streams[case.low][row][pads]):
            yield f"row {row}: padding on the {case.example.padding} moves"


# --- strengths -----------------------------------------------------------------------------------------------------------


@_promises("At multiplier 0 the model computes what it computes unsteered, to the last bit.")
def identity(case: Case) -> Faults:
    if case.target.change.strength == "ignored":
        raise NotApplicable("the strength is ignored")
    base, steered = case.base, case.steered_at(0.0)
    if not case.bench.equal(base, steered):
        first = first_moved(case, steered)
        yield f"at multiplier 0 logits are off by {base.apart(steered):.3g}; first in block {first}"


@_promises("+m and -m move the residual by opposite amounts (linear strengths).")
def sign(case: Case) -> Faults:
    change = case.target.change
    if change.strength != "linear":
        raise NotApplicable(f"the strength is {change.strength}")
    if change.site != "block":
        raise NotApplicable(f"it acts within blocks, at the site {change.site}")
    kind = registry.things("intervention").get(change.recipe.core.kind) if change.recipe is not None else None
    if kind is not None and kind.restores_norm:
        raise NotApplicable("the norm is restored after adding, so opposite doses are opposite only to first order")
    multiplier = case.example.multiplier
    base, plus, minus = case.base, case.steered, case.steered_at(-multiplier)
    for row in range(len(case.lines)):
        here = base.row(row, case.low)
        up, down = plus.row(row, case.low) - here, minus.row(row, case.low) - here
        room = ULPS * case.bench.epsilon * (here.abs() + up.abs() + down.abs())
        if ((up + down).abs() > room).any():
            same = bool(torch.allclose(up, down)) and bool(up.any())
            how = "in the same direction" if same else f"by amounts whose sum is {float((up + down).abs().max()):.3g}"
            yield f"row {row}: +{abs(multiplier):g} and -{abs(multiplier):g} move the residual {how}"


@_promises("Steering twice gives the same twice: within one block and in a new one, to the last bit.")
def repetition(case: Case) -> Faults:
    bench, tail = case.bench, len(case.lines[0].after) + 1
    batch = bench.batch(case.lines, case.example.padding)
    before = case.steered
    with bench.entered(batch, case.example.multiplier):
        one, two = bench.forward(batch, tail), bench.forward(batch, tail)
    changed = [text for text in bench.left if "in place" in text]
    if not bench.equal(one, two):
        yield f"the second forward in one block differs from the first by {one.apart(two):.3g}"
    if not bench.equal(one, before):
        yield f"steering a second time differs from the first time by {one.apart(before):.3g}"
    yield from changed


# --- batches, caches, measuring ------------------------------------------------------------------------------------------


@_promises("A row is steered in a batch as it is alone.")
def batch_size(case: Case) -> Faults:
    why_not = "the unsteered model itself gives another result in a batch than alone"
    return rows_differ(case, lambda row: ([case.lines[row]], "right", 0), " alone and in the batch", why_not)


@_promises("The order of the rows in a batch does not matter.")
def batch_order(case: Case) -> Faults:
    turned, last = case.lines[::-1], len(case.lines) - 1
    why_not = "the unsteered model itself depends on the order of the rows"
    return rows_differ(case, lambda row: (turned, "right", last - row), " with the order reversed", why_not)


@_promises("Padding on the left and on the right give the same.")
def padding_side(case: Case) -> Faults:
    why_not = "the unsteered model itself depends on the side of the padding"
    return rows_differ(case, lambda row: (case.lines, "left", row), ", padded left and right", why_not)


@_promises("Decoding step by step with a cache gives what a whole forward gives.")
def cached_decoding(case: Case) -> Faults:
    bench, side, multiplier = case.bench, case.example.padding, case.example.multiplier
    if case.target.change.looks == "row":
        raise NotApplicable(
            "its condition reads the input of the first forward, which is the prompt in one case and all of it in the other"
        )
    lines: Sequence[Line] = case.lines
    what = "a whole forward"
    try:
        decoded_base = bench.decoded("unsteered", lines, side)
    except NotApplicable:
        lines = lines[:1]  # the state of RWKV in transformers 5 can only be passed on for a single row
        decoded_base = bench.decoded("unsteered", lines, side)
    whole_base = bench.run("unsteered", lines, side, whole=True).logits
    if any(bench.off(a, b) is not None for a, b in zip(whole_base, decoded_base, strict=True)):
        # The unsteered model does not do that either, so plain hooks step by step are the reference.
        whole = bench.decoded("reference", lines, side, multiplier)
        what = "decoding under plain hooks"
    elif case.target.subject.positions == "last" and not case.target.told:
        # Without the batch, the target cannot know in a whole forward where the prompt ended.
        whole = bench.run("reference", lines, side, multiplier, whole=True).logits
    else:
        whole = bench.run("steered", lines, side, multiplier, whole=True).logits
    steps = bench.decoded("steered", lines, side, multiplier)
    for row in range(len(lines)):
        for step in range(len(steps[row])):
            off = bench.off(whole[row][step], steps[row][step])
            if off is not None:
                where = "the prompt's last token" if step == 0 else f"step {step} after the prompt"
                yield f"row {row}, at {where}: logits {off} from those of {what}"


@_promises("What claims measure is what a forward under steering gives.")
def measuring(case: Case) -> Faults:
    bench, target, example = case.bench, case.target, case.example
    if not target.own:
        raise NotApplicable("it is not this package's own steering")
    engine = Engine(bench.model, sharing=not example.bare)
    for line in case.lines[:1] if example.bare else case.lines:
        candidates = tuple(dict.fromkeys((*line.after, *line.prompt[-2:])))
        probe = Probe(line.prompt, target.start(line), candidates=candidates)
        unsteered = [] if target.change.strength == "ignored" else [0.0]
        multipliers = [*unsteered, example.multiplier]
        (scores,) = engine.run([probe], target.change, multipliers)
        bench.forwards += engine.forwards
        for multiplier, own in zip(multipliers, scores, strict=True):
            outcome = bench.run("steered" if multiplier else "unsteered", [line], "right", multiplier)
            logits = outcome.logits[0][-1][list(candidates)]
            off = bench.off(logits.cpu(), torch.as_tensor(own, dtype=torch.float32))
            if off is not None:
                yield f"the measured logits at multiplier {multiplier:g} are {off} from those of a forward under steering"


# --- leftovers and refusals -----------------------------------------------------------------------------------------------


@_promises("Afterwards the model is as before: hooks, modules, weights and what it computes.")
def nothing_left(case: Case) -> Faults:
    before = case.base
    batch = case.bench.batch(case.lines, case.example.padding)
    with case.target.enter(batch, case.example.multiplier):
        case.bench.forward(batch, 1)
    computed = case.bench.forward(batch, len(case.lines[0].after) + 1)
    left = case.bench.put_back(weights=True)
    if left:
        yield "; ".join(left[:3])
    if not case.bench.equal(computed, before):
        yield f"logits afterwards are off by {computed.apart(before):.3g}"


@_promises("An error raised in the body comes out as it is, and the model is as before.")
def exceptions(case: Case) -> Faults:
    mine = Exception("raised in the body")
    batch = case.bench.batch(case.lines, case.example.padding)
    came: BaseException | None = None
    try:
        with case.target.enter(batch, case.example.multiplier):
            case.bench.forward(batch, 1)
            raise mine
    except Exception as error:
        came = error
    left = case.bench.put_back(weights=True)
    if came is None:
        yield "an error raised in the body is swallowed"
    if came is not mine:
        yield f"an error raised in the body comes out as another one: {type(came).__name__}: {came}"
    if left:
        yield f"after an error in the body: {'; '.join(left[:3])}"


@_promises("Steering that reaches no token at all is an error, not silence.")
def zero_tokens(case: Case) -> Faults:
    bench, declared = case.bench, case.target.subject
    if not case.target.own:
        raise NotApplicable("it is asked of this package's own steering only")
    if declared.positions == "all" and declared.include_first:
        raise NotApplicable("every token is steered, including the first one")
    line = case.lines[0]
    length = len(line.prompt)
    if declared.positions == "all":
        batch = bench.batch([Line(line.prompt[:1], 1, line.after)], "right")
    elif declared.positions == "after_prompt":
        batch = bench.batch([Line(line.prompt, length + 1, line.after)], "right")
    else:
        batch = replace(bench.batch([line], "right"), prompt_lengths=(length + 2,), starts=(length + 1,))
    try:
        with bench.entered(batch, case.example.multiplier):
            bench.forward(batch, 1)
    except NotFinite:
        raise
    except Exception:
        return
    tokens = batch.input_ids.shape[1]
    yield f"a prompt of {tokens} token(s) with steering from token {batch.starts[0]} on runs without a word"
