"""Text in the columns of a terminal: measured, shortened, wrapped and in tables. Imports nothing heavy.

A line that is too long is broken at words. A command is broken between its arguments, with a backslash at the end of each line, so that
all of it can be copied into a shell. What is one thing to copy, such as a path or the id of a test, is never broken.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TextIO

_LINES, _CHARACTERS = 24, 1920  # of a terminal of 80 columns

# C0 and C1 controls but tab and line feed, separators that end lines, marks of direction, and surrogates, which no stream encodes.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""The text with each control that a terminal would obey written out, such as ``\x1b`` or ``\u202e``.

    Tabs and line feeds stay as they are.
    """
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def one_screen(text: str, *, share: float = 1.0) -> str:
    """The text, or its beginning and a word that it was cut: at most ``share`` of 24 lines and of 1,920 characters."""
    lines = int(share * _LINES)
    start = "\n".join(text.split("\n", lines)[:lines])[: int(share * _CHARACTERS)]
    return text if start == text else f"{start}... [cut: {len(text) - len(start):,} more characters]"


def message_of(error: BaseException) -> str:
    """The kind and the message of an exception, whose ``str`` may itself fail. It leaves room for its place on the same screen."""
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = "(a message that cannot be printed)"
    return one_screen(f"{kind}: {text}" if text else kind, share=0.75)


WITHOUT_TERMINAL = 100
"""Columns of text that goes to a file or a pipe."""

_width: ContextVar[int] = ContextVar("steer_columns", default=WITHOUT_TERMINAL)

LABELS = ("run again", "show the counterexample again", "go on", "delete it and run")
"""Words that a command stands after."""

_COMMAND = re.compile(rf"( *(?:{'|'.join(LABELS)}): )(pytest .+)")
_ARGUMENT = re.compile(r"""(?:'[^']*'|"[^"]*"|[^\s'"])+""")
_GAP = 2


def stream_columns(stream: TextIO | None) -> int:
    """The columns of the terminal that a stream writes to, or what ``COLUMNS`` says; 100 where it writes to none."""
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream is not None and stream.isatty() else WITHOUT_TERMINAL
    except (OSError, ValueError):
        return WITHOUT_TERMINAL


@contextmanager
def in_columns(width: int) -> Iterator[None]:
    """Fit the tables of claims, which know nothing of a terminal, into ``width`` columns while the body runs."""
    token = _width.set(width)
    try:
        yield
    finally:
        _width.reset(token)


def current_columns() -> int:
    """The columns that :func:`in_columns` gave, else 100."""
    return _width.get()


def columns_of(text: str) -> int:
    """How many columns a terminal gives to a text of one line: two to wide characters, none to combining ones."""
    return len(text) if text.isascii() else sum(map(_columns, text))


@lru_cache(4096)
def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("F", "W") else 1


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text padded with spaces to ``width`` columns."""
    space = " " * (width - columns_of(text))
    return space + text if right else text + space


def shortened(text: str, width: int) -> str:
    """A text in at most ``width`` columns, shortened in the middle, since names differ at both ends."""
    if columns_of(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    end = _first(text[::-1], (width - 1) // 2)[::-1]
    return f"{_first(text, width - 1 - columns_of(end))}…{end}"


def cut(text: str, width: int) -> str:
    """A text in at most ``width`` columns, shortened at its end."""
    return text if columns_of(text) <= width else f"{_first(text, width - 1)}…"


def _first(text: str, width: int) -> str:
    """As many characters as have room."""
    taken = 0
    for at, character in enumerate(text):
        taken += _columns(character)
        if taken > width:
            return text[:at]
    return text


def wrapped(text: str, width: int, *, first: int = 0, whole: bool = True) -> str:
    """The text with every line that is too long broken; what follows is indented by two columns more than the line.

    Args:
        first: columns that something else takes in front of the first line.
        whole: never break a path or an id.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        lines += _broken(line.expandtabs(), width, 0 if lines else first, whole)
    return "\n".join(lines)


def _broken(line: str, width: int, taken: int, whole: bool) -> list[str]:
    if columns_of(line) + taken <= width:
        return [line]
    command = _COMMAND.fullmatch(line)
    if command is not None:
        return _broken_command(command[1], command[2], width)
    own = line[: len(line) - len(line.lstrip())]
    indent = f"{own[: width // 2]}  "
    lines, current, room = [], own, width - taken
    for space, word in re.findall(r"(\s*)(\S+)", line):
        joined = f"{current}{space}{word}" if current.strip() else current + word
        if columns_of(joined) <= room:
            current = joined
            continue
        if current.strip():
            lines.append(current)
            current, room = indent, width
        while columns_of(current + word) > room and not (whole and _is_whole(word)):
            piece = _first(word, room - columns_of(current))
            lines.append(current + piece)
            word, current, room = word[len(piece) :], indent, width
        current += word
    return [*lines, current]


def _is_whole(word: str) -> bool:
    """Whether a word is a path or an id."""
    return "/" in word or "::" in word


