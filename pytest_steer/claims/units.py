"""What an estimate is made of, unit by unit and by content, so that two runs can be paired: the record ``units``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ..data import ContrastItem
from ..data.likeness import content_hash
from ..errors import DataError
from ..evidence import Evidence
from ..measures import Array

UnitKind = Literal["mean", "share", "change"]


def units_record(
    forms: Sequence[Sequence[str]],
    names: Sequence[str],
    values: Array,
    *,
    unit: str,
    kind: UnitKind = "mean",
    clusters: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
    how: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The evidence's ``units`` record.

    Args:
        forms: the content of each unit in normal form. names: their ids, for messages.
        values: [n_units] whose mean is the estimate, on its scale and with its sign.
        unit: what they are: items, texts, tasks, questions.
        kind: ``mean``; ``share``: values are 0 or 1; ``change``: values are -1, 0 or 1, the share lost minus the share gained.
        clusters: of each unit, where some belong together.
        parts: of each unit, where the estimate is the largest or smallest of several means: the one that it belongs to.
        how: what else the values depend on. Where one of these differs, the values of two runs are not compared.
    """
    return {
        "kind": kind,
        "unit": unit,
        "ids": [content_hash(form) for form in forms],
        "names": list(names),
        "values": [float(value) for value in values],
        "clusters": None if clusters is None else list(clusters),
        "parts": None if parts is None else list(parts),
        "how": dict(how or {}),
    }


def units_from_items(evidence: Evidence) -> dict[str, Any] | None:
    """The record for a claim that does not say: the slopes of its items, if their mean is the estimate and each counts by itself."""
    items, estimate = evidence.items, evidence.estimate
    if not items or estimate is None or evidence.n != len(items) or evidence.multipliers is None:
        return None
    try:
        forms = [ContrastItem(one["question"], one["matching"], one["not_matching"]).form for one in items]
        slopes = np.array([float(one["slope"]) for one in items])
    except (KeyError, TypeError, ValueError, DataError):
        return None
    if not np.isclose(slopes.mean(), estimate, rtol=1e-9, atol=1e-12):
        return None
    names = [str(one.get("id", index)) for index, one in enumerate(items)]
    return units_record(forms, names, slopes, unit="items", how={"multipliers": list(evidence.multipliers)})
