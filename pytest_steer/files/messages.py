"""Faults of a claim file in words: where, what, and what to do about it.

Nothing here knows a particular kind of claim: the words about a key are its ``description`` and ``examples``
in the schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from jsonschema import ValidationError
from jsonschema.exceptions import best_match

from pytest_steer.claims.kind import starters
from pytest_steer.core import registry
from pytest_steer.core.errors import ClaimFileError, Fault
from pytest_steer.core.evidence import Json
from pytest_steer.core.registry import nearest
from pytest_steer.core.validation import example_of, flow, reason_of, shown
from pytest_steer.files.schema import SCHEMA, Schema, full_schema, kinds, resolved, valid_keys, validator
from pytest_steer.files.source import DataPath, Source


def faults_under(schema: Schema, value: Any, path: DataPath) -> list[Fault]:
    """All that ``schema`` has against the value at ``path``."""
    found = _faults(validator().evolve(schema=schema).iter_errors(value))
    return [replace(fault, path=(*path, *fault.path)) for fault in found]


def _faults(errors: Iterable[ValidationError]) -> list[Fault]:
    errors = list(_settled(errors))
    faults = list(dict.fromkeys(fault for error in errors for fault in _unknown_keys(error)))
    # A misspelt key is unknown, and then its right spelling is missing: one slip, one message.
    meant = {(*fault.path[:-1], fault.meant) for fault in faults if fault.meant}
    for error in errors:
        faults.extend(fault for fault in _explain(error, meant) if fault not in faults)
    return faults


def to_error(faults: Sequence[Fault], source: Source) -> ClaimFileError:
    """One error that says all of ``faults``, the one that stands first in the file first."""

    def error_of(fault: Fault, hint: str) -> ClaimFileError:
        line = source.line(fault.path)
        return ClaimFileError(fault.reason, path=source.shown, line=line, where=where(fault.path), hint=hint)

    first, *others = sorted(faults, key=lambda fault: source.line(fault.path) or 0)
    return error_of(first, "\n".join([first.hint, *(str(error_of(fault, fault.hint)) for fault in others)]))


def where(path: DataPath) -> str:
    """A path such as ``("claims", 2, "name")`` as ``claims[2].name``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[\w$-]{1,60}", step):
            text += f".{step}" if text else step
        else:
            text += f"[{shown(step)}]"
    return text


# --- unknown keys -------------------------------------------------------------------------------------------


def _unknown_keys(error: ValidationError) -> Iterator[Fault]:
    if error.validator not in ("additionalProperties", "unevaluatedProperties"):
        return
    path = tuple(error.absolute_path)
    valid = [key for key in valid_keys(error.schema) if not key.startswith("$")]
    if "x-claim" in error.schema and len(error.instance) > 1:
        return  # a claim of two keys is explained as that
    for key in error.instance:
        if key in valid or any(re.search(free, key) for free in error.schema.get("patternProperties", ())):
            continue
        sort, word, name = error.schema.get("x-settings-of", ("", "", ""))
        owners = [owner for owner, one in registry.things(sort).items() if key in one.settings] if sort else []
        if owners:
            reason = f"{key!r} is a setting of {word} {' or '.join(owners)}{f', not of {name}' if name else ''}"
            yield Fault((*path, key), reason, f"Delete it, or write `{word}: {owners[0]}`.")
            continue
        what = "claim" if "x-claim" in error.schema else "key"
        elsewhere = _elsewhere(key, error.schema)
        meant = None if elsewhere else nearest(key, valid)
        advice = elsewhere or (f"Did you mean {meant!r}? " if meant else "")
        known = f"{'Known claims' if what == 'claim' else 'Valid keys'}: {', '.join(valid)}."
        yield Fault((*path, key), f"unknown {what} {shown(key)}", f"{advice}{known}", meant)


def _elsewhere(key: str, here: Schema) -> str | None:
    """Where else in a claim file ``key`` is right."""
    promises = [name for name, inner in valid_keys(here).items() if inner.get("x-promise") and key in inner["properties"]]
    if promises:
        return f"{key!r} belongs under {_listed(promises, 'or')}. "
    places = []
    if key in kinds():
        places.append(f"is a kind of claim: put it under 'claims', as `- {example_of(key, kinds()[key])}`")
    for kind, schema in kinds().items():
        if key in schema.get("properties", {}):
            places.append(f"is a parameter of {kind}")
    if key in SCHEMA["properties"] and "x-claim" not in here:
        also = " or in a claim" if key in SCHEMA["$defs"]["every_claim"]["properties"] else ""
        places.append(f"belongs at the top level of the file{also}")
    sections: list[str] = []
    for section, schema in _sections(full_schema(), ""):
        if key in schema["properties"] and section.rpartition(".")[0] not in sections:
            sections.append(section)
    if sections:
        places.append(f"belongs under {_listed(sections, 'or')}")
    return f"{key!r} {', or '.join(places)}. " if places else None


