"""A module in a terminal of so many columns, and what it leaves on the screen's lines."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from multiprocessing.connection import wait
from pathlib import Path
from unicodedata import combining, east_asian_width

from forked import start_module

_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def width(line: str) -> int:
    """The columns of a line of text."""
    return sum(0 if combining(one) else 2 if east_asian_width(one) in "FW" else 1 for one in _COLOUR.sub("", line))


def too_long(text: str, columns: int) -> list[str]:
    """The lines that a terminal of so many columns would break, but for a path or an id that stands alone."""
    return [line for line in text.splitlines() if width(line) > columns and not is_whole(line)]


def is_whole(line: str) -> bool:
    """Whether a line is one path or id, also of a command that goes on, or pytest's line of a test in its short summary."""
    *others, last = _COLOUR.sub("", line).removesuffix(" \\").split()
    return ("/" in last and not others) or ("::" in last and set(others) <= {"E", "FAILED", "XFAIL", "ERROR"})


def run_in_terminal(module: str, *arguments: str, columns: int, folder: Path) -> tuple[str, list[str]]:
    """What a module prints to a terminal, without progress, and the longest states of lines with progress in them."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    without = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CI", "BUILD_NUMBER")
    env = {name: value for name, value in os.environ.items() if name not in without} | {"TERM": "xterm"}
    process = start_module(module, arguments, cwd=folder, env=env, files=3 * [os.ttyname(theirs)])
    parts = []
    while ours in wait([ours, process.sentinel]):
        parts.append(os.read(ours, 65536))
    os.close(ours)
    os.close(theirs)
    process.join()
    assert process.exitcode in (0, 1)
    text = b"".join(parts).decode().replace("\r\n", "\n").replace("\x1b[K", "")
    states = []
    for line in text.split("\n"):
        before = ""
        for piece in re.split(r"(\x1b7.*?\x1b8)", line.rpartition("\r")[2]):
            if piece.startswith("\x1b7"):
                states.append(before + piece[2:-2])
            else:
                before += piece
    kept = re.sub(r"\x1b7.*?\x1b8", "", text)
    return "\n".join(line.rpartition("\r")[2] for line in kept.split("\n")), states
