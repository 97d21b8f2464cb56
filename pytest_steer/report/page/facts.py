"""How a claim was measured and judged, as pairs of a name and a value for the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...core.numbers import number

Facts = list[tuple[str, str]]


def facts_of(record: dict[str, Any]) -> list[tuple[str, Facts]]:
    """Groups of facts under their headings; those that a record does not have are left out."""
    groups = [
        ("Verdict", _verdict(record)),
        ("Steered", _steered(record)),
        ("Data", _data(record)),
        ("Asked", _asked(record.get("asked") or {})),
        ("Receipt", _receipt(record.get("receipt") or {})),
        ("Noise", _noise(record.get("noise") or {}, bool(record.get("percent")))),
        ("Hooks", _hooks(record.get("soundness"))),
        ("Model", model_facts(record.get("model") or {})),
    ]
    return [(heading, facts) for heading, facts in groups if facts]


def model_facts(model: Mapping[str, Any]) -> Facts:
    """What identifies the model."""
    shown = ("id", "class", "layers", "width", "dtype", "device", "template_name", "fingerprint", "template")
    return known((key.replace("_", " "), model.get(key)) for key in shown) + [
        (key, "; ".join(model[key])) for key in ("hooks", "unexpected") if model.get(key)
    ]


def provenance_facts(provenance: Mapping[str, Any]) -> Facts:
    """What the whole run is known by, whatever else stands in it."""
    versions = provenance.get("versions") or {}
    first = known((key, provenance.get(key)) for key in ("started", "seconds", "profile", "seed"))
    first += known([("commit", commit_of(provenance))])
    apart = {"model", "models", "template", "versions", "started", "seconds", "profile", "seed", "commit", "options"}
    rest = known((key.replace("_", " "), value) for key, value in provenance.items() if key not in apart)
    return [*first, *rest, ("versions", ", ".join(f"{name} {version}" for name, version in versions.items()))]


def option_facts(provenance: Mapping[str, Any]) -> Facts:
    """The options that decide what is measured and how it is judged, as they would be typed; those of the lines above are left out."""
    said = {"profile", "seed"}
    return [
        (f"--steer-{name}", "not given" if value is None or value == [] else _text(value))
        for name, value in (provenance.get("options") or {}).items()
        if name not in said
    ]


def commit_of(provenance: Mapping[str, Any]) -> str:
    """The commit of the suite's repository, and whether its files differed from it."""
    commit = provenance.get("commit")
    return "" if not commit else f"{commit['id']}{' and changes that are not committed' if commit.get('dirty') else ''}"


def known(pairs: Iterable[tuple[str, Any]]) -> Facts:
    """The pairs that have a value, as text."""
    return [(name, _text(value)) for name, value in pairs if value is not None and value != "" and value != {}]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_inner, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_inner(one)}" for name, one in value.items())
    return "none" if value is None else str(value)


def _inner(value: Any) -> str:
    return f"({_text(value)})" if isinstance(value, (list, dict)) else _text(value)


def _verdict(record: dict[str, Any]) -> Facts:
    holm = record.get("holm")
    return known(
        [
            ("bounds by", record.get("interval_method")),
            ("confidence of each bound", record["confidence"] if record["estimate"] is not None else None),
            ("n", f"{record['n']} {record.get('unit', '')}".strip() if record["n"] else None),
            ("least n for a verdict", record.get("min_n")),
            ("p, that it holds", record.get("p_pass")),
            ("p, that it does not", record.get("p_fail")),
            ("would decide", record.get("items_needed")),
            ("Holm", holm),
            ("seconds", record["seconds"]),
        ]
    )


def _steered(record: dict[str, Any]) -> Facts:
    vector = record.get("vector") or {}
    shown = ("method", "operation", "site", "strength", "layer", "positions", "norm")
    facts = known((key, vector.get(key)) for key in shown)
    if facts:
        facts += known([("deployed multiplier", record.get("multiplier"))])
    dose, moved = vector.get("relative_dose"), vector.get("displacement")
    facts += [("dose", f"{dose:.1%} of the median hidden norm")] if dose is not None else []
    facts += [("moves hidden states by", f"{moved:.1%} of their norm")] if moved is not None else []
    return facts + known(
        [("source", vector.get("source")), ("hash", vector.get("hash")), ("trained on", vector.get("data_hash"))]
    )


