"""Claims: what every promise has, and what claims about items, texts and replies add to it. A kind subclasses one of these.

Subclasses are frozen dataclasses without saying so. Their fields with a ``Param`` are the claim's parameters; the others are its data
and its deployment, filled in by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol, dataclass_transform

import numpy as np
import torch

from ..core.block import Block
from ..core.errors import DataError, SteerError
from ..core.evidence import Direction, Evidence, Json, plain
from ..core.finding import Finding
from ..core.promises import Promised
from ..core.record import Agreement
from ..core.run_context import Effort, current_run
from ..data import (
    DialogueLike,
    Dialogues,
    ItemLike,
    Items,
    Sample,
    TextLike,
    Texts,
    as_dialogues,
    as_items,
    as_texts,
    sample_of,
)
from ..measures import MULTIPLIERS, Array, NoiseFloor, PropensityCurve, random_controls
from ..measures.ask import Ask
from ..measures.subject import Moves, Subject
from ..model import Model
from ..model.writing import Drawing
from ..prompting import AS_GIVEN, Context
from ..stats import Verdict, judge, rounds
from ..stats.estimators import Estimator
from ..steering import Apply, Intervention, Positions, SteeringVector, applied, as_intervention, check_positions, custom
from ..steering.intervention import StrengthMeaning
from . import show
from .common import Controls, FromTurn, JudgedSpan, MaxNewTokens, Samples, Sequential, Temperature, TopP
from .curves import check_has_slope, controls_of_no_effect
from .findings import Found
from .judging import Judgement, inferred, judge_measurement
from .measurement import Measurement, counted_replies
from .rulings import (
    Ruling,
    Written,
    asked_replies,
    cluster_details,
    noted_replies,
    read_replies,
    replies_record,
    reply_probes,
)

LEAST_ITEMS = 8
"""Items before the first look at the bounds of a mean. With fewer these say nothing, see stats/sequential.py."""


def is_in_rounds(said: bool | None, effort: Effort, items: int, interval: str = "t") -> bool:
    """Whether a claim draws its items in rounds.

    Args:
        said: the claim's own choice. None follows the run's effort, given enough items and an interval whose bounds may be looked at early.
        items: number of items that can be drawn one by one. interval: only the bounds of t may be looked at early.
    """
    return said if said is not None else effort.in_rounds and interval == "t" and items >= LEAST_ITEMS


Vector = SteeringVector | Intervention | None


class Kind(Protocol):
    """The part of :class:`~pytest_steer.claims.kind.ClaimKind` that a claim uses."""

    @property
    def name(self) -> str: ...
    @property
    def directed(self) -> bool: ...
    def promise_of(self, claim: AnyClaim) -> Promised | None: ...
    def how_of(self, claim: Claim) -> Json: ...
    def weak_promises(self, claim: AnyClaim) -> list[str]: ...


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
class Declared:
    """Makes each subclass a frozen dataclass, whose fields are keywords unless they say ``field(kw_only=False)``."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(frozen=True, kw_only=True, eq=False)(cls)


class AnyClaim(Declared):
    """A promise of any kind. One that counts no units makes its evidence itself, in ``conclude``.

    Attributes:
        seed: everything random follows it; that of the run by default.
        name: of the claim, in reports; its kind by default.
        silence: codes of findings that are not to be shown, each with the reason.
    """

    kind: ClassVar[Kind]

    seed: int = dataclasses.field(default_factory=lambda: current_run().seed)
    name: str = ""
    silence: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate the fields together. Subclasses override it."""

    def conclude(self, model: Model) -> Evidence:
        """The evidence of a claim that counts no units."""
        raise NotImplementedError

    # --- the blocks and words of a report ---

    @staticmethod
    def headline(evidence: Evidence) -> str | None:
        """The result in one line; None for the estimate with its bounds and its promise."""
        return None

    @staticmethod
    def reason(evidence: Evidence) -> str | None:
        """Why this is the verdict; None for where the interval lies."""
        return None

    @staticmethod
    def cure(evidence: Evidence) -> str | None:
        """What to do about an inconclusive claim; None for measuring more units, empty for nothing."""
        return None

    @staticmethod
    def always(evidence: Evidence) -> Iterable[Block]:
        """Blocks shown with every verdict."""
        return ()

    @staticmethod
    def why(evidence: Evidence) -> Iterable[Block]:
        """Blocks that explain a fail or an inconclusive verdict. The page always shows them."""
        return ()

    @staticmethod
    def extra(evidence: Evidence) -> Json:
        """Entries at the top level of the evidence's record that only this kind has."""
        return evidence.extra

    # --- derived from the fields ---

    @cached_property
    def promise(self) -> Promised | None:
        """The promise and the source of its threshold; of several that exclude each other the given one."""
        return self.kind.promise_of(self)

    @property
    def threshold(self) -> float | None:
        """The promised number; None without one yet."""
        return None if self.promise is None else self.promise.value


