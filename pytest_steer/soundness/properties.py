"""The properties of a sound hook, each a function of its own.

A property takes the bench and an example and returns None, or in words what is wrong. Its first docstring line is the promise.
Where float arithmetic allows, comparisons are to the last bit; the dose is compared to a few units in the last place of the
model's dtype; logits of differently shaped batches to 1e-4 in float32 (5e-2 in 16 bits) of their largest value, and only if the
unsteered model itself keeps to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .. import registry
from ..errors import VectorError
from ..model import Engine, Probe, check_fits
from .bench import Bench, Line, NotApplicable, NotFinite, Outcome
from .examples import HookExample

# Units in the last place that a sum of a hidden value and a dose may be off by.
_ULPS = 8


def runs(bench: Bench, example: HookExample) -> str | None:
    """A forward runs while it steers. (Where none does, nothing else is asked.)"""
    bench.steered(bench.lines(example), example.padding, example.multiplier)
    return None


def template(bench: Bench, example: HookExample) -> str | None:
    """A vector that was made under a chat template, on a model, is applied under the same."""
    try:
        check_fits(bench.model, bench.target.subject.intervention, bench.target.subject.allow_mismatch)
    except VectorError as error:
        return str(error)
    return None


def output_type(bench: Bench, example: HookExample) -> str | None:
    """The block's output is really changed, in every row, whether the block returns a tensor, a tuple or a list."""
    lines, low = bench.lines(example), min(bench.target.layers)
    base, steered = (
        bench.base(lines, example.padding), bench.steered(lines, example.padding, example.multiplier)
    )  # fmt: skip
    due = _rows_due(bench, example, lines)
    moved = _moved_rows(bench, base, steered, low)
    still = [row for row in due if row not in moved]
    kind = f"block {low} returns a {base.kinds[low]}"
    if due and first_moved(bench, base, steered) is None:
        return f"nothing moves: {kind}, and the hook changes nothing of it"
    if still and moved:
        return f"row(s) {_list(still)} of {len(lines)} do not move, only {_list(sorted(moved))}: {kind}"
    return None


def identity(bench: Bench, example: HookExample) -> str | None:
    """At multiplier 0 the model computes what it computes unsteered, to the last bit."""
    if bench.target.strength == "ignored":
        raise NotApplicable("the strength is ignored")
    lines = bench.lines(example)
    base, steered = bench.base(lines, example.padding), bench.steered(lines, example.padding, 0.0)
    if bench.equal(base, steered):
        return None
    off = max(float((a - b).abs().max()) for a, b in zip(base.logits, steered.logits, strict=True))
    return f"at multiplier 0 logits are off by {off:.3g}; first in block {first_moved(bench, base, steered)}"


def layer(bench: Bench, example: HookExample) -> str | None:
    """The declared blocks move, and no other block is touched."""
    lines, low = bench.lines(example), min(bench.target.layers)
    base, steered = (
        bench.base(lines, example.padding), bench.steered(lines, example.padding, example.multiplier)
    )  # fmt: skip
    if not _rows_due(bench, example, lines):
        return None
    moved = first_moved(bench, base, steered)
    if moved is not None and moved != low:
        return f"block {moved} is the first that moves, declared is {low} (0-based; hidden_states[{low + 1}] is its output)"
    if bench.target.reference is None:
        return None
    reference = bench.reference(lines, example.padding, example.multiplier)
    if _wrong_dose(bench, lines, base, steered, reference, low) is not None:
        return None  # then later blocks differ too
    off = _first_off(bench, steered, reference, low)
    if off is not None and off > low and off not in bench.target.layers:
        return f"block {off} is changed too; declared are {_list(bench.target.layers)}"
    return None


