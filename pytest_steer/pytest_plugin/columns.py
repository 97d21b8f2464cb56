"""How many columns pytest's terminal has, and its colours."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from ..core.columns import stream_columns, wrapped
from ..core.screen import visible

_COLUMNS = "steer_columns"
_COLOURS: dict[str, dict[str, bool]] = {
    "pass": {"green": True},
    "fail": {"red": True, "bold": True},
    "error": {"red": True, "bold": True},
    "xpass": {"red": True, "bold": True},
    "heading": {"bold": True},
}
_UNDECIDED = {"yellow": True}


def columns(config: pytest.Config) -> int:
    """The columns of the terminal, as pytest finds them or ``COLUMNS`` says; 100 where there is no terminal.

    A worker of xdist has those of the process that prints.
    """
    given: int | None = getattr(config, "workerinput", {}).get(_COLUMNS)
    if given is not None:
        return given
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.isatty:
        return int(config.get_terminal_writer().fullwidth)
    return stream_columns(None)


def usage_error(*messages: str) -> pytest.UsageError:
    """The error that ends a run before it begins, in the columns of the terminal that it is printed to."""
    width = stream_columns(sys.stderr) - len("ERROR: ")
    return pytest.UsageError(*(wrapped(visible(message), width) for message in messages))


def tell_worker(config: pytest.Config, workerinput: dict[str, object]) -> None:
    """Tells a worker of xdist the columns of this process, for the messages that are made there."""
    workerinput[_COLUMNS] = columns(config)


def painter(reporter: pytest.TerminalReporter) -> Callable[[str, str], str]:
    """From a text and a verdict in words to the text in its colour; as it is where pytest has no colours."""
    writer = reporter.config.get_terminal_writer()
    return lambda text, kind: writer.markup(text, **_COLOURS.get(kind, _UNDECIDED))
