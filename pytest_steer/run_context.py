"""Where evidence goes besides its caller: a recorder that the plugin sets around each test. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evidence import Evidence


@dataclass(frozen=True)
class Recorder:
    """What a running test wants to know and tells.

    Attributes:
        add: takes every evidence that an assertion made.
        seed: the session's seed.
        place: what the test is called in the database of bad contexts.
        max_contexts / batch: how many contexts a search looks at, and with how many items.
        memory: the folder of that database, made when it is asked for; None if there is none.
        only: the one context that searches are to look at, as axes to values, or None.
        soundness: check the hooks before the first claim about an intervention.
    """

    add: Callable[[Evidence], None]
    seed: int
    place: str = ""
    max_contexts: int = 40
    batch: int = 16
    memory: Callable[[], Path | None] = lambda: None
    only: Mapping[str, Any] | None = None
    soundness: bool = True


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
