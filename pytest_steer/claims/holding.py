"""From a claim to its evidence, or to what is raised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..errors import SteerError
from ..evidence import Evidence, Verdict, error_evidence
from ..failures import SteeringFailure, SteeringInconclusive
from ..measures.subject import Subject, model_warnings
from ..model import Model
from ..registry import did_you_mean
from ..run_context import current_run
from ..steering import Intervention, SteeringVector
from .explain import complete
from .kinds import ClaimKind, kind_of


class Claim(Protocol):
    """One promise with what it is measured on."""

    @property
    def name(self) -> str: ...

    def measure(self, model: Model) -> Evidence: ...


_OF_THE_SUBJECT = ("multiplier", "positions", "include_first", "allow_mismatch")


def hold(
    kind: str,
    model: Model,
    vector: SteeringVector | Intervention,
    shared: Mapping[str, Any],
    *,
    positions: str = "after_prompt",
    **given: Any,
) -> Evidence:
    """Measure a claim of an assertion and return its evidence if it holds.

    Args:
        shared: the keywords that assertions share, as they were given.
        positions: the default of this kind.
        given: the other fields of the claim.

    Raises:
        SteeringFailure, SteeringInconclusive: see :func:`raise_unless_held`.
        SteerError: a keyword that the claim does not have, or it cannot be measured.
    """
    __tracebackhide__ = True
    placed = {name: shared[name] for name in _OF_THE_SUBJECT if name in shared}
    subject = Subject(vector=vector, **{"multiplier": 1.0, "positions": positions, **placed})
    return hold_about(kind, model, subject, {name: value for name, value in shared.items() if name not in placed}, **given)


def hold_about(kind: str, model: Model, subject: Subject, shared: Mapping[str, Any], **given: Any) -> Evidence:
    """As :func:`hold`, about a subject that was made by the caller."""
    __tracebackhide__ = True
    declared: ClaimKind = kind_of(kind)
    known = declared.fields.keys() | declared.parameters.keys()
    filled = {name: value for name, value in (("seed", current_run().seed), ("name", kind)) if name in known}
    fields: dict[str, Any] = filled | given | dict(shared)
    for name in shared:
        if name not in known:
            now = next((new for new, schema in declared.parameters.items() if schema.get("x-was") == name), None)
            if now is not None:
                raise TypeError(f"assert_{kind}: {name!r} is now called {now!r}: write {now}={shared[name]!r}")
            hint = did_you_mean(name, [*(one for one in shared if one in known), *known])
            raise TypeError(f"assert_{kind}() got an unexpected keyword argument {name!r}: {hint}")
    take = current_run().evidence
    try:
        claim: Claim = declared.declared(subject=subject, **fields)
        evidence = claim.measure(model)
    except SteerError as error:
        if take is not None:
            failed = error_evidence(kind, fields["name"], str(error), soundness=getattr(error, "soundness", None))
            take(failed)
            complete(failed)
        raise
    evidence.warnings += model_warnings(model)
    if take is not None:
        take(evidence)
    complete(evidence)
    raise_unless_held(evidence)
    return evidence


def raise_unless_held(evidence: Evidence) -> None:
    """Raise what the verdict calls for: nothing for a pass.

    Raises:
        SteeringFailure, SteeringInconclusive: with the evidence.
    """
    __tracebackhide__ = True
    if evidence.verdict is Verdict.INCONCLUSIVE:
        raise SteeringInconclusive(evidence)
    if not evidence.passed:
        raise SteeringFailure(evidence)
