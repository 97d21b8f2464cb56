"""``holds_in_contexts``: the promise holds in the worst context that a search can find.

The statistic of a claim is measured in each context over one fixed batch of items; the search goes for the context where it is
worst (``context_search.py``). The worst of many contexts on one batch is an extreme value and no evidence (REFERENCE, section 6),
so the claim is judged in that one context on items that the search did not see: pass if the bound on the far side is past
the threshold, fail if the other one is, as for any claim. There is no interval over contexts, and a pass does not say that
no context is worse.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..data import Items
from ..errors import DataError, SteerError
from ..evidence import Evidence
from ..fuzzing.context_search import Found, search
from ..fuzzing.trials import Trials, axis_shares
from ..measures import (
    MULTIPLIERS,
    Array,
    NoiseFloor,
    PropensityCurve,
    asked_record,
    check_multipliers,
    check_slope_grid,
    curves_in_contexts,
    steering_receipt,
    strata,
)
from ..measures.subject import Subject, describe_model, describe_receipt
from ..model import Model, engine_of
from ..prompting import AS_GIVEN, Context
from ..prompting.flat import Read
from ..soundness import check_before
from ..stats import (
    Direction,
    Inference,
    Verdict,
    items_needed_mean,
    items_needed_share,
    judge,
    mean_bootstrap,
    mean_t,
    share,
)
from .judging import give_verdict
from .over_items import asking_warnings, curve_details, data_warnings, finite, item_record
from .precision import add_noise, open_share
from .steers import IntervalMethod

if TYPE_CHECKING:
    from ..fuzzing.search import Space

Statistic = Literal["steerability", "anti_steerable", "effect"]
STATISTICS: tuple[Statistic, ...] = ("steerability", "anti_steerable", "effect")
EXAMPLES, BATCH = 40, 16

_WORDS = {"steerability": "steerability", "anti_steerable": "anti-steerable share", "effect": "mean effect"}


@dataclass(frozen=True, kw_only=True)
class HoldsInContexts:
    """A statistic keeps its threshold in the worst context that a search finds.

    Attributes:
        subject: what steers.
        items: held-out contrast items; a batch of them is searched on, the others judge.
        statistic: ``steerability`` (mean slope, at least the threshold), ``anti_steerable`` (share of items whose slope is <= 0,
            at most the threshold) or ``effect`` (mean propensity at the deployed multiplier minus that at 0, at least).
        space: the contexts: a Hypothesis strategy.
        free: its axes are independent, so that values of them may be recombined and set back to "as given".
        base: how items are asked and read where a context leaves it as given: template, thinking, date, answers.
        read: makes a context of what ``Context.to_dict`` gives; from what is seen in the space if None.
        examples: how many contexts are looked at, besides those named below.
        batch: how many items the search sees; the profile's number (``default_batch``), but no more than half of the items, if None.
        listed: contexts that are always tried first (a claim file's regressions).
        memory: folder of the example database in which what broke the promise is kept, to be tried first the next time; none if None.
        place: what the claim is called in that database.
        only: judge this context and search for no other.

    Raises:
        SteerError: a number that cannot be used.
    """

    subject: Subject
    items: Items
    statistic: Statistic
    threshold: float
    space: Space
    free: bool
    base: Context = AS_GIVEN
    read: Read | None = None
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    interval: IntervalMethod = "t"
    examples: int = EXAMPLES
    batch: int | None = None
    default_batch: int = BATCH
    listed: tuple[Context, ...] = ()
    memory: Path | None = None
    place: str = ""
    only: Context | None = None
    seed: int = 0
    name: str = "holds_in_contexts"

    def __post_init__(self) -> None:
        if self.statistic not in _WORDS:
            raise SteerError(f"the statistic is one of {', '.join(_WORDS)}, not {self.statistic!r}")
        if self.statistic == "anti_steerable" and not 0 < self.threshold < 1:
            raise SteerError(
                f"anti_steerable has to be between 0 and 1 (0.25 means a quarter of the items), not {self.threshold}"
            )
        if self.examples < 1:
            raise SteerError(f"examples is the number of contexts that are looked at, at least 1; not {self.examples}")
        if self.batch is not None and self.batch < 2:
            raise SteerError(f"batch is the number of items that the search sees, at least 2; not {self.batch}")

    def measure(self, model: Model) -> Evidence:
        """Searches on the batch, then judges on the other items.

        Raises:
            DataError: too few items, or an item that cannot be put in one of the contexts.
            SteerError: multipliers without a slope, or an intervention whose strength has none.
            SoundnessError: the hooks do not do what they say.
            VectorError, MeasurementError: see ``propensity_curve`` and ``check_fits``.
        """
        started = time.perf_counter()
        grid = self._grid()
        batch, fresh = self._divided()
        soundness = check_before(model, self.subject)
        before = engine_of(model).forwards, engine_of(model).remembered
        curves = partial(self._curves, model, grid)
        trials = Trials(
            lambda contexts: [self._estimate(curve) for curve in curves(batch, contexts)], self.threshold, self._direction
        )
        found = self._search(trials)
        judged = [self._judged(found.worst.context, curves(fresh, [found.worst.context])[0])]
        if judged[0].verdict is Verdict.FAIL and found.smallest is not None and found.smallest != found.worst:
            # A fixed sequence of tests: the second is made only if the first refutes the claim, and the batch alone chose
            # both, so neither needs a stricter level (Maurer, Hothorn & Lehmacher 1995).
            simpler = found.smallest.context
            judged.append(self._judged(simpler, curves(fresh, [simpler])[0]))
        decisive = judged[-1] if judged[-1].verdict is Verdict.FAIL else judged[0]
        curve, inference = decisive.curve, decisive.inference
        receipt = steering_receipt(model, curve.probes, self.subject.intervention, self.subject.multiplier)
        linear = self.subject.intervention.strength == "linear"
        evidence = Evidence(
            check="holds_in_contexts",
            name=self.name,
            verdict=Verdict.ERROR,
            statistic=_WORDS[self.statistic],
            estimate=inference.estimate,
            interval=(finite(inference.low), finite(inference.high)),
            interval_method=inference.method,
            confidence=self.confidence,
            threshold=self.threshold,
            direction=self._direction,
            n=len(fresh),
            unit="items that the search did not see",
            multiplier=self.subject.multiplier,
            model=describe_model(model),
            vector=self.subject.describe(receipt),
            data={"hash": self.items.hash, "n": len(self.items), "source": self.items.source},
            multipliers=[float(m) for m in grid],
            curve=[float(p) for p in curve.mean],
            items=[item_record(curve, index) for index in range(len(fresh))] if linear else None,
            strata=[vars(stratum) for stratum in strata(curve)] if linear else [],
            receipt=describe_receipt(receipt),
            soundness=soundness,
            asked=asked_record(model, curve, decisive.context.over(self.base)),
            warnings=data_warnings(self.subject, self.items),
        )
        evidence.warnings += asking_warnings(model, self.subject, evidence.asked)
        add_noise(evidence, model, self.subject, curve.probes, lambda floor: self._moved(floor, curve))
        give_verdict(evidence, inference, self.threshold)
        if evidence.verdict is Verdict.FAIL:
            evidence.extra["counterexample"] = {"context": decisive.context.to_dict(), "estimate": inference.estimate}
        if evidence.verdict is Verdict.INCONCLUSIVE:
            evidence.items_needed = self._items_needed(inference)
        evidence.details = self._details(trials, found, batch, decisive, judged)
        if linear:
            evidence.details |= curve_details(curve)
        computed, answered = engine_of(model).forwards - before[0], engine_of(model).remembered - before[1]
        saved = answered + (trials.asked - len(trials.rows)) * len(batch) * len(grid)
        evidence.details["forwards"] = {"computed": computed, "saved": saved}
        evidence.seconds = time.perf_counter() - started
        return evidence

    # --- what is measured ---

    @property
    def _direction(self) -> Direction:
        return Direction.AT_MOST if self.statistic == "anti_steerable" else Direction.AT_LEAST

    def _grid(self) -> list[float]:
        if self.statistic == "effect":
            return sorted({0.0, float(self.subject.multiplier)})
        grid = check_multipliers(self.multipliers)
        check_slope_grid(grid)
        change = self.subject.intervention
        if change.strength != "linear":
            raise SteerError(
                f"the strength of {change.method!r} is {change.strength}, so a slope over multipliers has no meaning for it: "
                "promise an effect"
            )
        return grid

    def _divided(self) -> tuple[Items, Items]:
        """The batch, drawn at random with the seed, and the other items; both in the order of the data set."""
        count = len(self.items)
        if count < 4:
            raise DataError(
                f"{self.items.source}: has {count} item(s); holds_in_contexts needs at least four, two to search on and two that "
                "judge what the search found"
            )
        size = min(self.default_batch, count // 2) if self.batch is None else self.batch
        if size > count - 2:
            raise DataError(
                f"{self.items.source}: has {count} items, and a batch of {size} leaves {max(0, count - size)} to judge on what "
                f"the search finds; at least two are needed: take a batch of at most {count - 2}, or more items"
            )
        order = np.random.default_rng(self.seed).permutation(count)
        chosen = set(order[:size].tolist())
        return (
            Items((item for index, item in enumerate(self.items) if index in chosen), self.items.source),
            Items((item for index, item in enumerate(self.items) if index not in chosen), self.items.source),
        )

    def _curves(self, model: Model, grid: list[float], items: Items, contexts: Sequence[Context]) -> list[PropensityCurve]:
        return curves_in_contexts(
            model,
            items,
            self.subject.intervention,
            contexts=[context.over(self.base) for context in contexts],
            multipliers=grid,
            positions=self.subject.positions,
            include_first=self.subject.include_first,
            allow_mismatch=self.subject.allow_mismatch,
        )

    def _values(self, curve: PropensityCurve) -> Array:
        """[n_items] what the statistic is the mean of."""
        if self.statistic == "effect":
            return curve.effects(float(self.subject.multiplier))
        return curve.slopes if self.statistic == "steerability" else curve.anti_steerable.astype(float)

    def _moved(self, floor: NoiseFloor, curve: PropensityCurve) -> float:
        """What the noise floor moves the statistic of one item by; of a share, the share of items that it leaves open."""
        if self.statistic == "effect":
            return floor.effect
        room = floor.slope(curve.multipliers.tolist())
        return room if self.statistic == "steerability" else open_share(curve.slopes, room)

    def _estimate(self, curve: PropensityCurve) -> float:
        return float(self._values(curve).mean())

    def _infer(self, curve: PropensityCurve) -> Inference:
        values = self._values(curve)
        if self.statistic == "anti_steerable":
            return share(int(values.sum()), len(values), confidence=self.confidence)
        if self.interval == "bootstrap":
            return mean_bootstrap(values, confidence=self.confidence, seed=self.seed)
        return mean_t(values, confidence=self.confidence)

    def _items_needed(self, found: Inference) -> int | None:
        if self.statistic == "anti_steerable":
            return items_needed_share(
                found.estimate, self.threshold, direction=Direction.AT_MOST, confidence=self.confidence
            )
        if not found.standard_deviation:
            return None
        return items_needed_mean(found.estimate, found.standard_deviation, self.threshold, confidence=self.confidence)

    def _judged(self, context: Context, curve: PropensityCurve) -> _Judged:
        found = self._infer(curve)
        return _Judged(context, curve, found, judge(found, self.threshold, self._direction))

    # --- the search ---

    def _search(self, trials: Trials) -> Found:
        if self.only is not None:
            trials.estimates([self.only], "listed")
            return Found(trials.worst, None)
        from ..fuzzing.search import survey

        memory = self._memory()
        around = survey(self.space, seed=self.seed)
        if self.read is not None:
            around = replace(around, read=self.read)
        found = search(
            trials,
            self.space,
            examples=self.examples,
            seed=self.seed,
            listed=self.listed,
            remembered=memory.contexts(around.read) if memory is not None else (),
            free=self.free,
            survey=around,
        )
        self._remember(trials, found, around.read)
        return found

    def _memory(self) -> Any:
        if self.memory is None:
            return None
        from ..fuzzing.remembered import Remembered

        return Remembered(self.memory, self.place or self.name, self.space)

    def _remember(self, trials: Trials, found: Found, read: Read) -> None:
        """Keeps the simplest context that breaks the promise on the batch, and forgets those that no longer do."""
        memory = self._memory()
        if memory is None:
            return
        for context in memory.contexts(read):
            if not trials.breaks(trials.estimates([context], "remembered")[0]):
                memory.forget(context)
        if found.smallest is not None:
            memory.save(found.smallest.context)

    def _details(
        self, trials: Trials, found: Found, batch: Items, decisive: _Judged, judged: list[_Judged]
    ) -> dict[str, Any]:
        rows = trials.rows
        breaking = [row for row in rows if trials.breaks(row.estimate)]
        unchosen = [row for row in rows if row.how in ("single", "drawn") or row.context == AS_GIVEN]
        suspicion = found.smallest if decisive.verdict is not Verdict.FAIL else None
        return {
            "statistic": self.statistic,
            "context": decisive.context.to_dict(),
            "contexts": [row.describe() for row in rows],
            "tried": len(rows),
            "breaking": len(breaking),
            "worst": found.worst.describe(),
            "as_given": next((row.estimate for row in rows if row.context == AS_GIVEN), None),
            "unconfirmed": suspicion.describe() if suspicion is not None else None,
            "judged": [one.describe() for one in judged],
            "axes": [axis.describe() for axis in axis_shares(unchosen)],
            "unchosen": len(unchosen),
            "batch": [item.id for item in batch],
            "examples": self.examples,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class _Judged:
    """A context in which fresh items were looked at."""

    context: Context
    curve: PropensityCurve
    inference: Inference
    verdict: Verdict

    def describe(self) -> dict[str, Any]:
        return {
            "context": self.context.to_dict(),
            "estimate": self.inference.estimate,
            "interval": [finite(self.inference.low), finite(self.inference.high)],
            "verdict": self.verdict.value,
        }
