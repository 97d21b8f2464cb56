"""What a terminal shows of hooks that were checked."""

from __future__ import annotations

import textwrap

from ..evidence import Evidence

# Properties that only a model can keep from being looked at; the others are left out for what an intervention is.
_OF_THE_MODEL = ("all", "batch_size", "padding_side", "cached_decoding")


def soundness_headline(evidence: Evidence) -> str:
    """The verdict, and how many properties held on how many examples."""
    record = evidence.soundness or {}
    broken, held = len(record.get("broken", ())), len(record.get("holds", ()))
    names = ", ".join(entry["property"] for entry in record.get("broken", ()))
    what = f"{broken} of {broken + held} properties broken: {names}" if broken else f"all {held} properties hold"
    skipped = "".join(f"\n  not asked: {name}: {why}" for name, why in record.get("skipped", {}).items())
    return (
        f"{evidence.name}: {evidence.verdict.value.upper()}  {what}\n"
        f"  n = {evidence.n} {evidence.unit}, {record.get('forwards', 0)} forwards; exact properties, no interval{skipped}"
    )


def not_looked_at(evidence: Evidence) -> list[str]:
    """What the check before a claim could not look at on this model, a line each."""
    record = evidence.soundness or {}
    skipped = {name: why for name, why in record.get("skipped", {}).items() if name in _OF_THE_MODEL}
    return [f"  hooks not checked ({name.replace('_', ' ')}): {why}" for name, why in skipped.items()]


def broken_properties(evidence: Evidence) -> list[str]:
    """Each broken property: its promise, what is wrong, and the smallest example found."""
    lines = []
    for entry in (evidence.soundness or {}).get("broken", ()):
        example = entry["example"]
        layer = f", layer {example['layer']}" if example["layer"] is not None else ""
        lines.append(f"  {entry['property']}: {entry['promise']}")
        lines += textwrap.wrap(entry["message"], 110, initial_indent="    ", subsequent_indent="    ")
        lines.append(
            f"    smallest example: texts {example['texts']!r}, multiplier {example['multiplier']:g}, padding "
            f"{example['padding']}{layer}"
        )
    return lines
