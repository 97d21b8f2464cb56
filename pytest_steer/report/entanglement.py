"""What the vectors of a matrix do to other behaviours: a map of mean steerabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..claims.numbers import number
from ..columns import WITHOUT_TERMINAL, table, wrapped

Claim = dict[str, Any]

_MARKS = {"pass": "", "fail": " !", "inconclusive": " ?"}


def entanglement_rows(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """One row per claim of a ``matrix`` that has ``compared.entanglement`` in its evidence.

    Args:
        claims: evidence as ``Evidence.to_dict`` gives it.

    Returns:
        ``suite``, ``claim`` (its name without the combination), ``vector`` (the combination), ``by`` (slope or effect), ``band``,
        ``behaviours`` (each with ``name``, ``estimate``, ``interval``, ``effect`` and ``verdict``), ``own`` (the same of the vector's
        own behaviour, or None) and ``entanglement``.
    """
    rows = []
    for claim in claims:
        found = (claim["compared"] or {}).get("entanglement")
        if not claim["matrix"] or found is None:
            continue
        own, behaviour = found["own"], claim["matrix"].get("behaviour")
        rows.append(
            {
                "suite": claim["suite"],
                "claim": claim["name"].partition("[")[0],
                "vector": "-".join(claim["matrix"].values()),
                **found,
                "own": None if own is None else {"name": behaviour or "(its own)"} | own,
            }
        )
    return rows


def entanglement_map(claims: Sequence[Claim], *, width: int = WITHOUT_TERMINAL) -> str:
    """The map as text, vectors down and behaviours across; empty where no claim file's matrix has several vectors.

    Args:
        width: columns that no line exceeds.
    """
    maps: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in entanglement_rows(claims):
        maps.setdefault((row["suite"], row["claim"]), []).append(row)
    return "\n\n".join(_map(place, rows, width) for place, rows in maps.items() if len(rows) > 1)


def _map(place: tuple[str, str], rows: Sequence[dict[str, Any]], width: int) -> str:
    names = list(
        dict.fromkeys(one["name"] for row in rows for one in ([row["own"]] if row["own"] else []) + row["behaviours"])
    )
    lines = []
    for row in rows:
        cells = {one["name"]: f"{_signed(one['estimate'])}{_MARKS[one['verdict']]}" for one in row["behaviours"]}
        if row["own"] is not None:
            cells[row["own"]["name"]] = f"({_signed(row['own']['estimate'])})"
        rms = row["entanglement"]
        lines.append([row["vector"], *(cells.get(name, "") for name in names), number(rms["effect"]), number(rms["chosen"])])
    what = "mean steerability" if all(row["by"] == "slope" for row in rows) else "mean steerability or effect"
    title = f"{': '.join(place)}: {what} of other behaviours, in brackets of the vector's own (! outside of the band, ? not decided)"
    headers = ["vector", *names, "entanglement", "of choices"]
    return "\n".join([wrapped(title, width), *table(lines, headers, width=width)])


def _signed(value: float) -> str:
    return f"{value:+.3g}" if value else "0"
