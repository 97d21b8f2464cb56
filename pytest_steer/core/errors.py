"""Errors that tell the user where, what and what to do.

Nothing here imports anything heavy: every layer may use these names.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .columns import message_of, visible

if TYPE_CHECKING:
    from .record import Soundness


class SteerError(Exception):
    """Base of all errors that pytest-steer raises on purpose.

    The message is complete: it is shown to the user without a traceback of ours.

    Attributes:
        key: the key of a claim that is at fault, such as ``data.test`` or ``vector.layer``; empty if none is known.
        headline: the first line of the message as it was before a terminal's columns broke it; empty if none did.
    """

    key: str = ""
    headline: str = ""


@contextmanager
def at_key(key: str) -> Iterator[None]:
    """Say of errors raised inside that this key of a claim is at fault, unless they name one themselves."""
    try:
        yield
    except SteerError as error:
        error.key = error.key or key
        raise


class ModelError(SteerError):
    """A model cannot be found, loaded, or understood (for example: no decoder blocks were found)."""


class DataError(SteerError):
    """A data file or a data set is unusable: wrong shape, empty, or not finite."""


class TooLongError(DataError):
    """A text has more tokens than the model takes."""


class TokenBoundaryError(DataError):
    """Appending an answer changes the tokens of its prompt, so the answer cannot be scored on its own."""


class VectorError(SteerError):
    """A steering vector is unusable: not finite, of the wrong width, or made elsewhere."""


class MeasurementError(SteerError):
    """A measurement gave NaN, infinity, or nothing at all. Never turned into 0 and never a pass."""


@contextmanager
def exceptions_named() -> Iterator[None]:
    """Make of any other exception, as the code of extensions may raise it, an error that says what it was and where it was raised.

    What ends a run or an example passes: Ctrl-C, ``pytest.exit``, and Hypothesis' end of an example. What skips a test does not, since a
    claim that is not measured has to be seen.

    Raises:
        MeasurementError: the body raised something that is no SteerError.
    """
    try:
        yield
    except SteerError:
        raise
    except BaseException as error:  # panics of Rust, as tokenizers may have them, are no Exceptions
        if not isinstance(error, Exception) and _PASSED & {kind.__name__ for kind in type(error).__mro__}:
            raise
        *_, last = traceback.extract_tb(error.__traceback__)
        place = f"{last.name}, {Path(last.filename).name}:{last.lineno}"
        raise MeasurementError(f"{message_of(error)} (raised in {place}){_why_no_skip(error)}") from error


_PASSED = {"KeyboardInterrupt", "GeneratorExit", "Exit", "StopTest"}


def _why_no_skip(error: BaseException) -> str:
    if not {"Skipped", "SkipTest"} & {kind.__name__ for kind in type(error).__mro__}:
        return ""
    return ". A claim cannot skip itself, or it would leave no verdict: leave it out of the file, or skip the test that calls it"


@contextmanager
def warnings_noted() -> Iterator[list[str]]:
    """Note the texts of our own warnings in the body; every warning is given on at its end."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=SteerWarning, append=True)
        try:
            yield said
        finally:
            said += dict.fromkeys(str(one.message) for one in caught if isinstance(one.message, SteerWarning))
    for one in caught:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno, source=one.source)


class SoundnessError(SteerError):
    """The hooks that steer do not do what they say, so nothing can be claimed of what they do.

    Attributes:
        soundness: what was checked, as in the evidence.
    """

    def __init__(self, message: str, soundness: Soundness) -> None:
        self.soundness = soundness
        super().__init__(message)


class ClaimFileError(SteerError):
    """A claim file, or one claim in it, is wrong.

    Attributes:
        path: the claim file as shown to the user.
        line: 1-based line in the file, or None if not known.
        where: path inside the file, such as ``claims[2].steers.steerability``.
        reason: what is wrong.
        hint: what to do about it, or None.
    """

    def __init__(self, reason: str, *, path: str, line: int | None = None, where: str = "", hint: str | None = None) -> None:
        self.path, self.line, self.where, self.reason, self.hint = path, line, where, reason, hint
        place = f"{path}:{line}" if line is not None else path
        text = ": ".join(part for part in (place, where, reason) if part)
        super().__init__(f"{text}\n  {hint}" if hint else text)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a claim file.

    Attributes:
        path: what is wrong, inside the file: ``("claims", 2, "steers")``.
        reason: why, as the end of a sentence that begins with the path.
        hint: what to do, in full sentences.
        meant: for an unknown key, the valid one that was probably meant.
    """

    path: tuple[str | int, ...]
    reason: str
    hint: str
    meant: str | None = None


class SteerWarning(UserWarning):
    """Something that does not stop a claim but that its reader has to know."""

    def __init__(self, text: str) -> None:
        super().__init__(visible(text))


def warn_caller(text: str) -> None:
    """Give a :class:`SteerWarning` at the line that called this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(SteerWarning(text), stacklevel=level + 1)


_HERE = f"{Path(__file__).parents[1]}{os.sep}"
