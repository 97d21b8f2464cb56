"""The slopes of one model: every item of every behaviour, as given and in the other settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ... import progress
from ...claims.over_items import check_has_slope
from ...data import Items, sample_of
from ...errors import SteerError
from ...files.build import load_for
from ...files.inputs import Inputs
from ...measures import Array, PropensityCurve, propensity_curve
from ...measures.strata import factors_of
from ...measures.subject import Subject
from ...model import Model
from ...model.loading import Models
from ...prompting import Context
from ...soundness import check_before
from .behaviours import BASE, Behaviour, each_setting, position_of


@dataclass(frozen=True, eq=False)
class InSetting:
    """The slopes of a behaviour's items in one setting.

    Attributes:
        shifted: whether it is another context, rather than the items' own options in another order or under other labels.
        slopes: [n_items], turned round where the behaviour is meant to fall.
        letter / yes_no / position: of the matching answer as it was shown, one per item; None where an item has none.
        by_token: whether items are scored by one token, in logits, rather than by the tokens of an answer, in nats per token.
        prompts: each item's sequences as tokens.
    """

    name: str
    shifted: bool
    slopes: Array
    letter: Sequence[str | None]
    yes_no: Sequence[str | None]
    position: Sequence[int | None]
    by_token: frozenset[bool]
    prompts: Sequence[object] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Slopes:
    """What was measured of one behaviour on one model.

    Attributes:
        ids: the content hash of each item. settings: as given first.
        left_out: settings that this model could not be asked in, with the reason.
    """

    behaviour: str
    ids: Sequence[str]
    clusters: Sequence[int] | None
    settings: Sequence[InSetting]
    left_out: dict[str, str]

    @property
    def base(self) -> InSetting:
        return self.settings[0]

    def of(self, name: str) -> InSetting | None:
        return next((one for one in self.settings if one.name == name), None)


def measure_slopes(models: Models, name: str, behaviours: Sequence[Behaviour]) -> tuple[dict[str, Slopes], dict[str, str]]:
    """By behaviour what was measured on the model of this name, and why the others could not be.

    Raises:
        ModelError: the model cannot be loaded.
    """
    found: dict[str, Slopes] = {}
    failures: dict[str, str] = {}
    inputs_of: dict[int, Inputs] = {}
    for index, behaviour in enumerate(behaviours, 1):
        model = load_for(models, behaviour.suite, name)
        inputs = inputs_of.setdefault(id(model), Inputs(model))
        progress.report(f"{name}: slopes of {behaviour.name} ({index} of {len(behaviours)})")
        try:
            found[behaviour.name] = _slopes(model, inputs, behaviour)
        except SteerError as error:
            failures[behaviour.name] = str(error)
    return found, failures


def _slopes(model: Model, inputs: Inputs, behaviour: Behaviour) -> Slopes:
    claim = behaviour.claim
    subject = inputs.subject(claim)
    everything, base = inputs.test_items(claim)
    sample = sample_of(everything, claim.cluster, at_least=0)
    grid = check_has_slope(subject, claim.multipliers)
    check_before(model, subject)
    settings: list[InSetting] = []
    left_out: dict[str, str] = {}
    for name, items, context, shifted in each_setting(behaviour, sample.units, base):
        try:
            settings.append(_in_setting(model, subject, items, context, grid, name, shifted))
        except SteerError as error:
            if name == BASE:
                raise
            left_out[name] = str(error)
    return Slopes(behaviour.name, sample.units.item_hashes, sample.clusters, settings, left_out)


def _in_setting(
    model: Model, subject: Subject, items: Items, context: Context, grid: list[float], name: str, shifted: bool
) -> InSetting:
    curve = propensity_curve(model, items, subject.intervention, multipliers=grid, context=context, **subject.scope)
    labels = factors_of(curve)
    none: list[str | None] = [None] * len(items)
    return InSetting(
        name=name,
        shifted=shifted,
        slopes=subject.slope_sign * curve.slopes,
        letter=labels.get("letter", none),
        yes_no=labels.get("yes_no", none),
        position=[position_of(context.put(item)) for item in items],
        by_token=frozenset(probe.candidates is not None for probe in curve.probes),
        prompts=_prompts(curve),
    )


def _prompts(curve: PropensityCurve) -> list[object]:
    """What each item's sequences are, as tokens."""
    return [tuple((tuple(probe.ids), probe.candidates) for probe in asked.probes) for asked in curve.asked]
