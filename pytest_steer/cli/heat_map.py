"""Heat maps: coloured numbers in the terminal, and an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import click

Cells = Sequence[Sequence[float]]

# Palettes from far below 0 over 0 to far above: blue, white, orange. Of the 256 colours of terminals, and of the web.
_TERMINAL = (25, 68, 110, 153, 189, 255, 223, 216, 209, 202, 166)
_WEB = (
    "#2166ac", "#4d8ec4", "#84b4d8", "#b5d1e8", "#dbe7f2", "#f7f7f7", "#fbe3d0", "#f8c49d", "#f0a068", "#df7a35", "#b35806",
)  # fmt: skip
_DARK = (0, 1, 10)  # steps of the palettes on which the text is white


def heat_map(rows: Sequence[str], columns: Sequence[str], cells: Cells, *, percent: bool = False) -> str:
    """A coloured map with one number per cell. ``click.echo`` leaves the colours out where nobody sees them.

    Args:
        cells: [rows][columns]; the strongest colour is the largest absolute value.
        percent: print 0.05 as +5.0%.
    """
    texts = [[_number(value, percent) for value in line] for line in cells]
    width = max(len(text) for line in [*texts, columns] for text in line) + 2
    head = max(map(len, rows))
    lines = [" " * head + "".join(column.rjust(width) for column in columns)]
    top = _top(cells)
    for name, values, line in zip(rows, cells, texts, strict=True):
        steps = [_step(value, top) for value in values]
        drawn = [
            click.style(text.rjust(width), fg=231 if step in _DARK else 16, bg=_TERMINAL[step])
            for step, text in zip(steps, line, strict=True)
        ]
        lines.append(name.rjust(head) + "".join(drawn))
    return "\n".join(lines)


def heat_map_svg(title: str, rows: Sequence[str], columns: Sequence[str], cells: Cells, *, percent: bool = False) -> str:
    """The same map as a picture, with a title over each cell for the pointer."""
    wide, high, left, top = 64, 28, 70, 64
    size = (left + wide * len(columns) + 20, top + high * len(rows) + 20)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>',
        f'<text x="{left}" y="22" font-size="15">{escape(title)}</text>',
    ]
    for number, column in enumerate(columns):
        x = left + wide * number + wide // 2
        parts.append(f'<text x="{x}" y="{top - 8}" text-anchor="middle">{escape(column)}</text>')
    largest = _top(cells)
    for line, (name, values) in enumerate(zip(rows, cells, strict=True)):
        y = top + high * line
        parts.append(f'<text x="{left - 8}" y="{y + 19}" text-anchor="end">{escape(name)}</text>')
        for number, value in enumerate(values):
            step = _step(value, largest)
            x, ink, text = left + wide * number, "#ffffff" if step in _DARK else "#222222", _number(value, percent)
            parts.append(
                f"<g><title>{escape(f'{name}, multiplier {columns[number]}: {text}')}</title>"
                f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" fill="{_WEB[step]}" stroke="#ffffff"/>'
                f'<text x="{x + wide // 2}" y="{y + 19}" text-anchor="middle" fill="{ink}">{escape(text)}</text></g>'
            )
    return "\n".join([*parts, "</svg>", ""])


def _number(value: float, percent: bool) -> str:
    value = round(value, 3) + 0.0  # no "-0.00"
    if percent:
        return f"{value:+.1%}" if abs(value) < 10 else f"{value:+.0%}"
    return f"{value:+.2f}" if round(value, 2) else "0.00"


def _top(cells: Cells) -> float:
    return max((abs(value) for line in cells for value in line), default=0.0)


def _step(value: float, top: float) -> int:
    """Index into a palette."""
    return 5 + round(5 * value / top) if top else 5
