"""Units of two runs, paired by content; claims of two runs, paired by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Paired:
    """The units that both runs have, in the order of the later one.

    Attributes:
        places: of each pair, its index in the earlier and in the later ``units``.
        parts: of each pair. clusters: of each pair; units are together if they are so in either run. None if each stands alone.
        new / gone / changed: units without a partner; changed ones have one of the same name or question, with other content.
    """

    places: list[tuple[int, int]]
    parts: list[str]
    clusters: list[int] | None
    new: int
    gone: int
    changed: int


def pair_units(old: Record, new: Record) -> Paired:
    """Pair the units of two records of one claim.

    Args:
        old / new: the claims' records, both with ``units``.
    """
    before, after = old["units"], new["units"]
    keys = _keys(before), _keys(after)
    place = {key: index for index, key in enumerate(keys[0])}
    places = [(place[key], index) for index, key in enumerate(keys[1]) if key in place]
    taken = {pair[0] for pair in places}, {pair[1] for pair in places}
    left = [
        [index for index in range(len(one["ids"])) if index not in used]
        for one, used in zip((before, after), taken, strict=True)
    ]
    changed = _shared(old, left[0], new, left[1])
    return Paired(
        places,
        [keys[1][index][0] for _, index in places],
        _joined(before["clusters"], after["clusters"], places),
        len(left[1]) - changed,
        len(left[0]) - changed,
        changed,
    )


def _keys(units: Record) -> list[tuple[str, str, int]]:
    """Part and content of each unit; repeated content is told apart by how often it came before."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for part, own in zip(units["parts"] or [""] * len(units["ids"]), units["ids"], strict=True):
        found.append((part, own, seen[part, own]))
        seen[part, own] += 1
    return found


def _shared(old: Record, left: Sequence[int], new: Record, others: Sequence[int]) -> int:
    """How many units without a partner have one of the same name or question."""
    before, after = ([_named(record, index) for index in indices] for record, indices in ((old, left), (new, others)))
    count = 0
    for name, question in after:
        at = next(
            (at for at, one in enumerate(before) if one[0] == name or (question is not None and one[1] == question)), None
        )
        if at is not None:
            before.pop(at)
            count += 1
    return count


def _named(record: Record, index: int) -> tuple[tuple[str, str], str | None]:
    units = record["units"]
    part = "" if units["parts"] is None else units["parts"][index]
    return (part, units["names"][index]), question_of(record, units["names"][index])


def question_of(record: Record, name: str) -> str | None:
    """The text of a unit, where the report has it."""
    details = record.get("details") or {}
    tables = [record.get("items"), *(details.get(key) for key in ("texts", "tasks", "questions", "items"))]
    for table in tables:
        for one in table if isinstance(table, list) else ():
            if isinstance(one, Mapping) and str(one.get("id")) == name:
                text = next((one[key] for key in ("question", "input", "text") if isinstance(one.get(key), str)), None)
                if text is not None:
                    return str(text)
    return None


def _joined(
    before: Sequence[int] | None, after: Sequence[int] | None, places: Sequence[tuple[int, int]]
) -> list[int] | None:
    """One number for units that are together in either run."""
    if before is None and after is None:
        return None
    parent = list(range(len(places)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index] = parent[parent[index]]
        return index

    for side, clusters in enumerate((before, after)):
        first: dict[int, int] = {}
        for index, pair in enumerate(places):
            if clusters is not None:
                parent[root(index)] = root(first.setdefault(clusters[pair[side]], index))
    labels = [root(index) for index in range(len(places))]
    numbers = np.unique(labels, return_inverse=True)[1].tolist() if labels else []
    return None if len(set(numbers)) == len(numbers) else [int(one) for one in numbers]


def pair_claims(old: Iterable[Record], new: Iterable[Record]) -> list[tuple[Record | None, Record | None]]:
    """Claims of two reports by node id, kind and name; those of the later one first, then those that are gone.

    Where no id is the same (reports written from other folders), by suite, kind and name.
    """
    before, after = list(old), list(new)
    for key in (_by_id, _by_suite):
        known, later = key(before), key(after)
        if known.keys() & later.keys():
            break
    pairs: list[tuple[Record | None, Record | None]] = [(known.get(one), claim) for one, claim in later.items()]
    return [*pairs, *((claim, None) for one, claim in known.items() if one not in later)]


def _by_id(claims: Sequence[Record]) -> dict[tuple[Any, ...], Record]:
    return _counted([(claim["id"], claim["check"], claim["name"]) for claim in claims], claims)


def _by_suite(claims: Sequence[Record]) -> dict[tuple[Any, ...], Record]:
    return _counted([(claim["suite"], claim["check"], claim["name"]) for claim in claims], claims)


def _counted(keys: Sequence[tuple[Any, ...]], claims: Sequence[Record]) -> dict[tuple[Any, ...], Record]:
    # A claim that could not be read has no kind: it is known by its id and name.
    seen: Counter[tuple[Any, ...]] = Counter()
    found = {}
    for key, claim in zip(keys, claims, strict=True):
        found[*key, seen[key]] = claim
        seen[key] += 1
    return found
