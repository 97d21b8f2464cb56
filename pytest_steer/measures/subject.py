"""The subject of a claim: an intervention at a place and a strength, its records, and random directions to compare it with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ..core.errors import SteerError
from ..core.evidence import Json
from ..core.finding import Finding, Weight, code
from ..core.record import Model as ModelRecord
from ..core.record import Receipt, Vector
from ..extract import random_direction
from ..model import Model, engine_of
from ..model.foreign import hooks_warning
from ..model.identity import replaced_code
from ..model.state import foreign_hooks
from ..model.weights import first_few
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, SteeringVector, intervention_kind
from .asking import Scope
from .at_cost import Deployed
from .propensity import PropensityCurve, propensity_curves

Moves = Literal["raises", "lowers"]


@dataclass(frozen=True, kw_only=True)
class Subject(Deployed):
    """An intervention as it is deployed, and what of it is accepted.

    Attributes:
        allow_mismatch: ``model`` and / or ``template``: accept a vector that was made elsewhere.
        direction: whether the deployed model is to raise or lower the behaviour: ``raises`` or ``lowers``.

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
    def scope(self) -> Scope:
        return Scope(self.positions, self.include_first, self.allow_mismatch)

    def describe(self, receipt: Receipt) -> Vector:
        """The intervention as the evidence has it."""
        change = self.intervention
        first = next(dose for dose in receipt.doses if dose.layer == change.changes[0])
        record = change.metadata
        source = record.get("source")  # assumptions about a vector that another program wrote
        return Vector(
            **_same(change, "hash", "method", "operation", "site", "strength"),
            **_same(self, "positions", "include_first"),
            **_same(first, "norm", "relative_dose", "displacement"),
            layer=change.changes[0] if len(change.changes) == 1 else tuple(change.changes),
            n=record.get("n"),
            data_hash=record.get("data_hash"),
            source={str(key): str(value) for key, value in source.items()} if isinstance(source, dict) else None,
        )


def describe_model(model: Model) -> ModelRecord:
    """The model as evidence and reports have it."""
    return ModelRecord(
        **_same(model, "id", "fingerprint", "width", "dtype"),
        architecture=type(model.hf).__name__,
        layers=model.n_layers,
        device=str(model.device),
        threads=torch.get_num_threads(),
        template=model.template_hash,
        template_name=model.format.name,
        hooks=tuple(foreign_hooks(model)),
        unexpected=tuple(model.unexpected),
    )


def _same(thing: object, *names: str) -> Json:
    """Attributes that a record has under the same names."""
    return {name: getattr(thing, name) for name in names}


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
    """Findings about the model, and, once in a run, about the folder of scores."""
    said = []
    hooks, code, left_out = foreign_hooks(model), replaced_code(model), model.unexpected
    if hooks:
        said.append(hooks_warning(model.id, hooks))
    if model.loaded_weights is not None and model.weights_checksum() != model.loaded_weights:
        said.append(
            f"the weights of {model.id} have changed since this run loaded it, so another model than its name says is measured. A test that "
            "changes them has to put them back"
        )
    if code:
        said.append(
            f"{model.id} runs code that is not its own ({first_few(code)}): what is measured is the model with this code. If a test or a library left "
            "it there, take it out"
        )
    if left_out:
        count = "1 weight" if len(left_out) == 1 else f"{len(left_out)} weights"
        named = ", ".join([*left_out[:3], *(["..."] if len(left_out) > 3 else [])])
        said.append(f"{model.id} leaves out {count} of its files, as allow_unexpected says: {named}")
    return [*map(score_cache, cache_warnings(model)), *map(another_model, said)]


_ADDED = ("add", "add_keeping_norm", "add_at_unit_norm")


def can_have_controls(subject: Subject) -> bool:
    """Whether it adds a vector, in the place of which a random direction could be added."""
    change = subject.intervention
    return (
        change.vector is not None and change.applied is None and change.recipe is not None and change.recipe.kind in _ADDED
    )


def random_controls(
    model: Model, subject: Subject, curve: PropensityCurve, count: int, *, seed: int, context: Context = AS_GIVEN
) -> Json:
    """Compare a vector's curve with those of random directions on the same items and multipliers.

    A direction is drawn evenly from all, with the vector's norm at each of its layers, and applied as the vector is. The seeds are
    ``seed``, ``seed + 1``, ... If the vector is no better than a random direction, p is at most x with a probability of at most x.

    Returns:
        ``count``, ``seed``, ``n`` (items), ``multipliers``, ``steerability`` (the vector's), ``steerabilities`` (of the controls), and ``p`` =
        (1 + number of controls that are at least as large) / (count + 1).

    Raises:
        SteerError: it is no vector that is added.
    """
    drawn = directions_like(subject, count, seed)
    grid = curve.multipliers.tolist()
    found = propensity_curves(model, curve.items, drawn, subject.scope, multipliers=grid, context=context)
    slopes = [control.steerability for control in found.values()]
    at_least = sum(slope >= curve.steerability for slope in slopes)
    asked = {"count": count, "seed": seed, "n": len(curve.items), "multipliers": grid}
    return {**asked, "steerability": curve.steerability, "steerabilities": slopes, "p": (1 + at_least) / (count + 1)}


def directions_like(subject: Subject, count: int, seed: int) -> dict[int, Intervention]:
    """Random directions of the vector's norm at each of its layers, applied as it is, with the seeds ``seed``, ``seed + 1``, ...

    Raises:
        SteerError: it is no vector that is added.
    """
    vector = subject.intervention.vector
    if vector is None or not can_have_controls(subject):
        raise SteerError(
            f"controls: {subject.intervention.method!r} adds no vector of this package, so there are no random directions of equal norm "
            "for it: delete `controls`"
        )
    return {number: as_the_subject(subject, random_direction(vector, seed=seed + number)) for number in range(count)}


def as_the_subject(subject: Subject, vector: SteeringVector) -> Intervention:
    """A vector applied in the way in which the subject applies its own."""
    recipe = subject.intervention.recipe
    assert recipe is not None
    return intervention_kind(recipe.kind).make(vector, layers=None, site=subject.intervention.site, settings={})