class Steering(AnyClaim):
    """A claim about an intervention as it is deployed.

    Attributes:
        vector: what steers; None where ``apply`` does and ``layers`` says where.
        multiplier: the deployed strength; 1 by default.
        positions: which tokens are steered: ``all``, ``after_prompt`` (the default) or ``last``.
        include_first: steer the first token, an attention sink, too.
        allow_mismatch: ``("model",)`` and / or ``("template",)``: accept a vector that was made elsewhere.
        apply: your own way of steering, of any library: ``apply(multiplier)`` or ``apply(multiplier, batch)`` returns a context
            manager that steers every forward of ``model.hf`` in its body (docs/hooks.md). The vector is then what it is declared to do.
        layers / strength: with ``apply`` and no vector: the blocks whose output it changes, and the meaning of its multiplier.
    """

    vector: Vector = dataclasses.field(kw_only=False)
    multiplier: float = 1.0
    positions: Positions = "after_prompt"
    include_first: bool = False
    allow_mismatch: tuple[str, ...] = ()
    apply: Apply | None = None
    layers: int | Sequence[int] | None = None
    strength: StrengthMeaning = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.subject

    @cached_property
    def subject(self) -> Subject:
        """The intervention and how it is deployed.

        Raises:
            SteerError: nothing steers, or more than one thing is declared.
        """
        return Subject(
            vector=_what_steers(self),
            multiplier=self.multiplier,
            positions=self.positions,
            include_first=self.include_first,
            allow_mismatch=self.allow_mismatch,
            direction=getattr(self, "direction", "raises"),
        )


class Claim(Steering):
    """A claim that is judged by an interval over the units that it measures.

    Attributes:
        confidence: of each one-sided bound; 0.95 by default.
        min_n: with fewer units (items, texts, tasks, clusters) the claim is inconclusive; 8 by default for a mean, none for a share.
    """

    confidence: float = 0.95
    min_n: int | None = None

    # --- methods of a kind ---

    def measure(self, ask: Ask) -> Measurement:
        """Ask the model, and return the measurement."""
        raise NotImplementedError

    def judge(self, ask: Ask, measured: Measurement) -> Judgement:
        """Judge by the interval of the measurement's estimator."""
        return judge_measurement(ask, measured, threshold=self.threshold, confidence=self.confidence, min_n=self.min_n)

    def doubt(self, ask: Ask, measured: Measurement, judgement: Judgement) -> Judgement:
        """Withhold a verdict for a reason of the kind's own."""
        return judgement

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> Json:
        """Further details that are measured after some verdicts only, such as random controls."""
        return {}

    def find(self, found: Found) -> Iterable[Finding]:
        """Findings of the kind's own that depend on the verdict; the others belong in the measurement."""
        return ()

    # --- derived from the fields ---

    @property
    def context_asked(self) -> Context:
        """The context in which its data are put to the model."""
        found: Context = getattr(self, "context", AS_GIVEN)
        return found

    @property
    def how(self) -> Json:
        """Everything that the units' values depend on: all parameters except its promises and those that only judge."""
        return self.kind.how_of(self)


class AboutItems(Claim):
    """A claim about contrast items.

    Attributes:
        items: held-out contrast items, at least two.
        direction: ``raises`` (the default) or ``lowers``: the intended effect of the deployed model on the behaviour (docs/claims.md).
        context: how the items are put to the model.
        cluster: a key of the items' ``meta`` that names groups (paraphrases, samples): bounds are over clusters.
    """

    items: Iterable[ItemLike] = dataclasses.field(kw_only=False)
    direction: Moves = "raises"
    context: Context = AS_GIVEN
    cluster: str | None = None

    @cached_property
    def sampled_items(self) -> Sample[Items]:
        """The distinct items and their clusters."""
        return sample_of(as_items(self.items), self.cluster)

    @staticmethod
    def why(evidence: Evidence) -> Iterable[Block]:
        """The curve, the strata, the spread and the worst items."""
        return show.of_items(evidence)


class OverItems(AboutItems):
    """A claim about the propensity curve of contrast items.

    Attributes:
        multipliers: the grid of the propensity curve.
    """

    multipliers: Sequence[float] = MULTIPLIERS


