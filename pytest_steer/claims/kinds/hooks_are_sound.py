"""``hooks_are_sound``: hooks keep exact properties, one for each way in which published hooks have gone wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch

from ...core.block import Block, Line
from ...core.errors import SteerError
from ...core.evidence import Direction, Evidence, Verdict
from ...core.finding import Finding, Weight, code
from ...core.parameters import Param
from ...core.record import Data, Soundness
from ...measures import steering_receipt
from ...measures.subject import describe_model
from ...model import Model, Probe, check_fits
from ...model.state import measuring
from ...soundness import PROPERTIES, Target, examine, foreign, own
from ...soundness.examine import check_names
from ...soundness.examples import HookExample, lines_of
from ...steering import SteeringVector
from .. import show
from ..asserting import assertion
from ..base import Steering, Vector, concluded
from ..kind import claim

MAX_BATCHES = 20

not_looked_at = code(
    "hooks-not-looked-at",
    signal="Properties of the hooks were left out, or the model does not let one ask about them.",
    meaning="The hooks may break them.",
    cure="Leave out fewer properties.",
)
dose_not_declared = code(
    "dose-not-declared",
    signal="It is not declared what `apply` does to the hidden states.",
    meaning="The size of the dose was not checked.",
    cure="Declare it with `directions`, a vector or an intervention.",
    weight=Weight.DOUBTFUL,
)


@dataclass(frozen=True)
class Details:
    """Properties that were left out, or that the model does not let one ask about; those of them that a verdict needs."""

    not_looked_at: list[str]
    relied_on: list[str]


@claim("hooks_are_sound", title="The hooks do what they say", main="max_batches")
class HooksAreSound(Steering):
    """Exact properties of steering (dose, positions, cache, batch, padding, ...) hold on every batch that is tried.

    Nothing is estimated, so there is no interval: one batch that breaks a property refutes the claim. The batches are drawn by Hypothesis
    (docs/hooks.md).

    With a vector or an intervention alone, this package's own steering is tested. With ``apply``, a way of yours: another library's
    hooks, or your own context manager. It is declared to do what the vector or intervention does, or ``directions`` (added at the output
    of each block), or only acts at ``layers``; then the size of the dose is not checked. The model is put back as it was whatever
    ``apply`` leaves on it.

    ``apply(multiplier, batch)`` is told what is about to be steered: ``input_ids``, ``attention_mask``, ``prompt_lengths`` and
    ``starts`` (one per row, counted over real tokens) and ``steered`` (bool [rows, tokens]). The body may run several forwards over
    these rows: whole ones, and a cached one with further tokens one by one. ``multiplier`` is the strength around which others are tried.

    Attributes:
        directions: {layer: tensor [width]}, the 0-based block whose output moves by multiplier times that.

    Raises:
        SteerError: no examples, an unknown property, or ``apply`` cannot be used.
        VectorError: layers or width do not fit the model.
        MeasurementError: the model gives NaN or infinity.
    """

    vector: Vector = field(default=None, kw_only=False)
    directions: Mapping[int, torch.Tensor] | None = None
    max_batches: Annotated[
        int,
        Param(
            "How many batches are drawn, a whole number from 2 on; 20 takes seconds on a small model.",
            title="Batches that are tried",
            example=20,
            at_least=2,
            at_most=10_000,
        ),
    ] = MAX_BATCHES
    leave_out: Annotated[
        Sequence[str],
        Param(
            "Names of properties that are not looked at, such as padding where no result depends on it.",
            title="Properties that are left out",
            example=["padding"],
            schema={"type": ["array", "string"], "items": {"type": "string"}, "default": []},
        ),
    ] = ()
    own_texts: Annotated[
        Sequence[str], Param("Your own prompts, drawn as often as made-up ones.", called="prompts", in_files=False)
    ] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.own_texts, str) or not all(isinstance(prompt, str) for prompt in self.own_texts):
            raise SteerError("prompts is a list of texts")
        if not PROPERTIES.keys() - {*check_names(self.leave_out), "runs", "template"}:
            raise SteerError("hooks_are_sound: leave_out leaves no property of steering to look at: name fewer")

    def conclude(self, model: Model) -> Evidence:
        subject = self.subject
        with measuring(model):
            # Whether model and template fit is a property; layers and width have to.
            check_fits(model, subject.intervention, ("model", "template"))
            found = examine(
                model,
                lambda layer: self._target(model, layer),
                layers=self._layers(model),
                texts=self.own_texts,
                examples=self.max_batches,
                seed=self.seed,
                leave_out=self.leave_out,
            )
            target, example = self._target(model, None), HookExample(_PROMPTS, subject.multiplier)
            probes = [Probe(line.prompt, target.start(line)) for line in lines_of(model, example)]
            receipt = steering_receipt(model, probes, subject.intervention, subject.multiplier)
            of_model = describe_model(model)
        details = Details(self._not_looked_at(found), self._relied_on(found))
        drawn = repr((self.seed, self.max_batches, tuple(self.own_texts))).encode()
        judged = concluded(
            self,
            Verdict.FAIL if found.broken else Verdict.INCONCLUSIVE if details.relied_on else Verdict.PASS,
            details,
            statistic="broken properties",
            estimate=float(len(found.broken)),
            threshold=0.0,
            direction=Direction.AT_MOST,
            n=found.examples,
            unit="batches",
            soundness=found,
            unpaired="exact properties have no values",
        )
        return judged.but(
            multiplier=subject.multiplier,
            model=of_model,
            vector=subject.describe(receipt),
            data=Data(hash=hashlib.sha256(drawn).hexdigest(), n=found.examples, source="drawn batches"),
            receipt=receipt,
            findings=tuple(self._findings(details)),
        )

    def _target(self, model: Model, layer: int | None) -> Target:
        if self.subject.intervention.applied is None:
            return own(model, self.subject, layer)
        declared = (self.directions or {}).values()
        return foreign(model, self.subject, tensors=tuple(one for one in declared if hasattr(one, "detach")))

    def _layers(self, model: Model) -> list[int | None]:
        vector = self.subject.vector
        if not isinstance(vector, SteeringVector) or len(vector.layers) > 1:
            return [None]
        return [None, *(layer for layer in range(model.n_layers) if layer not in vector.layers)]

    def _not_looked_at(self, found: Soundness) -> list[str]:
        """The properties that were left out, or that the model does not let one ask; not those that have no meaning here."""
        return [name for name in found.skipped if name in (*check_names(self.leave_out), "moves", *show.OF_THE_MODEL)]

    def _relied_on(self, found: Soundness) -> list[str]:
        """The properties that the claim relies on and that were not looked at."""
        relied = ["moves", "output_type", "dose"]
        if self.subject.positions != "all":
            relied.append("first_position")  # with the dose: the prompt is left as it is
        if not {"batch_size", "padding_side"} <= {*found.holds}:
            # Padding that is steered changes no result if a row gives the same alone, and with its padding on either side.
            relied += ["padding", "batch_size", "padding_side"]
        unseen = {*check_names(self.leave_out), *(["moves"] if "moves" in found.skipped else [])}
        return [name for name in relied if name in unseen]

    def _findings(self, own: Details) -> Iterator[Finding]:
        if own.not_looked_at:  # next to the verdict in the table too, which shows no headline
            yield not_looked_at(f"not looked at: {_listed(own.not_looked_at)}")
        applied = self.subject.intervention.applied
        if applied is not None and not applied.is_declared:
            yield dose_not_declared(
                "it is not declared what is done to the hidden states (directions=), so the size of the dose was not checked"
            )

    @staticmethod
    def headline(evidence: Evidence) -> str:
        """How many properties held."""
        assert evidence.soundness is not None
        own: Details = evidence.own
        broken, held = evidence.soundness.broken, len(evidence.soundness.holds)
        names = ", ".join(entry.property for entry in broken)
        unseen = f"; not looked at: {_listed(own.not_looked_at)}" if own.not_looked_at else ""
        if broken:
            return f"{len(broken)} of {len(broken) + held} properties broken: {names}{unseen}"
        if own.relied_on:
            return f"all {held} properties hold{unseen}; a verdict needs {_listed(own.relied_on)}"
        return f"sound: all {held} properties hold{unseen}"

    @staticmethod
    def reason(evidence: Evidence) -> str:
        assert evidence.soundness is not None
        return f"{evidence.soundness.forwards} forwards; exact properties, no interval"

    @staticmethod
    def cure(evidence: Evidence) -> str:
        return ""

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        assert evidence.soundness is not None
        for name, why in evidence.soundness.skipped.items():
            yield Line(f"not asked: {name}: {why}")

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        """Each broken property: its promise, what is wrong, and the smallest example found."""
        record = evidence.soundness
        assert record is not None
        for entry in record.broken:
            example = entry.example
            layer = f", layer {example['layer']}" if example["layer"] is not None else ""
            yield Line(f"{entry.property}: {entry.promise}\n  {entry.message}")
            # No result depends on padding that the attention mask hides.
            if entry.property == "padding" and {"batch_size", "padding_side"} <= {*record.holds}:
                yield Line(
                    "  No result depends on it here: the attention mask hides padding (batch_size and padding_side hold). If nothing of yours "
                    'averages over positions either, write `leave_out: [padding]`, in Python leave_out=["padding"].'
                )
            yield Line(
                f"  smallest example: texts {example['texts']!r}, multiplier {example['multiplier']:g}, padding {example['padding']}{layer}"
            )


assert_hooks_are_sound = assertion(HooksAreSound)

_PROMPTS = ("What is it?", "How did that come about?")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names).replace("_", " ")