def dose(bench: Bench, example: HookExample) -> str | None:
    """The block's output moves by exactly the dose at exactly the declared positions, and by 0 elsewhere."""
    lines, low = bench.lines(example), min(bench.target.layers)
    base, steered = (
        bench.base(lines, example.padding), bench.steered(lines, example.padding, example.multiplier)
    )  # fmt: skip
    reference = bench.reference(lines, example.padding, example.multiplier) if bench.target.reference else None
    wrong = _wrong_dose(bench, lines, base, steered, reference, low)
    if wrong is not None:
        return wrong
    if reference is not None and _first_off(bench, steered, reference, low, among=bench.target.layers) is not None:
        off = _first_off(bench, steered, reference, low, among=bench.target.layers)
        return f"block {low} moves as declared, block {off} does not"
    return None


def first_position(bench: Bench, example: HookExample) -> str | None:
    """The first position, an attention sink, is steered only if that is declared (include_first)."""
    lines, low = bench.lines(example), min(bench.target.layers)
    base, steered = (
        bench.base(lines, example.padding), bench.steered(lines, example.padding, example.multiplier)
    )  # fmt: skip
    for row, line in enumerate(lines):
        start = bench.target.start(line.turn_end, len(line.prompt))
        moved = not bench.same(base.row(row, low)[0], steered.row(row, low)[0])
        if moved and start > 0:
            return f"row {row}: the first token moves, but steering is to begin at token {start}"
        if start == 0 and not moved and _rows_due(bench, example, lines):
            return f"row {row}: the first token does not move, but include_first is declared"
    return None


def padding(bench: Bench, example: HookExample) -> str | None:
    """Padding is not steered."""
    lines, low = bench.lines(example), min(bench.target.layers)
    base, steered = (
        bench.base(lines, example.padding), bench.steered(lines, example.padding, example.multiplier)
    )  # fmt: skip
    for row in range(len(lines)):
        pads = ~base.real[row]
        if not bench.same(base.streams[low][row][pads], steered.streams[low][row][pads]):
            return f"row {row}: padding on the {example.padding} moves"
    return None


def sign(bench: Bench, example: HookExample) -> str | None:
    """+m and -m move the residual by opposite amounts (linear strengths)."""
    if bench.target.strength != "linear":
        raise NotApplicable(f"the strength is {bench.target.strength}")
    change = bench.target.subject.intervention
    if change.site != "block":
        raise NotApplicable(f"it acts within blocks, at the site {change.site}")
    kind = registry.things("intervention").get(change.recipe.core.kind) if change.recipe is not None else None
    if kind is not None and kind.restores_norm:
        raise NotApplicable("the norm is restored after adding, so opposite doses are opposite to first order only")
    lines, low = bench.lines(example), min(bench.target.layers)
    base = bench.base(lines, example.padding)
    plus, minus = (bench.steered(lines, example.padding, factor * example.multiplier) for factor in (1, -1))
    for row in range(len(lines)):
        here = base.row(row, low)
        up, down = plus.row(row, low) - here, minus.row(row, low) - here
        room = _ULPS * bench.epsilon * (here.abs() + up.abs() + down.abs())
        if ((up + down).abs() > room).any():
            same = bool(torch.allclose(up, down)) and bool(up.any())
            how = "in the same direction" if same else f"by amounts whose sum is {float((up + down).abs().max()):.3g}"
            return f"row {row}: +{abs(example.multiplier):g} and -{abs(example.multiplier):g} move the residual {how}"
    return None


def repetition(bench: Bench, example: HookExample) -> str | None:
    """Steering twice gives the same twice: within one block and in a new one, to the last bit."""
    lines = bench.lines(example)
    tail = len(lines[0].after) + 1
    batch = bench.batch(lines, example.padding)
    three = bench.steered(lines, example.padding, example.multiplier)
    with bench.entered(batch, example.multiplier):
        one, two = bench.forward(batch, tail), bench.forward(batch, tail)
    changed = [text for text in bench.left if "in place" in text]
    if not bench.equal(one, two):
        return f"the second forward in one block differs from the first by {_apart(one, two):.3g}"
    if not bench.equal(one, three):
        return f"steering a second time differs from the first time by {_apart(one, three):.3g}"
    return changed[0] if changed else None


