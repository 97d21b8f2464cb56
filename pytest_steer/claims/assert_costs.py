"""Assertions about what steering costs, and what it does for that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..data import ItemLike, as_items
from ..evidence import Evidence
from ..measures.at_cost import MOST
from ..measures.subject import Subject
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, Positions, SteeringVector
from .holding import hold, run_seed
from .ppl_delta_below import PplDeltaBelow
from .steers import IntervalMethod
from .steers_at_cost import SteersAtCost

if TYPE_CHECKING:
    pass


def assert_ppl_delta_below(
    model: Model,
    vector: SteeringVector | Intervention,
    texts: Sequence[str],
    *,
    limit: float,
    multiplier: float = 1.0,
    positions: Positions = "all",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    confidence: float = 0.95,
    interval: IntervalMethod = "t",
    name: str = "ppl_delta_below",
) -> Evidence:
    """Asserts that steering raises perplexity on neutral texts by at most a share of itself.

    Args:
        texts: neutral texts, at least two; each is paired with itself.
        limit: the promise: 0.05 allows 5 %.
        multiplier: the deployed strength.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    __tracebackhide__ = True
    subject = Subject(
        vector=vector,
        multiplier=multiplier,
        positions=positions,
        include_first=include_first,
        allow_mismatch=allow_mismatch,
    )
    check = PplDeltaBelow(
        subject=subject,
        texts=texts,
        limit=limit,
        confidence=confidence,
        interval=interval,
        seed=run_seed(),
        name=name,
    )
    return hold(check, model, "ppl_delta_below")


def assert_steers_at_cost(
    model: Model,
    vector: SteeringVector | Intervention,
    items: Iterable[ItemLike],
    texts: Sequence[str],
    *,
    effect: float,
    cost: float,
    standardised: bool = False,
    most: float = MOST,
    multiplier: float = 1.0,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    context: Context = AS_GIVEN,
    confidence: float = 0.95,
    interval: IntervalMethod = "t",
    name: str = "steers_at_cost",
) -> Evidence:
    """Asserts that at the multiplier at which perplexity on neutral texts has risen by ``cost``, the mean effect is at least so much.

    Args:
        texts: neutral texts, at least two; on them the multiplier is chosen.
        effect: the promise: mean over items of propensity at that multiplier minus propensity unsteered; in standard deviations
            of the unsteered propensities if ``standardised``.
        cost: 0.05 is a rise of perplexity by 5 %.
        most: the largest multiplier that is looked at, in deployed ones.
        multiplier: the deployed strength, where the search begins.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    __tracebackhide__ = True
    subject = Subject(
        vector=vector,
        multiplier=multiplier,
        positions=positions,
        include_first=include_first,
        allow_mismatch=allow_mismatch,
    )
    check = SteersAtCost(
        subject=subject,
        items=as_items(items),
        texts=texts,
        effect=effect,
        cost=cost,
        standardised=standardised,
        most=most,
        confidence=confidence,
        interval=interval,
        seed=run_seed(),
        context=context,
        name=name,
    )
    return hold(check, model, "steers_at_cost")
