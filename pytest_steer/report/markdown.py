"""Text of others in GitHub's Markdown: shown as it is, never obeyed.

Names stand in code spans, where GitHub makes no mention, no link and no emoji of anything. Prose is escaped.
"""

from __future__ import annotations

import re

from ..core.screen import visible

_MARKS = re.compile(r"([\\`*_\[\]|~])")
_BREAK = "&#8203;"  # a space of no width: what GitHub links, it links only in one piece
# Mentions and addresses, numbers of issues, links, emoji. GitHub looks for them after Markdown, so a backslash does not help.
_LINKED = re.compile(r"(@|#(?=\d)|\bGH-(?=\d)|\bwww(?=\.)|:(?=//)|:(?=[\w+-]+:))", re.IGNORECASE)
_LINE_ENDS = re.compile(r"\s*[\n\r\t]\s*")


def prose(text: str, longest: int | None = None) -> str:
    """The text on one line, escaped.

    Args:
        longest: characters that are kept.
    """
    text = _one_line(text, longest).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _LINKED.sub(rf"\1{_BREAK}", _MARKS.sub(r"\\\1", text))
    return text.replace("$", "<span>$</span>")  # which begins a formula


def cell(text: str, longest: int) -> str:
    """The text escaped for a cell of a table, its lines apart.

    Args:
        longest: characters that are kept.
    """
    text = visible(text.replace("\r\n", "\n")).strip()
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return "<br>".join(prose(line) for line in text.split("\n") if line.strip())


def code(text: str, longest: int | None = None, *, in_table: bool = False) -> str:
    """The text on one line as a code span.

    Args:
        in_table: it stands in a cell, where a pipe has to be escaped even in code.
    """
    text = _one_line(text, longest) or " "
    ticks = "`" * (_longest_run(text) + 1)
    inner = f" {text} " if text.startswith("`") or text.endswith("`") else text
    span = f"{ticks}{inner}{ticks}"
    return span.replace("|", "\\|") if in_table else span


def block(text: str, indent: str = "") -> str:
    """The text as a fenced block.

    Args:
        indent: before each line, as of a block in a list.
    """
    text = visible(text.replace("\r\n", "\n"))
    fence = "`" * max(3, _longest_run(text) + 1)
    return "\n".join(indent + line for line in (f"{fence}text", *text.split("\n"), fence))


def folded(summary: str, body: str, indent: str = "") -> str:
    """A body of Markdown that opens with a click.

    Args:
        summary: constant words, as HTML.
    """
    return f"{indent}<details><summary>{summary}</summary>\n\n{body}\n\n{indent}</details>"


def table(headers: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _one_line(text: str, longest: int | None) -> str:
    text = visible(_LINE_ENDS.sub(" ", text)).strip()
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
