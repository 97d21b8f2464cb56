"""A command in a terminal of so many columns, and what it leaves on the screen's lines."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path
from unicodedata import combining, east_asian_width

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


def run_in_terminal(command: list[str], columns: int, folder: Path) -> tuple[str, list[str]]:
    """What a command prints to a terminal, without progress, and the longest states of lines with progress in them."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    without = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CI", "BUILD_NUMBER")
    env = {name: value for name, value in os.environ.items() if name not in without} | {"TERM": "xterm"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=env) as process:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    assert process.returncode in (0, 1)
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
