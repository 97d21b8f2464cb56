"""``suppresses``: steering lowers the likelihood of the answers that do not match by at least `nats`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Unpack

from ..data import ItemLike, Items, as_items
from ..evidence import Evidence
from ..measures import MULTIPLIERS
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, SteeringVector
from . import sides_words
from .common import Beside, Interval, IntervalMethod, OverItems
from .holding import hold
from .kinds import claim
from .sides import measure_sides


@claim("suppresses", title="Steering suppresses the answers that do not match", main="nats")
@dataclass(frozen=True, kw_only=True)
class Suppresses:
    """Steering at `multiplier` lowers the mean token log-likelihood of the answers that do not match by at least `nats`.

    The statistic is the mean over items of the fall, unsteered minus steered, each item paired with itself (Pres et al. 2024, arXiv
    2410.17245, report both sides apart: see ``promotes``). With ``direction: lowers`` the matching answers are the ones to suppress. Where
    the other side falls too, the model is degraded and not steered: a warning says so, also beside a pass.
    """

    subject: Subject
    items: Items
    nats: Annotated[
        float | None,
        Param(
            "The least mean fall of the mean token log-likelihood of the answers that do not match, for example 0.05.",
            title="Least fall of the log-likelihood",
            example=0.05,
            at_least=0,
            unit="nats per token",
        ),
    ]
    beside: Beside = None
    interval: Interval = "t"
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    context: Context = AS_GIVEN
    cluster: str | None = None
    name: str = "suppresses"

    def __post_init__(self) -> None:
        if self.beside is not None:
            object.__setattr__(self, "beside", as_items(self.beside))

    def measure(self, model: Model) -> Evidence:
        """Measure and judge; see ``sides.measure_sides`` for what is raised."""
        return measure_sides(model, self, "suppresses", rises=False)

    asks_likelihoods = True  # so that `pytest-steer show` asks about single tokens as this claim does
    remarks = staticmethod(sides_words.remarks)
    figures = staticmethod(sides_words.figures)
    explanation = staticmethod(sides_words.explanation)


def assert_suppresses(
    model: Model,
    vector: SteeringVector | Intervention | None,
    items: Iterable[ItemLike],
    *,
    nats: Promise,
    beside: Iterable[ItemLike] | None = None,
    interval: IntervalMethod = "t",
    **shared: Unpack[OverItems],
) -> Evidence:
    """Assert that steering lowers the mean token log-likelihood of the answers that do not match by at least ``nats``.

    Args:
        nats: the promise, in nats per token.

    The other arguments and what is raised are those of :func:`assert_promotes`.
    """
    return hold("suppresses", locals())
