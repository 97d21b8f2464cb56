"""The traceback of a failing test: the user's line and the message, without this package's own frames."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from types import TracebackType

import pytest
from _pytest._code.code import ReprExceptionInfo, ReprFileLocation, ReprTracebackNative

from ..core.columns import message_of, one_screen, visible, wrapped
from ..core.errors import SteerError
from ..core.evidence import SteeringFailure

_OURS = __name__.partition(".")[0]
_HOOKS = f"{__package__}.plugin"
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_MOST_FRAMES = 5


def without_our_frames(
    excinfo: pytest.ExceptionInfo[BaseException], *, brief: bool, width: int | None
) -> pytest.ExceptionInfo[BaseException]:
    """Drop this package's frames, and the frames below them, from an error of this package; any other error is unchanged.

    An error of this package has one of its classes, or is a TypeError that it raises itself about an unknown keyword.

    Of its causes, the user's own frames stay. Every message is cut to one screen, and its control characters are written out.

    Args:
        brief: leave out why a claim does not hold.
        width: columns of the terminal; None to break no line.
    """
    error = excinfo.value
    above = _above_ours(excinfo.tb)
    ours = isinstance(error, (SteerError, SteeringFailure)) or (isinstance(error, TypeError) and _ends_in_ours(excinfo.tb))
    if not ours or above is None:
        return excinfo
    error.__cause__, error.__suppress_context__ = _shown_cause(error), True
    if isinstance(error, (SteerError, SteeringFailure)):
        error.headline = headline(error)
        room = None if width is None else width - _margin(above)
        error.args = (message_of_failure(error, brief=brief, width=room, first=len(_named(error))),)
    else:
        error.args = tuple(visible(str(said)) for said in error.args)
    return pytest.ExceptionInfo.from_exception(error.with_traceback(above))


def is_brief(config: pytest.Config) -> bool:
    """Whether -q, --tb=short or --tb=line asks for a short message."""
    return config.get_verbosity() < 0 or config.getoption("tbstyle") in ("short", "line")


def message_of_failure(error: SteeringFailure | SteerError, *, brief: bool, width: int | None, first: int = 0) -> str:
    """The message about a claim that does not hold or could not be measured, wrapped to the terminal.

    Args:
        width: None to break no line.
        first: columns that pytest takes in front of the first line.
    """
    if isinstance(error, SteerError):
        said = visible(one_screen(str(error)))
        return said if width is None else wrapped(said, width, first=first)
    from ..claims.drawn import explain

    return visible(explain(error.evidence, brief=brief, width=width, first=first))


def headline(error: SteeringFailure | SteerError) -> str:
    """The first line of the message, unwrapped, for pytest's short summary."""
    said = error.evidence.message if isinstance(error, SteeringFailure) else str(error)
    return error.headline or visible(said.partition("\n")[0])


def _margin(traceback: TracebackType) -> int:
    """The columns in front of each line of a message: pytest's ``E``, and the indent of the failing line in its function."""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    entry = pytest.ExceptionInfo.from_exc_info((Exception, Exception(), traceback)).traceback[-1]
    source = entry.frame.code.fullsource
    if source is None or entry.frame.code.firstlineno >= len(source.lines):
        return 8
    return 4 + max(0, _indent(str(entry.statement)) - _indent(source.lines[entry.frame.code.firstlineno]))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _named(error: BaseException) -> str:
    """The name that Python puts in front of an exception's message."""
    return f"{type(error).__module__}.{type(error).__qualname__}: "


def as_block(text: str, file: str, line: int, headline: str) -> ReprExceptionInfo:
    """A text as pytest's block of a failing test, with a headline for pytest's one-line summaries."""
    crash = ReprFileLocation(file, line, headline)
    return ReprExceptionInfo(reprtraceback=ReprTracebackNative([f"{text}\n"]), reprcrash=crash)


def keep_headline(report: pytest.TestReport, error: BaseException) -> None:
    """Give pytest's short summary the headline of a message of ours. Under CI and -vv it would repeat the whole message."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None and isinstance(error, (SteerError, SteeringFailure)):
        name = _named(error)
        crash.message = f"{name if crash.message.startswith(name) else ''}{headline(error)}"


def _shown_cause(error: BaseException, left: int = 5) -> BaseException | None:
    """The cause of an exception, with its last frames in the user's own code, and its message.

    It is a stand-in of the same name, since a foreign message may have any length and any control characters.
    """
    cause = error.__cause__ if error.__suppress_context__ else error.__context__
    if cause is None or not left:
        return None
    below = _shown_cause(cause, left - 1)
    users = [frame for frame in _frames(cause.__traceback__) if not _is_ours(frame) and not _is_librarys(frame)]
    if not users:
        return below
    kind = type(cause)
    named = type(kind.__name__, (Exception,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__})
    said = visible(message_of(cause)).removeprefix(kind.__name__).removeprefix(": ")
    shown: BaseException = named(*filter(None, [said]))
    shown.__cause__ = below
    traceback = None
    for frame in reversed(users[-_MOST_FRAMES:]):
        traceback = TracebackType(traceback, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return shown.with_traceback(traceback)


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _ends_in_ours(traceback: TracebackType) -> bool:
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return _is_ours(traceback)


def _above_ours(traceback: TracebackType | None) -> TracebackType | None:
    """The entries before the first of ours."""
    if traceback is None or _is_ours(traceback):
        return None
    return TracebackType(_above_ours(traceback.tb_next), traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)


def _is_ours(traceback: TracebackType) -> bool:
    module = str(traceback.tb_frame.f_globals.get("__name__", ""))
    return module.startswith(f"{_OURS}.") and module != _HOOKS


def _is_librarys(traceback: TracebackType) -> bool:
    file = traceback.tb_frame.f_code.co_filename
    return file.startswith(_LIBRARIES) or file.startswith("<frozen")