def _data(record: dict[str, Any]) -> Facts:
    data = record.get("data") or {}
    facts = known(
        [("file", data.get("source")), ("n", data.get("n")), ("hash", data.get("hash")), ("chosen", data.get("chosen"))]
    )
    return facts + [("left out", f"{one['n']} of {one['of']}, {one['rule']}") for one in data.get("left_out") or ()]


def _asked(asked: Mapping[str, Any]) -> Facts:
    lengths = asked.get("lengths")
    said = (
        f"{lengths['different']} of {lengths['items']} items have answers of different numbers of tokens "
        f"(mean {lengths['matching']:.3g} and {lengths['not_matching']:.3g})"
        if lengths
        else None
    )
    return known(
        [
            ("template", asked.get("template")),
            ("thinking", asked.get("thinking")),
            ("date", asked.get("date")),
            ("answers scored by", asked.get("answers")),
            ("answers' lengths", said),
            ("notes", "; ".join(asked.get("notes") or ())),
        ]
    )


def _receipt(receipt: Mapping[str, Any]) -> Facts:
    facts = known(
        [
            ("steered tokens", receipt.get("steered_tokens")),
            ("sequences", receipt.get("sequences")),
            ("forwards", receipt.get("path")),
        ]
    )
    for dose in receipt.get("doses") or ():
        parts = [f"norm {number(dose['norm'])}", f"median hidden norm {number(dose['median_hidden_norm'])}"]
        parts += [f"relative dose {dose['relative_dose']:.1%}"] if dose.get("relative_dose") is not None else []
        parts += [f"displacement {dose['displacement']:.1%}"] if dose.get("displacement") is not None else []
        facts.append((f"layer {dose['layer']}", ", ".join(parts)))
    return facts


def _noise(noise: Mapping[str, Any], percent: bool) -> Facts:
    if not noise:
        return []
    return [
        ("floor of one score", f"{number(noise['score'])} {noise['unit']}"),
        ("moves the statistic by", number(noise["statistic"], percent)),
        ("interval narrower than that", "yes" if noise["interval_is_narrower"] else "no"),
    ]


def _hooks(soundness: Mapping[str, Any] | None) -> Facts:
    if soundness is None:
        return []
    sound = {True: "yes", False: "no", None: "nothing could be looked at"}[soundness["sound"]]
    facts = [("sound", sound), *known([("holds", ", ".join(soundness["holds"]).replace("_", " "))])]
    facts += [(f"not checked: {name.replace('_', ' ')}", why) for name, why in soundness["skipped"].items()]
    return facts + [(f"broken: {one['property'].replace('_', ' ')}", one["message"]) for one in soundness["broken"]]


@dataclass(frozen=True)
class Category:
    """One of them.

    Attributes:
        key: in classes of the style sheet. sign: beside the words, so that colour is never alone. about: what it means.
    """

    key: str
    words: str
    sign: str
    about: str


BROKEN = Category("broken", "broken", "\u2715", "The evidence proves that the promise is not kept.")
ERROR = Category("error", "could not be measured", "!", "There is no result.")
INCONCLUSIVE = Category("inconclusive", "inconclusive", "?", "The evidence proves neither.")
UNEXPECTED = Category("unexpected", "xpass", "\u2260", "The claim is marked as known to fail, and it holds.")
KNOWN = Category("known", "known to fail", "~", "The claim is marked as known to fail, and it does not hold.")
HELD = Category("held", "held", "\u2713", "The evidence proves that the promise is kept.")

CATEGORIES = (BROKEN, ERROR, INCONCLUSIVE, UNEXPECTED, KNOWN, HELD)
"""The most important first."""

_OF_VERDICT = {"fail": BROKEN, "inconclusive": INCONCLUSIVE, "pass": HELD}


def category_of(record: dict[str, Any]) -> Category:
    """What a claim came to."""
    if record["verdict"] == "error":
        return ERROR
    if record.get("xfail") is not None:
        return UNEXPECTED if record["verdict"] == "pass" else KNOWN
    return _OF_VERDICT[record["verdict"]]
