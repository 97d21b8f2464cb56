"""What a claim is about: an intervention at a place and a strength, and the records of it for the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from ..core.errors import SteerError
from ..core.finding import Finding, Weight, code
from ..core.record import Model as ModelRecord
from ..core.record import Receipt, Vector
from ..model import Model, engine_of
from ..model.model import first_few
from ..model.state import foreign_hooks, hooks_warning, replaced_code
from .at_cost import Deployed

Moves = Literal["raises", "lowers"]


@dataclass(frozen=True, kw_only=True)
class Subject(Deployed):
    """An intervention as it is deployed, and what of it is accepted.

    Attributes:
        allow_mismatch: ``model`` and / or ``template``: accept a vector that was made elsewhere.
        direction: what the deployed model is meant to do with the behaviour: ``raises`` or ``lowers``.

    Raises:
        SteerError: the direction is neither.
    """

    allow_mismatch: tuple[str, ...] = ()
    direction: Moves = "raises"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction not in get_args(Moves):
            raise SteerError(f"direction is raises or lowers, not {self.direction!r}")

    @property
    def slope_sign(self) -> int:
        """1 or -1, by which a slope is multiplied so that above 0 means as promised: to lower, propensity has to fall from 0 to the
        deployed multiplier, on whichever side that is."""
        return -1 if self.direction == "lowers" and self.multiplier > 0 else 1

    @property
    def effect_sign(self) -> int:
        """The same for an effect at the deployed multiplier."""
        return -1 if self.direction == "lowers" else 1

    @property
    def scope(self) -> dict[str, Any]:
        """The keywords that tell a measure which tokens are steered, and what is accepted."""
        return {
            "positions": self.positions,
            "include_first": self.include_first,
            "allow_mismatch": self.allow_mismatch,
        }

    def describe(self, receipt: Receipt) -> Vector:
        """The intervention as the evidence has it."""
        change = self.intervention
        doses = {dose.layer: dose for dose in receipt.doses}
        first = doses[change.changes[0]]
        record = change.metadata
        return Vector(
            hash=change.hash,
            method=change.method,
            operation=change.operation,
            site=change.site,
            strength=change.strength,
            layer=change.changes[0] if len(change.changes) == 1 else tuple(change.changes),
            positions=self.positions,
            include_first=self.include_first,
            norm=first.norm,
            relative_dose=first.relative_dose,
            displacement=first.displacement,
            n=record.get("n"),
            data_hash=record.get("data_hash"),
            source=_source(record),
        )


def _source(record: Mapping[str, Any]) -> dict[str, str] | None:
    """What was assumed of a vector that another program wrote."""
    source = record.get("source")
    return {str(key): str(value) for key, value in source.items()} if isinstance(source, dict) else None


def describe_model(model: Model) -> ModelRecord:
    """The model as evidence and reports have it."""
    return ModelRecord(
        id=model.id,
        fingerprint=model.fingerprint,
        architecture=type(model.hf).__name__,
        layers=model.n_layers,
        width=model.width,
        dtype=model.dtype,
        device=str(model.device),
        threads=torch.get_num_threads(),
        template=model.template_hash,
        template_name=model.format.name,
        hooks=tuple(foreign_hooks(model)),
        unexpected=tuple(model.unexpected),
    )


noted = code(
    "noted-while-measuring",
    signal="A warning was raised while the claim was measured.",
    meaning="It may concern the numbers.",
    cure="Read it.",
)
score_cache = code(
    "score-cache",
    signal="The folder of scores could not be used as it was.",
    meaning="Scores are computed again, or are not kept.",
    cure="Give --steer-cache another folder.",
)
another_model = code(
    "another-model",
    signal="The model has hooks, weights or code that its name does not say.",
    meaning="The numbers are those of another model.",
    cure="Take out what changes the model, or load it again.",
    weight=Weight.ANOTHER,
)


def cache_warnings(model: Model) -> list[str]:
    """What there is to tell about the folder of scores; each is told once."""
    disk = engine_of(model).disk
    return disk.told() if disk is not None else []


def model_findings(model: Model) -> list[Finding]:
    """What the reader of a claim has to know about the model, and, once in a run, about the folder of scores."""
    found = [score_cache(text) for text in cache_warnings(model)]
    hooks = foreign_hooks(model)
    if hooks:
        found.append(another_model(hooks_warning(model.id, hooks)))
    if model.loaded_weights is not None and model.weights_checksum() != model.loaded_weights:
        found.append(
            another_model(
                f"the weights of {model.id} have changed since this run loaded it, so another model than its name says is measured. A test that "
                "changes them has to put them back"
            )
        )
    code = replaced_code(model)
    if code:
        found.append(
            another_model(
                f"{model.id} runs code that is not its own ({first_few(code)}): what is measured is the model with this code. If a test or a library left "
                "it there, take it out"
            )
        )
    if model.unexpected:
        more = ", ..." if len(model.unexpected) > 3 else ""
        count = "1 weight" if len(model.unexpected) == 1 else f"{len(model.unexpected)} weights"
        found.append(
            another_model(
                f"{model.id} leaves out {count} of its files, as allow_unexpected says: {', '.join(model.unexpected[:3])}{more}"
            )
        )
    return found
