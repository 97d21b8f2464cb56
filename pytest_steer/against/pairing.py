"""Units of two runs, paired by content; claims of two runs, paired by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.clusters import clusters_of
from ..core.record import ClaimRecord, Units

Key = tuple[Any, ...]


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
    clusters: tuple[int, ...] | None
    new: int
    gone: int
    changed: int


def fault_of(record: ClaimRecord) -> str | None:
    """What in a record's ``units`` contradicts itself, as after a change by hand; None if nothing does."""
    units = record.units
    assert units is not None
    size = len(units.ids)
    for key in ("names", "values", "clusters", "parts"):
        own = getattr(units, key)
        if own is not None and len(own) != size:
            return f"it has {size} `ids` and {len(own)} `{key}`"
    values = np.array(units.values, dtype=np.float64)
    if not size or record.estimate is None:
        return None
    if np.abs(values).max() > _LARGEST:
        return f"it holds the value {values[np.abs(values).argmax()]:g}"
    if units.kind != "mean" and not {*values.tolist()} <= ({0.0, 1.0} if units.kind == "share" else {-1.0, 0.0, 1.0}):
        return f"its values are no {units.kind}"
    labels = np.array(units.parts or [""] * size, dtype=object)
    means = [float(values[labels == part].mean()) for part in dict.fromkeys(labels.tolist())]
    mean, estimate = (min if record.direction == "at_least" else max)(means), record.estimate
    if abs(mean - estimate) > 1e-6 * max(1.0, float(np.abs(values).max())):
        return f"the mean of its values is {mean:g}, and its estimate {estimate:g}"
    return None


_LARGEST = 1e100  # whose square is still a number


def pair_units(old: ClaimRecord, new: ClaimRecord) -> Paired:
    """Pair the units of two records of one claim.

    Args:
        old / new: the claims' records, both with ``units``.
    """
    before, after = old.units, new.units
    assert before is not None
    assert after is not None
    keys = _keys(before), _keys(after)
    place = {key: index for index, key in enumerate(keys[0])}
    places = [(place[key], index) for index, key in enumerate(keys[1]) if key in place]
    taken = {pair[0] for pair in places}, {pair[1] for pair in places}
    left = [[at for at in range(len(own)) if at not in used] for own, used in zip(keys, taken, strict=True)]
    changed = _shared(old, left[0], new, left[1])
    together = [
        [clusters[pair[side]] for pair in places]
        for side, clusters in enumerate((before.clusters, after.clusters))
        if clusters is not None
    ]
    return Paired(
        places,
        [keys[1][index][0] for _, index in places],
        clusters_of(*together) if together else None,
        len(left[1]) - changed,
        len(left[0]) - changed,
        changed,
    )


def _keys(units: Units) -> list[Key]:
    """Part and content of each unit; repeated content is told apart by how often it came before."""
    return _counted([*zip(units.parts or [""] * len(units.ids), units.ids, strict=True)])


def _shared(old: ClaimRecord, left: Sequence[int], new: ClaimRecord, others: Sequence[int]) -> int:
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


def _named(record: ClaimRecord, index: int) -> tuple[tuple[str, str], str | None]:
    units = record.units
    assert units is not None
    part = "" if units.parts is None else units.parts[index]
    return (part, units.names[index]), question_of(record, units.names[index])


def question_of(record: ClaimRecord, name: str) -> str | None:
    """The text of a unit, where the report has it."""
    asked = next((item.question for item in record.items or () if item.id == name and item.question is not None), None)
    if asked is not None:
        return asked
    for table in (record.details.get(key) for key in ("texts", "tasks", "questions", "items")):
        for one in table if isinstance(table, list) else ():
            if isinstance(one, Mapping) and str(one.get("id")) == name:
                text = next((one[key] for key in ("question", "input", "text") if isinstance(one.get(key), str)), None)
                if text is not None:
                    return str(text)
    return None


def pair_claims(
    old: Iterable[ClaimRecord], new: Iterable[ClaimRecord]
) -> list[tuple[ClaimRecord | None, ClaimRecord | None]]:
    """Claims of two reports by node id, kind and name; those of the later one first, then those that are gone.

    Where no id is the same (reports written from other folders), by suite, kind and name. Suites of one name are told apart by where they
    stand below the folder that all of a report have in common.
    """
    before, after = list(old), list(new)
    known, later = _by_id(before), _by_id(after)
    if not known.keys() & later.keys():
        alike = _of_several_files(before) | _of_several_files(after)
        known, later = _by_suite(before, alike), _by_suite(after, alike)
    pairs: list[tuple[ClaimRecord | None, ClaimRecord | None]] = [(known.get(one), claim) for one, claim in later.items()]
    return [*pairs, *((claim, None) for one, claim in known.items() if one not in later)]


def _by_id(claims: Sequence[ClaimRecord]) -> dict[Key, ClaimRecord]:
    # A claim that could not be read has no kind: it is known by its id and name.
    return dict(zip(_counted([(claim.id, claim.check, claim.name) for claim in claims]), claims, strict=True))


def _by_suite(claims: Sequence[ClaimRecord], alike: Container[str]) -> dict[Key, ClaimRecord]:
    folders = [_file_of(claim).split("/")[:-1] for claim in claims]
    shared = next((depth for depth, names in enumerate(zip(*folders, strict=False)) if len({*names}) > 1), None)
    shared = min(map(len, folders), default=0) if shared is None else shared
    below = ["/".join(folder[shared:]) for folder in folders]
    keys = [
        (claim.suite, place if claim.suite in alike else "", claim.check, claim.name)
        for claim, place in zip(claims, below, strict=True)
    ]
    return dict(zip(_counted(keys), claims, strict=True))


def _of_several_files(claims: Sequence[ClaimRecord]) -> set[str]:
    """The suites whose name several files have."""
    files = {(claim.suite, _file_of(claim)) for claim in claims}
    return {suite for suite, count in Counter(suite for suite, _ in files).items() if count > 1}


def _file_of(claim: ClaimRecord) -> str:
    return claim.id.partition("::")[0]


def _counted(keys: Sequence[Key]) -> list[Key]:
    """The keys, each with how often it came before."""
    seen: Counter[Key] = Counter()
    found = []
    for key in keys:
        found.append((*key, seen[key]))
        seen[key] += 1
    return found
