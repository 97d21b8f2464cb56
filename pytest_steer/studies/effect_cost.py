"""Effect against cost: what a vector does to its behaviour, and to neutral texts, at each of many multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.errors import DataError, MeasurementError
from ..core.run_context import report_progress
from ..data import Items, Sample, Texts, as_texts, sample_of
from ..measures import Array, as_share, kl_curve, perplexity_curves, propensity_curves
from ..measures.compared import bounds_of
from ..measures.propensity import check_multipliers
from ..model import Model
from ..report.effect_cost import Cost, Line, Point
from ..soundness import check_before
from ..stats import mean_t
from .compare_methods import Entry

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Drawn:
    """A line to measure: a vector on a behaviour, with the multipliers at which claims deploy it."""

    name: str
    entry: Entry
    deployed: tuple[float, ...]


def drawn_of(entries: Sequence[Entry]) -> list[Drawn]:
    """One line for each vector, scope and behaviour. Entries that differ in the deployed multiplier alone are one line.

    Raises:
        DataError: an entry has no neutral texts.
    """
    groups: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        if not entry.neutral.texts:
            raise DataError(
                f"{entry.behaviour}: no neutral texts (data.neutral), on which the cost is measured. Add `data: {{neutral: builtin:neutral}}` "
                "to the claim file"
            )
        subject = entry.subject
        scope = subject.intervention.hash, subject.positions, subject.include_first
        groups.setdefault((entry.behaviour, *scope), []).append(entry)
    firsts = [own[0] for own in groups.values()]
    named = [_name(entry, firsts) for entry in firsts]
    return [
        Drawn(name, own[0], tuple(dict.fromkeys(float(one.subject.multiplier) for one in own)))
        for name, own in zip(named, groups.values(), strict=True)
    ]


def _name(entry: Entry, entries: Sequence[Entry]) -> str:
    """A line's name: the method, the behaviour or both, whichever distinguishes the lines."""
    if len({one.behaviour for one in entries}) == 1:
        return entry.method
    return entry.behaviour if len({one.method for one in entries}) == 1 else f"{entry.behaviour}: {entry.method}"


def effect_cost(
    model: Model,
    drawn: Drawn,
    *,
    cost: Cost = "perplexity",
    multipliers: Sequence[float] | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> Line:
    """Measure a line: all multipliers in one pass over the items, and one over the texts.

    The effect is the mean over items of the propensity minus that at 0, the cost the statistic of ``ppl_delta_below`` (geometric), or of
    ``kl_below`` on texts. Bounds are Student's t over items and over texts (or clusters).

    Args:
        multipliers: strengths; without them those of the claims. 0 and the deployed ones are added. An intervention without a linear strength is
            measured at these two only, unless multipliers are given.
        window / stride: of longer texts, for the perplexity, see ``perplexity``.

    Raises:
        DataError: fewer than two items or texts.
        SoundnessError: the hooks do not do what they say.
        VectorError: the vector does not fit the model.
        MeasurementError: the model gives NaN or infinity at a multiplier.
    """
    entry, subject = drawn.entry, drawn.entry.subject
    change = subject.intervention
    wanted = multipliers if multipliers is not None else entry.multipliers if change.strength == "linear" else ()
    grid = sorted({*check_multipliers([*wanted, *drawn.deployed, 0.0])})
    sample = sample_of(entry.items, entry.cluster)
    of_texts = sample_of(as_texts(entry.neutral.texts, entry.neutral.source))
    texts = of_texts.units
    report_progress(f"{drawn.name}: checking the hooks")
    check_before(model, subject)
    try:
        report_progress(f"{drawn.name}: effects on {len(sample.units)} items at {len(grid)} multipliers")
        curve = propensity_curves(model, sample.units, {0: change}, subject.scope, multipliers=grid, context=entry.context)[
            0
        ]
        report_progress(f"{drawn.name}: cost on {len(texts)} texts at {len(grid)} multipliers")
        if cost == "kl":
            costs = [found.per_text for found in kl_curve(model, texts, change, subject.scope, multipliers=grid)]
        else:
            found = perplexity_curves(
                model, texts, {"": change}, subject.scope, multipliers=grid, window=window, stride=stride
            )[""]
            costs = [one.per_text - found[grid.index(0.0)].per_text for one in found]
        points = [_point(m, curve.effects(m), sample, costs[at], of_texts, cost) for at, m in enumerate(grid)]
    except MeasurementError as error:
        raise MeasurementError(
            f"{drawn.name}: {error}. Leave out multipliers at which the model breaks down: --multipliers"
        ) from None
    points = [replace(point, is_deployed=point.multiplier in drawn.deployed) for point in points]
    return Line(drawn.name, tuple(points), sample.n, of_texts.n)


def _point(
    multiplier: float, effects: Array, sample: Sample[Items], costs: Array, texts: Sample[Texts], cost: Cost
) -> Point:
    if multiplier == 0:
        return Point(0.0, 0.0, (0.0, 0.0), 0.0, (0.0, 0.0))
    effect = bounds_of(mean_t(effects, confidence=CONFIDENCE, clusters=sample.clusters))
    found = mean_t(costs, confidence=CONFIDENCE, clusters=texts.clusters)
    if cost == "kl":
        return Point(multiplier, float(effects.mean()), effect, found.estimate, bounds_of(found))
    rise = as_share(found.estimate)
    if rise is None:
        raise MeasurementError(
            f"multiplier {multiplier:g}: the rise of perplexity, exp({found.estimate:.3g}), is no finite number"
        )
    return Point(multiplier, float(effects.mean()), effect, rise, (as_share(found.low), as_share(found.high)))
