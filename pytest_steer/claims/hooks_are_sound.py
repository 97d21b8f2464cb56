"""``hooks_are_sound``: what steers does what it says, in every way that published hooks have gone wrong."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import SteerError
from ..evidence import Evidence
from ..measures import steering_receipt
from ..measures.subject import Subject, describe_model, describe_receipt
from ..model import Model, Probe, check_fits
from ..model.state import measuring
from ..soundness import Apply, Soundness, Target, examine, foreign, own
from ..soundness.bench import Bench
from ..soundness.examine import check_names
from ..soundness.examples import HookExample
from ..stats import Direction, Verdict
from ..steering import Intervention, SteeringVector, as_intervention
from ..steering.intervention import StrengthMeaning, custom

EXAMPLES = 20


def declared_subject(
    vector: SteeringVector | Intervention | None,
    directions: Mapping[int, torch.Tensor] | None,
    layers: int | Sequence[int] | None,
    strength: StrengthMeaning,
    *,
    needs_vector: bool,
    **place: Any,
) -> tuple[Subject, bool]:
    """What is declared, as a subject, and whether it says what is done to the hidden states.

    Args:
        needs_vector: there is no ``apply``, so that the declared thing is what steers.
        place: the other arguments of :class:`Subject`.

    Raises:
        SteerError: nothing is declared, or more than one thing.
    """
    given = [n for n, v in (("vector", vector), ("directions", directions), ("layers", layers)) if v is not None]
    if len(given) != 1:
        raise SteerError(
            f"declare one of vector, directions or layers (given: {', '.join(given) or 'none'}): what steering is to do is "
            "what its hooks are held against"
        )
    if layers is not None:
        if needs_vector:
            raise SteerError("layers alone steer nothing: give a vector, or apply= with your own way of steering")
        unknown = custom(lambda hidden, _strength, _layer: hidden, layers=layers, strength=strength, name="apply")
        return Subject(vector=unknown, **place), False
    steering = vector if vector is not None else SteeringVector(directions or {})
    as_intervention(steering)  # says so if it is neither
    return Subject(vector=steering, **place), True


@dataclass(frozen=True, kw_only=True)
class HooksAreSound:
    """Exact properties of a hook hold on every batch that is tried; see docs/hooks.md for what each says.

    Nothing is estimated: the batches are made up or drawn, not sampled, so there is no interval, and one that breaks a
    property refutes the claim.

    Attributes:
        subject: what steers, or what ``apply`` is declared to do.
        apply: a way of steering of the user's own; None for this package's.
        declared: ``subject`` says what is done to the hidden states, not only at which blocks.
        examples: how many batches are drawn.
        prompts: prompts of the user's own, drawn as often as made-up ones.
        leave_out: names of properties that are not asked for.
        any_layer: try a vector of one layer at every other block too (this package's own steering only).
        tensors: the user's own tensors: steering may not change them.

    Raises:
        SteerError: no examples, or an unknown property.
    """

    subject: Subject
    apply: Apply | None = None
    declared: bool = True
    examples: int = EXAMPLES
    prompts: Sequence[str] = ()
    leave_out: Sequence[str] = ()
    any_layer: bool = True
    tensors: Sequence[torch.Tensor] = ()
    seed: int = 0
    name: str = "hooks_are_sound"

    def __post_init__(self) -> None:
        if isinstance(self.examples, bool) or not isinstance(self.examples, int) or self.examples < 2:
            raise SteerError(f"examples is a whole number from 2 on, not {self.examples!r}")
        if isinstance(self.prompts, str) or not all(isinstance(prompt, str) for prompt in self.prompts):
            raise SteerError("prompts is a list of texts")
        check_names(self.leave_out)

    def measure(self, model: Model) -> Evidence:
        """Tries the properties and judges.

        Raises:
            VectorError: layers or width do not fit the model.
            MeasurementError: the model gives NaN or infinity.
            SteerError: a ``steering`` block is open on the model, or ``apply`` cannot be used.
        """
        with measuring(model):
            return self._measure(model)

    def _measure(self, model: Model) -> Evidence:
        started = time.perf_counter()
        # Whether model and template fit is a property; layers and width have to.
        check_fits(model, self.subject.intervention, ("model", "template"))
        found = examine(
            model,
            lambda layer: self._target(model, layer),
            layers=self._layers(model),
            texts=self.prompts,
            examples=self.examples,
            seed=self.seed,
            leave_out=self.leave_out,
        )
        return self._evidence(model, found, started)

    def _target(self, model: Model, layer: int | None) -> Target:
        if self.apply is None:
            return own(model, self.subject, layer)
        name = getattr(self.apply, "__name__", type(self.apply).__name__)
        return foreign(model, self.subject, self.apply, name=name, declared=self.declared, tensors=tuple(self.tensors))

    def _layers(self, model: Model) -> list[int | None]:
        vector = self.subject.vector
        if not self.any_layer or self.apply is not None or not isinstance(vector, SteeringVector) or len(vector.layers) > 1:
            return [None]
        return [None, *(layer for layer in range(model.n_layers) if layer not in vector.layers)]

    def _evidence(self, model: Model, found: Soundness, started: float) -> Evidence:
        example = HookExample(("What is it?", "How did that come about?"), self.subject.multiplier)
        target = self._target(model, None)
        lines = Bench(model, target).lines(example)
        probes = [Probe(line.prompt, target.start(line.turn_end, len(line.prompt))) for line in lines]
        receipt = steering_receipt(model, probes, self.subject.intervention, self.subject.multiplier)
        vector = self.subject.describe(receipt)
        evidence = Evidence(
            check="hooks_are_sound",
            name=self.name,
            verdict=Verdict.FAIL if found.broken else Verdict.PASS,
            statistic="broken properties",
            estimate=float(len(found.broken)),
            threshold=0.0,
            direction=Direction.AT_MOST,
            n=found.examples,
            unit="examples",
            multiplier=self.subject.multiplier,
            model=describe_model(model),
            vector=vector if self.apply is None else {**vector, "method": target.name},
            data={
                "hash": hashlib.sha256(repr((self.seed, self.examples, tuple(self.prompts))).encode()).hexdigest(),
                "n": found.examples,
                "source": "drawn batches",
            },
            receipt=describe_receipt(receipt),
            soundness=found.describe(),
        )
        if not self.declared:
            evidence.warnings.append(
                "it is not declared what is done to the hidden states (directions=), so the size of the dose was not checked"
            )
        evidence.seconds = time.perf_counter() - started
        return evidence