class OverCurve(OverItems):
    """A claim about one number of each item's curve, whose items may be drawn in rounds.

    Attributes:
        sequential: draw items in rounds under an anytime-valid bound and stop when decided (docs/verdicts.md); None leaves it to
            ``--steer-profile``, as in a claim file.
        controls: number of random directions of equal norm to measure next to the vector. By default 19 at the deployed multiplier, if
            there seems to be no effect; 0 for none.
    """

    sequential: Sequential = None
    controls: Controls = "auto"

    def in_rounds(self, interval: str = "t") -> bool:
        """Whether the items are drawn in rounds. Only the bounds of ``t`` and of a share may be looked at early."""
        return is_in_rounds(self.sequential, current_run().effort, self.sampled_items.drawable, interval)

    def over_curve(
        self,
        ask: Ask,
        values: Callable[[PropensityCurve], Array],
        estimator: Estimator,
        *,
        statistic: str,
        moved: Callable[[NoiseFloor, PropensityCurve], float],
        direction: Direction = Direction.AT_LEAST,
        grid: Sequence[float] | None = None,
        is_slope: bool = True,
    ) -> Measurement:
        """Measure the curve of the items, or of as many of them as decide, and a number of each item's curve.

        Args:
            values: [n_items] the numbers. moved: how far rounding moves one of them, or the share of items that it leaves open.
            grid: multipliers, if not the claim's own. is_slope: the numbers depend on the slope over the grid.
        """
        sample, details = self.sampled_items, Json()
        multipliers = check_has_slope(self.subject, self.multipliers if grid is None else grid, by_effect=not is_slope)
        if getattr(estimator, "sequential", False):
            drawn, looks = self._drawn(lambda items: values(ask.propensity(items, multipliers)), estimator, direction)
            details["sequential"] = {"used": len(drawn), "available": len(sample.units), "looks": looks}
            sample = dataclasses.replace(sample, units=drawn)
        curve = ask.propensity(sample.units, multipliers)
        if isinstance(self.controls, int) and self.controls:
            found = random_controls(ask.model, self.subject, curve, self.controls, seed=self.seed, context=ask.context)
            details["controls"] = found
        return Measurement(
            sample=sample,
            values=values(curve),
            estimator=estimator,
            statistic=statistic,
            direction=direction,
            probes=curve.probes,
            moved=lambda floor: moved(floor, curve),
            curve=curve,
            is_slope=is_slope,
            how={"multipliers": multipliers} if is_slope else {},
            details=details,
        )

    def _drawn(
        self, measure: Callable[[Items], Array], estimator: Estimator, direction: Direction
    ) -> tuple[Items, list[int]]:
        """Draw items in random order, round by round, until anytime-valid bounds decide or no items are left; all of them without a threshold.

        Returns:
            The drawn items, in their order, and the numbers of items after which the bounds were looked at.
        """
        items = self.sampled_items.units
        if self.sampled_items.clusters is not None:
            raise SteerError(
                f"drawing in rounds draws items one by one, and {items.source} has {self.sampled_items.n} clusters of items that belong "
                "together: set sequential: false"
            )
        if len(items) < LEAST_ITEMS:
            raise DataError(f"{items.source}: has {len(items)} items; drawing in rounds needs at least {LEAST_ITEMS}")
        # Bounds that are looked at early hold for items in random order only.
        shuffled = items.part(map(int, np.random.default_rng(self.seed).permutation(len(items))))
        looks: list[int] = []
        for count in rounds(len(shuffled), first=max(LEAST_ITEMS, self.min_n or 0)):
            looks.append(count)
            found = inferred(estimator, measure(shuffled[:count]), confidence=self.confidence, direction=direction)
            if self.threshold is not None and judge(found, self.threshold, direction) is not Verdict.INCONCLUSIVE:
                break
        return shuffled[: looks[-1]], looks

    @staticmethod
    def always(evidence: Evidence) -> Iterable[Block]:
        """How to find out whether there is an effect, if none was found."""
        return show.controls_wanted(evidence)

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> Json:
        """Measure random directions where a claim shows no effect: they tell an absent effect from one that any direction has."""
        return {} if self.controls != "auto" else controls_of_no_effect(ask, measured, judgement, seed=self.seed)


class OverTexts(Claim):
    """A claim about neutral texts.

    Attributes:
        texts: at least two, each a ``str`` or a :class:`Completion`, unrelated to the behaviour.
        source: where the texts come from, for messages.
    """

    texts: Sequence[TextLike] = dataclasses.field(kw_only=False)
    source: str = "texts"

    @cached_property
    def sampled_texts(self) -> Sample[Texts]:
        """The distinct texts and their clusters."""
        return sample_of(as_texts(self.texts, self.source))


