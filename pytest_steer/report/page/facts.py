"""How a claim was measured and judged, as pairs of a name and a value for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...core.numbers import number, would_decide
from ...core.record import Asked, ClaimRecord, Commit, Data, Model, Noise, Provenance, Receipt, Soundness

Facts = list[tuple[str, str]]


def facts_of(claim: ClaimRecord) -> list[tuple[str, Facts]]:
    """Groups of facts under their headings; those that a record does not have are left out."""
    groups = [
        ("Verdict", _verdict(claim)),
        ("Steered", _steered(claim)),
        ("Data", _data(claim.data) if claim.data else []),
        ("Asked", _asked(claim.asked) if claim.asked else []),
        ("Receipt", _receipt(claim.receipt) if claim.receipt else []),
        ("Noise", _noise(claim.noise, claim.percent) if claim.noise else []),
        ("Hooks", _hooks(claim.soundness) if claim.soundness else []),
        ("Model", model_facts(claim.model) if claim.model else []),
    ]
    return [(heading, facts) for heading, facts in groups if facts]


def model_facts(model: Model) -> Facts:
    """What identifies the model."""
    shown = ("id", "layers", "width", "dtype", "device", "template_name", "fingerprint", "template")
    facts = known({key.replace("_", " "): getattr(model, key) for key in shown})
    return facts + known({"hooks": "; ".join(model.hooks), "unexpected": "; ".join(model.unexpected)})


def provenance_facts(run: Provenance) -> Facts:
    """The whole run, except its options and its models."""
    shown = ("started", "seconds", "profile", "seed", "commit", "threads", "scoring", "interrupted", "not_run", "partial")
    values = {key: getattr(run, key) for key in shown} | {"commit": commit_words(run.commit)}
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return [*known({key.replace("_", " "): value for key, value in values.items()}), ("versions", versions)]


def option_facts(run: Provenance) -> Facts:
    """The options that decide what is measured and how it is judged, as they would be typed; profile and seed are provenance facts."""
    return [
        (f"--steer-{name}", "not given" if value is None or value == [] else _text(value))
        for name, value in run.options.items()
        if name not in ("profile", "seed")
    ]


def commit_words(commit: Commit | None) -> str:
    """The commit of the suite's repository, and whether its files differed from it."""
    return "" if commit is None else f"{commit.id}{' and changes that are not committed' if commit.dirty else ''}"


def known(values: Mapping[str, Any]) -> Facts:
    """The names that have a value, with the value as text."""
    return [(name, _text(value)) for name, value in values.items() if value is not None and value != "" and value != {}]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_inner, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_inner(one)}" for name, one in value.items())
    return "none" if value is None else str(value)


def _inner(value: Any) -> str:
    return f"({_text(value)})" if isinstance(value, (list, tuple, dict)) else _text(value)


def _verdict(claim: ClaimRecord) -> Facts:
    return known(
        {
            "bounds by": claim.interval_method,
            "confidence of each bound": None if claim.estimate is None else claim.confidence,
            "n": f"{claim.n} {claim.unit}".strip() if claim.n else None,
            "least n for a verdict": claim.min_n,
            "p, that it holds": claim.p_pass,
            "p, that it does not": claim.p_fail,
            "units needed": claim.items_needed and would_decide(claim.items_needed, claim.unit),
            "Holm": claim.holm and asdict(claim.holm),
            "seconds": claim.seconds,
        }
    )


def _steered(claim: ClaimRecord) -> Facts:
    vector = claim.vector
    if vector is None:
        return []
    shown = ("method", "operation", "site", "strength", "layer", "positions", "norm")
    facts = known({key: getattr(vector, key) for key in shown} | {"deployed multiplier": claim.multiplier})
    dose, moved = vector.relative_dose, vector.displacement
    facts += [("dose", f"{dose:.1%} of the median hidden norm")] if dose is not None else []
    facts += [("moves hidden states by", f"{moved:.1%} of their norm")] if moved is not None else []
    return facts + known({"source": vector.source, "hash": vector.hash, "trained on": vector.data_hash})


def _data(data: Data) -> Facts:
    facts = known({"file": data.source, "n": data.n, "hash": data.hash, "chosen": data.chosen})
    return facts + [("left out", f"{one.n} of {one.of}, {one.rule}") for one in data.left_out]


def _asked(asked: Asked) -> Facts:
    lengths = asked.lengths
    said = lengths and (
        f"{lengths.different} of {lengths.items} items have answers of different numbers of tokens "
        f"(mean {lengths.matching:.3g} and {lengths.not_matching:.3g})"
    )
    facts = {"template": asked.template, "thinking": asked.thinking, "date": asked.date, "answers scored by": asked.answers}
    return known(facts | {"answers' lengths": said, "notes": "; ".join(asked.notes)})


def _receipt(receipt: Receipt) -> Facts:
    facts = known({"steered tokens": receipt.steered_tokens, "sequences": receipt.sequences, "forwards": receipt.path})
    for dose in receipt.doses:
        parts = [f"norm {number(dose.norm)}", f"median hidden norm {number(dose.median_hidden_norm)}"]
        parts += [f"relative dose {dose.relative_dose:.1%}"] if dose.relative_dose is not None else []
        parts += [f"displacement {dose.displacement:.1%}"] if dose.displacement is not None else []
        facts.append((f"layer {dose.layer}", ", ".join(parts)))
    return facts


def _noise(noise: Noise, percent: bool) -> Facts:
    return [
        ("floor of one score", f"{number(noise.score)} {noise.unit}"),
        ("moves the statistic by", number(noise.statistic, percent)),
        ("interval narrower than that", "yes" if noise.interval_is_narrower else "no"),
    ]


def _hooks(soundness: Soundness) -> Facts:
    sound = {True: "yes", False: "no", None: "nothing could be looked at"}[soundness.sound]
    facts = [("sound", sound), *known({"holds": ", ".join(soundness.holds).replace("_", " ")})]
    facts += [(f"not checked: {name.replace('_', ' ')}", why) for name, why in soundness.skipped.items()]
    return facts + [(f"broken: {one.property.replace('_', ' ')}", one.message) for one in soundness.broken]
