"""``steers``: the behaviour rises with the multiplier, by at least `steerability`."""

from __future__ import annotations

from typing import Annotated

from ...core.errors import SteerError
from ...core.parameters import Param
from ...core.promises import Promise
from ...measures.ask import Ask
from ...stats.estimators import Mean
from .. import show
from ..asserting import assertion
from ..base import OverCurve
from ..common import WEAK_MEAN, Interval
from ..kind import Starter, claim
from ..measurement import Measurement


@claim(
    "steers",
    title="The vector steers",
    main="steerability",
    starter=Starter(1, {"init": ("steerability",), "sweep": ("steerability",)}),
)
class Steers(OverCurve):
    """The mean steerability over the test items is at least `steerability`.

    Steerability is the slope of an item's propensity over the multipliers (Tan et al. 2024). With ``direction: lowers`` the claim is that
    propensity falls by as much per unit, from 0 to the deployed multiplier. A pass whose slope the effect at the deployed multiplier
    contradicts is inconclusive.

    Raises:
        SteerError: ``sequential`` with another interval than t, which has no anytime-valid bound.
    """

    steerability: Annotated[
        Promise,
        Param(
            "The least mean steerability: the change of propensity per unit of multiplier, for example 0.3.",
            title="Least mean steerability",
            example=0.3,
            unit="propensity per unit of the multiplier",
            weak_to=-1,
            weak=WEAK_MEAN,
        ),
    ]
    interval: Interval = "t"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sequential and self.interval != "t":
            raise SteerError(
                f"sequential: true goes with interval: t; {self.interval} has no bound that may be looked at early"
            )

    def measure(self, ask: Ask) -> Measurement:
        sign = ask.subject.slope_sign
        return self.over_curve(
            ask,
            lambda curve: sign * curve.slopes,
            Mean(self.interval, self.seed, self.in_rounds(self.interval)),
            statistic=show.steerability(sign),
            moved=lambda floor, curve: floor.slope(curve.multipliers.tolist()),
        )


assert_steers = assertion(Steers)
