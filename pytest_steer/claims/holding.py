"""From a claim to its evidence, or to what is raised."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import torch

from ..data import as_dialogues, as_items
from ..errors import SteerError, exceptions_named, warnings_noted
from ..evidence import Evidence, Verdict, error_evidence
from ..failures import SteeringFailure, SteeringInconclusive
from ..measures.subject import Subject, model_findings, noted
from ..model import Model
from ..model.arguments import READERS, check_arguments
from ..model.model import looked_at_once
from ..registry import did_you_mean
from ..run_context import current_run
from ..steering import Intervention, SteeringVector, applied, as_intervention, check_positions, custom
from ..validation import check_values
from .explain import complete
from .kinds import EVERY, ClaimKind, kind_of


class Claim(Protocol):
    """One promise with what it is measured on."""

    @property
    def name(self) -> str: ...

    def measure(self, model: Model) -> Evidence: ...


_OF_THE_SUBJECT = ("multiplier", "positions", "include_first", "allow_mismatch", "direction")
_OF_THE_VECTOR = ("apply", "layers", "strength", "directions")


def hold(kind: str, given: Mapping[str, Any], *, late: Mapping[str, Callable[[], Any]] | None = None) -> Evidence:
    """Measure the claim of an assertion and return its evidence if it holds.

    Args:
        given: the assertion's arguments as ``locals()`` has them; ``shared`` are the keywords that all assertions take.
        late: fields that are made here, so that an error in making them is this claim's.

    Raises:
        SteeringFailure, SteeringInconclusive: see :func:`raise_unless_held`.
        SteerError: it cannot be measured.
        TypeError: a keyword that the assertion does not have.
    """
    declared, shared = kind_of(kind), given["shared"]
    known = declared.fields.keys() | declared.parameters.keys()
    others = {*_OF_THE_SUBJECT, *_OF_THE_VECTOR} - (set() if declared.has_direction else {"direction"})
    _check_keywords(f"assert_{kind}", declared, shared, known | others)
    needed = {"model", *(name for name in known if declared.fields.get(name)), *declared.schema.get("required", ())}
    needed |= {*declared.promises} - {*declared.one_of}  # None is a threshold that is not there yet
    needed |= READERS.keys() & given.keys() - known  # data from which fields are made
    fields = {"seed": current_run().seed, "name": kind, **given, **shared}
    fields = {name: value for name, value in fields.items() if value is not None or name in needed}
    take = current_run().evidence or _untaken
    try:
        with exceptions_named():
            with warnings_noted() as said, looked_at_once():
                claim = _claim_of(declared, given, fields, known, late or {})
                evidence = claim.measure(given["model"])
            evidence = evidence.noting([*model_findings(given["model"]), *map(noted, said)])
            complete(evidence).to_dict()  # which refuses what a report cannot hold
    except SteerError as error:
        failed = error_evidence(kind, str(fields["name"]), str(error), soundness=getattr(error, "soundness", None))
        take(failed)
        raise
    evidence = take(evidence)
    raise_unless_held(evidence)
    return evidence


def _untaken(evidence: Evidence) -> Evidence:
    """Outside of a run the evidence is only completed."""
    return complete(evidence)


def _claim_of(
    declared: ClaimKind,
    given: Mapping[str, Any],
    fields: dict[str, Any],
    known: Collection[str],
    late: Mapping[str, Callable[[], Any]],
) -> Claim:
    call = f"assert_{declared.name}"
    if not isinstance(fields["name"], str) or not fields["name"].strip():
        raise SteerError(f"{call}: name is a text that reports show, not {fields['name']!r}")
    check_arguments(call, fields, order=[*given, *known])
    check_values(declared.name, {name: fields[name] for name in EVERY if name in fields}, EVERY)
    if "items" in fields:
        fields["items"] = as_items(fields["items"])
    if declared.fields.get("prompts"):
        fields["prompts"] = as_dialogues(fields["prompts"])
    fields["subject"] = _subject(declared.name, fields)
    fields |= {name: make() for name, make in late.items()}
    made: Claim = declared.declared(**{name: fields[name] for name in known if name in fields})
    return made


def _check_keywords(call: str, declared: ClaimKind, shared: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = next((name for name in shared if name not in known), None)
    if unknown is None:
        return
    if unknown == "direction":
        raise TypeError(f"{call}() takes no direction: it says of no behaviour whether it is to rise or fall; delete it")
    hint = did_you_mean(unknown, sorted({*known} - {"subject", "search", "source"}))
    raise TypeError(f"{call}() got an unexpected keyword argument {unknown!r}: {hint}")


def _subject(kind: str, given: Mapping[str, Any]) -> Subject:
    """What steers, and how it is deployed.

    Raises:
        SteerError: nothing steers, or more than one thing is declared.
    """
    deployed = {name: given[name] for name in _OF_THE_SUBJECT if name in given}
    declared = [name for name in ("vector", "directions", "layers") if name in given]
    apply = given.get("apply")
    if apply is None and not declared:
        raise SteerError(f"assert_{kind}: nothing steers: give a SteeringVector or an Intervention as the vector")
    if len(declared) != 1:
        raise SteerError(
            f"assert_{kind}: declare one of vector, directions or layers (given: {', '.join(declared) or 'none'}): what apply does is "
            "checked against it"
        )
    if apply is None and "layers" in given:
        raise SteerError("layers alone steer nothing: give a vector, or apply= with your own way of steering")
    if "layers" in given:
        what: SteeringVector | Intervention = custom(
            _unknown, layers=given["layers"], strength=given.get("strength", "linear"), name="apply"
        )
    else:
        what = given["vector"] if "vector" in given else SteeringVector(given["directions"])
    if apply is not None:
        scope = check_positions(deployed.get("positions", Subject.positions))
        added = what if isinstance(what, SteeringVector) else None
        what = applied(apply, as_intervention(what), positions=scope, vector=added, is_declared="layers" not in given)
    as_intervention(what)
    return Subject(vector=what, **deployed)


def _unknown(hidden: torch.Tensor, _strength: torch.Tensor, _layer: int) -> torch.Tensor:
    return hidden


def raise_unless_held(evidence: Evidence) -> None:
    """Raise what the verdict calls for: nothing for a pass.

    Raises:
        SteeringFailure, SteeringInconclusive: with the evidence.
    """
    if evidence.verdict is Verdict.INCONCLUSIVE:
        raise SteeringInconclusive(evidence)
    if not evidence.passed:
        raise SteeringFailure(evidence)
