"""``kl_below``: steering moves the next token's distribution by less than `limit`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Unpack

import numpy as np

from ..data import Completion, ItemLike, Items, TextLike, Texts, as_texts, sample_of
from ..data.texts import content_of
from ..errors import DataError
from ..evidence import Evidence, Verdict
from ..measures import (
    MULTIPLIERS,
    Array,
    Divergence,
    Reading,
    asked_as_text,
    can_have_controls,
    kl_at_answers,
    kl_curve,
    marked_token,
    noise_floor,
    perplexity,
    reading_of_questions,
    reading_of_texts,
    unreached_warnings,
)
from ..measures.controls import directions_like
from ..measures.subject import Subject
from ..model import Model, Probe
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..stats import Direction, Inference, items_needed_quantile, quantile
from ..steering import Intervention, SteeringVector
from . import kl_words
from .common import InContexts, Interval, IntervalMethod
from .doubts import look_closer
from .holding import hold
from .judged import judged, mean_of
from .kinds import claim
from .leaks import text_leaks
from .no_effect import step_of
from .numbers import number
from .over_items import check_moved, data_warnings
from .units import units_record
from .unread import withhold_unread

MeasuredOn = Literal["auto", "texts", "items"]

_WORST_POSITIONS = 5
# A few directions on a few texts say whether any of this norm can be seen; each text is read at all its positions.
_CONTROLS, _CONTROL_UNITS = 3, 8


@claim(
    "kl_below",
    title="Steering moves the next token's distribution little",
    main="limit",
    either=("texts", "items"),
    directed=False,
    only_with={"context": "items", "cluster": "items", "multipliers": "curve"},
    not_with={"interval": "quantile"},
)
@dataclass(frozen=True, kw_only=True)
class KlBelow:
    """Steering at `multiplier` moves the next token's distribution by a Kullback-Leibler divergence of at most `limit`.

    The divergence is KL(unsteered || steered) in nats, over the whole vocabulary. On neutral texts it is taken at every position that
    predicts a token (all but the first of each text, as ``ppl_delta_below`` scores): the mean over the positions of a text, then over texts. With
    `quantile: 0.9` the worst decile is promised instead: the quantile over the positions of all texts. On items it is taken at the
    position that predicts the answer's first scored token.

    Attributes:
        texts: neutral texts: text that the behaviour has nothing to do with. items: contrast items. One of the two is measured.
        source: where the texts come from, for messages.

    Raises:
        DataError: there are neither texts nor items, or not those that ``on`` names.
    """

    subject: Subject
    limit: Annotated[
        float | None,
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
        MeasuredOn,
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
            title="Divergence over multipliers",
            example=True,
        ),
    ] = False
    texts: Sequence[TextLike] | None = None
    items: Items | None = None
    multipliers: Sequence[float] = MULTIPLIERS
    interval: Interval = "t"
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    context: Context = AS_GIVEN
    cluster: str | None = None
    source: str = "texts"
    name: str = "kl_below"

    def __post_init__(self) -> None:
        given = [name for name in ("texts", "items") if getattr(self, name) is not None]
        if not given or self.on not in ("auto", *given):
            raise DataError(
                f"{self.name}: there are no {'texts and no items' if self.on == 'auto' else self.on} to measure on"
            )

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two texts or items, or one that cannot be scored.
            SoundnessError: the hooks do not do what they say.
            VectorError, MeasurementError: see ``kl_divergence`` and ``check_fits``.
        """
        on_texts = self.on != "items" and self.texts is not None
        taken = _of_texts(self) if on_texts else _of_items(self)
        subject = self.subject
        soundness = check_before(model, subject)
        grid = [subject.multiplier, *(self.multipliers if self.curve else ())]
        found, *others = taken.at(model, grid)
        units = range(len(found.per_position)) if taken.clusters is None else taken.clusters
        every = np.concatenate(found.per_position)
        # Where nothing is steered both sides are one computation, and differ by nothing at all.
        check_moved(model, subject, (every > 0).astype(float), f"the {taken.unit}")
        of_position = np.repeat(np.array(units), found.tokens)
        is_single = len(set(units)) == len(every)
        values = every if self.quantile else found.per_text
        clusters = (None if is_single else of_position.tolist()) if self.quantile else taken.clusters

        inferred = self._inferred(values, clusters)
        asked = [replace(probe, diverges=False) for probe in found.probes]
        floor = noise_floor(model, asked, subject.intervention, subject.multiplier)
        known_to = math.sqrt(2 * inferred.estimate) * (floor.score if self.quantile else floor.answer) + floor.score**2 / 2
        evidence = judged(
            model,
            subject,
            inferred,
            found.probes,
            threshold=self.limit,
            direction=Direction.AT_MOST,
            confidence=self.confidence,
            min_n=self.min_n,
            noisy=asked,
            moved=lambda _: known_to,
            check="kl_below",
            name=self.name,
            statistic="KL divergence" if self.quantile is None else f"{self.quantile:g} quantile of the KL divergence",
            n=len(set(units)),
            unit=taken.unit if taken.clusters is None else "clusters",
            data=taken.described,
            soundness=soundness,
            asked=asked_as_text(model, found.probes[0]),
            warnings=[
                *taken.warnings,
                *(unreached_warnings(_by_text(found)) if on_texts else []),
            ],
            details={
                **taken.details,
                "on": "texts" if on_texts else "items",
                "mean": found.value,
                "noise_floor": floor.score**2 / 2,
                "positions": int(every.size),
                "within_limit": None if self.limit is None else int((every <= self.limit).sum()),
                "quantiles": {f"{q:g}": found.quantile(q) for q in (0.5, 0.9, 0.99, 1)},
                "curve": [[float(m), own.value] for m, own in zip(grid[1:], others, strict=True)] or None,
                taken.unit: [
                    {"id": name, "text": text, "kl": float(kl), "positions": int(count), "largest": float(own.max())}
                    for name, text, kl, count, own in zip(
                        taken.names, taken.texts, found.per_text, found.tokens, found.per_position, strict=True
                    )
                ],
                "worst_positions": _worst_positions(model, found, taken.names),
            },
        )
        # The likelihoods of the texts came with the divergences.
        evidence.details["reading"] = withhold_unread(evidence, taken.reading(model), taken.clusters if on_texts else None)
        if self.quantile is None:
            how = {} if on_texts else {"context": self.context.to_dict()}
            evidence.units = units_record(
                taken.forms, taken.names, values, unit=taken.unit, clusters=taken.clusters, how=how
            )
            look_closer(evidence, values, self._inferred, self.limit, taken.clusters, taken.names)
        else:
            evidence.unpaired = "a quantile over positions is not a mean over units"
            if evidence.verdict is Verdict.INCONCLUSIVE and self.limit is not None and "withheld" not in evidence.details:
                evidence.items_needed = items_needed_quantile(inferred, self.limit)
        if inferred.estimate < floor.score**2 / 2:
            evidence.warnings.append(
                f"the divergence, {number(inferred.estimate)}, is below what rounding alone can make of an unchanged model "
                f"({number(floor.score**2 / 2)} in {model.dtype}): on these {taken.unit} the vector moves nothing that can be measured"
            )
            evidence.details |= self._controls(model, on_texts, taken.unit)
        if on_texts:
            evidence.compared = {"deployed": {"multiplier": float(subject.multiplier), "kl": found.value}}
        return evidence

    def _controls(self, model: Model, on_texts: bool, unit: str) -> dict[str, Any]:
        """The divergence of a few random directions of equal norm on some of the texts or items, beside one that cannot be told from 0."""
        if not can_have_controls(self.subject):
            return {}
        every: Any = self.texts if on_texts else self.items
        some = every[:: step_of(len(every), _CONTROL_UNITS)]
        found = []
        for direction in directions_like(self.subject, _CONTROLS, self.seed).values():
            one = copy(self)  # not `replace`, which would give every field, also those that mean nothing here
            for name, value in (("subject", replace(self.subject, vector=direction)), (unit, some)):
                object.__setattr__(one, name, value)
            found.append((_of_texts if on_texts else _of_items)(one).at(model, [self.subject.multiplier])[0].value)
        return {"controls": {"count": len(found), "seed": self.seed, "n": len(some), "kl": found}}

    def _inferred(self, values: Array, clusters: Sequence[int] | None = None) -> Inference:
        if self.quantile is not None:
            return quantile(values, self.quantile, confidence=self.confidence, clusters=clusters)
        return mean_of(values, self.interval, confidence=self.confidence, seed=self.seed, clusters=clusters)

    remarks = staticmethod(kl_words.remarks)
    explanation = staticmethod(kl_words.explanation)
    figures = staticmethod(kl_words.figures)


