"""Evidence: everything that a claim measured, with its interval and its verdict. Plain data: its words belong to its claim."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, is_dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from .block import LEFT_OUT, Block, block_record
from .block import Json as Json
from .columns import one_screen
from .errors import MeasurementError
from .finding import Finding, ordered

if TYPE_CHECKING:
    from .record import (
        Asked,
        Bounds,
        Compared,
        Data,
        Holm,
        Item,
        Model,
        Noise,
        Receipt,
        Replies,
        Silenced,
        Soundness,
        Stratum,
        ThresholdSet,
        Units,
        Vector,
    )

SCORING = 2
"""Version of the scoring. Raise it when the same model, vector, data and seed give another number than before: a score, a statistic, its
interval or its verdict. Reports of two versions are not compared, and scores on disk are computed again."""


class Verdict(str, Enum):
    """The outcome of a claim. ``ERROR`` is for a claim that could not be measured: :func:`judge` never returns it."""

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
    """The measurement of a claim and its judgement. Its fields except ``own`` and ``extra`` are those of ``core.record.ClaimRecord``.

    Attributes:
        check: kind of promise (``steers``, ...). name: the claim's own name.
        matrix: the claim's choice on each axis of its file's ``matrix``, axis to name; None without a matrix.
        compared: the claim's entries in a comparison of methods, see ``report/matrix_rows.py``; None for none.
        verdict: pass, fail, inconclusive or error.
        statistic: the estimate in words.
        estimate: the statistic; None only if there is an error.
        interval: (low, high), each a one-sided bound at ``confidence``; None where there is none.
        threshold: the promised number; None as long as there is none, and the claim is then inconclusive.
        promise: the claim's parameter that the threshold comes from. threshold_set: when and on which data it was set (``claims/pilots.py``).
        direction: whether the statistic has to be at least or at most the threshold. is_strict: it has to exceed the threshold.
        n: independent units that the estimate rests on. unit: what they are.
        min_n: with fewer units the claim is inconclusive; None where there is no floor.
        percent: estimate, interval and threshold are shown in per cent.
        items_needed: units that would decide an inconclusive claim if the estimate were the truth, or None.
        units: the values behind the estimate, by content hash, see ``claims.measurement.Counted``; None where runs cannot be paired.
        unpaired: why not, as the end of a sentence.
        p_pass / p_fail: one-sided p-values that the claim holds / does not hold; small means proven.
        multiplier: the deployed one.
        model / vector / data / strata / receipt / soundness / noise / multipliers / curve / curve_interval / items: see docs/report.md.
        details: further numbers of the check, as a report has them. own: the same in the class of the kind, which its hooks read.
        asked: how items were asked and read, and the first of them as the model sees it; see ``measures.shown``.
        replies: the unsteered and the steered replies, see ``claims/rulings.py``; None for a claim without replies.
        findings: what the reader should know beside the verdict, the most important first. silenced: those that the claim silences.
        withheld: why the verdict was taken back; None if it was not.
        error: why there is no result.
        xfail: why the claim is known to fail, while that excuses it; xfail_expires: the last day on which it does (YYYY-MM-DD), or None.
        rerun: the command that runs the claim again.
        headline: the result, with its numbers and its promise. reason: what the verdict rests on. blocks: what else the claim shows.
        message: the text of all this for a terminal. The four are made when the evidence is complete.
        extra: further entries at the top level of the record, such as the ``counterexample`` of ``holds_in_contexts``.
    """

    id: str = field(default="", kw_only=True)
    suite: str = field(default="", kw_only=True)
    check: str
    name: str
    matrix: dict[str, str] | None = field(default=None, kw_only=True)
    compared: Compared | None = field(default=None, kw_only=True)
    verdict: Verdict
    statistic: str = ""
    estimate: float | None = None
    interval: tuple[float | None, float | None] = (None, None)
    _: KW_ONLY
    interval_method: str = ""
    confidence: float = 0.95
    threshold: float | None = None
    promise: str | None = None
    threshold_set: ThresholdSet | None = None
    direction: Direction = Direction.AT_LEAST
    is_strict: bool = False
    n: int = 0
    unit: str = "items"
    min_n: int | None = None
    percent: bool = False
    items_needed: int | None = None
    units: Units | None = None
    unpaired: str | None = None
    p_pass: float | None = None
    p_fail: float | None = None
    seconds: float = 0.0
    multiplier: float | None = None
    model: Model | None = None
    vector: Vector | None = None
    data: Data | None = None
    details: Json = field(default_factory=dict)
    strata: Sequence[Stratum] = ()
    receipt: Receipt | None = None
    soundness: Soundness | None = None
    asked: Asked | None = None
    replies: Replies | None = None
    noise: Noise | None = None
    findings: tuple[Finding, ...] = ()
    silenced: tuple[Silenced, ...] = ()
    withheld: Finding | None = None
    error: str | None = None
    xfail: str | None = None
    xfail_expires: str | None = None
    rerun: str | None = None
    holm: Holm | None = None
    headline: str = ""
    reason: str = ""
    blocks: tuple[Block, ...] = field(default=(), repr=False)
    message: str = ""
    multipliers: Sequence[float] | None = field(default=None, metadata=LEFT_OUT)
    curve: Sequence[float] | None = field(default=None, metadata=LEFT_OUT)
    curve_interval: Sequence[Bounds] | None = field(default=None, metadata=LEFT_OUT)
    items: Sequence[Item] | None = field(default=None, metadata=LEFT_OUT)
    own: Any = None
    extra: Json = field(default_factory=dict)

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
    def counterexample(self) -> Json | None:
        """A context that breaks the promise: ``context``, ``estimate`` and, once complete, ``reproduce``; None if there is none."""
        found: Json | None = self.extra.get("counterexample")
        return found

    def to_dict(self) -> Json:
        """The evidence as finite JSON values, in the shape of ``core.record.ClaimRecord``.

        Raises:
            MeasurementError: a number in it is NaN or infinite, or something in it is no JSON.
        """
        found: Json = plain(self.extra | self.record(), self.name)
        return found

    def record(self) -> Json:
        """The values of :meth:`to_dict` as they are, without ``extra``."""
        return written(self, without=("own", "extra")) | {
            "id": self.id or self.name,
            "seconds": round(self.seconds, 3),
            "promised": self.promised,
            "blocks": [block_record(one) for one in self.blocks],
        }


def fault_of(evidence: Evidence) -> str | None:
    """The contradiction in measured evidence, as the end of a sentence; None if it is consistent."""
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
    """Evidence that there is no result. Never a number, never a pass. A long ``error`` is cut to one screen."""
    return Evidence(check, name, Verdict.ERROR, error=one_screen(error), **known)


def written(record: Any, *, without: Collection[str] = ()) -> Json:
    """The fields of a dataclass that a report has, by name: all but those that :data:`LEFT_OUT` marks and that are None or empty."""
    values = [(one, getattr(record, one.name)) for one in fields(record) if one.name not in without]
    return {one.name: value for one, value in values if not ("left out" in one.metadata and _is_empty(value))}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and not value)


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
        return plain(written(value), where)
    if isinstance(value, Enum):
        return value.value
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

    Two failures are equal if the same check of the same name has the same verdict: Hypothesis then shrinks
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
