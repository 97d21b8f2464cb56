"""Progress of long work, for whoever wants to show it. Silent unless a listener is set (the plugin sets one)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("steer_progress", default=None)


def report(text: str) -> None:
    """Tells the listener, if there is one, what is being done."""
    listener = _listener.get()
    if listener is not None:
        listener(text)


@contextmanager
def listening(listener: Callable[[str], None] | None) -> Iterator[None]:
    """Sends progress to a listener while the body runs."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