def _sections(schema: Schema, above: str) -> Iterator[tuple[str, Schema]]:
    for key, inner in valid_keys(schema).items():
        # A section that repeats keys of other sections is not where a misplaced key belongs.
        if "properties" in inner and "x-overrides" not in inner:
            yield above + key, inner
            yield from _sections(inner, f"{above}{key}.")


# --- everything else ----------------------------------------------------------------------------------------


def _settled(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    """Replaces "fits none of these" by the fault of the alternative that was most likely meant."""
    for error in errors:
        if error.validator in ("anyOf", "oneOf") and not _is_choice_of_keys(error):
            yield from _of_the_meant(error)
        else:
            yield error


def _of_the_meant(error: ValidationError) -> Iterator[ValidationError]:
    """All faults of the one alternative that takes such a kind of value (a mapping, a text); else the most likely one."""
    alternatives: dict[Any, list[ValidationError]] = {}
    for fault in error.context or ():
        alternatives.setdefault(fault.schema_path[0], []).append(fault)
    fits = [own for own in alternatives.values() if not any(one.validator == "type" and not one.path for one in own)]
    if isinstance(error.instance, dict) and len(fits) == 1:
        yield from _settled(fits[0])
    else:
        yield best_match([error])


def _explain(error: ValidationError, meant: set[DataPath]) -> Iterator[Fault]:
    path, schema, value = tuple(error.absolute_path), error.schema, error.instance
    if "x-claim" in schema and error.validator in ("minProperties", "maxProperties"):
        yield _claim_shape(path, value)
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in value and (*path, key) not in meant:
                yield _missing(path, key, schema, "")
    elif error.validator == "dependentRequired":
        for because, keys in error.validator_value.items():
            for key in keys:
                if because in value and key not in value and (*path, key) not in meant:
                    yield _missing(path, key, schema, f", and {because!r} needs it")
    elif error.validator in ("oneOf", "anyOf") and _is_choice_of_keys(error):
        if not isinstance(value, dict):
            return  # its type is wrong already
        keys = [key for branch in error.validator_value for key in branch["required"]]
        if not any((*path, key) in meant for key in keys):
            yield _choice(path, keys, schema, value)
    elif (found := reason_of(error)) is not None:
        reason, hint = found
        yield Fault(path, reason, " ".join(part for part in (hint, schema.get("description")) if part))
    elif error.validator not in ("additionalProperties", "unevaluatedProperties"):
        yield Fault(path, error.message, schema.get("description", "See the JSON Schema of claim files."))


def _claim_shape(path: DataPath, claim: Json) -> Fault:
    form = f"A claim looks like this: `- {_example_claim()}`."
    if not claim:
        return Fault(path, "the claim is empty", f"{form} Known claims: {', '.join(kinds())}.")
    known = [key for key in claim if key in kinds()]
    others = [key for key in claim if key not in kinds()]
    if len(known) > 1:
        hint = f"Make them claims of their own: start {known[1]!r} with '- '."
    elif known:
        body = claim[known[0]]
        inside = {**(body if isinstance(body, dict) else {}), **{key: claim[key] for key in others}}
        more = "indent by two more spaces, or write" if body is None else "write"
        hint = f"Put {_listed(others)} inside {known[0]!r}: {more} `- {known[0]}: {flow(inside)}`."
    else:
        hint = f"{form} Known claims: {', '.join(kinds())}."
    return Fault(path, f"a claim has one key, its kind, but this one has {len(claim)}: {_listed(claim)}", hint)


def _example_claim() -> str:
    """A claim of the first kind that a new file begins with."""
    kind = next(iter(starters("init")))
    return example_of(kind, kinds()[kind])


def _missing(path: DataPath, key: str, schema: Schema, why: str) -> Fault:
    about = valid_keys(schema)[key]
    hint = f"Add `{example_of(key, about)}`. {about.get('description', '')}".strip()
    return Fault(path, f"{key!r} is missing{why}", hint)


def _choice(path: DataPath, keys: list[str], schema: Schema, value: Json) -> Fault:
    there = [key for key in keys if key in value]
    if there:
        return Fault((*path, there[-1]), f"cannot stand beside {_listed(there[:-1])}", "Delete one of them.")
    about = valid_keys(schema)
    stand_for = {key: one["x-default-key"] for key, one in about.items() if "x-default-key" in one}
    lines = [f"`{example_of(other, about[key])}` or `{example_of(key, about[key])}`" for key, other in stand_for.items()]
    hint = " ".join([*(f"Write {line}." for line in lines), resolved(schema).get("description", "")])
    return Fault(path, f"needs {_listed(keys, 'or')}", hint)


def _is_choice_of_keys(error: ValidationError) -> bool:
    return all(set(branch) == {"required"} for branch in error.validator_value)


def _listed(words: Iterable[str], last: str = "and") -> str:
    *most, final = [shown(word) for word in words]
    return f"{', '.join(most)} {last} {final}" if most else final
