"""Evidence: everything that a check measured, with the interval and the verdict."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import MeasurementError
from ..stats import Direction, Inference, Verdict, judge

Curve = dict[str, Any]


@dataclass(eq=False)
class Evidence:
    """What a check measured and how it was judged.

    Attributes:
        check: kind of promise (``steers``, ...). name: the claim's own name.
        verdict: pass, fail, inconclusive or error.
        statistic: what the estimate is, in words.
        estimate: the statistic; None only if there is an error.
        interval: (low, high), each a one-sided bound at ``confidence``; None where there is none.
        threshold: what the claim promises. direction: whether the statistic has to be at least or at most that.
        n: independent units behind the estimate. unit: what they are.
        items_needed: units that would decide an inconclusive claim if the estimate were the truth, or None.
        p_pass / p_fail: one-sided p-values that the claim holds / does not hold; small means proven.
        vector / data / multipliers / items / curve / strata / receipt / soundness / noise: see docs/report.md.
        asked: how items were asked and read, and the first of them as the model sees it; see ``metrics.shown``.
        counterexample: for ``holds_in_contexts``: ``context`` (a ``Context.to_dict``) and ``estimate`` of a context that breaks the
            promise, proven on fresh items; else None.
        matrix: of a claim that a claim file's ``matrix`` makes many of: its choice on each axis, axis to name; else None.
        details: further numbers of the check. warnings: what its reader has to know. error: why there is no result.
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
    direction: Direction = Direction.AT_LEAST
    n: int = 0
    unit: str = "items"
    items_needed: int | None = None
    p_pass: float | None = None
    p_fail: float | None = None
    seconds: float = 0.0
    multiplier: float | None = None
    model: dict[str, Any] | None = None
    vector: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    multipliers: list[float] | None = None
    items: list[dict[str, Any]] | None = None
    curve: list[float] | None = None
    strata: list[dict[str, Any]] = field(default_factory=list)
    receipt: dict[str, Any] | None = None
    soundness: dict[str, Any] | None = None
    noise: dict[str, Any] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: str | None = None
    id: str = ""
    suite: str = ""
    xfail: str | None = None
    rerun: str | None = None
    holm: dict[str, Any] | None = None
    counterexample: dict[str, Any] | None = None
    matrix: dict[str, str] | None = None
    asked: dict[str, Any] | None = None

    @property
    def message(self) -> str:
        """What the terminal shows: verdict and numbers, where it fails, the worst cases, how to run it again."""
        from .explain import explain

        return explain(self)

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASS

    @property
    def reproduce(self) -> str | None:
        """A command, or outside of pytest an expression, that shows the counterexample again; None if there is none."""
        if self.counterexample is None:
            return None
        context = self.counterexample["context"]
        if self.rerun is None:
            return f"assert_holds_in_contexts(..., only=Context.from_dict({context!r}))"
        if "--steer-context" in self.rerun:
            return self.rerun
        return f"{self.rerun} --steer-context {shlex.quote(json.dumps(context, ensure_ascii=False))}"

    def to_dict(self) -> dict[str, Any]:
        """The evidence as finite JSON values, in the shape of ``report/schema.json``.

        Raises:
            MeasurementError: a number in it is NaN or infinite.
        """
        out: dict[str, Any] = {
            "id": self.id or self.name,
            "suite": self.suite,
            "check": self.check,
            "name": self.name,
            "matrix": self.matrix,
            "verdict": self.verdict.value,
            "statistic": self.statistic,
            "estimate": self.estimate,
            "interval": list(self.interval),
            "interval_method": self.interval_method,
            "confidence": self.confidence,
            "threshold": self.threshold,
            "direction": self.direction.value,
            "n": self.n,
            "unit": self.unit,
            "items_needed": self.items_needed,
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
            "noise": self.noise,
            "warnings": self.warnings,
            "error": self.error,
            "xfail": self.xfail,
            "rerun": self.rerun,
            "holm": self.holm,
            "message": self.message,
        }
        if self.multipliers is not None:
            out["multipliers"] = self.multipliers
            out["curve"] = self.curve
        if self.items is not None:
            out["items"] = self.items
        if self.check == "holds_in_contexts":
            known = self.counterexample
            out["counterexample"] = None if known is None else {**known, "reproduce": self.reproduce}
        plain: dict[str, Any] = _plain(out, self.name)
        return plain

    def judge(self, inference: Inference, threshold: float) -> None:
        """Sets verdict and p-values from an inference on the scale of ``threshold``."""
        self.verdict = judge(inference, threshold, self.direction)
        low, high = inference.p_at_least(threshold), inference.p_at_most(threshold)
        self.p_pass, self.p_fail = (low, high) if self.direction is Direction.AT_LEAST else (high, low)


def error_evidence(check: str, name: str, error: str, **known: Any) -> Evidence:
    """Evidence that there is no result. Never a number, never a pass."""
    return Evidence(check, name, Verdict.ERROR, error=error, **known)


def _plain(value: Any, where: str) -> Any:
    """The value as JSON has it: numbers of numpy become Python's, since xdist workers can send nothing else; all of them finite."""
    if isinstance(value, dict):
        return {key: _plain(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, f"{where}[{index}]") for index, inner in enumerate(value)]
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist(), where)
    if isinstance(value, float) and not math.isfinite(value):
        raise MeasurementError(f"{where} is {value}: a report holds finite numbers only")
    return value
