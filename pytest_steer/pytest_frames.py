"""Tracebacks of failing tests without this package's own frames: the user's line, and the message."""

from __future__ import annotations

from types import TracebackType

import pytest

from .errors import SteerError
from .failures import SteeringFailure

_HOOKS = f"{__package__}.plugin"


def without_our_frames(excinfo: pytest.ExceptionInfo[BaseException]) -> pytest.ExceptionInfo[BaseException]:
    """The same error of ours without this package's frames, and without what they called; any other error as it is.

    An error of ours is one of this package's kinds, or a TypeError that it raises itself, of a keyword that a function does not have.

    Of a cause, only the frames themselves go: a user's own function may be among those that they called.
    """
    error = excinfo.value
    above = _above_ours(excinfo.tb)
    ours = isinstance(error, (SteerError, SteeringFailure)) or (isinstance(error, TypeError) and _ends_in_ours(excinfo.tb))
    if not ours or above is None:
        return excinfo
    cause = error.__cause__ if error.__suppress_context__ else error.__context__
    while cause is not None:
        cause.__traceback__ = _without_ours(cause.__traceback__)
        cause = cause.__cause__ if cause.__suppress_context__ else cause.__context__
    return pytest.ExceptionInfo.from_exception(error.with_traceback(above))


def _ends_in_ours(traceback: TracebackType) -> bool:
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return _is_ours(traceback)


def _above_ours(traceback: TracebackType | None) -> TracebackType | None:
    """The entries before the first of ours."""
    if traceback is None or _is_ours(traceback):
        return None
    return TracebackType(_above_ours(traceback.tb_next), traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    if traceback is None:
        return None
    following = _without_ours(traceback.tb_next)
    if _is_ours(traceback):
        return following
    return TracebackType(following, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)


def _is_ours(traceback: TracebackType) -> bool:
    module = str(traceback.tb_frame.f_globals.get("__name__", ""))
    return module.startswith(f"{__package__}.") and module != _HOOKS
