"""The settings of a run: one frozen object, set once and read anywhere. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .sources import DEFAULT_MODEL

if TYPE_CHECKING:
    from .evidence import Evidence, Json
    from .record import Report


DTYPES = ("auto", "float32", "bfloat16", "float16")


class Looks(Protocol):
    """Receives what searches plan to try, which depends on the scores so far."""

    def most(self, count: int, what: str) -> None:
        """Note that a search tries at most ``count`` ``contexts`` or ``multipliers``."""

    def look(self, count: int, *, sure: bool) -> AbstractContextManager[None]:
        """Note that the body measures ``count`` of them, with ``sure`` whatever the scores are. 0: other measurements, which may be known."""


@dataclass(frozen=True)
class Effort:
    """How much is measured, where a claim does not say.

    Attributes:
        name: what the header line and reports call it.
        max_items: use the first ``max_items`` items or texts of each data set (None: all).
        max_drawn: draw at most this many items in rounds, at random (None: all).
        in_rounds: draw items in rounds where the claim's bounds may be looked at early.
        max_contexts: contexts that a search may try. batch: items that it measures in each.
    """

    name: str = "ci"
    max_items: int | None = None
    max_drawn: int | None = None
    in_rounds: bool = False
    max_contexts: int = 40
    batch: int = 16


@dataclass(frozen=True)
class RunContext:
    """The settings of one run. The defaults are those of plain Python; pytest and ``pytest-steer`` translate their options into it.

    Attributes:
        seed: everything random follows it.
        effort: how much is measured.
        soundness: check the hooks before the first claim about an intervention.
        model: the model under test; wins over the one that a file names.
        device / dtype / allow_unexpected: how models are loaded, see ``load_model``.
        half_on_cpu: load models in bfloat16 on a CPU where no dtype is named.
        cache: folder in which scores are kept across runs, or None.
        counterexamples: makes and returns the folder in which contexts that broke a claim are kept; None if there is none.
        context: the one context that searches try, as axes to values, or None.
        place: the running test's name, under which counterexamples are kept.
        progress: takes a line about long work, or None.
        evidence: takes the evidence of every assertion and returns it with what the run knows of it, or None.
        option_prefix: how options are written here, for messages.
        baseline: an earlier report that this run is compared with, or None.
        makes_baseline: this run's report becomes the first baseline.
        looks: told of searches, or None.
    """

    seed: int = 0
    effort: Effort = Effort()
    soundness: bool = True
    model: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    half_on_cpu: bool = False
    allow_unexpected: tuple[str, ...] = ()
    cache: Path | None = None
    counterexamples: Callable[[], Path | None] = lambda: None
    context: Json | None = None
    place: str = ""
    progress: Callable[[str], None] | None = None
    evidence: Callable[[Evidence], Evidence] | None = None
    option_prefix: str = "--steer-"
    baseline: Report | None = field(default=None, compare=False, repr=False)
    makes_baseline: bool = False
    looks: Looks | None = field(default=None, compare=False, repr=False)

    def model_name(self, *named: str | None) -> str:
        """The run's model, else the first one that is named, else the built-in one."""
        return next((name for name in (self.model, *named) if name), DEFAULT_MODEL)


_DEFAULTS = RunContext()
_current: ContextVar[RunContext] = ContextVar("steer_run", default=_DEFAULTS)


def current_run() -> RunContext:
    """The context of the running test or command; the defaults outside of both."""
    return _current.get()


@contextmanager
def running(run: RunContext) -> Iterator[None]:
    """Make ``run`` the current context while the body runs."""
    token = _current.set(run)
    try:
        yield
    finally:
        _current.reset(token)


def report_progress(text: str) -> None:
    """Show what is being done, where the run has a place for it."""
    show = current_run().progress
    if show is not None:
        show(text)


def looking(count: int, *, sure: bool) -> AbstractContextManager[None]:
    """The body measures ``count`` of the contexts or multipliers of a search.

    Args:
        count: 0 for other measurements, in a context or at a multiplier that may be known by then.
        sure: it does so whatever the scores are.
    """
    looks = current_run().looks
    return nullcontext() if looks is None else looks.look(count, sure=sure)


def most_looks(count: int, what: str) -> None:
    """Tell the run that a search tries at most ``count`` ``contexts`` or ``multipliers``."""
    looks = current_run().looks
    if looks is not None:
        looks.most(count, what)


# As Linux lists them: x86 (AVX-512, AMX) and ARM.
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@cache
def has_bfloat16(listing: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for bfloat16, by what the system lists of it; False where that cannot be told."""
    try:
        text = listing.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = (line.partition(":")[2] for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return any(_BFLOAT16 & set(line.split()) for line in flags)
