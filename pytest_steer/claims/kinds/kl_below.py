"""``kl_below``: steering moves the next token's distribution by less than `limit`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np

from ...core.block import Block, Curve, Distribution, Entry, Line, Series, Table
from ...core.errors import DataError
from ...core.evidence import Direction, Evidence
from ...core.finding import Finding, Weight, code
from ...core.numbers import number
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import Compared, Strength
from ...data import ItemLike, Items, Sample, TextLike, Texts, as_items, as_texts, sample_of
from ...data.texts import content_of
from ...measures import MULTIPLIERS, Divergence, asked_as_text, can_have_controls, marked_token
from ...measures.ask import Ask
from ...measures.subject import directions_like
from ...model import Model
from ...prompting import AS_GIVEN, Context
from ...stats.estimators import Estimator, Mean, Quantile
from .. import show
from ..asserting import assertion
from ..base import Claim
from ..common import Interval
from ..controls import stride_of
from ..judging import Judgement
from ..kind import claim
from ..measurement import Counted, Measurement, Read, counted

_WORST_POSITIONS = 5
# A few directions on a few texts say whether any of this norm can be seen; each text is read at all its positions.
_CONTROLS, _CONTROL_UNITS = 3, 8

moves_nothing = code(
    "moves-nothing",
    signal="The divergence is below what rounding makes of an unchanged model.",
    meaning="The vector moves nothing that can be measured on these data, so the promise would be kept by any vector that does nothing.",
    cure="Look at the controls, and at the multiplier and layer that are deployed.",
    weight=Weight.MEANINGLESS,
)


@claim(
    "kl_below",
    title="Steering moves the next token's distribution little",
    main="limit",
    either=("texts", "items"),
    directed=False,
    only_with={"context": "items", "cluster": "items", "multipliers": "curve"},
    not_with={"interval": "quantile"},
)
class KlBelow(Claim):
    """Steering at `multiplier` moves the next token's distribution by a Kullback-Leibler divergence of at most `limit`.

    The divergence is KL(unsteered || steered) in nats, over the whole vocabulary. On neutral texts it is taken at every position that
    predicts a token (all but the first of each text, as ``ppl_delta_below`` scores): the mean over the positions of a text, then over texts. With
    `quantile: 0.9` the worst decile is promised instead: the quantile over the positions of all texts. On items it is taken at the
    position that predicts the answer's first scored token.

    Attributes:
        data: neutral texts, which the behaviour has nothing to do with, or contrast items; at least two.
        texts / items: the same under their own names, as a claim file fills them in. One of the two is measured.
        multipliers: of the curve. context: how the items are put to the model.
        cluster: a key of the items' ``meta`` that names what belongs together: bounds are over clusters.
        source: where the texts come from, for messages.

    Raises:
        DataError: there are neither texts nor items, or not those that ``on`` names.
    """

    data: Sequence[TextLike] | Iterable[ItemLike] | None = field(default=None, kw_only=False)
    limit: Annotated[
        Promise,
        Param(
            "The largest divergence from the unsteered model.",
            title="Largest divergence",
            example=0.1,
            above=0,
            unit="nats",
            weak_from=3,
            weak="lets another distribution take its place: at 3 nats the likeliest token can become 20 times less likely",
            schema={"type": "number"},
        ),
    ]
    quantile: Annotated[
        float | None,
        Param(
            "Promise this quantile over all positions instead of the mean: 0.9 means that 90 % of them stay within the limit.",
            title="Quantile over positions",
            example=0.9,
            above=0,
            below=1,
            weak_to=0.49,
            weak="lets more than half of the positions exceed the limit; the worst decile is written 0.9",
            schema={"type": ["number", "null"], "default": None},
        ),
    ] = None
    on: Annotated[
        Literal["auto", "texts", "items"],
        Param(
            "texts: at every position of `data.neutral`; items: where the answers of `data.test` begin; auto: the texts, if there are some.",
            title="Measured on",
            example="items",
        ),
    ] = "auto"
    curve: Annotated[
        bool,
        Param(
            "true: the report has the mean divergence at every multiplier of `multipliers` too. Each costs as much as the deployed one.",
            judges=True,
            title="Divergence over multipliers",
            example=True,
        ),
    ] = False
    texts: Sequence[TextLike] | None = None
    items: Iterable[ItemLike] | None = None
    multipliers: Sequence[float] = MULTIPLIERS
    interval: Interval = "t"
    context: Context = AS_GIVEN
    cluster: str | None = None
    source: str = "texts"

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("texts", "items") if getattr(self, name) is not None]
        if not given or self.on not in ("auto", *given):
            raise DataError(
                f"{self.name}: there are no {'texts and no items' if self.on == 'auto' else self.on} to measure on"
            )

    @cached_property
    def sampled(self) -> Sample[Texts] | Sample[Items]:
        """The distinct texts or items that are measured, and their clusters."""
        if self.on != "items" and self.texts is not None:
            return sample_of(as_texts(self.texts, self.source))
        assert self.items is not None
        return sample_of(as_items(self.items), self.cluster)

    def measure(self, ask: Ask) -> Measurement:
        sample: Sample[Any] = self.sampled
        units, is_of_texts = sample.units, isinstance(sample.units, Texts)
        grid = [ask.subject.multiplier, *(self.multipliers if self.curve else ())]
        found, *others = self._divergences(ask, units, grid)
        every = np.concatenate(found.per_position)
        entries = counted(sample) if self.quantile is None else _positions(sample, found)
        values = found.per_text if self.quantile is None else every
        estimator: Estimator = Mean(self.interval, self.seed) if self.quantile is None else Quantile(self.quantile)
        estimate = estimator.infer(
            values, entries.clusters, confidence=self.confidence, direction=Direction.AT_MOST
        ).estimate
        asked = [replace(probe, diverges=False) for probe in found.probes]
        floor = ask.noise(asked)
        still = floor.score**2 / 2
        known_to = math.sqrt(2 * estimate) * (floor.answer if self.quantile is None else floor.score) + still
        texts = {"texts": units, "asked": found.asked} if is_of_texts else {}
        return Measurement(
            sample=sample,
            values=values,
            estimator=estimator,
            statistic="KL divergence" if self.quantile is None else f"{self.quantile:g} quantile of the KL divergence",
            direction=Direction.AT_MOST,
            probes=found.probes,
            noisy=asked,
            moved=lambda _: known_to,
            units=entries,
            asked=asked_as_text(ask.model, found.probes[0]),
            reads=[Read(ask.reading(units), sample.clusters if is_of_texts else None, **texts)],
            how={"on": sample.called},
            unpaired=None if self.quantile is None else "a quantile over positions is not a mean over units",
            compared=Compared(deployed=Strength(float(ask.subject.multiplier), kl=found.value)) if is_of_texts else None,
            findings=[_of_nothing(estimate, still, ask.model, sample.called)] if estimate < still else [],
            details={
                "on": sample.called,
                "mean": found.value,
                "noise_floor": still,
                "positions": int(every.size),
                "within_limit": None if self.threshold is None else int((every <= self.threshold).sum()),
                "quantiles": {f"{q:g}": found.quantile(q) for q in (0.5, 0.9, 0.99, 1)},
                "curve": [[float(m), own.value] for m, own in zip(grid[1:], others, strict=True)] or None,
                sample.called: _records(sample, found),
                "worst_positions": _worst_positions(ask.model, found, sample.names),
            },
        )

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, Any]:
        """The divergence of a few random directions of equal norm on some of the texts or items, beside one that cannot be told from 0."""
        estimate = judgement.estimate
        if estimate is None or estimate >= measured.details["noise_floor"] or not can_have_controls(ask.subject):
            return {}
        units = measured.sample.units
        some = units[:: stride_of(len(units), _CONTROL_UNITS)]
        drawn = directions_like(ask.subject, _CONTROLS, self.seed).values()
        kl = [self._divergences(ask.in_place(one), some, [ask.subject.multiplier])[0].value for one in drawn]
        return {"controls": {"count": len(kl), "seed": self.seed, "n": len(some), "kl": kl}}

    def _divergences(self, ask: Ask, units: Texts | Items, multipliers: Sequence[float]) -> list[Divergence]:
        if isinstance(units, Texts):
            return ask.divergence(units, multipliers, source=self.source)
        return ask.divergence_at_answers(units, multipliers)

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        """How the divergences are spread, over the positions and over the multipliers."""
        details = evidence.details
        each, within = details["quantiles"], details["within_limit"]
        kept = "" if within is None else f" {within / details['positions']:.1%} are within the limit"
        where = "positions" if details["on"] == "texts" else "answers"
        yield Line(
            f"of {details['positions']} {where}{kept}: mean {number(details['mean'])}, median {number(each['0.5'])}, "
            f"worst decile from {number(each['0.9'])}, largest {number(each['1'])} nats"
        )
        if details["curve"]:
            yield Curve(
                [Series("KL divergence", sorted({0.0: 0.0, **dict(details["curve"])}.items()))],
                "mean KL divergence, nats",
                marked=show.deployed_mark(evidence),
                promised=[] if "quantile" in evidence.statistic else show.promised_in(evidence),
                title="Divergence over the multiplier",
                about="The unsteered model, at 0, diverges by 0.",
            )
        if found := details.get("controls"):
            yield Line(
                f"controls: {found['count']} random directions of equal norm, on {found['n']} {details['on']}, have a divergence of "
                f"{number(min(found['kl']))} to {number(max(found['kl']))} nats"
            )

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        details = evidence.details
        unit = details["on"]
        yield Distribution(
            [one["kl"] for one in details[unit]],
            "KL divergence, nats",
            unit,
            title="Divergence by text" if unit == "texts" else "Divergence by item",
            about=f"Mean KL divergence over the positions of each of {len(details[unit])} {unit}.",
        )
        yield from show.items_block(
            (
                Entry(one["id"], one["kl"], f"{number(one['kl'])}, {number(one['largest'])}", one["text"])
                for one in sorted(details[unit], key=lambda one: -float(one["kl"]))
            ),
            title=f"worst {unit} (nats, mean over positions and largest)",
            value="divergence",
        )
        yield Table(
            [[f"[{one['id']}]", number(one["kl"]), one["text"]] for one in details["worst_positions"]],
            title="worst positions (nats, and the token that is predicted there)",
        )


assert_kl_below = assertion(KlBelow)


def _positions(sample: Sample[Any], found: Divergence) -> Counted:
    """The positions of all texts or items as what is counted; n counts the independent texts or items that they are of."""
    places = np.repeat(np.arange(len(sample.units)), found.tokens)
    labels = places if sample.clusters is None else np.array(sample.clusters)[places]
    clusters = None if sample.n == len(places) else labels.tolist()
    names, forms = sample.names, sample.forms
    own = [int(place) for place in places]
    return Counted([names[at] for at in own], [forms[at] for at in own], sample.called, clusters, sample.n, sample.counted)


def _of_nothing(estimate: float, still: float, model: Model, unit: str) -> Finding:
    return moves_nothing(
        f"the divergence, {number(estimate)}, is below what rounding alone can make of an unchanged model ({number(still)} in {model.dtype}): on "
        f"these {unit} the vector moves nothing that can be measured"
    )


def _records(sample: Sample[Any], found: Divergence) -> list[dict[str, Any]]:
    """The evidence's record of each text or item."""
    texts = [item.question for item in sample.units] if isinstance(sample.units, Items) else map(content_of, sample.units)
    return [
        {"id": name, "text": text, "kl": float(kl), "positions": int(count), "largest": float(own.max())}
        for name, text, kl, count, own in zip(
            sample.names, texts, found.per_text, found.tokens, found.per_position, strict=True
        )
    ]


def _worst_positions(model: Model, found: Divergence, names: Sequence[str]) -> list[dict[str, Any]]:
    """Where the divergence is largest, and the token that stands there."""
    places = [
        (float(kl), names[owner], probe, probe.score_from + index)
        for owner, probe, own in found.of_probes()
        for index, kl in enumerate(own)
    ]
    worst = sorted(places, key=lambda place: -place[0])[:_WORST_POSITIONS]
    return [{"id": name, "position": at, "kl": kl, "text": marked_token(model, probe, at)} for kl, name, probe, at in worst]
