"""The conditions under which two records of one claim are compared, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec import convert

from ..core.record import ClaimRecord, Model, ReadByModel, Report

MISSING = object()
Part = TypeVar("Part")


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        name: for messages. of: its value in a claim's record; MISSING where the record has none.
        blocks: records that differ in it are not compared; else they are, and the difference is named.
    """

    name: str
    of: Callable[[ClaimRecord], Any]
    blocks: bool


def _in(part: Callable[[ClaimRecord], Part | None], value: Callable[[Part], Any]) -> Callable[[ClaimRecord], Any]:
    """The value in a part of a record; MISSING where the record has no such part."""
    return lambda record: MISSING if (own := part(record)) is None else value(own)


def _template(record: ClaimRecord) -> Any:
    """The name of the template in which items were asked, with the beginning of its hash where it is the model's."""
    if record.asked is None:
        return MISSING
    name, model = record.asked.template, record.model
    if model is None or name is None or name != model.template_name:
        return name
    # The name of a template without one is the beginning of its hash.
    digest = model.template[:12]
    return name.removeprefix("chat template ") if digest in name else f"{name} {digest}"


def _tokens(record: ClaimRecord) -> tuple[str, list[tuple[str, ...]]] | None:
    """The first item as tokens, which another tokenizer or another prompt changes; None where items are others, or texts were left out."""
    shown = () if record.asked is None else record.asked.first_item
    tokens = [one.tokens for one in shown]
    return (record.units.ids[0], tokens) if record.units and record.units.ids and any(tokens) else None


def _threshold(record: ClaimRecord) -> Any:
    """The threshold; that there is none yet is another condition than one that a claim without a result does not have."""
    return "none yet" if record.threshold is None and record.estimate is not None else record.threshold


CONDITIONS = (
    Condition("kind of claim", lambda one: one.check, True),
    Condition("statistic", lambda one: one.statistic, True),
    Condition("direction", lambda one: one.direction, True),
    Condition("what the values are", _in(lambda one: one.units, lambda units: units.kind), True),
    Condition("positions", _in(lambda one: one.vector, lambda vector: vector.positions), True),
    Condition("include_first", _in(lambda one: one.vector, lambda vector: vector.include_first), True),
    Condition("chat template", _template, True),
    Condition("thinking", _in(lambda one: one.asked, lambda asked: asked.thinking), True),
    Condition("answers", _in(lambda one: one.asked, lambda asked: asked.answers), True),
    Condition("dtype", _in(lambda one: one.model, lambda model: model.dtype), False),
    Condition("device", _in(lambda one: one.model, lambda model: model.device.partition(":")[0]), False),
    Condition("layer", _in(lambda one: one.vector, lambda vector: vector.layer), False),
    Condition("operation", _in(lambda one: one.vector, lambda vector: vector.operation), False),
    Condition("site", _in(lambda one: one.vector, lambda vector: vector.site), False),
    Condition("multiplier", lambda one: one.multiplier, False),
    Condition("threshold", _threshold, False),
    Condition("confidence", lambda one: one.confidence, False),
    Condition("min_n", lambda one: one.min_n, False),
    Condition("date", _in(lambda one: one.asked, lambda asked: asked.date), False),
)
"""Every setting in ``units.how`` blocks too. The model, the vector and the data may differ: that is what is compared."""

_NAMED_ELSEWHERE = {"model", "device", "dtype", "seed", "profile"}
"""Options whose effect is a condition of each claim or of the provenance, or is what is compared."""


def conditions(old: ClaimRecord, new: ClaimRecord) -> tuple[list[str], list[str]]:
    """What differs between two records of a claim: what keeps them from being compared, and what the reader has to know.

    A condition that one of the two does not have, as of a claim that could not be measured, does not differ. Null is a value, as where
    there is no template.
    """
    blocking: list[str] = []
    noted: list[str] = []
    for condition in CONDITIONS:
        before, after = condition.of(old), condition.of(new)
        if before is not MISSING and after is not MISSING and before != after:
            (blocking if condition.blocks else noted).append(f"{condition.name}: {_shown(before)} -> {_shown(after)}")
    if old.units is not None and new.units is not None:
        before, after = old.units.how, new.units.how
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                blocking.append(f"{key}: {_shown(before.get(key))} -> {_shown(after.get(key))}")
    if not blocking:
        before, after = _tokens(old), _tokens(new)
        if before and after and before[0] == after[0] and before[1] != after[1]:
            noted.append("the first item is other tokens: another tokenizer, or another prompt around it")
        noted += _reads_worse(old, new)
    return blocking, noted


def _reads_worse(old: ClaimRecord, new: ClaimRecord) -> list[str]:
    """That the unsteered model reads the same texts or questions worse than before. A claim about what steering changes does not see it."""
    before, after = (convert(one.details.get("reading"), ReadByModel | None) for one in (old, new))
    if not before or not after or not old.data or not new.data or old.data.hash != new.data.hash:
        return []
    most, least = before.interval[1], after.interval[0]
    if most is None or least is None or least <= most:
        return []
    return [f"the unsteered model reads its data worse: {before.loss:.3g} -> {after.loss:.3g} nats per token"]


def report_notes(old: Report, new: Report) -> list[str]:
    """What differs between two runs as a whole and is compared all the same."""
    before, after = old.provenance, new.provenance
    settings = ({"seed": run.seed, "profile": run.profile, "threads": run.threads} for run in (before, after))
    notes = _changed(*({name: value for name, value in run.items() if value is not None} for run in settings))
    notes += _other_model(before.model, after.model)
    options = {name: value for name, value in before.options.items() if name not in _NAMED_ELSEWHERE}
    notes += [f"--steer-{line}" for line in _changed(options, after.options)]
    notes += _changed(before.versions, after.versions)
    for which, run in (("earlier", before), ("later", after)):
        if run.interrupted or run.not_run or run.partial:
            notes.append(f"the {which} run was not finished")
    return notes


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """A line for each value that both have and that differs."""
    both = [name for name in before if name in after and before[name] != after[name]]
    return [f"{name}: {_shown(before[name])} -> {_shown(after[name])}" for name in both]


def _other_model(before: Model | None, after: Model | None) -> list[str]:
    """The models of two runs by name and fingerprint, if the fingerprints differ."""
    if before is None or after is None or before.fingerprint == after.fingerprint:
        return []
    return ["model: " + " -> ".join(f"{model.id} ({model.fingerprint[:12]})" for model in (before, after))]


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