def batch_size(bench: Bench, example: HookExample) -> str | None:
    """A row is steered in a batch as it is alone."""
    lines = bench.lines(example)
    for row, line in enumerate(lines):
        pairs = []
        for multiplier in (None, example.multiplier):
            run = _runner(bench, multiplier)
            pairs.append((run(lines, "right"), row, run([line], "right"), 0))
        off = _compared(bench, pairs, "the unsteered model itself gives another result in a batch than alone")
        if off is not None:
            return f"row {row} of {len(lines)} alone and in the batch: {off}"
    return None


def batch_order(bench: Bench, example: HookExample) -> str | None:
    """The order of the rows in a batch does not matter."""
    lines = bench.lines(example)
    turned = tuple(reversed(lines))
    for row in range(len(lines)):
        pairs = []
        for multiplier in (None, example.multiplier):
            run = _runner(bench, multiplier)
            pairs.append((run(lines, "right"), row, run(turned, "right"), len(lines) - 1 - row))
        off = _compared(bench, pairs, "the unsteered model itself depends on the order of the rows")
        if off is not None:
            return f"row {row} of {len(lines)} with the order reversed: {off}"
    return None


def padding_side(bench: Bench, example: HookExample) -> str | None:
    """Padding on the left and on the right give the same."""
    lines = bench.lines(example)
    for row in range(len(lines)):
        pairs = []
        for multiplier in (None, example.multiplier):
            run = _runner(bench, multiplier)
            pairs.append((run(lines, "right"), row, run(lines, "left"), row))
        off = _compared(bench, pairs, "the unsteered model itself depends on the side of the padding")
        if off is not None:
            return f"row {row} of {len(lines)}, padded left and right: {off}"
    return None


def cached_decoding(bench: Bench, example: HookExample) -> str | None:
    """Decoding step by step with a cache gives what a whole forward gives."""
    if bench.target.subject.intervention.looks == "row":
        raise NotApplicable(
            "its condition reads the input of the first forward, which is here the prompt and there all of it"
        )
    lines, what = bench.lines(example), "a whole forward"
    try:
        decoded_base = bench.decoded(lines, example.padding, None)
    except NotApplicable:
        lines = lines[:1]  # the state of RWKV in transformers 5 can only be handed on for a single row
        decoded_base = bench.decoded(lines, example.padding, None)
    whole_base = bench.base(lines, example.padding, whole=True).logits
    if any(_off(bench, a, b) is not None for a, b in zip(whole_base, decoded_base, strict=True)):
        # The unsteered model does not do that either: then what plain hooks give step by step.
        whole = bench.decoded(lines, example.padding, example.multiplier, by_reference=True)
        what = "decoding under plain hooks"
    elif bench.target.positions == "last" and not bench.target.told:
        # Told of nothing, it cannot know in a whole forward where the prompt ended.
        whole = bench.reference(lines, example.padding, example.multiplier, whole=True).logits
    else:
        whole = bench.steered(lines, example.padding, example.multiplier, whole=True).logits
    steps = bench.decoded(lines, example.padding, example.multiplier)
    for row in range(len(lines)):
        for step in range(len(steps[row])):
            off = _off(bench, whole[row][step], steps[row][step])
            if off is not None:
                where = "the prompt's last token" if step == 0 else f"step {step} after the prompt"
                return f"row {row}, at {where}: logits {off} from those of {what}"
    return None


def nothing_left(bench: Bench, example: HookExample) -> str | None:
    """Afterwards the model is as before: hooks, modules, weights and what it computes."""
    lines = bench.lines(example)
    before = bench.base(lines, example.padding)
    batch = bench.batch(lines, example.padding)
    with bench.target.enter(batch, example.multiplier):
        bench.forward(batch, 1)
    computed = bench.forward(batch, len(lines[0].after) + 1)
    left = bench.put_back(weights=True)
    if left:
        return "; ".join(left[:3])
    return None if bench.equal(computed, before) else f"logits afterwards are off by {_apart(computed, before):.3g}"