class OverReplies(Claim):
    """A claim about the replies that the model writes.

    Attributes:
        prompts: at least two texts, :class:`Dialogue` or contrast items. Of items the questions are asked.
        max_new_tokens: the number of tokens at which a reply is cut; 64 by default.
        samples: replies to each prompt, which count as one cluster.
        temperature / top_p: how tokens are drawn; without a temperature the likeliest token is taken.
        span: the judged part of a reply: ``answer`` (the default), ``thought`` or ``both``.
        from_turn: the first turn that is steered; 1 by default.
        context: system prompt, template, thinking and date.
        cluster: a key of the prompts' ``meta`` that names groups: bounds are over clusters.
    """

    prompts: Iterable[DialogueLike] = dataclasses.field(kw_only=False)
    max_new_tokens: MaxNewTokens = 64
    samples: Samples = 1
    temperature: Temperature = None
    top_p: TopP = 1.0
    span: JudgedSpan = "answer"
    from_turn: FromTurn = 1
    context: Context = AS_GIVEN
    cluster: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.drawing

    @cached_property
    def drawing(self) -> Drawing:
        """How the tokens of replies are chosen.

        Raises:
            SteerError: settings that cannot be used.
        """
        return Drawing(self.max_new_tokens, self.samples, self.temperature, self.top_p, self.seed)

    @cached_property
    def sampled_prompts(self) -> Sample[Dialogues]:
        """The distinct dialogues and their clusters."""
        return sample_of(as_dialogues(self.prompts), self.cluster)

    def write(self, ask: Ask, multipliers: Sequence[float], *, may_be_empty: Sequence[float] = ()) -> Written:
        """Write the replies at each multiplier.

        Args:
            may_be_empty: multipliers at which it is no error if all replies are.

        Raises:
            MeasurementError: the replies at a multiplier are all empty.
        """
        sample = self.sampled_prompts
        found = ask.replies(sample.units, multipliers, drawing=self.drawing, from_turn=self.from_turn)
        return read_replies(ask.model, found, sample, self.drawing, self.span, may_be_empty)

    def over_replies(
        self,
        ask: Ask,
        written: Written,
        ruled: Sequence[Sequence[Ruling]],
        values: Array,
        estimator: Estimator,
        *,
        worst_first: Sequence[int],
        kept: Sequence[int] | None = None,
        n: int | None = None,
        judge: Json | None = None,
        agreement: Agreement | None = None,
        how: Json | None = None,
        **more: Any,
    ) -> Measurement:
        """Make a measurement of the last replies of the unsteered and of the steered model.

        Args:
            ruled: their rulings, of both sides. values: one row per reply, or per reply that is ``kept``.
            n: independent ones of these, if they are not those of the prompts.
            worst_first: the replies in the order in which they are shown. judge: its record. agreement: with human labels.
            more: other fields of the measurement, such as its ``statistic``.
        """
        places = range(len(written.ids)) if kept is None else kept
        record = replies_record(written, ruled, worst_first, judge=judge, agreement=agreement)
        units = counted_replies(written, places)
        return Measurement(
            sample=written.sample,
            values=values,
            estimator=estimator,
            probes=reply_probes(written.sides[1]),
            asked=asked_replies(ask.model, written, ask.context),
            units=dataclasses.replace(units, n=written.sample.n if n is None else n, unit=written.sample.counted),
            written=written,
            how={"drawing": dataclasses.asdict(self.drawing), **(how or {})},
            described={"from_turn": self.from_turn, **cluster_details(written), "noted": noted_replies(record)},
            fields={"replies": record},
            **more,
        )


def _what_steers(claim: Steering) -> SteeringVector | Intervention:
    call = f"assert_{claim.kind.name}"
    declared = {
        name: value for name in ("vector", "directions", "layers") if (value := getattr(claim, name, None)) is not None
    }
    if claim.apply is None and not declared:
        raise SteerError(f"{call}: nothing steers: give a SteeringVector or an Intervention as the vector")
    if len(declared) != 1:
        raise SteerError(
            f"{call}: declare one of vector, directions or layers (given: {', '.join(declared) or 'none'}): what apply does is "
            "checked against it"
        )
    if claim.apply is None and "layers" in declared:
        raise SteerError("layers alone steer nothing: give a vector, or apply= with your own way of steering")
    if "layers" in declared:
        what: SteeringVector | Intervention = custom(
            _unknown, layers=declared["layers"], strength=claim.strength, name="apply"
        )
    else:
        what = declared["vector"] if "vector" in declared else SteeringVector(declared["directions"])
    if claim.apply is not None:
        added = what if isinstance(what, SteeringVector) else None
        what = applied(
            claim.apply,
            as_intervention(what),
            positions=check_positions(claim.positions),
            vector=added,
            is_declared="layers" not in declared,
        )
    as_intervention(what)
    return what


def _unknown(hidden: torch.Tensor, _strength: torch.Tensor, _layer: int) -> torch.Tensor:
    return hidden


def concluded(claim: AnyClaim, verdict: Verdict, own: Any, **fields: Any) -> Evidence:
    """The evidence of a claim that counts no units.

    Args:
        own: its details, in a class of the kind's own.
    """
    return Evidence(claim.kind.name, claim.name, verdict, details=plain(own, claim.name), own=own, **fields)
