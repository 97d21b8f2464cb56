"""Trying the properties: on one example before the first claim, or on many that Hypothesis draws."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ..core.columns import message_of, one_screen
from ..core.errors import MeasurementError, SoundnessError, SteerError
from ..core.record import BrokenProperty, Soundness
from ..core.run_context import current_run
from ..measures.subject import Subject
from ..model import Model, check_fits
from ..model.model import once_per_model
from ..model.state import measured, state_of, trusting
from .bench import Bench, NotApplicable, NotFinite, Unsteered
from .examples import HookExample, hook_examples, smallest, strengths, visit
from .properties import PROPERTIES, Case
from .target import Target, foreign, own

# How many further questions are asked to find smaller examples that break a property, for all properties together.
_SHRINKING = 60
# How many further batches are tried once a property is broken: the claim is refuted, and these name what else is broken.
_AFTER_A_FAULT = 2
# Properties that need many forwards and depend little on the texts are asked of this many batches, the others of all.
_SAMPLED, _SAMPLE = (
    ("repetition", "batch_size", "batch_order", "cached_decoding", "nothing_left", "exceptions", "zero_tokens"),
    6,
)
# Tried first: nothing smaller has rows of different length, so an example that breaks a property here needs no shrinking.
_PLAIN = ("", "0")


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, or refuse one that is no property.

    Raises:
        SteerError: one is not.
    """
    chosen = (names,) if isinstance(names, str) else tuple(names)
    for name in chosen:
        if name not in PROPERTIES:
            raise SteerError(f"{name!r} is not a property of hooks; they are {', '.join(PROPERTIES)}")
    return chosen


def examine(
    model: Model,
    target_at: Callable[[int | None], Target],
    *,
    layers: Sequence[int | None] = (None,),
    texts: Sequence[str] = (),
    examples: int,
    seed: int,
    leave_out: Sequence[str] = (),
) -> Soundness:
    """Try every property on drawn examples, and return what was found.

    An example that breaks a property is shrunk to a small one. Forwards are bounded: properties that need many of them are asked of
    the first batches only, and few more batches are drawn once a property is broken.

    Args:
        target_at: the target, for the declared layers (None) or moved to another block.
        layers: the possible arguments of ``target_at``, None first.
        texts: the user's own prompts, drawn as often as made-up ones.

    Raises:
        MeasurementError: the model gives NaN or infinity.
        SteerError: the target cannot be used at all.
    """
    trial = Trial(model, target_at, leave_out, Unsteered())
    declared = target_at(None)
    multipliers = strengths(declared.change.strength, declared.subject.multiplier)
    strategy = hook_examples(multipliers=multipliers, layers=layers, texts=texts)
    plain = HookExample(_PLAIN, declared.subject.multiplier)
    trial.try_on(plain)
    if not trial.is_done:
        visit(strategy, trial.try_on, examples=examples - 1, seed=seed)
    shrunk = {}
    budget = len(trial.asked) + _SHRINKING
    for name, (example, message) in trial.first.items():

        def fails(candidate: HookExample, name: str = name) -> bool:
            known = (name, candidate) in trial.asked
            return (known or len(trial.asked) < budget) and trial.ask(name, candidate) is not None

        found = None if example == plain else smallest(strategy, fails, examples=examples, seed=seed)
        if found is not None:
            example, message = found, trial.ask(name, found) or message
        shrunk[name] = (example, message)
    return trial.record(shrunk)


