"""``kl_below``: steering moves the next token's distribution by less than `limit`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np

from ...core.block import Block, Curve, Distribution, Entry, Line, Series, Table
from ...core.errors import DataError
from ...core.evidence import Direction, Evidence
from ...core.finding import Weight, code
from ...core.numbers import number
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import LEFT_OUT, Compared, Strength
from ...data import ItemLike, Items, Sample, TextLike, Texts, as_items, as_texts, sample_of
from ...data.texts import content_of
from ...measures import MULTIPLIERS, Divergence, asked_as_text, can_have_controls, marked_token
from ...measures.ask import Ask
from ...measures.subject import directions_like
from ...prompting import AS_GIVEN, Context
from ...stats.estimators import Estimator, Mean, Quantile
from .. import show
from ..asserting import assertion
from ..base import Claim
from ..common import Interval
from ..curves import stride_of
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


@dataclass(frozen=True)
class Of:
    """The divergence at the positions of one text or item, in nats: ``kl`` is their mean."""

    id: str
    text: str
    kl: float
    positions: int
    largest: float


@dataclass(frozen=True)
class At:
    """The divergence at one position, in nats, and the token that is predicted there."""

    id: str
    position: int
    kl: float
    text: str


@dataclass(frozen=True)
class Controls:
    """The mean divergence of each of ``count`` random directions, on ``n`` texts or items."""

    count: int
    seed: int
    n: int
    kl: list[float]


@dataclass(frozen=True, kw_only=True)
class Details:
    """What the evidence says beside its verdict, in nats.

    Attributes:
        on: ``texts`` or ``items``, under which name it has one entry for each.
        mean: over texts or items. noise_floor: what rounding can make of an unchanged model.
        positions: of all texts or items. within_limit: how many of them are; None without a limit.
        quantiles: over the positions. curve: (multiplier, mean divergence).
    """

    on: str
    mean: float
    noise_floor: float
    positions: int
    within_limit: int | None
    quantiles: dict[str, float]
    curve: list[tuple[float, float]] | None
    texts: list[Of] | None = field(default=None, metadata=LEFT_OUT)
    items: list[Of] | None = field(default=None, metadata=LEFT_OUT)
    worst_positions: list[At]
    controls: Controls | None = field(default=None, metadata=LEFT_OUT)


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
        units, at, q = sample.units, float(ask.subject.multiplier), self.quantile
        grid = [*map(float, self.multipliers)] if self.curve else []
        found, *others = self._divergences(ask, units, [at, *grid])
        every, each, is_of_texts = np.concatenate(found.per_position), _of_each(sample, found), isinstance(units, Texts)
        estimator: Estimator = Mean(self.interval, self.seed) if q is None else Quantile(q)
        entries, values = (counted(sample), found.per_text) if q is None else (_positions(sample, found), every)
        bounds = estimator.infer(values, entries.clusters, confidence=self.confidence, direction=Direction.AT_MOST)
        asked = [replace(probe, diverges=False) for probe in found.probes]
        floor = ask.noise(asked)
        still = floor.score**2 / 2
        known_to = math.sqrt(2 * bounds.estimate) * (floor.answer if q is None else floor.score) + still
        nothing = moves_nothing(
            f"the divergence, {number(bounds.estimate)}, is below what rounding alone can make of an unchanged model ({number(still)} in "
            f"{ask.model.dtype}): on these {sample.called} the vector moves nothing that can be measured"
        )
        reading = ask.reading(units)
        return Measurement(
            sample=sample,
            values=values,
            estimator=estimator,
            statistic="KL divergence" if q is None else f"{q:g} quantile of the KL divergence",
            direction=Direction.AT_MOST,
            probes=found.probes,
            noisy=asked,
            moved=lambda _: known_to,
            units=entries,
            asked=asked_as_text(ask.model, found.probes[0]),
            reads=[Read(reading, sample.clusters, texts=units, asked=found.asked) if is_of_texts else Read(reading)],
            how={"on": sample.called},
            unpaired=None if q is None else "a quantile over positions is not a mean over units",
            compared=Compared(deployed=Strength(at, kl=found.value)) if is_of_texts else None,
            findings=[nothing] if bounds.estimate < still else [],
            details=Details(
                on=sample.called,
                mean=found.value,
                noise_floor=still,
                positions=int(every.size),
                within_limit=None if self.threshold is None else int((every <= self.threshold).sum()),
                quantiles={f"{share:g}": found.quantile(share) for share in (0.5, 0.9, 0.99, 1)},
                curve=[(multiplier, one.value) for multiplier, one in zip(grid, others, strict=True)] or None,
                texts=each if is_of_texts else None,
                items=None if is_of_texts else each,
                worst_positions=_worst_positions(ask, found, sample.names),
            ),
        )

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, Controls]:
        """The divergence of a few random directions of equal norm on some of the texts or items, beside one that cannot be told from 0."""
        estimate = judgement.estimate
        if estimate is None or estimate >= measured.details.noise_floor or not can_have_controls(ask.subject):
            return {}
        units = measured.sample.units
        some = units[:: stride_of(len(units), _CONTROL_UNITS)]
        drawn = directions_like(ask.subject, _CONTROLS, self.seed).values()
        kl = [self._divergences(ask.in_place(one), some, [ask.subject.multiplier])[0].value for one in drawn]
        return {"controls": Controls(len(kl), self.seed, len(some), kl)}

    def _divergences(self, ask: Ask, units: Texts | Items, multipliers: Sequence[float]) -> list[Divergence]:
        if isinstance(units, Texts):
            return ask.divergence(units, multipliers, source=self.source)
        return ask.divergence_at_answers(units, multipliers)

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        """How the divergences are spread, over the positions and over the multipliers."""
        own: Details = evidence.own
        each = own.quantiles
        kept = "" if own.within_limit is None else f" {own.within_limit / own.positions:.1%} are within the limit"
        where = "positions" if own.on == "texts" else "answers"
        yield Line(
            f"of {own.positions} {where}{kept}: mean {number(own.mean)}, median {number(each['0.5'])}, "
            f"worst decile from {number(each['0.9'])}, largest {number(each['1'])} nats"
        )
        if own.curve:
            yield Curve(
                [Series("KL divergence", sorted({0.0: 0.0, **dict(own.curve)}.items()))],
                "mean KL divergence, nats",
                marked=show.deployed_mark(evidence),
                promised=[] if "quantile" in evidence.statistic else show.promised_in(evidence),
                title="Divergence over the multiplier",
                about="The unsteered model, at 0, diverges by 0.",
            )
        if found := own.controls:
            yield Line(
                f"controls: {found.count} random directions of equal norm, on {found.n} {own.on}, have a divergence of "
                f"{number(min(found.kl))} to {number(max(found.kl))} nats"
            )

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        own: Details = evidence.own
        unit, every = own.on, own.texts or own.items or []
        yield Distribution(
            [one.kl for one in every],
            "KL divergence, nats",
            unit,
            title=f"Divergence by {unit.removesuffix('s')}",
            about=f"Mean KL divergence over the positions of each of {len(every)} {unit}.",
        )
        worst = sorted(every, key=lambda one: -one.kl)
        yield from show.items_block(
            (Entry(one.id, one.kl, f"{number(one.kl)}, {number(one.largest)}", one.text) for one in worst),
            title=f"worst {unit} (nats, mean over positions and largest)",
            value="divergence",
        )
        yield Table(
            [[f"[{one.id}]", number(one.kl), one.text] for one in own.worst_positions],
            title="worst positions (nats, and the token that is predicted there)",
        )


assert_kl_below = assertion(KlBelow)


def _positions(sample: Sample[Any], found: Divergence) -> Counted:
    """The positions of all texts or items as what is counted; n counts the independent texts or items that they are of."""
    places, names, forms = np.repeat(np.arange(len(sample.units)), found.tokens).tolist(), sample.names, sample.forms
    labels = places if sample.clusters is None else [sample.clusters[at] for at in places]
    clusters = None if sample.n == len(places) else labels
    own = [names[at] for at in places], [forms[at] for at in places]
    return Counted(*own, sample.called, clusters, sample.n, sample.counted)


def _of_each(sample: Sample[Any], found: Divergence) -> list[Of]:
    texts = [item.question for item in sample.units] if isinstance(sample.units, Items) else map(content_of, sample.units)
    each = zip(sample.names, texts, found.per_text.tolist(), found.per_position, strict=True)
    return [Of(name, text, kl, len(own), float(own.max())) for name, text, kl, own in each]


def _worst_positions(ask: Ask, found: Divergence, names: Sequence[str]) -> list[At]:
    places = [
        (float(kl), names[owner], probe, probe.score_from + index)
        for owner, probe, own in found.of_probes()
        for index, kl in enumerate(own)
    ]
    worst = sorted(places, key=lambda place: -place[0])[:_WORST_POSITIONS]
    return [At(name, at, kl, marked_token(ask.model, probe, at)) for kl, name, probe, at in worst]