def exceptions(bench: Bench, example: HookExample) -> str | None:
    """An error raised in the body comes out as it is, and the model is as before."""

    class Raised(Exception):
        pass

    mine = Raised()
    batch = bench.batch(bench.lines(example), example.padding)
    came: BaseException | None = None
    try:
        with bench.target.enter(batch, example.multiplier):
            bench.forward(batch, 1)
            raise mine
    except Exception as error:
        came = error
    left = bench.put_back(weights=True)
    if came is None:
        return "an error raised in the body is swallowed"
    if came is not mine:
        return f"an error raised in the body comes out as another one: {type(came).__name__}: {came}"
    return f"after an error in the body: {'; '.join(left[:3])}" if left else None


def zero_tokens(bench: Bench, example: HookExample) -> str | None:
    """Steering that reaches no token at all is an error, not silence."""
    if not bench.target.own:
        raise NotApplicable("it is asked of this package's own steering only")
    line = bench.lines(example)[0]
    if bench.target.positions == "all":
        if bench.target.include_first:
            raise NotApplicable("every token is steered, the first one included")
        ids = line.prompt[:1]
        line = Line(ids, 1, line.after)
    else:
        line = Line(line.prompt, len(line.prompt) + 1, line.after)
    batch = bench.batch([line], "right")
    if bench.target.positions == "last":
        batch = type(batch)(batch.input_ids, batch.attention_mask, (len(line.prompt) + 2,), (len(line.prompt) + 1,))
    try:
        with bench.entered(batch, example.multiplier):
            bench.forward(batch, 1)
    except NotFinite:
        raise
    except Exception:
        return None
    return f"a prompt of {len(line.prompt)} token(s) with steering from token {batch.starts[0]} on runs without a word"


def measuring(bench: Bench, example: HookExample) -> str | None:
    """What claims measure is what a forward under steering gives."""
    if not bench.target.own:
        raise NotApplicable("it is not this package's own steering")
    lines = bench.lines(example)
    engine = Engine(bench.model, sharing=not example.bare)
    for line in lines[:1] if example.bare else lines:
        probe = Probe(
            line.prompt,
            bench.target.start(line.turn_end, len(line.prompt)),
            candidates=tuple(dict.fromkeys((*line.after, *line.prompt[-2:]))),
        )
        unsteered = [] if bench.target.strength == "ignored" else [0.0]
        multipliers = [*unsteered, example.multiplier]
        (scores,) = engine.run([probe], bench.target.subject.intervention, multipliers)
        bench.forwards += engine.forwards
        assert probe.candidates is not None
        for multiplier, own in zip(multipliers, scores, strict=True):
            logits = _runner(bench, multiplier or None)([line], "right").logits[0][-1][list(probe.candidates)]
            off = _off(bench, logits.cpu(), torch.as_tensor(own, dtype=torch.float32))
            if off is not None:
                return f"the measured logits at multiplier {multiplier:g} are {off} from those of a forward under steering"
    return None


def _wrong_dose(
    bench: Bench, lines: Sequence[Line], base: Outcome, steered: Outcome, reference: Outcome | None, low: int
) -> str | None:
    """What is wrong at the lowest declared block, whose input is the unsteered one."""
    for row, line in enumerate(lines):
        start = bench.target.start(line.turn_end, len(line.prompt))
        before, after = base.row(row, low), steered.row(row, low)
        due = reference.row(row, low) if reference is not None else None
        for position in range(1, len(before)):  # the first is a property of its own
            steered_here = position >= start
            if not steered_here or due is None:
                if steered_here or bench.same(before[position], after[position]):
                    continue
                return f"row {row}, token {position} moves, but steering is to begin at token {start}"
            room = _ULPS * bench.epsilon * (before[position].abs() + due[position].abs()) + 1e-30
            if ((after[position] - due[position]).abs() > room).any():
                return f"row {row}, token {position} of {len(before)}: {_share(before, after, due, position, low)}"
    return None