class Trial:
    """Tests properties on examples, and remembers the results.

    Args:
        known: what is known about the unsteered model. Targets of one model can share it.

    Attributes:
        asked: what breaks a property on an example, or None.
        first: for each broken property the first example that breaks it, and what is wrong there.
    """

    def __init__(
        self, model: Model, target_at: Callable[[int | None], Target], leave_out: Sequence[str], known: Unsteered
    ) -> None:
        self.started = time.perf_counter()
        self.model, self.target_at, self.known = model, target_at, known
        self.left_out = check_names(leave_out)
        self.benches: dict[int | None, Bench] = {}
        self.asked: dict[tuple[str, HookExample], str | None] = {}
        self.first: dict[str, tuple[HookExample, str]] = {}
        self.held: set[str] = set()
        self.skipped: dict[str, str] = {}
        self.examples = 0
        self.faulty = 0

    @property
    def is_done(self) -> bool:
        """A property is broken, and enough batches were tried since to name others."""
        return self.faulty > _AFTER_A_FAULT

    def try_on(self, example: HookExample) -> None:
        """Ask every property that is not yet known to be broken. Where no forward runs, only that is asked."""
        if self.is_done:
            return
        self.examples += 1
        for name in PROPERTIES:
            is_known = name in self.first and name != "runs"
            if is_known or name in self.left_out or (name in _SAMPLED and self.examples > _SAMPLE):
                continue
            message = self.ask(name, example)
            if message is not None:
                self.first.setdefault(name, (example, message))
                if name == "runs":
                    break
        self.faulty += bool(self.first)

    def nothing_steered(self) -> str | None:
        """What to say if no example moved at all, of an intervention that does not say that it may rest."""
        if "moves" not in self.skipped or "moves" in self.held or {"runs", "output_type"} & self.first.keys():
            return None
        if self.target_at(None).change.rests:
            return None
        return (
            f"nothing was steered: no hidden state changes in any of {self.examples} batch{'es' if self.examples > 1 else ''}. If it is "
            "meant to leave some as they are, declare that: custom(..., rests=True)"
        )

    def ask(self, name: str, example: HookExample) -> str | None:
        """What breaks the property on this example, or None."""
        key = (name, example)
        if key not in self.asked:
            self.asked[key] = self._answer(name, example)
        return self.asked[key]

    def _answer(self, name: str, example: HookExample) -> str | None:
        bench = self._bench(example)
        if not bench.takes_left:
            example = replace(example, padding="right")
        try:
            with trusting():  # the hooks on the model now are those of the target
                message = PROPERTIES[name].broken_by(Case(bench, example))
        except NotApplicable as why:
            self.skipped[name] = str(why)
            return None
        except NotFinite:
            raise _not_finite(f"at multiplier {example.multiplier:g} or unsteered") from None
        except (SteerError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the target's own code, which may raise anything
            return f"raises {message_of(error)}"
        finally:
            bench.put_back()
        self.held.add(name)
        return message

    def _bench(self, example: HookExample) -> Bench:
        if example.layer not in self.benches:
            try:
                self.benches[example.layer] = Bench(self.model, self.target_at(example.layer), self.known)
            except NotFinite:
                raise _not_finite("unsteered") from None
        return self.benches[example.layer]

    def record(self, broken: Mapping[str, tuple[HookExample, str]]) -> Soundness:
        """What was found. ``broken``: for each broken property an example, and what is wrong there."""
        if {"runs", "output_type"} & broken.keys():
            self.skipped.pop("moves", None)  # which they say
        nothing = self.nothing_steered()
        if nothing is not None:
            _, example = next(iter(self.asked))
            broken = {**broken, "moves": (example, nothing)}
        skipped = {**self.skipped, **dict.fromkeys(self.left_out, "left out on request")}
        holds = tuple(name for name in PROPERTIES if name in self.held and name not in broken)
        return Soundness(
            sound=False if broken else True if holds else None,
            holds=holds,
            skipped={n: skipped[n] for n in PROPERTIES if n in skipped and n not in self.held | broken.keys()},
            broken=tuple(_described(name, *broken[name]) for name in PROPERTIES if name in broken),
            examples=self.examples,
            forwards=sum(bench.forwards for bench in self.benches.values()),
            seconds=round(time.perf_counter() - self.started, 3),
        )


def _described(name: str, example: HookExample, message: str) -> BrokenProperty:
    shown = {"texts": list(example.texts), "multiplier": float(example.multiplier)}
    shown |= {"padding": example.padding, "layer": example.layer}
    promise = PROPERTIES[name].promise
    return BrokenProperty(property=name, promise=promise, message=one_screen(message), example=shown)


def _not_finite(when: str) -> MeasurementError:
    return MeasurementError(
        f"the model gives NaN or infinity {when}, so its hooks cannot be compared; try a smaller multiplier, or float32"
    )


# Two rows of different length, so that there is padding.
_TEXTS = ("One of two short rows.", "The other row, and it is longer.")
# The order of the rows follows from batch_size: a row is steered in a batch as it is alone.
_LEFT_OUT = ("batch_order",)
# The record where the model gives NaN or infinity: nothing can be compared.
_NOTHING_TRIED = Soundness(sound=None, holds=(), skipped={}, broken=(), examples=0, forwards=0, seconds=0.0)


def check_before(model: Model, subject: Subject) -> Soundness | None:
    """Check that the hooks are sound, and return what was found; None with ``--steer-no-soundness``.

    Raises:
        VectorError: the intervention does not fit the model.
        SoundnessError: a property does not hold.
    """
    check_fits(model, subject.intervention, subject.allow_mismatch)
    if not current_run().soundness:
        return None
    known = _records(model)
    key = (state_of(model), subject.intervention.hash, subject.positions, subject.include_first)
    if key not in known:
        known[key] = _check(model, subject)
    record = known[key]
    if record.broken:
        first, *others = record.broken
        more = f"; broken too: {', '.join(broken.property for broken in others)}" if others else ""
        raise SoundnessError(
            f"the hooks are not sound: {first.property}: {first.message} (promised: {first.promise}){more}. A claim "
            f"of kind hooks_are_sound shows more; {current_run().option_prefix}no-soundness switches this check off",
            record,
        )
    return record


@once_per_model
def _records(model: Model) -> dict[tuple[Any, ...], Soundness]:
    """The records of the checks so far, by the state of the model, hash and scope of the intervention."""
    return {}


@once_per_model
def _unsteered(model: Model) -> dict[int, Unsteered]:
    """What earlier checks learned about the unsteered model, by its state."""
    return {}


@measured
def _check(model: Model, subject: Subject) -> Soundness:
    known, state = _unsteered(model), state_of(model)
    if state not in known:
        known.clear()
        known[state] = Unsteered()
    if subject.intervention.applied is None:
        target, texts = own(model, subject), _TEXTS
    else:
        # Rows under a user's own way of steering are of one length (``model/forward.py``), so padding is not asked about.
        target, texts = foreign(model, subject), (_TEXTS[0], _TEXTS[0])
    trial = Trial(model, lambda layer: target, _LEFT_OUT, known[state])
    try:
        trial.try_on(HookExample(texts, subject.multiplier, "left", bare=True))
    except MeasurementError as error:
        return replace(_NOTHING_TRIED, skipped={"all": one_screen(str(error))})  # the claim itself says what is not finite
    record = trial.record(trial.first)
    return replace(record, skipped={name: why for name, why in record.skipped.items() if name not in _LEFT_OUT})
