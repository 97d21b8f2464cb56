"""Reports as plain data, for tests of comparisons."""

from __future__ import annotations

import json

import numpy as np
from msgspec import convert

from pytest_steer.against import exit_code, held_against, summary_lines
from pytest_steer.core.evidence import plain
from pytest_steer.core.record import SCHEMA_NAME, Against, typed

DRAW = np.random.default_rng(7)
BEFORE = DRAW.normal(0.5, 0.1, 40)
VECTOR = {"method": "caa", "norm": 1.0, "relative_dose": 0.1}
ASKED = {"lengths": None, "notes": []}


def units(values, kind="mean", names=None, ids=None, parts=None, clusters=None, how=None):
    names = names or [str(index) for index in range(len(values))]
    return {
        "kind": kind,
        "unit": "items",
        "ids": ids or [f"content {name}" for name in names],
        "names": names,
        "values": list(map(float, values)),
        "clusters": clusters,
        "parts": parts,
        "how": how or {},
    }


def claim(values=BEFORE, verdict="pass", name="steers", direction="at_least", threshold=0.3, **more):
    own = None if values is None else more.pop("units", None) or units(values)
    record = {
        "id": f"a.steer.yaml::{name}",
        "suite": "a",
        "message": "",
        "seconds": 0.0,
        "check": "steers",
        "name": name,
        "verdict": verdict,
        "statistic": "steerability",
        "estimate": None if verdict == "error" else 0.4 if values is None else float(np.mean(own["values"])),
        "interval": [0.35, 0.9],
        "p_pass": 1e-9,
        "confidence": 0.95,
        "threshold": threshold,
        "direction": direction,
        "n": 40,
        "min_n": 8,
        "percent": False,
        "units": own,
        "unpaired": None,
        "noise": {
            "score": 1e-6,
            "between_batches": 1e-6,
            "rounding": 1e-7,
            "unit": "logits",
            "statistic": 1e-6,
            "interval_is_narrower": False,
        },
        "multiplier": 1.0,
        "model": {"id": "m", "fingerprint": "f", "dtype": "float32", "device": "cpu", "layers": 2, "width": 8},
        "vector": {"hash": "v", "positions": "all", "include_first": False, "layer": 1, "operation": "added"} | VECTOR,
        "data": {"hash": "d", "n": 40},
        "asked": {"template": None, "thinking": None, "answers": "token", "date": None, "first_item": []} | ASKED,
        "details": {},
        "items": [{"id": n, "question": f"Question {n}?", "propensity": [], "slope": 0.0} for n in own["names"]]
        if own
        else None,
    }
    if verdict == "error":
        record |= {"units": None, "model": None, "vector": None, "data": None, "asked": None, "items": None}
    return record | more


def report(*claims, **provenance):
    made = {"seed": 0, "profile": "ci", "versions": {"torch": "2"}, "scoring": 2, "interrupted": False, "not_run": 0}
    made |= {"model": None, "template": None, "started": "2026-01-05T00:00:00+00:00", "seconds": 1.0}
    return {"schema": SCHEMA_NAME, "provenance": made | provenance, "claims": list(claims)}


def held(old, new, tolerance=0.0, **more):
    """The comparison of two reports as a report has it."""
    against = plain(held_against(typed(old), typed(new), tolerance, **more))
    json.dumps(against, allow_nan=False)
    return against


def code_of(against):
    return exit_code(convert(against, Against))


def lines_of(against, width=80):
    return summary_lines(convert(against, Against), width)


def only(old, new, tolerance=0.0):
    against = held(report(old), report(new), tolerance)
    (entry,) = against["claims"]
    return entry, code_of(against)
