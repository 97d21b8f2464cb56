"""From a check to its evidence, or to what is raised."""

from __future__ import annotations

from typing import Protocol

from ..errors import SteerError
from ..evidence import Evidence, Verdict, error_evidence
from ..failures import SteeringFailure, SteeringInconclusive
from ..measures.subject import model_warnings
from ..model import Model
from ..run_context import current_recorder
from .explain import complete


class Check(Protocol):
    """One promise, ready to be measured on a model."""

    @property
    def name(self) -> str: ...

    def measure(self, model: Model) -> Evidence: ...


def run_seed() -> int:
    """The seed of the running test's pytest run; 0 outside of pytest."""
    recorder = current_recorder()
    return recorder.seed if recorder is not None else 0


def hold(check: Check, model: Model, kind: str) -> Evidence:
    """Measures a check, tells the running pytest of its evidence, and returns it if the claim holds.

    Args:
        kind: of the claim, for the record of an error.

    Raises:
        SteeringFailure, SteeringInconclusive: see :func:`raise_unless_held`.
        SteerError: it cannot be measured.
    """
    __tracebackhide__ = True
    recorder = current_recorder()
    try:
        evidence = check.measure(model)
    except SteerError as error:
        if recorder is not None:
            failed = error_evidence(kind, check.name, str(error), soundness=getattr(error, "soundness", None))
            recorder.add(failed)
            complete(failed)
        raise
    evidence.warnings += model_warnings(model)
    if recorder is not None:
        recorder.add(evidence)
    complete(evidence)
    raise_unless_held(evidence)
    return evidence


def raise_unless_held(evidence: Evidence) -> None:
    """Raises what the verdict calls for: nothing for a pass.

    Raises:
        SteeringFailure, SteeringInconclusive: with the evidence.
    """
    __tracebackhide__ = True
    if evidence.verdict is Verdict.INCONCLUSIVE:
        raise SteeringInconclusive(evidence)
    if not evidence.passed:
        raise SteeringFailure(evidence)