def _broken_command(label: str, command: str, width: int) -> list[str]:
    indent = " " * (len(label) - len(label.lstrip()) + 4)
    units: list[str] = []
    for argument in _ARGUMENT.findall(command):
        room = width - len(indent) - len(units[-1]) - 3 if units else 0
        is_value = units and units[-1].startswith("--") and " " not in units[-1] and not argument.startswith("-")
        if is_value and (columns_of(argument) <= room or argument.startswith("'{")):
            units[-1] += f" {_json_lines(argument, room, indent)}"
        else:
            units.append(argument)
    lines, current = [], label
    for unit in units:
        joined = current + unit if current.isspace() or current.endswith(": ") else f"{current} {unit}"
        if max(map(columns_of, joined.split("\n"))) + 2 > width and not current.isspace():
            lines.append(current.rstrip() if current == label else f"{current} \\")
            joined = indent + unit
        current = joined
    return [*lines, current]


def _json_lines(argument: str, room: int, indent: str) -> str:
    """An argument that is a mapping as JSON, with line ends between its entries if it is too long: in quotes, they are part of it."""
    if not argument.startswith("'{") or columns_of(argument) <= room:
        return argument
    try:
        (text,) = shlex.split(argument)
        entries = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in json.loads(text).items()]
    except ValueError:
        return argument
    return shlex.quote("{" + f",\n{indent}  ".join(entries) + "}")


def beside(rows: Mapping[str, str], width: int) -> list[str]:
    """The lines of a list of names and texts, the texts wrapped below each other. A name is never shortened; a long one has its own line."""
    indent = 4 + min(max(map(columns_of, rows), default=0), width // 3)
    lines = []
    for name, text in rows.items():
        first, *more = wrapped(text, width - indent).split("\n")
        head = f"  {name}"
        if columns_of(head) + 2 > indent:
            lines.append(head)
            head = ""
        lines += [padded(head, indent) + first, *(" " * indent + line for line in more)]
    return lines


def table(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str] = (),
    *,
    width: int,
    keys: int = 1,
    groups: Sequence[str] = (),
    right: bool = False,
    rule: bool = True,
) -> list[str]:
    """The lines of a table. Columns that find no room beside the others follow in a further table below, after the same first columns.

    Args:
        headers: of the columns, of one or more lines each.
        keys: how many columns each of the tables begins with.
        groups: of each row the heading that it stands under.
        right: align to the right.
        rule: put a line of dashes below the headers.
    """
    indent = "  " if groups else ""
    width -= len(indent)
    above, body = _cells(rows, headers)
    natural = _natural([*above, *body])
    keys = min(keys, len(natural))
    is_divided = sum(natural) + _GAP * (len(natural) - 1) > width
    most = max(6, 3 * width // 10 // max(keys, 1))
    widths = [min(own, most) if at < keys and is_divided else own for at, own in enumerate(natural)]
    room = width - sum(widths[:keys]) - _GAP * keys
    widths[keys:] = [min(own, max(room, 6)) for own in widths[keys:]]
    lines: list[str] = []
    for part in _parts(widths, keys, room):
        dashes = [["-" * columns for columns in widths]] if rule and above else []
        shown = []
        heads = [row for row in above if any(row[at] for at in part)]
        for row in [*heads, *dashes, *body]:
            cells = [(shortened if at < keys else cut)(row[at] if at < len(row) else "", widths[at]) for at in part]
            each = [padded(cell, widths[at], right=right) for cell, at in zip(cells, part, strict=True)]
            shown.append(f"{indent}{(_GAP * ' ').join(each)}".rstrip())
        start = len(shown) - len(body)
        for at in reversed(range(len(groups))):
            if at == 0 or groups[at] != groups[at - 1]:
                shown.insert(start + at, shortened(visible(groups[at]), width))
        lines += [*([""] if lines else []), *shown]
    return lines


def table_columns(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> int:
    """The columns of :func:`table` if nothing in it is shortened and it is not divided."""
    above, body = _cells(rows, headers)
    widths = _natural([*above, *body])
    return sum(widths) + _GAP * (len(widths) - 1)


def _cells(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> tuple[list[list[str]], list[list[str]]]:
    """The rows of the headers, and those of the body."""
    heads = [header.split("\n") for header in headers]
    depth = max(map(len, heads), default=0)
    above = [[head[at] if at < len(head) else "" for head in heads] for at in range(depth)]
    return above, [[" ".join(visible(str(cell)).split()) for cell in row] for row in rows]


def _natural(rows: Sequence[Sequence[str]]) -> list[int]:
    """The columns that the widest cell of each column takes."""
    return [max(columns_of(row[at]) for row in rows if at < len(row)) for at in range(max(map(len, rows), default=0))]


def _parts(widths: Sequence[int], keys: int, room: int) -> list[list[int]]:
    """The columns of each of the tables that one is divided into."""
    first = list(range(keys))
    parts, left = [list(first)], room
    for at in range(keys, len(widths)):
        if len(parts[-1]) > keys and widths[at] > left:
            parts.append(list(first))
            left = room
        parts[-1].append(at)
        left -= widths[at] + _GAP
    return parts
