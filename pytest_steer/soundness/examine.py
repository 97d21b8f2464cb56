"""Trying the properties out, on one example or on many that Hypothesis draws."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..errors import MeasurementError, SteerError
from ..model import Model
from ..model.state import trusting
from . import properties
from .bench import Bench, NotApplicable, NotFinite, Unsteered
from .examples import HookExample, hook_examples, smallest, strengths, visit
from .target import Target

Property = Callable[[Bench, HookExample], str | None]

PROPERTIES: dict[str, Property] = {
    function.__name__: function
    for function in (
        properties.runs,
        properties.template,
        properties.output_type,
        properties.layer,
        properties.dose,
        properties.first_position,
        properties.padding,
        properties.identity,
        properties.sign,
        properties.repetition,
        properties.batch_size,
        properties.batch_order,
        properties.padding_side,
        properties.cached_decoding,
        properties.measuring,
        properties.nothing_left,
        properties.exceptions,
        properties.zero_tokens,
    )
}
"""Name of a property to the function that says what breaks it."""

# How many further examples are looked at to find a smaller one that breaks a property.
_SHRINKING = 60


@dataclass(frozen=True)
class Broken:
    """A property that does not hold: the smallest example found, and what is wrong there."""

    property: str
    promise: str
    example: HookExample
    message: str


@dataclass
class Soundness:
    """What was found out.

    Attributes:
        holds: properties that held on every example.
        skipped: properties that have no meaning here, and why.
        broken: the others.
        examples: batches that were tried. forwards: forwards that were run.
    """

    holds: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    examples: int = 0
    forwards: int = 0
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool | None:
        """Whether no property is broken; None if none could be looked at."""
        if self.broken:
            return False
        return True if self.holds else None

    def describe(self) -> dict[str, Any]:
        """The evidence's ``soundness`` record."""
        return {
            "sound": self.is_sound,
            "holds": self.holds,
            "skipped": self.skipped,
            "broken": [
                {
                    "property": broken.property,
                    "promise": broken.promise,
                    "message": broken.message,
                    "example": {
                        "texts": list(broken.example.texts),
                        "multiplier": float(broken.example.multiplier),
                        "padding": broken.example.padding,
                        "layer": broken.example.layer,
                    },
                }
                for broken in self.broken
            ],
            "examples": self.examples,
            "forwards": self.forwards,
            "seconds": round(self.seconds, 3),
        }


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names, if they are names of properties.

    Raises:
        SteerError: one is not.
    """
    chosen = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in chosen if name not in PROPERTIES]
    if unknown:
        raise SteerError(f"{unknown[0]!r} is not a property of hooks; they are {', '.join(PROPERTIES)}")
    return chosen


def examine_once(
    model: Model, target: Target, example: HookExample, *, leave_out: Sequence[str] = (), unsteered: Unsteered | None = None
) -> Soundness:
    """Tries every property on one example.

    Args:
        unsteered: what is known of the model unsteered, shared among the targets of one model.

    Raises:
        MeasurementError: the model gives NaN or infinity.
        SteerError: the target cannot be used at all.
    """
    started = time.perf_counter()
    trial = _Trial(model, lambda layer: target, leave_out, unsteered)
    trial.look(example)
    return trial.result(started, dict(trial.first))


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
    """Tries every property on drawn examples; each that breaks is shrunk to a small example.

    Args:
        target_at: the target, for the declared layers (None) or moved to another block.
        layers: what ``target_at`` may be asked for, None first.
        texts: prompts of the user's own, among the made-up ones.

    Raises:
        MeasurementError: the model gives NaN or infinity.
        SteerError: the target cannot be used at all.
    """
    started = time.perf_counter()
    trial = _Trial(model, target_at, leave_out)
    target = target_at(None)
    strategy = hook_examples(multipliers=strengths(target.strength, target.multiplier), layers=layers, texts=texts)
    visit(strategy, trial.look, examples=examples, seed=seed)
    shrunk = {}
    for name, (example, message) in trial.first.items():
        budget = len(trial.asked) + _SHRINKING

        def fails(candidate: HookExample, name: str = name, budget: int = budget) -> bool:
            known = (name, candidate) in trial.asked
            return (known or len(trial.asked) < budget) and trial.ask(name, candidate) is not None

        found = smallest(strategy, fails, examples=examples, seed=seed)
        if found is not None:
            example, message = found, trial.ask(name, found) or message
        shrunk[name] = (example, message)
    return trial.result(started, shrunk)


class _Trial:
    """Asks properties about examples, and remembers the answers."""

    def __init__(
        self,
        model: Model,
        target_at: Callable[[int | None], Target],
        leave_out: Sequence[str],
        unsteered: Unsteered | None = None,
    ) -> None:
        self.unsteered = unsteered if unsteered is not None else Unsteered()
        self.model, self.target_at = model, target_at
        self.names = [name for name in PROPERTIES if name not in check_names(leave_out)]
        self.left_out = tuple(leave_out)
        self.benches: dict[int | None, Bench] = {}
        self.asked: dict[tuple[str, HookExample], str | None] = {}
        self.first: dict[str, tuple[HookExample, str]] = {}
        self.held: set[str] = set()
        self.skipped: dict[str, str] = {}
        self.examples = 0

    def look(self, example: HookExample) -> None:
        """Asks every property that is not known to be broken."""
        self.examples += 1
        for name in self.names:
            if name in self.first and name != "runs":
                continue
            message = self.ask(name, example)
            if message is not None:
                self.first.setdefault(name, (example, message))
                if name == "runs":
                    return

    def ask(self, name: str, example: HookExample) -> str | None:
        """What breaks the property on this example, or None."""
        key = (name, example)
        if key not in self.asked:
            self.asked[key] = self._answer(name, example)
        return self.asked[key]

    def _answer(self, name: str, example: HookExample) -> str | None:
        bench = self._bench(example)
        if not bench.takes_left and example.padding == "left":
            example = replace(example, padding="right")
        try:
            with trusting():  # hooks that stand on the model now are those of the target
                message = PROPERTIES[name](bench, example)
        except NotApplicable as why:
            self.skipped[name] = str(why)
            return None
        except NotFinite:
            raise _not_finite(f"at multiplier {example.multiplier:g} or unsteered") from None
        except (SteerError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the target's own code, which may raise anything
            return f"raises {type(error).__name__}: {error}"
        finally:
            bench.put_back()
        self.held.add(name)
        return message

    def _bench(self, example: HookExample) -> Bench:
        if example.layer not in self.benches:
            try:
                self.benches[example.layer] = Bench(self.model, self.target_at(example.layer), self.unsteered)
            except NotFinite:
                raise _not_finite("unsteered") from None
        return self.benches[example.layer]

    def result(self, started: float, broken: dict[str, tuple[HookExample, str]]) -> Soundness:
        for name in self.left_out:
            self.skipped[name] = "left out on request"
        return Soundness(
            holds=[name for name in self.names if name in self.held and name not in broken],
            skipped={n: self.skipped[n] for n in PROPERTIES if n in self.skipped and n not in self.held | broken.keys()},
            broken=[Broken(name, promise_of(name), *broken[name]) for name in PROPERTIES if name in broken],
            examples=self.examples,
            forwards=sum(bench.forwards for bench in self.benches.values()),
            seconds=time.perf_counter() - started,
        )


def _not_finite(when: str) -> MeasurementError:
    return MeasurementError(
        f"the model gives NaN or infinity {when}, so its hooks cannot be compared; a smaller multiplier or float32 may help"
    )


def promise_of(name: str) -> str:
    """What a property says, in a sentence."""
    return " ".join((PROPERTIES[name].__doc__ or "").split())
