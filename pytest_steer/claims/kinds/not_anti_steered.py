"""``not_anti_steered``: the share of items that move the wrong way is at most `share`."""

from __future__ import annotations

from typing import Annotated, Literal

from ...core.evidence import Direction
from ...core.parameters import Param
from ...core.promises import Promise
from ...measures import Array, NoiseFloor, PropensityCurve
from ...measures.ask import Ask
from ...stats.estimators import Share
from .. import show
from ..asserting import assertion
from ..base import OverCurve
from ..common import WEAK_SHARE
from ..kind import Starter, claim
from ..measurement import Measurement


@claim(
    "not_anti_steered",
    title="Few items are steered the wrong way",
    main="share",
    starter=Starter(3, {"init": ("share",), "sweep": ("share",), "compare-methods": ("share", "by")}),
)
class NotAntiSteered(OverCurve):
    """The share of items that move the wrong way is at most `share`.

    The bounds are exact binomial ones (Clopper & Pearson 1934). ``by: slope`` counts items whose slope is <= 0, so a tie counts as
    anti-steerable (Tan et al. 2024); ``by: effect`` counts items whose propensity at the deployed multiplier is below that at 0, so a
    tie is not (Braun et al. 2025, arXiv 2505.22637). With ``direction: lowers`` items that do not fall towards the deployed multiplier,
    or rise at it, count.
    """

    share: Annotated[
        Promise,
        Param(
            "The largest share of items that may be steered the wrong way: 0.25 means 25 %.",
            title="Largest share of anti-steerable items",
            example=0.25,
            above=0,
            below=1,
            weak_from=0.6,
            weak=WEAK_SHARE,
        ),
    ]
    by: Annotated[
        Literal["slope", "effect"],
        Param(
            "slope: the item's steerability is not above 0; effect: its propensity falls at the deployed multiplier.",
            title="What makes an item anti-steerable",
            example="slope",
        ),
    ] = "slope"

    def measure(self, ask: Ask) -> Measurement:
        by_slope, at = self.by == "slope", float(self.multiplier)
        sign = self.subject.slope_sign if by_slope else self.subject.effect_sign

        def changes(curve: PropensityCurve) -> Array:
            return curve.slopes if by_slope else curve.effects(at)

        def is_wrong(curve: PropensityCurve) -> Array:
            towards = sign * changes(curve)
            return (towards <= 0 if by_slope else towards < 0).astype(float)

        def left_open(floor: NoiseFloor, curve: PropensityCurve) -> float:
            room = floor.slope(curve.multipliers.tolist()) if by_slope else floor.effect
            return float((abs(changes(curve)) < room).mean())

        # An intervention without a slope has no curve: its deployed strength is compared with the unsteered model.
        linear = self.subject.intervention.strength == "linear"
        measured = self.over_curve(
            ask,
            is_wrong,
            Share(self.in_rounds()),
            statistic=show.wrong_share(sign) if by_slope or sign > 0 else "share that rises",
            moved=left_open,
            direction=Direction.AT_MOST,
            grid=None if by_slope else sorted({*(self.multipliers if linear else ()), 0.0, at}),
            is_slope=by_slope,
        )
        assert measured.curve is not None
        effects = {} if by_slope else {"effects": [float(effect) for effect in measured.curve.effects(at)]}
        counts = {"by": self.by, "anti_steered_items": int(measured.values.sum())}
        return measured.but(details={**measured.details, **counts, **effects})


assert_not_anti_steered = assertion(NotAntiSteered)
