"""Progress of the running test: on a terminal one line that is overwritten, elsewhere a line every 30 s; and its letter at its end."""

from __future__ import annotations

import re
import sys
import time
from contextlib import nullcontext

import pytest

from ..core.columns import cut, shortened, visible
from ..core.errors import SteerError
from ..core.evidence import SteeringInconclusive

EVERY = 30.0  # seconds between two lines where there is no terminal
_LEAST_NAME, _MOST_NAME = 12, 40  # columns
_SHARE = re.compile(r"(\d+) of (\d+)")


class Progress:
    """Shows the progress of long work. Silent without a terminal reporter; on a terminal also with ``-q``, elsewhere with ``-qq``."""

    def __init__(self, config: pytest.Config) -> None:
        self._reporter = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._name = ""
        self._shown = 0.0
        self._stage, self._begun, self._done_before = "", time.monotonic(), 0
        self._said = time.monotonic()
        verbosity = self._reporter.verbosity if self._reporter is not None else -9
        self._is_line = self._reporter is not None and self._reporter.isatty
        self.wanted = verbosity >= (0 if self._is_line else -1)

    def begin(self, item: pytest.Item) -> None:
        """Note the name of the test that starts."""
        self._name, self._stage = item.name, ""

    def show(self, text: str) -> None:
        """Show what is being done, such as ``120 of 400 scores``."""
        now = time.monotonic()
        if self._is_line:
            if now - self._shown < 0.1:
                return
            self._shown = now
            # The cursor goes back to where pytest left it, so that pytest's own line stays whole.
            writer = self._reporter.config.get_terminal_writer()  # type: ignore[union-attr]
            room = writer.fullwidth - writer.width_of_current_line % writer.fullwidth - len(" []")
            name = shortened(visible(self._name), max(_LEAST_NAME, room - len(f": {text}")))
            self._write(f"\x1b7 [{cut(f'{name}: {visible(text)}', room)}]\x1b[K\x1b8" if room > 0 else "")
            return
        left = self._time_left(text, now)
        if now - self._said >= EVERY:
            self._said = now
            self._write(visible(f"steer: {shortened(self._name, _MOST_NAME)}: {text}{left}"), own_line=True)

    def clear(self) -> None:
        """Clear the line."""
        if self._shown:
            self._write("\x1b[K")
            self._shown = 0.0

    def _time_left(self, text: str, now: float) -> str:
        """The share that is done and the time that the rest takes at the speed of this stage so far."""
        stage, found = _SHARE.sub("", text), _SHARE.search(text)
        done, total = (int(found[1]), int(found[2])) if found else (0, 0)
        if stage != self._stage or done < self._done_before:
            self._stage, self._begun, self._done_before = stage, now, done
        if not total:
            return ""
        new = done - self._done_before
        left = f", about {(now - self._begun) / new * (total - done):.0f} s left" if new else ""
        return f" ({100 * done / total:.0f} %{left})"

    def _write(self, text: str, *, own_line: bool = False) -> None:
        if self._reporter is None:
            return
        with self._capture.global_and_fixture_disabled() if self._capture is not None else nullcontext():
            if own_line:
                self._reporter.ensure_newline()
                writer = self._reporter.config.get_terminal_writer()
                if writer.width_of_current_line:  # with -q pytest does not say that it is in the middle of a line
                    writer.line()
                self._reporter.write(f"{text}\n", flush=True)
            elif sys.__stdout__ is not None:
                # Past pytest's writer, which counts the columns of all that it writes, and would put its percentages elsewhere.
                sys.__stdout__.write(text)
                sys.__stdout__.flush()


_LETTER = "steer_letter"


def note_letter(report: pytest.TestReport, error: BaseException) -> None:
    """Store the letter of a failed test in its report, which may come from an xdist worker."""
    if report.when != "call" or not report.failed:
        return
    if isinstance(error, SteeringInconclusive):
        report.__dict__[_LETTER] = "?"
    elif isinstance(error, SteerError):
        report.__dict__[_LETTER] = "!"


def status_of(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    """The result of ``pytest_report_teststatus``: category, letter and word; None without a letter of ours."""
    letter = getattr(report, _LETTER, None)
    return ("failed", letter, "FAILED") if isinstance(letter, str) else None
