"""``promotes``: steering raises the likelihood of the matching answers by at least `nats`."""

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


@claim("promotes", title="Steering promotes the matching answers", main="nats")
@dataclass(frozen=True, kw_only=True)
class Promotes:
    """Steering at `multiplier` raises the mean token log-likelihood of the matching answers by at least `nats`.

    The statistic is the mean over items of the change, steered minus unsteered, each item paired with itself (Pres et al. 2024, arXiv
    2410.17245, report both sides apart: see ``suppresses``). With ``direction: lowers`` the answers that do not match are the ones to
    promote. What an answer's likelihood is, is said in ``measures.answer_likelihood``.
    """

    subject: Subject
    items: Items
    nats: Annotated[
        float | None,
        Param(
            "The least mean rise of the matching answers' mean token log-likelihood, for example 0.05.",
            title="Least rise of the log-likelihood",
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
    name: str = "promotes"

    def __post_init__(self) -> None:
        if self.beside is not None:
            object.__setattr__(self, "beside", as_items(self.beside))

    def measure(self, model: Model) -> Evidence:
        """Measure and judge; see ``sides.measure_sides`` for what is raised."""
        return measure_sides(model, self, "promotes", rises=True)

    asks_likelihoods = True  # so that `pytest-steer show` asks about single tokens as this claim does
    remarks = staticmethod(sides_words.remarks)
    figures = staticmethod(sides_words.figures)
    explanation = staticmethod(sides_words.explanation)


def assert_promotes(
    model: Model,
    vector: SteeringVector | Intervention | None,
    items: Iterable[ItemLike],
    *,
    nats: Promise,
    beside: Iterable[ItemLike] | None = None,
    interval: IntervalMethod = "t",
    **shared: Unpack[OverItems],
) -> Evidence:
    """Assert that steering raises the mean token log-likelihood of the matching answers by at least ``nats``.

    Args:
        items: held-out contrast items, at least two: open text, or labels.
        nats: the promise, in nats per token.
        beside: the same behaviour in another form, such as lettered items of the same questions: measured too, shown beside it with the
            rank correlation over the questions that both ask, and never judged.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("promotes", locals())
