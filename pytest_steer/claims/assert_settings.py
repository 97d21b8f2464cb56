"""Assertions about other contexts and data sets than those a claim is first made in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..data import ItemLike, as_items
from ..errors import SteerError
from ..evidence import Evidence
from ..measures import MULTIPLIERS
from ..measures.subject import Subject
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..run_context import Recorder, current_recorder
from ..steering import Intervention, Positions, SteeringVector
from .generalizes import Generalizes
from .holding import hold
from .holds_in_contexts import STATISTICS, HoldsInContexts
from .steers import IntervalMethod

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def assert_generalizes(
    model: Model,
    vector: SteeringVector | Intervention,
    items: Iterable[ItemLike],
    *,
    relative: float,
    contexts: Mapping[str, Context] | None = None,
    data_sets: Mapping[str, Iterable[ItemLike]] | None = None,
    base: Context = AS_GIVEN,
    multipliers: Sequence[float] = MULTIPLIERS,
    multiplier: float = 1.0,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    confidence: float = 0.95,
    name: str = "generalizes",
) -> Evidence:
    """Asserts that steering carries over: in each setting, steerability is at least a share of that in the base context.

    Args:
        relative: the promise: 0.5 is half of the base steerability (relative steerability, Tan et al. 2024).
        contexts: names and contexts in which the same items are measured; paired by item.
        data_sets: names and other items, measured in the base context.
        base: the context that the others are held against.

    The other arguments and what is raised are those of :func:`assert_steers`; also SteerError if the base steerability is
    not proven to be above 0.
    """
    __tracebackhide__ = True
    subject = Subject(
        vector=vector,
        multiplier=multiplier,
        positions=positions,
        include_first=include_first,
        allow_mismatch=allow_mismatch,
    )
    check = Generalizes(
        subject=subject,
        items=as_items(items),
        relative=relative,
        contexts=contexts or {},
        data_sets={name: as_items(other) for name, other in (data_sets or {}).items()},
        base=base,
        multipliers=multipliers,
        confidence=confidence,
        name=name,
    )
    return hold(check, model, "generalizes")


def assert_holds_in_contexts(
    model: Model,
    vector: SteeringVector | Intervention,
    items: Iterable[ItemLike],
    *,
    contexts: SearchStrategy[Context] | Mapping[str, Sequence[Any]],
    steerability: float | None = None,
    anti_steerable: float | None = None,
    effect: float | None = None,
    examples: int | None = None,
    batch: int | None = None,
    listed: Sequence[Context] = (),
    only: Context | None = None,
    multipliers: Sequence[float] = MULTIPLIERS,
    multiplier: float = 1.0,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    confidence: float = 0.95,
    interval: IntervalMethod = "t",
    name: str = "holds_in_contexts",
) -> Evidence:
    """Asserts that one statistic keeps its threshold in the worst context that a search finds (docs/fuzzing.md).

    Args:
        items: held-out contrast items, at least four: a batch is searched on, the others judge what was found.
        contexts: a strategy (``pytest_steer.contexts(...)``), or its axes as a mapping, ``{"option_order": ["as_given",
            "swapped"]}``. With a mapping, every combination of the values and "as given" is allowed, so the search may recombine
            them and set axes back; a strategy's contexts are only drawn, climbed and shrunk by Hypothesis.
        steerability / anti_steerable / effect: the promise, exactly one: least mean slope, largest share of items whose slope is
            <= 0, least mean change of propensity from 0 to ``multiplier``.
        examples / batch: how many contexts are looked at, with how many items; by default what ``--steer-profile`` says.
        listed: contexts that are always tried, before any other.
        only: judge this context and search for no other.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    __tracebackhide__ = True
    promised = {
        "steerability": steerability,
        "anti_steerable": anti_steerable,
        "effect": effect,
    }
    given = [statistic for statistic in STATISTICS if promised[statistic] is not None]
    if len(given) != 1:
        raise SteerError(
            f"assert_holds_in_contexts takes exactly one of {', '.join(STATISTICS)}, not {' and '.join(given) or 'none'}"
        )
    from ..fuzzing.search import survey
    from ..prompting.strategies import contexts as space_of

    recorder = current_recorder() or Recorder(add=lambda _: None, seed=0)
    space = space_of(**contexts) if isinstance(contexts, Mapping) else contexts
    if only is None and recorder.only is not None:
        only = survey(space, seed=recorder.seed).read(recorder.only)
    check = HoldsInContexts(
        subject=Subject(
            vector=vector,
            multiplier=multiplier,
            positions=positions,
            include_first=include_first,
            allow_mismatch=allow_mismatch,
        ),
        items=as_items(items),
        statistic=given[0],
        threshold=float(promised[given[0]] or 0.0),
        space=space,
        free=isinstance(contexts, Mapping),
        multipliers=multipliers,
        confidence=confidence,
        interval=interval,
        examples=recorder.examples if examples is None else examples,
        batch=batch,
        default_batch=recorder.batch,
        listed=tuple(listed),
        memory=recorder.memory(),
        place=f"{recorder.place}::{name}",
        only=only,
        seed=recorder.seed,
        name=name,
    )
    return hold(check, model, "holds_in_contexts")
