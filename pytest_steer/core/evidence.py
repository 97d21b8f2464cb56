"""Evidence: everything that a claim measured, with its interval and its verdict. Plain data: words about it belong to its claim."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from .block import Block, block_record
from .columns import one_screen
from .errors import MeasurementError
from .finding import Finding, ordered

if TYPE_CHECKING:
    from .record import Compared, Data, Holm, Model, Noise, Receipt, Soundness, ThresholdSet, Vector

Json = dict[str, Any]
"""A JSON object whose keys are not fixed here: of a user's file, of a setting, or of what is written as it is."""

SCORING = 2
"""Version of the scoring. Raise it when the same model, vector, data and seed give another number than before: a score, a statistic, its
interval or its verdict. Reports of two versions are not compared, and scores on disk are computed anew."""


class Verdict(str, Enum):
    """What a claim came to. ``ERROR`` is for a claim that could not be measured: :func:`judge` never returns it."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"

    def __str__(self) -> str:
        return self.value


class Direction(str, Enum):
    """Which side of its threshold a claim promises. The threshold itself is on the good side of both."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def _missing_(cls, value: object) -> Direction:
        raise ValueError(f"direction was {value!r}; expected 'at_least' or 'at_most'.")


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a claim measured and how it was judged.

    Attributes:
        check: kind of promise (``steers``, ...). name: the claim's own name.
        verdict: pass, fail, inconclusive or error.
        statistic: what the estimate is, in words.
        estimate: the statistic; None only if there is an error.
        interval: (low, high), each a one-sided bound at ``confidence``; None where there is none.
        threshold: what the claim promises; None as long as it has no threshold, and then it is inconclusive. promise: the claim's parameter
            that says it. threshold_set: where it comes from, see ``claims/pilots.py``. direction: whether the statistic has to be at least or at most that. is_strict: it has to
            exceed the threshold.
        n: independent units that the estimate rests on. unit: what they are.
        min_n: with fewer units there is no verdict but inconclusive; None where there is no floor.
        percent: estimate, interval and threshold are shown in per cent.
        items_needed: units that would decide an inconclusive claim if the estimate were the truth, or None.
        p_pass / p_fail: one-sided p-values that the claim holds / does not hold; small means proven.
        vector / data / multipliers / items / curve / curve_interval / strata / receipt / soundness / noise: see docs/report.md.
        units: what the estimate is made of, by content hash, see ``claims.measurement.Counted``; None where runs cannot be paired.
        unpaired: why not, as the end of a sentence.
        replies: what the model wrote, unsteered and steered, see ``claims/rulings.py``; None where it wrote nothing.
        xfail: why the claim is known to fail, while that excuses it; xfail_expires: the last day on which it does (YYYY-MM-DD), or None.
        asked: how items were asked and read, and the first of them as the model sees it; see ``measures.shown``.
        extra: what this kind of claim adds to the record at its top level, such as the ``counterexample`` of ``holds_in_contexts``.
        compared: what it says in a comparison of methods, see ``report/matrix_rows.py``; None if nothing.
        headline: what was found, with its numbers and its promise. reason: what the verdict rests on, and why it is this one. blocks: what else it shows. message: what the terminal shows of all this. They are made when the evidence
            is complete.
        matrix: of a claim that a claim file's ``matrix`` makes many of: its choice on each axis, axis to name; else None.
        details: further numbers of the check, as a report has them. own: the same of its kind, in the kind's class: what its hooks read. error: why
            there is no result.
    """

    check: str
    name: str
    verdict: Verdict
    statistic: str = ""
    estimate: float | None = None
    interval: tuple[float | None, float | None] = (None, None)
    confidence: float = 0.95
    interval_method: str = ""
    threshold: float | None = None
    promise: str | None = None
    threshold_set: ThresholdSet | None = None
    direction: Direction = Direction.AT_LEAST
    n: int = 0
    unit: str = "items"
    min_n: int | None = None
    percent: bool = False
    items_needed: int | None = None
    p_pass: float | None = None
    p_fail: float | None = None
    seconds: float = 0.0
    multiplier: float | None = None
    model: Model | None = None
    vector: Vector | None = None
    data: Data | None = None
    multipliers: list[float] | None = None
    items: list[dict[str, Any]] | None = None
    curve: list[float] | None = None
    curve_interval: list[list[float | None]] | None = None
    strata: list[dict[str, Any]] = field(default_factory=list)
    receipt: Receipt | None = None
    soundness: Soundness | None = None
    noise: Noise | None = None
    details: dict[str, Any] = field(default_factory=dict)
    own: Any = None
    error: str | None = None
    id: str = ""
    suite: str = ""
    xfail: str | None = None
    rerun: str | None = None
    holm: Holm | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    compared: Compared | Mapping[str, Any] | None = None
    message: str = ""
    matrix: dict[str, str] | None = None
    asked: dict[str, Any] | None = None
    units: dict[str, Any] | None = None
    unpaired: str | None = None
    xfail_expires: str | None = None
    replies: dict[str, Any] | None = None
    findings: tuple[Finding, ...] = ()
    silenced: tuple[dict[str, str], ...] = ()
    withheld: dict[str, str] | None = None
    is_strict: bool = False
    headline: str = ""
    reason: str = ""
    blocks: tuple[Block, ...] = field(default=(), repr=False)

    def but(self, **changes: Any) -> Evidence:
        """The evidence with other values in some fields."""
        return replace(self, **changes)

    def noting(self, findings: Iterable[Finding]) -> Evidence:
        """The evidence with further findings, those that it has already and repeats aside."""
        return self.but(findings=tuple(ordered([*self.findings, *findings])))

    @property
    def warnings(self) -> list[str]:
        """The findings as sentences."""
        return [*map(str, self.findings)]

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASS

    @property
    def promised(self) -> str:
        """The side of its threshold that is promised: ``at most``, ``at least`` or ``more than``."""
        if self.direction is Direction.AT_MOST:
            return "at most"
        return "more than" if self.is_strict or self.threshold == 0 else "at least"

    @property
    def has_no_threshold(self) -> bool:
        """Whether it was measured and not judged, since its promise has no threshold yet."""
        return self.threshold is None and self.verdict is Verdict.INCONCLUSIVE

    @property
    def counterexample(self) -> dict[str, Any] | None:
        """A context that breaks the promise: ``context``, ``estimate`` and, once complete, ``reproduce``; None if there is none."""
        found: dict[str, Any] | None = self.extra.get("counterexample")
        return found

    def to_dict(self) -> dict[str, Any]:
        """The evidence as finite JSON values, in the shape of ``core.record.ClaimRecord``.

        Raises:
            MeasurementError: a number in it is NaN or infinite, or something in it is no JSON.
        """
        found: dict[str, Any] = plain(self.extra | self.record(), self.name)
        return found

    def record(self) -> dict[str, Any]:
        """Its own entries of :meth:`to_dict`, without ``extra``."""
        out: dict[str, Any] = {
            "id": self.id or self.name,
            "suite": self.suite,
            "check": self.check,
            "name": self.name,
            "matrix": self.matrix,
            "compared": self.compared,
            "verdict": self.verdict.value,
            "statistic": self.statistic,
            "estimate": self.estimate,
            "interval": list(self.interval),
            "interval_method": self.interval_method,
            "confidence": self.confidence,
            "threshold": self.threshold,
            "promise": self.promise,
            "threshold_set": self.threshold_set,
            "direction": self.direction.value,
            "is_strict": self.is_strict,
            "n": self.n,
            "unit": self.unit,
            "min_n": self.min_n,
            "percent": self.percent,
            "items_needed": self.items_needed,
            "units": self.units,
            "unpaired": self.unpaired,
            "p_pass": self.p_pass,
            "p_fail": self.p_fail,
            "seconds": round(self.seconds, 3),
            "multiplier": self.multiplier,
            "model": self.model,
            "vector": self.vector,
            "data": self.data,
            "details": self.details,
            "strata": self.strata,
            "receipt": self.receipt,
            "soundness": self.soundness,
            "asked": self.asked,
            "replies": self.replies,
            "noise": self.noise,
            "findings": [one.to_dict() for one in self.findings],
            "silenced": [*self.silenced],
            "withheld": self.withheld,
            "error": self.error,
            "xfail": self.xfail,
            "xfail_expires": self.xfail_expires,
            "rerun": self.rerun,
            "holm": self.holm,
            "headline": self.headline,
            "reason": self.reason,
            "promised": self.promised,
            "blocks": [block_record(one) for one in self.blocks],
            "message": self.message,
        }
        if self.multipliers is not None:
            out["multipliers"] = self.multipliers
            out["curve"] = self.curve
        if self.curve_interval is not None:
            out["curve_interval"] = self.curve_interval
        if self.items is not None:
            out["items"] = self.items
        return out


def fault_of(evidence: Evidence) -> str | None:
    """Why evidence that was measured cannot be what it says it is, as the end of a sentence; None if it can."""
    verdict, estimate, threshold = evidence.verdict, evidence.estimate, evidence.threshold
    if not isinstance(verdict, Verdict):
        return f"has no Verdict, but {verdict!r}"
    if verdict is Verdict.ERROR:
        return (
            None if evidence.error else "is an error without a reason: make it with error_evidence(), or raise a SteerError"
        )
    if verdict is Verdict.INCONCLUSIVE and evidence.n == 0 and evidence.details.get("not_yet"):
        return None
    missing = next((name for name in ("model", "vector", "data") if getattr(evidence, name) is None), None)
    if missing is not None or estimate is None:
        return f"has no {missing or 'estimate'}"
    if threshold is None and evidence.promise is None:
        return "has no threshold"
    if threshold is None and verdict is not Verdict.INCONCLUSIVE:
        return f"says {verdict}, and has no threshold"
    if evidence.n < 2:
        return f"rests on {evidence.n} {evidence.unit}, and an interval needs two"
    low, high = evidence.interval
    if low is not None and high is not None and low > high:
        return f"has the interval [{low}, {high}], whose ends are the wrong way round"
    if threshold is None:
        return None
    is_least = evidence.direction is Direction.AT_LEAST
    worst = low if is_least else high
    slack = 1e-9 * max(1.0, abs(threshold))  # bounds may have been judged on another scale

    def keeps(value: float | None) -> bool:
        return value is None or (value >= threshold - slack if is_least else value <= threshold + slack)

    # A fail may be that of another promise, such as a cost.
    if verdict is Verdict.PASS and not (keeps(estimate) and keeps(worst)):
        promise = "at least" if is_least else "at most"
        return f"says {verdict}, and has the estimate {estimate:g} [{low}, {high}] where {promise} {threshold:g} is promised"
    return None


def error_evidence(check: str, name: str, error: str, **known: Any) -> Evidence:
    """Evidence that there is no result. Never a number, never a pass. Of a long ``error``, one screen is kept."""
    return Evidence(check, name, Verdict.ERROR, error=one_screen(error), **known)


def plain(value: Any, where: str = "the report") -> Any:
    """The value as JSON has it: records become mappings, and numbers of numpy Python's, since xdist workers can send nothing else.

    Args:
        where: what errors call it.

    Raises:
        MeasurementError: a number in it is NaN or infinite, or something in it is no JSON.
    """
    if isinstance(value, dict):
        return {key: plain(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner, f"{where}[{index}]") for index, inner in enumerate(value)]
    if is_dataclass(value):
        entries = [(one, getattr(value, one.name)) for one in fields(value)]
        return {
            one.name: plain(inner, f"{where}.{one.name}")
            for one, inner in entries
            if not ("left out" in one.metadata and (inner is None or inner == ()))
        }
    if type(value).__module__ == "numpy":  # not imported here: the ground is light
        return plain(value.tolist(), where)
    if isinstance(value, float) and not math.isfinite(value):
        raise MeasurementError(f"{where} is {value}: a report holds finite numbers only")
    if value is not None and not isinstance(value, (str, int, float)):
        raise MeasurementError(
            f"{where} is a {type(value).__name__}: a report holds numbers, texts, lists and mappings only"
        )
    return value


class SteeringFailure(AssertionError):
    """A claim does not hold, or there is not enough evidence that it does.

    Two failures are equal if the same check of the same name came to the same verdict: Hypothesis then shrinks
    towards the same failure, however the numbers move.

    Attributes:
        evidence: everything that was measured.
        headline: the first line of the message as it was before a terminal's columns broke it; empty if none did.
    """

    headline: str = ""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        super().__init__(evidence.message)

    def _identity(self) -> tuple[str, str, str]:
        return (self.evidence.check, self.evidence.name, self.evidence.verdict.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SteeringFailure) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


class SteeringInconclusive(SteeringFailure):
    """Not enough evidence: the interval lies across the threshold."""