# --- comparing -----------------------------------------------------------------------------------------------------------


def first_moved(bench: Bench, base: Outcome, steered: Outcome) -> int | None:
    """The first block behind which a real position differs."""
    for number, (before, after) in enumerate(zip(base.streams, steered.streams, strict=True)):
        if not bench.same(before[base.real], after[base.real]):
            return number
    return None


def _moved_rows(bench: Bench, base: Outcome, steered: Outcome, low: int) -> set[int]:
    rows = range(len(base.logits))
    return {row for row in rows if not bench.same(base.row(row, low), steered.row(row, low))}


def _rows_due(bench: Bench, example: HookExample, lines: Sequence[Line]) -> list[int]:
    """The rows that have to move at the lowest declared block."""
    low = min(bench.target.layers)
    if bench.target.reference is None:
        return [
            row for row, line in enumerate(lines) if bench.target.start(line.turn_end, len(line.prompt)) < len(line.prompt)
        ]
    base = bench.base(lines, example.padding)
    return sorted(_moved_rows(bench, base, bench.reference(lines, example.padding, example.multiplier), low))


def _first_off(
    bench: Bench, steered: Outcome, reference: Outcome, low: int, among: Sequence[int] | None = None
) -> int | None:
    """The first block behind which a row is not as the reference has it; only asked of rows that are right at ``low``."""
    for number in range(low, len(steered.streams)):
        for row in range(len(steered.logits)):
            if _off(bench, reference.row(row, number), steered.row(row, number)) is not None:
                return number if among is None or (number in among and number > low) else None
    return None


def _share(before: torch.Tensor, after: torch.Tensor, due: torch.Tensor, position: int, low: int) -> str:
    wanted, moved = due[position] - before[position], after[position] - before[position]
    times = float(moved.double() @ wanted.double() / (wanted.double() @ wanted.double()).clamp(min=1e-300))
    apart = float((moved - wanted).norm())
    return f"block {low} moves by {times:.4g} times the declared dose (off by {apart:.3g} in norm)"


def _runner(bench: Bench, multiplier: float | None) -> Any:
    if multiplier is None:
        return bench.base
    return lambda lines, padding: bench.steered(lines, padding, multiplier)


def _compared(bench: Bench, pairs: list[tuple[Outcome, int, Outcome, int]], why_not: str) -> str | None:
    """What is off between two rows, steered; only where the unsteered ones (the first pair) agree."""
    for number, (one, row, other, its) in enumerate(pairs):
        off = _off(bench, one.logits[row], other.logits[its])
        if off is None:
            low = min(bench.target.layers)
            off = _off(bench, one.row(row, low), other.row(its, low))
            off = f"hidden states behind block {low} {off}" if off is not None else None
        else:
            off = f"logits {off}"
        if off is not None and number == 0:
            raise NotApplicable(why_not)
        if off is not None:
            return off
    return None


def _off(bench: Bench, wanted: torch.Tensor, found: torch.Tensor) -> str | None:
    """How far apart two tensors are, if at a position that is more than the tolerance times the larger of 1 and the
    largest value there."""
    apart, room = (wanted - found).abs().amax(-1), bench.tolerance * wanted.abs().amax(-1).clamp(min=1.0)
    if (apart <= room).all():
        return None
    worst = int((apart / room).argmax())
    return f"off by {float(apart.reshape(-1)[worst]):.3g} (tolerance {float(room.reshape(-1)[worst]):.2g})"


def _apart(one: Outcome, other: Outcome) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one.logits, other.logits, strict=True))


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