def assert_kl_below(
    model: Model,
    vector: SteeringVector | Intervention | None,
    data: Sequence[str] | Iterable[ItemLike],
    *,
    limit: Promise,
    quantile: float | None = None,
    on: MeasuredOn = "auto",
    curve: bool = False,
    interval: IntervalMethod = "t",
    **shared: Unpack[InContexts],
) -> Evidence:
    """Assert that steering moves the next token's distribution by a Kullback-Leibler divergence of at most ``limit``.

    Args:
        data: neutral texts, each read as it is, at every position that predicts a token; or contrast items, at the position that predicts the
            first scored token of their answers. At least two.
        limit: the promise, in nats: of the mean over texts of the mean over positions, or over items.
        quantile: promise this quantile over all positions instead: 0.9 allows one in ten to exceed the limit.
        on: ``texts`` or ``items``; by default what ``data`` is.
        curve: measure the multipliers of ``multipliers`` too.
        multiplier: the deployed strength.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    given = locals()
    if not isinstance(data, str) and isinstance(data, Iterable):
        every = data if isinstance(data, (Items, Texts)) else list(data)
        is_text = on == "texts" or (on != "items" and all(isinstance(one, (str, Completion)) for one in every))
        given |= {"data": every, "texts" if is_text else "items": every}
    return hold("kl_below", given)


@dataclass(frozen=True, eq=False)
class _Measured:
    """What a claim is measured on.

    Attributes:
        at: the divergences at some multipliers. reading: how the unsteered model reads the texts or questions.
        clusters: the cluster of each unit, or None if each stands for itself.
        names / texts: of the units, for the words. forms: their content in normal form.
        described: the evidence's ``data`` record.
    """

    at: Callable[[Model, Sequence[float]], list[Divergence]]
    reading: Callable[[Model], Reading | None]
    unit: str
    names: list[str]
    texts: list[str]
    forms: list[tuple[str, ...]]
    described: dict[str, Any]
    clusters: Sequence[int] | None = None
    warnings: Sequence[str] = ()
    details: dict[str, Any] = field(default_factory=dict)


def _of_texts(claim: KlBelow) -> _Measured:
    assert claim.texts is not None
    sample = sample_of(as_texts(claim.texts, claim.source))
    texts = sample.units
    subject = claim.subject

    def at(model: Model, grid: Sequence[float]) -> list[Divergence]:
        try:
            return kl_curve(model, texts, subject.intervention, multipliers=grid, **subject.scope)
        except DataError as error:
            raise DataError(f"{claim.source}: {error}") from None

    return _Measured(
        at,
        lambda model: reading_of_texts(model, perplexity(model, texts).per_text),
        "texts",
        sample.names,
        [content_of(text) for text in texts],
        sample.forms,
        sample.describe(),
        sample.clusters,
        [*map(str, sample.findings), *text_leaks(subject.intervention.metadata, texts)],
        sample.details(),
    )


def _of_items(claim: KlBelow) -> _Measured:
    assert claim.items is not None
    sample = sample_of(claim.items, claim.cluster)
    items, subject = sample.units, claim.subject

    def at(model: Model, grid: Sequence[float]) -> list[Divergence]:
        return kl_at_answers(model, items, subject.intervention, multipliers=grid, context=claim.context, **subject.scope)

    questions = [item.question for item in items]
    return _Measured(
        at,
        lambda model: reading_of_questions(model, questions),
        "items",
        sample.names,
        questions,
        sample.forms,
        sample.describe(),
        sample.clusters,
        data_warnings(subject, sample),
        sample.details(),
    )


def _by_text(found: Divergence) -> list[list[Probe]]:
    """The probes of each text."""
    own: dict[int, list[Probe]] = {}
    for owner, probe in zip(found.owners, found.probes, strict=True):
        own.setdefault(owner, []).append(probe)
    return list(own.values())


def _worst_positions(model: Model, found: Divergence, names: Sequence[str]) -> list[dict[str, Any]]:
    """Where the divergence is largest, and the token that stands there."""
    places = [
        (float(kl), names[owner], probe, probe.score_from + index)
        for owner, probe, own in found.of_probes()
        for index, kl in enumerate(own)
    ]
    worst = sorted(places, key=lambda place: -place[0])[:_WORST_POSITIONS]
    return [{"id": name, "position": at, "kl": kl, "text": marked_token(model, probe, at)} for kl, name, probe, at in worst]
