"""Blocks of a claim as Markdown. Each kind of block is drawn here once; replies are in ``replies_markdown.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.block import Curve, Intervals, Items, Line, Table, block_of
from ..core.numbers import number
from .markdown import cell, code, prose, table

_ITEMS = 3
_WORDS, _TEXT, _CELL = 400, 200, 120
"""Characters of a line, of an item's text and of a cell."""


def drawn_blocks(claim: Mapping[str, Any]) -> str:
    """All that a claim shows beside its numbers and its replies; empty where it shows nothing."""
    parts: list[str] = []
    lines: list[str] = []

    def end_list() -> None:
        if lines:
            parts.append("\n".join(lines))
            lines.clear()

    for record in claim["blocks"]:
        block = block_of(record)
        if isinstance(block, Line):
            lines += [f"- {prose(one, _WORDS)}" for one in block.words.split("\n")]
        elif not getattr(block, "is_drawing", False) and (draw := _DRAWN.get(type(block))):
            end_list()
            parts.append(draw(block))
    end_list()
    return "\n\n".join(parts)


def _table(block: Table) -> str:
    width = max([len(block.headers), *map(len, block.rows)])
    headers = [*block.headers, *[""] * (width - len(block.headers))]
    return _titled(block.title, block.about) + _cells(headers, block.rows)


def _curve(block: Curve) -> str:
    grid = list(dict.fromkeys(x for series in block.series for x, _ in series.points))
    rows = []
    for series in block.series:
        at = dict(series.points)
        rows.append([series.name, *(number(at[x], block.percent) if x in at else "" for x in grid)])
    return _titled(block.title, "") + _cells([block.x, *(f"{x:.4g}" for x in grid)], rows)


def _intervals(block: Intervals) -> str:
    rows = []
    for one in block.rows:
        low, high = (number(bound, block.percent) for bound in one.interval)
        bounds = "-" if (low, high) == ("-", "-") else f"[{low}, {high}]"
        n = "-" if one.n is None else str(one.n)
        rows.append([one.name, n, number(one.estimate, block.percent), bounds, one.verdict or ""])
    return _titled(block.title, "") + _cells(["", "n", block.x, "interval", ""], rows)


def _items(block: Items) -> str:
    lines = []
    for one in block.items[:_ITEMS]:
        texts = "; ".join(f"{prose(part.name)}: {prose(part.text, _CELL)}" for part in one.texts if part.text)
        said = ". ".join(part for part in (prose(one.text, _TEXT), texts) if part)
        lines.append(f"- {code(one.id, 80)} {prose(one.words, _CELL)}{f'<br>{said}' if said else ''}")
    return _titled(block.title, f"{min(_ITEMS, len(block.items))} of {block.of}") + "\n".join(lines)


_DRAWN: dict[type, Callable[[Any], str]] = {Table: _table, Curve: _curve, Intervals: _intervals, Items: _items}


def _titled(title: str, about: str) -> str:
    return f"**{prose(title, _CELL)}**{f' ({prose(about, _CELL)})' if about else ''}\n\n" if title else ""


def _cells(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table([cell(one, _CELL) for one in headers], [[cell(str(one), _CELL) for one in row] for row in rows])
