"""Under which conditions two records of one claim compare. One table says it for each condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
MISSING = object()


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        name: for messages. of: its value in a claim's record; MISSING where the record has none.
        blocks: records that differ in it are not compared; else they are, and the difference is named.
    """

    name: str
    of: Callable[[Record], Any]
    blocks: bool


def _in(*path: str) -> Callable[[Record], Any]:
    def value(record: Record) -> Any:
        found: Any = record
        for key in path:
            found = found.get(key, MISSING) if isinstance(found, Mapping) else MISSING
        return found

    return value


def _template(record: Record) -> Any:
    """The name of the template in which items were asked, with the beginning of its hash where it is the model's."""
    name, own, digest = (
        _in(*path)(record) for path in (("asked", "template"), ("model", "template_name"), ("model", "template"))
    )
    if name != own or not isinstance(digest, str):
        return name
    # The name of a template without one is the beginning of its hash.
    return name.removeprefix("chat template ") if digest[:12] in name else f"{name} {digest[:12]}"


def _device(record: Record) -> Any:
    device = _in("model", "device")(record)
    return device.partition(":")[0] if isinstance(device, str) else MISSING


def _tokens(record: Record) -> Any:
    """The first item as tokens, which another tokenizer or another prompt changes; None where items are others, or texts were left out."""
    shown = (record.get("asked") or {}).get("first_item")
    units, tokens = record.get("units"), [one["tokens"] for one in shown or ()]
    return (units["ids"][0], tokens) if units and units["ids"] and any(tokens) else None


def _threshold(record: Record) -> Any:
    """The threshold; that there is none yet is another condition than one that a claim without a result does not have."""
    is_empty = record.get("threshold") is None and record.get("estimate") is not None
    return "none yet" if is_empty else record.get("threshold")


CONDITIONS = (
    Condition("kind of claim", _in("check"), True),
    Condition("statistic", _in("statistic"), True),
    Condition("direction", _in("direction"), True),
    Condition("what the values are", _in("units", "kind"), True),
    Condition("positions", _in("vector", "positions"), True),
    Condition("include_first", _in("vector", "include_first"), True),
    Condition("chat template", _template, True),
    Condition("thinking", _in("asked", "thinking"), True),
    Condition("answers", _in("asked", "answers"), True),
    Condition("dtype", _in("model", "dtype"), False),
    Condition("device", _device, False),
    Condition("layer", _in("vector", "layer"), False),
    Condition("operation", _in("vector", "operation"), False),
    Condition("site", _in("vector", "site"), False),
    Condition("multiplier", _in("multiplier"), False),
    Condition("threshold", _threshold, False),
    Condition("confidence", _in("confidence"), False),
    Condition("min_n", _in("min_n"), False),
    Condition("date", _in("asked", "date"), False),
)
"""Beside these, every setting in ``units.how`` blocks. The model, the vector and the data may differ: that is what is compared."""

REPORT_CONDITIONS = ("seed", "profile", "threads")
"""Of the provenance: compared, and the difference is named once. Versions of packages are named too."""


_NAMED_ELSEWHERE = {"model", "device", "dtype", "seed", "profile"}
"""Options whose effect is a condition of each claim or of the provenance, or is what is compared."""


def conditions(old: Record, new: Record) -> tuple[list[str], list[str]]:
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
    before, after = ((record.get("units") or {}).get("how") for record in (old, new))
    if before is not None and after is not None:
        for key in [*before, *(key for key in after if key not in before)]:
            if before.get(key) != after.get(key):
                blocking.append(f"{key}: {_shown(before.get(key))} -> {_shown(after.get(key))}")
    if not blocking:
        before, after = _tokens(old), _tokens(new)
        if before and after and before[0] == after[0] and before[1] != after[1]:
            noted.append("the first item is other tokens: another tokenizer, or another prompt around it")
        noted += _reads_worse(old, new)
    return blocking, noted


def _reads_worse(old: Record, new: Record) -> list[str]:
    """That the unsteered model reads the same texts or questions worse than before. A claim about what steering changes does not see it."""
    readings = [(record.get("details") or {}).get("reading") for record in (old, new)]
    before, after = readings
    if not before or not after or _in("data", "hash")(old) != _in("data", "hash")(new):
        return []
    if None in (before["interval"][1], after["interval"][0]) or after["interval"][0] <= before["interval"][1]:
        return []
    return [f"the unsteered model reads its data worse: {before['loss']:.3g} -> {after['loss']:.3g} nats per token"]


def report_notes(old: Record, new: Record) -> list[str]:
    """What differs between two runs as a whole and is compared all the same."""
    before, after = old["provenance"], new["provenance"]
    notes = [
        f"{key}: {before[key]} -> {after[key]}"
        for key in REPORT_CONDITIONS
        if before.get(key) is not None and after.get(key) is not None and before[key] != after[key]
    ]
    notes += _other_model(before.get("model") or {}, after.get("model") or {})
    settings, later = before.get("options") or {}, after.get("options") or {}
    notes += [
        f"--steer-{name}: {_shown(settings[name])} -> {_shown(later[name])}"
        for name in settings
        if name in later and name not in _NAMED_ELSEWHERE and settings[name] != later[name]
    ]
    versions, others = before.get("versions") or {}, after.get("versions") or {}
    notes += [
        f"{name}: {versions[name]} -> {others[name]}"
        for name in versions
        if name in others and versions[name] != others[name]
    ]
    for which, run in (("earlier", before), ("later", after)):
        if run.get("interrupted") or run.get("not_run") or run.get("partial"):
            notes.append(f"the {which} run was not finished")
    return notes


def _other_model(before: Record, after: Record) -> list[str]:
    """The models of two runs by name and fingerprint, if the fingerprints differ."""
    if not before.get("fingerprint") or not after.get("fingerprint") or before["fingerprint"] == after["fingerprint"]:
        return []
    shown = [f"{model.get('id')} ({model['fingerprint'][:12]})" for model in (before, after)]
    return [f"model: {shown[0]} -> {shown[1]}"]


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
