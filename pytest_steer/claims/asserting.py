"""Assertions: functions made from kinds of claims, which hold a model to a claim and raise where it does not hold."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, get_args, get_type_hints

from ..core.errors import SteerError, exceptions_named, warnings_noted
from ..core.evidence import Evidence, Json, SteeringFailure, SteeringInconclusive, Verdict, error_evidence
from ..core.parameters import Param
from ..core.registry import did_you_mean
from ..core.run_context import current_run
from ..measures.subject import model_findings, noted
from ..model import Model
from ..model.arguments import check_arguments
from ..model.model import looked_at_once
from .base import AnyClaim
from .drawn import complete
from .kind import ClaimKind
from .running import evidence_of

P = ParamSpec("P")


class Assertion(Protocol[P]):  # without a docstring on __call__, so that editors show that of the claim
    def __call__(self, model: Model, *args: P.args, **kwargs: P.kwargs) -> Evidence: ...


def assertion(kind: Callable[P, AnyClaim]) -> Assertion[P]:
    """The function that makes a claim of the kind from its arguments and holds a model to it.

    It takes the model and then what the class takes, and returns the evidence. It raises ``SteeringFailure`` or
    ``SteeringInconclusive`` (both have ``.evidence``) where the claim does not hold, and ``SteerError`` where it cannot be measured.
    """
    declared: Any = kind

    def hold(model: Model, *args: P.args, **kwargs: P.kwargs) -> Evidence:
        return _hold(declared.kind, model, args, dict(kwargs))

    hints = get_type_hints(declared)
    called = {field: name for name, field in declared.kind.arguments.items()}
    made = _made_where_none_is_given(declared)
    first = inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Model)
    given = [
        one.replace(
            name=called.get(one.name, one.name),
            annotation=hints[one.name],
            default=None if one.name in made else one.default,  # as the run says
        )
        for one in _taken(declared)
    ]
    required = [one for one in given if one.kind is one.POSITIONAL_OR_KEYWORD or one.default is one.empty]
    function: Any = hold
    function.__signature__ = inspect.Signature(
        [first, *required, *(one for one in given if one not in required)], return_annotation=Evidence
    )
    function.__annotations__ = {one.name: one.annotation for one in (first, *given)} | {"return": Evidence}
    function.__name__ = function.__qualname__ = f"assert_{declared.kind.name}"
    function.__module__, function.__doc__ = declared.__module__, _documented(declared)
    return hold


def _hold(kind: ClaimKind, model: Any, args: tuple[Any, ...], kwargs: Json) -> Evidence:
    call = f"assert_{kind.name}"
    given = _bound(call, kind, model, args, kwargs)
    name = given.get("name", kind.name)
    take = current_run().evidence or _untaken
    try:
        with exceptions_named():
            with warnings_noted() as said, looked_at_once():
                _check(call, kind, model, given)
                evidence = evidence_of(kind.declared(**given), model)
            evidence = evidence.noting([*model_findings(model), *map(noted, said)])
            complete(evidence).to_dict()  # which refuses what a report cannot hold
    except SteerError as error:
        failed = error_evidence(kind.name, str(name), str(error), soundness=getattr(error, "soundness", None))
        take(failed)
        raise
    evidence = take(evidence)
    raise_unless_held(evidence)
    return evidence


def _untaken(evidence: Evidence) -> Evidence:
    """Outside of a run the evidence is only completed."""
    return complete(evidence)


def _bound(call: str, kind: ClaimKind, model: Any, args: tuple[Any, ...], kwargs: Json) -> Json:
    """The arguments by name.

    Raises:
        TypeError: too many, or a keyword that the claim does not have.
    """
    known = _taken(kind.declared)
    placed = [one.name for one in known if one.kind is one.POSITIONAL_OR_KEYWORD]
    if len(args) > len(placed):
        raise TypeError(
            f"{call}() takes {1 + len(placed)} positional arguments (model, {', '.join(placed)}) but {1 + len(args)} were given: name the others"
        )
    given = dict(zip(placed, args, strict=False))
    if again := given.keys() & kwargs.keys():
        raise TypeError(f"{call}() got multiple values for argument {min(again)!r}")
    names = {one.name for one in known} | kind.parameters.keys() | kind.arguments.keys()
    unknown = next((name for name in kwargs if name not in names), None)
    if unknown == "direction":
        raise TypeError(f"{call}() takes no direction: it says of no behaviour whether it is to rise or fall; delete it")
    if unknown is not None:
        hint = did_you_mean(unknown, sorted(names))
        raise TypeError(f"{call}() got an unexpected keyword argument {unknown!r}: {hint}")
    made = _made_where_none_is_given(kind.declared)
    given |= {name: value for name, value in kwargs.items() if value is not None or name not in made}
    needed = [one.name for one in known if one.default is one.empty]
    called = {field: name for name, field in kind.arguments.items()}
    missing = [called.get(name, name) for name in needed if name not in given and called.get(name, name) not in given]
    if missing:
        raise TypeError(f"{call}() misses {' and '.join(map(repr, missing))}")
    return given


def _check(call: str, kind: ClaimKind, model: Any, given: Json) -> None:
    name = given.get("name", kind.name)
    if not isinstance(name, str) or not name.strip():
        raise SteerError(f"{call}: name is a text that reports show, not {name!r}")
    said = {key: value for key, value in given.items() if value is not None or key == "data" or kind.fields.get(key)}
    said = {key: value for key, value in said.items() if key != "vector" or value is not None}
    order = ["model", *(one.name for one in _taken(kind.declared)), *kind.parameters]
    check_arguments(call, {"model": model, **said}, order=order)


def _taken(declared: Any) -> list[inspect.Parameter]:
    """The parameters of the class; data that may be given in one of several fields are needed, as the one argument ``data``."""
    kind = declared.kind
    parameters = list(inspect.signature(declared.__init__).parameters.values())[1:]
    if not kind.takes_data:
        return parameters
    parameters = [one for one in parameters if one.name not in kind.either]
    return [one.replace(default=one.empty) if one.name == "data" else one for one in parameters]


def _made_where_none_is_given(declared: type) -> set[str]:
    return {one.name for one in dataclasses.fields(declared) if one.default_factory is not dataclasses.MISSING}


def _documented(declared: Any) -> str:
    """The claim's docstring, with a line for each of its parameters."""
    about = {}
    for name, hint in get_type_hints(declared, include_extras=True).items():
        param = next((one for one in get_args(hint)[1:] if isinstance(one, Param)), None)
        if param is not None:
            about[param.called or name] = param.about
    lines = [inspect.getdoc(declared) or "", "", "Args:", *(f"    {name}: {text}" for name, text in about.items())]
    return "\n".join(lines)


def raise_unless_held(evidence: Evidence) -> None:
    """Raise what the verdict calls for: nothing for a pass.

    Raises:
        SteeringFailure, SteeringInconclusive: with the evidence.
    """
    if evidence.verdict is Verdict.INCONCLUSIVE:
        raise SteeringInconclusive(evidence)
    if not evidence.passed:
        raise SteeringFailure(evidence)
