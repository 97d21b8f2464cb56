"""Text of others as a terminal may have it: nothing in it is obeyed, and it ends after one screen. Imports nothing."""

from __future__ import annotations

import re

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
    """What an exception says: its kind and its message, which may fail itself. Where it stands finds room on the same screen."""
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = "(a message that cannot be printed)"
    return one_screen(f"{kind}: {text}" if text else kind, share=0.75)
