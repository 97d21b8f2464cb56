"""``hooks_are_sound``: hooks keep exact properties, one for each way in which published hooks have gone wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Unpack

import torch

from ..errors import SteerError
from ..evidence import Evidence
from ..measures import steering_receipt
from ..measures.subject import Subject, describe_model
from ..model import Model, Probe, check_fits
from ..model.state import measuring
from ..parameters import Param
from ..soundness import PROPERTIES, Target, examine, foreign, own
from ..soundness.examine import check_names
from ..soundness.examples import HookExample, lines_of
from ..stats import Direction, Verdict
from ..steering import Intervention, SteeringVector
from . import words
from .common import Deployment
from .holding import hold
from .kinds import claim

MAX_BATCHES = 20


@claim("hooks_are_sound", title="The hooks do what they say", main="max_batches")
@dataclass(frozen=True, kw_only=True)
class HooksAreSound:
    """Exact properties of steering (dose, positions, cache, batch, padding, ...) hold on every batch that is tried.

    Nothing is estimated, so there is no interval: one batch that breaks a property refutes the claim.

    Attributes:
        subject: what steers: this package, or a user's own way that is declared to do it.
        own_texts: prompts of the user's own, drawn as often as made-up ones. (``prompts`` is filled in from a claim file's data.)
        leave_out: names of properties to leave out.
        tensors: the user's own tensors: steering may not change them.

    Raises:
        SteerError: no examples, or an unknown property.
    """

    subject: Subject
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
    own_texts: Sequence[str] = ()
    tensors: Sequence[torch.Tensor] = ()
    seed: int = 0
    name: str = "hooks_are_sound"

    def __post_init__(self) -> None:
        if isinstance(self.own_texts, str) or not all(isinstance(prompt, str) for prompt in self.own_texts):
            raise SteerError("prompts is a list of texts")
        if not PROPERTIES.keys() - {*check_names(self.leave_out), "runs", "template"}:
            raise SteerError("hooks_are_sound: leave_out leaves no property of steering to look at: name fewer")

    def measure(self, model: Model) -> Evidence:
        """Try the properties and judge.

        Raises:
            VectorError: layers or width do not fit the model.
            MeasurementError: the model gives NaN or infinity.
            SteerError: a ``steered`` block is open on the model, or ``apply`` cannot be used.
        """
        with measuring(model):
            # Whether model and template fit is a property; layers and width have to.
            check_fits(model, self.subject.intervention, ("model", "template"))
            found = examine(
                model,
                lambda layer: self._target(model, layer),
                layers=self._layers(model),
                texts=self.own_texts,
                examples=self.max_batches,
                seed=self.seed,
                leave_out=self.leave_out,
            )
            return self._evidence(model, found)

    def _target(self, model: Model, layer: int | None) -> Target:
        if self.subject.intervention.applied is None:
            return own(model, self.subject, layer)
        return foreign(model, self.subject, tensors=tuple(self.tensors))

    def _layers(self, model: Model) -> list[int | None]:
        vector = self.subject.vector
        if not isinstance(vector, SteeringVector) or len(vector.layers) > 1:
            return [None]
        return [None, *(layer for layer in range(model.n_layers) if layer not in vector.layers)]

    def _evidence(self, model: Model, found: dict[str, Any]) -> Evidence:
        example = HookExample(("What is it?", "How did that come about?"), self.subject.multiplier)
        target = self._target(model, None)
        probes = [Probe(line.prompt, target.start(line)) for line in lines_of(model, example)]
        receipt = steering_receipt(model, probes, self.subject.intervention, self.subject.multiplier)
        evidence = Evidence(
            check="hooks_are_sound",
            name=self.name,
            verdict=Verdict.FAIL if found["broken"] else Verdict.INCONCLUSIVE if self._unseen(found) else Verdict.PASS,
            statistic="broken properties",
            estimate=float(len(found["broken"])),
            threshold=0.0,
            direction=Direction.AT_MOST,
            n=found["examples"],
            unit="batches",
            multiplier=self.subject.multiplier,
            model=describe_model(model),
            vector=self.subject.describe(receipt),
            data={
                "hash": hashlib.sha256(repr((self.seed, self.max_batches, tuple(self.own_texts))).encode()).hexdigest(),
                "n": found["examples"],
                "source": "drawn batches",
            },
            receipt=asdict(receipt),
            soundness=found,
            unpaired="exact properties have no values",
            details={"not_looked_at": self._not_looked_at(found), "relied_on": self._unseen(found)},
        )
        if evidence.details["not_looked_at"]:  # beside the verdict in the table too, which shows no headline
            names = ", ".join(evidence.details["not_looked_at"]).replace("_", " ")
            evidence.warnings.append(f"not looked at: {names}")
        applied = self.subject.intervention.applied
        if applied is not None and not applied.is_declared:
            evidence.warnings.append(
                "it is not declared what is done to the hidden states (directions=), so the size of the dose was not checked"
            )
        return evidence

    def _not_looked_at(self, found: dict[str, Any]) -> list[str]:
        """The properties that were left out, or that the model does not let one ask; not those that have no meaning here."""
        return [name for name in found["skipped"] if name in (*check_names(self.leave_out), "moves", *words.OF_THE_MODEL)]

    def _unseen(self, found: dict[str, Any]) -> list[str]:
        """The properties that the claim relies on and that were not looked at."""
        relied = ["moves", "output_type", "dose"]
        if self.subject.positions != "all":
            relied.append("first_position")  # with the dose: the prompt is left as it is
        unseen = {*check_names(self.leave_out), *(["moves"] if "moves" in found["skipped"] else [])}
        if not {"batch_size", "padding_side"} <= {*found["holds"]}:
            # Padding that is steered changes no result if a row gives the same alone, and with its padding on either side.
            relied += [name for name in ("padding", "batch_size", "padding_side") if name in unseen]
        return [name for name in relied if name in unseen]

    @staticmethod
    def headline(evidence: Evidence) -> str:
        """The verdict, and how many properties held on how many batches."""
        record = evidence.soundness or {}
        broken, held = len(record.get("broken", ())), len(record.get("holds", ()))
        names = ", ".join(entry["property"] for entry in record.get("broken", ()))
        what = f"{broken} of {broken + held} properties broken: {names}" if broken else f"sound: all {held} properties hold"
        unseen, relied = (
            ", ".join(evidence.details.get(key, ())).replace("_", " ") for key in ("not_looked_at", "relied_on")
        )
        what += f"; not looked at: {unseen}" if unseen else ""
        if relied and not broken:
            what = f"{what.removeprefix('sound: ')}; a verdict needs {relied}"
        skipped = "".join(f"\n  not asked: {name}: {why}" for name, why in record.get("skipped", {}).items())
        return (
            f"{evidence.name}: {evidence.verdict.value.upper()}  {what}\n"
            f"  n = {evidence.n} {evidence.unit}, {record.get('forwards', 0)} forwards; exact properties, no interval{skipped}"
        )

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        return []

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        return [*words.where(evidence), *_broken_properties(evidence)]


def assert_hooks_are_sound(
    model: Model,
    vector: SteeringVector | Intervention | None = None,
    *,
    directions: Mapping[int, torch.Tensor] | None = None,
    max_batches: int = MAX_BATCHES,
    prompts: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    **shared: Unpack[Deployment],
) -> Evidence:
    """Assert that what steers does what it says: exact properties, on batches that Hypothesis draws (docs/hooks.md).

    With a vector or an intervention alone, this package's own steering is tested. With ``apply``, a way of yours: another
    library's hooks, or your own context manager. What it is declared to do is the vector or intervention, or
    ``directions`` (added at the output of each block), or only ``layers``; then the size of the dose is not checked.

    Args:
        apply: ``apply(multiplier)`` or ``apply(multiplier, batch)``. It returns a context manager that steers every forward of
            ``model.hf`` in its body. ``batch`` says what is about to be steered: ``input_ids``, ``attention_mask``,
            ``prompt_lengths`` and ``starts`` (one per row, counted over real tokens) and ``steered`` (bool [rows, tokens]). The body
            may run several forwards over these rows: whole ones, and a cached one with further tokens one by one.
        directions: {layer: tensor [width]}, the 0-based block whose output moves by multiplier times that.
        multiplier: the strength around which others are tried.
        max_batches: how many batches are drawn.
        prompts: your own prompts, drawn as often as made-up ones.
        leave_out: names of properties to leave out.

    The model is put back as it was whatever ``apply`` leaves on it.

    Raises:
        SteeringFailure: a property is broken; names it, with the smallest example found.
        SteerError: it cannot be tested: nothing or too much is declared, or the model gives NaN.
    """
    return hold(
        "hooks_are_sound",
        locals(),
        late={
            "tensors": lambda: [one for one in (directions or {}).values() if hasattr(one, "detach")],
            "own_texts": lambda: prompts,
        },
    )


def _broken_properties(evidence: Evidence) -> list[str]:
    """Each broken property: its promise, what is wrong, and the smallest example found."""
    lines = []
    for entry in (evidence.soundness or {}).get("broken", ()):
        example = entry["example"]
        layer = f", layer {example['layer']}" if example["layer"] is not None else ""
        lines.append(f"  {entry['property']}: {entry['promise']}")
        lines.append(f"    {entry['message']}")
        lines += _advice(entry["property"], (evidence.soundness or {}).get("holds", ()))
        lines.append(
            f"    smallest example: texts {example['texts']!r}, multiplier {example['multiplier']:g}, padding "
            f"{example['padding']}{layer}"
        )
    return lines


def _advice(name: str, holds: Sequence[str]) -> list[str]:
    """When a broken property may be left out, and how."""
    if name != "padding" or not {"batch_size", "padding_side"} <= {*holds}:
        return []
    return [
        "    No result depends on it here: the attention mask hides padding (batch_size and padding_side hold). If nothing of yours "
        'averages over positions either, write `leave_out: [padding]`, in Python leave_out=["padding"].'
    ]
