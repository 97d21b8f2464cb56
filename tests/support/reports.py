"""Small reports, made by the package from evidence that was invented."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import convert

from pytest_steer.core.evidence import Evidence, Verdict
from pytest_steer.core.finding import Finding
from pytest_steer.core.record import (
    Asked,
    ClaimRecord,
    Data,
    Item,
    Model,
    Noise,
    Receipt,
    Replies,
    Silenced,
    Soundness,
    Stratum,
    Units,
    Vector,
    record_of,
)
from pytest_steer.report import build_report

MODEL = {
    "id": "m",
    "fingerprint": "f",
    "architecture": "Made",
    "layers": 2,
    "width": 4,
    "dtype": "float32",
    "device": "cpu",
    "threads": 1,
    "template": "t",
    "template_name": "no chat template",
}


def a_claim(name: str = "steers", **given: Any) -> dict[str, Any]:
    vector = {"hash": "h", "method": "caa", "layer": 1, "positions": "all", "norm": 1.0, "relative_dose": 0.1}
    items = [{"id": f"{name}-{n}", "propensity": [-1.0, 2.5], "slope": 3.5, "question": "größer?\u2028\n"} for n in range(3)]
    known = {"model": MODEL, "vector": vector, "data": {"hash": "d", "n": 3}, "items": items, "multipliers": [-1.0, 1.0]}
    known |= {"estimate": 3.5, "interval": (3.0, 4.0), "threshold": 1.0, "n": 3, "curve": [-1.0, 2.5]} | given
    made = Evidence("steers", name, Verdict.PASS, **with_records(known))
    return made.to_dict()


def a_report(*claims: dict[str, Any]) -> dict[str, Any]:
    return build_report(claims, seed=3, profile="ci", started=time.time())


def codes_of(claim: Mapping[str, Any]) -> list[str]:
    """The codes of a claim's findings in a report."""
    return [one["code"] for one in claim["findings"]]


def noted(claim: Mapping[str, Any], code: str) -> list[str]:
    """What a claim of a report says under this code."""
    return [one["text"] for one in claim["findings"] if one["code"] == code]


def records(claims: Iterable[dict[str, Any]]) -> list[ClaimRecord]:
    """Claims of a report with their types."""
    return [record_of(claim) for claim in claims]


_KINDS: dict[str, Any] = {
    "model": Model, "vector": Vector, "data": Data, "noise": Noise, "receipt": Receipt, "soundness": Soundness, "units": Units, "asked": Asked,
    "replies": Replies, "items": tuple[Item, ...], "strata": tuple[Stratum, ...], "silenced": tuple[Silenced, ...], "withheld": Finding,
}  # fmt: skip


def with_records(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of evidence with the records that it holds made from plain data."""
    return {key: convert(value, _KINDS[key] | None) if key in _KINDS else value for key, value in fields.items()}
