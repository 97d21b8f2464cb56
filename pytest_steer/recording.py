"""Where evidence goes besides its caller: a recorder that the plugin sets around each test. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checks import Evidence


@dataclass(frozen=True)
class Recorder:
    """What a running test wants to know and tells.

    Attributes:
        add: takes every evidence that an assertion made.
        seed: the session's seed.
    """

    add: Callable[[Evidence], None]
    seed: int


_current: ContextVar[Recorder | None] = ContextVar("steer_recorder", default=None)


def current_recorder() -> Recorder | None:
    """The recorder of the test that runs now, or None outside of pytest."""
    return _current.get()


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Sends the evidence of assertions to a recorder while the body runs."""
    token = _current.set(recorder)
    try:
        yield
    finally:
        _current.reset(token)
