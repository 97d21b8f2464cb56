"""What the vectors of a matrix do to other behaviours: a map of mean steerabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from ..core.columns import WITHOUT_TERMINAL, table, wrapped
from ..core.numbers import number
from ..core.record import ClaimRecord, Entanglement, EntanglementRow

_MARKS = {"pass": "", "fail": " !", "inconclusive": " ?"}


def entanglement_rows(claims: Sequence[ClaimRecord]) -> list[EntanglementRow]:
    """One row per ``leaves_alone`` claim that stands in a ``matrix``."""
    rows = []
    for claim in claims:
        found = None if claim.compared is None else claim.compared.entanglement
        if not claim.matrix or found is None:
            continue
        if found.own is not None:
            found = replace(found, own=replace(found.own, name=claim.matrix.get("behaviour") or "(its own)"))
        known = {one.name: getattr(found, one.name) for one in fields(Entanglement)}
        name, vector = claim.name.partition("[")[0], "-".join(claim.matrix.values())
        rows.append(EntanglementRow(suite=claim.suite, claim=name, vector=vector, **known))
    return rows


def entanglement_map(claims: Sequence[ClaimRecord], *, width: int = WITHOUT_TERMINAL) -> str:
    """The map as text, vectors down and behaviours across; empty where no claim file's matrix has several vectors.

    Args:
        width: columns that no line exceeds.
    """
    maps: dict[tuple[str, str], list[EntanglementRow]] = {}
    for row in entanglement_rows(claims):
        maps.setdefault((row.suite, row.claim), []).append(row)
    return "\n\n".join(_map(place, rows, width) for place, rows in maps.items() if len(rows) > 1)


def _map(place: tuple[str, str], rows: Sequence[EntanglementRow], width: int) -> str:
    names = list(dict.fromkeys(one.name for row in rows for one in (*([row.own] if row.own else []), *row.behaviours)))
    lines = []
    for row in rows:
        cells = {one.name: f"{_signed(one.estimate)}{_MARKS[one.verdict]}" for one in row.behaviours}
        if row.own is not None:
            cells[row.own.name] = f"({_signed(row.own.estimate)})"
        rms = row.entanglement
        lines.append([row.vector, *(cells.get(name, "") for name in names), number(rms.effect), number(rms.chosen)])
    what = "mean steerability" if all(row.by == "slope" for row in rows) else "mean steerability or effect"
    title = f"{': '.join(place)}: {what} of other behaviours, in brackets of the vector's own (! outside of the band, ? not decided)"
    headers = ["vector", *names, "entanglement", "of choices"]
    return "\n".join([wrapped(title, width), *table(lines, headers, width=width)])


def _signed(value: float) -> str:
    return f"{value:+.3g}" if value else "0"
