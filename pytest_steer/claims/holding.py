"""From a claim to its evidence, or to what is raised."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import torch

from ..data import as_items
from ..errors import SteerError
from ..evidence import Evidence, Verdict, error_evidence
from ..failures import SteeringFailure, SteeringInconclusive
from ..measures.subject import Subject, model_warnings
from ..model import Model
from ..model.arguments import READERS, check_arguments
from ..registry import did_you_mean
from ..run_context import current_run
from ..steering import Intervention, SteeringVector, applied, as_intervention, check_positions, custom
from .explain import complete
from .kinds import ClaimKind, kind_of


class Claim(Protocol):
    """One promise with what it is measured on."""

    @property
    def name(self) -> str: ...

    def measure(self, model: Model) -> Evidence: ...


_OF_THE_SUBJECT = ("multiplier", "positions", "include_first", "allow_mismatch")
_OF_THE_VECTOR = ("apply", "layers", "strength", "directions")


def hold(
    kind: str,
    model: Model,
    vector: SteeringVector | Intervention | None,
    shared: Mapping[str, Any],
    *,
    late: Mapping[str, Callable[[], Any]] | None = None,
    **given: Any,
) -> Evidence:
    """Measure a claim of an assertion and return its evidence if it holds.

    Args:
        shared: the keywords that assertions share, as they were given.
        late: fields that are made here, so that an error in making them is this claim's.
        given: the other fields of the claim.

    Raises:
        SteeringFailure, SteeringInconclusive: see :func:`raise_unless_held`.
        SteerError: it cannot be measured.
        TypeError: a keyword that the assertion does not have.
    """
    __tracebackhide__ = True
    declared = kind_of(kind)
    known = declared.fields.keys() | declared.parameters.keys()
    _check_keywords(f"assert_{kind}", declared, shared, known | {*_OF_THE_SUBJECT, *_OF_THE_VECTOR})
    fields = {"seed": current_run().seed, "name": kind} | given | dict(shared)
    take = current_run().evidence
    try:
        order = ["model", "vector", *(name for name in given if name in READERS)]
        check_arguments(f"assert_{kind}", model, {"vector": vector} | fields, order=order)
        if "items" in given:
            fields["items"] = as_items(given["items"])
        fields["subject"] = _subject(kind, vector, fields)
        fields |= {name: make() for name, make in (late or {}).items()}
        claim: Claim = declared.declared(**{name: fields[name] for name in known if name in fields})
        evidence = claim.measure(model)
    except SteerError as error:
        if take is not None:
            failed = error_evidence(kind, str(fields["name"]), str(error), soundness=getattr(error, "soundness", None))
            take(failed)
            complete(failed)
        raise
    evidence.warnings += model_warnings(model)
    if take is not None:
        take(evidence)
    complete(evidence)
    raise_unless_held(evidence)
    return evidence


def _check_keywords(call: str, declared: ClaimKind, shared: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = next((name for name in shared if name not in known), None)
    if unknown is None:
        return
    now = next((new for new, schema in declared.parameters.items() if schema.get("x-was") == unknown), None)
    if now is not None:
        raise TypeError(f"{call}: {unknown!r} is now called {now!r}: write {now}={shared[unknown]!r}")
    hint = did_you_mean(unknown, [*(one for one in shared if one in known), *known])
    raise TypeError(f"{call}() got an unexpected keyword argument {unknown!r}: {hint}")


def _subject(kind: str, vector: SteeringVector | Intervention | None, fields: Mapping[str, Any]) -> Subject:
    """What steers, and how it is deployed.

    Raises:
        SteerError: nothing steers, or more than one thing is declared.
    """
    placed = {name: fields[name] for name in _OF_THE_SUBJECT if name in fields}
    declared = {"vector": vector} | {name: fields.get(name) for name in ("directions", "layers")}
    named = [name for name, value in declared.items() if value is not None]
    apply = fields.get("apply")
    if apply is None and not named:
        raise SteerError(f"assert_{kind}: nothing steers: give a SteeringVector or an Intervention as the vector")
    if len(named) != 1:
        raise SteerError(
            f"assert_{kind}: declare one of vector, directions or layers (given: {', '.join(named) or 'none'}): what apply does is "
            "held against what it is declared to do"
        )
    if apply is None and declared["layers"] is not None:
        raise SteerError("layers alone steer nothing: give a vector, or apply= with your own way of steering")
    if declared["directions"] is not None:
        vector = SteeringVector(declared["directions"])
    if vector is None:
        what = custom(_unknown, layers=declared["layers"], strength=fields.get("strength", "linear"), name="apply")
    else:
        what = as_intervention(vector)
    if apply is not None:
        added = vector if isinstance(vector, SteeringVector) else None
        scope = check_positions(placed.get("positions", Subject.positions))
        vector = applied(apply, what, positions=scope, vector=added, is_declared=vector is not None)
    return Subject(vector=vector if vector is not None else what, **placed)


def _unknown(hidden: torch.Tensor, _strength: torch.Tensor, _layer: int) -> torch.Tensor:
    return hidden


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
