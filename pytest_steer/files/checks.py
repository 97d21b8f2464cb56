"""What is wrong with a claim that the matrix has given its part: by the schema, and beyond what a schema can say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_steer.claims.kind import ClaimKind, kind_of
from pytest_steer.core import registry
from pytest_steer.core.errors import DataError, Fault
from pytest_steer.core.evidence import Json
from pytest_steer.core.finding import CODES
from pytest_steer.core.promises import read_day
from pytest_steer.core.registry import did_you_mean, nearest
from pytest_steer.core.validation import example_of, shown
from pytest_steer.data.formats.entries import builtin_file, is_builtin
from pytest_steer.data.questions import is_hub
from pytest_steer.data.texts import check_expression
from pytest_steer.files.expand import Choice, Expanded
from pytest_steer.files.messages import faults_under
from pytest_steer.files.schema import SCHEMA, Schema, full_schema, kinds, named_in, resolved, schema_of_entry, valid_keys
from pytest_steer.files.source import DataPath
from pytest_steer.files.specs import absolute
from pytest_steer.prompting import known_axes
from pytest_steer.steering import InterventionKind

_FILE_KEYS = valid_keys(SCHEMA)
_DATA_KEYS = valid_keys(_FILE_KEYS["data"])
_CLAIM_KEYS = valid_keys(SCHEMA["$defs"]["every_claim"])
_ONE_VECTOR = {
    "description": f"Add `{example_of('vector', _FILE_KEYS['vector'])}` at the top level of the file, for all its claims, or to "
    "this claim.",
    "oneOf": [{"required": ["vector"]}, {"required": ["intervention"]}],
}
_MARKS = {"x-file", "x-axis", "x-regex", "x-day"}


def faults_of(claim: Expanded, data: Json) -> list[Fault]:
    """All that is wrong with a claim under its combination, each fault where it is written.

    Args:
        data: the file.
    """
    entry = claim.values.get(claim.section)
    clashes = list(claim.clashes)
    if "method" in claim.combination and isinstance(entry, dict):
        clashes += name_faults(claim.combination["method"], entry)
    if clashes:
        return clashes
    schema = _whole_schema(claim)
    found = faults_under(schema, claim.values, ())
    if isinstance(entry, dict) and not _touches(found, (claim.section,)):
        found += joint_faults(entry, (claim.section,))
    found += [fault for fault in _hidden_faults(claim, schema) if not _touches(found, fault.path)]
    contexts = data.get("contexts", {})
    if kind_of(claim.kind).searches_contexts and not contexts:
        hint = f"Add `contexts:` at the top level of the file. {_FILE_KEYS['contexts']['description']}"
        found.append(Fault((), f"there are no contexts, and {claim.kind!r} searches them", hint))
    return [replace(fault, path=claim.at(fault.path)) for fault in found]


def context_faults(values: Json) -> Iterator[Fault]:
    """What axes have against the contexts of a file, which are right by the schema."""
    for schema, value, path in _marked(full_schema(), values, ()):
        yield from _axis_faults(schema, value, path)


def draws_demonstrations(schema: Schema, value: Any) -> bool:
    """Whether a value of an axis puts demonstrations before an item."""
    axis = known_axes().get(schema.get("x-axis", ""))
    return axis is not None and axis.draws_examples and axis.checked(value) != axis.as_given


def _whole_schema(claim: Expanded) -> Schema:
    """The JSON Schema of a claim to which nothing will be added any more."""
    of_kind = kinds()[claim.kind]
    every = full_schema()["$defs"]["every_claim"]["properties"]
    whole: dict[str, Schema] = {
        key: schema_of_entry(claim.values[key], key) for key in ("vector", "intervention") if key in claim.values
    }
    has = claim.values.get("data")
    needs = kind_of(claim.kind).needed(has if isinstance(has, dict) else {})
    example = {key: _DATA_KEYS[key]["examples"][0] for key in needs}
    about = " ".join(_DATA_KEYS[key]["description"] for key in needs)
    shared = resolved(every["data"])
    whole["data"] = {**shared, "description": about or shared["description"], "required": [*needs], "examples": [example]}
    return {
        **{key: value for key, value in of_kind.items() if key not in ("$ref", "unevaluatedProperties")},
        "properties": {**of_kind["properties"], **every, **whole},
        "additionalProperties": False,
        "required": [*of_kind.get("required", ()), *(["data"] if needs else [])],
        "allOf": [*of_kind.get("allOf", ()), _ONE_VECTOR],
    }


def _touches(faults: list[Fault], path: DataPath) -> bool:
    return any(fault.path[: len(path)] == path for fault in faults)


def _hidden_faults(claim: Expanded, schema: Schema) -> Iterator[Fault]:
    """Files that are not there, values that an axis refuses, and what parameters do not say together."""
    kind, has = kind_of(claim.kind), claim.values.get("data", {})
    used = {*kind.needed(has), *kind.uses}
    chosen = kind.chosen(claim.values, has)
    if chosen is not None:
        used.add(kind.choices[chosen])
    elif kind.either:
        yield from _nothing_chosen(claim, kind)
    for inner, value, path in _marked(schema, claim.values, ()):
        if "x-day" in inner and isinstance(value, str) and read_day(value) is None:
            hint = f"Write it as year, month and day, such as {inner['examples'][0]}. {inner['description']}"
            yield Fault(path, f"{shown(value)} is no day", hint)
        refused = list(_axis_faults(inner, value, path))
        yield from refused
        if refused or "x-axis" not in inner or not draws_demonstrations(inner, value):
            continue
        used.add("demonstrations")
        if "demonstrations" not in has:
            example = example_of("demonstrations", _DATA_KEYS["demonstrations"])
            hint = f"Add `data: {{{example}}}` at the top level of the file or to this claim."
            yield Fault(path, "there is nothing to draw demonstrations from", hint)
    yield from _silence_faults(claim)
    yield from _ignored(claim)
    yield from kind.faults(claim)
    for inner, value, path in _marked(schema, claim.values, ()):
        unused = path[0] == "data" and claim.at(path)[0] == "data" and path[1] not in used
        if "x-regex" in inner and isinstance(value, str):
            try:
                check_expression(value)
            except DataError as error:
                yield Fault(path, str(error), inner["description"])
        is_file = inner.get("x-file") and isinstance(value, str) and not (inner.get("x-hub") and is_hub(value))
        if is_file and not unused:
            fault = missing_file(value, claim.folder, path, or_layers=bool(inner.get("x-vector")))
            yield from [fault] if fault is not None else []


def _silence_faults(claim: Expanded) -> Iterator[Fault]:
    """Codes of findings that are none."""
    for name in claim.values.get("silence", {}):
        if name not in CODES:
            hint = f"{did_you_mean(name, sorted(CODES))}. docs/reference.md lists every code."
            yield Fault(("silence", name), f"{name!r} is no code of a finding", hint[0].upper() + hint[1:])


def _ignored(claim: Expanded) -> Iterator[Fault]:
    """Keys written at a claim that it makes no use of; at the top level of the file they are those of the claims that do."""
    kind, has = kind_of(claim.kind), claim.values.get("data")
    data = has if isinstance(has, dict) else {}
    meaningless = kind.meaningless({**claim.values, str(kind.chosen(claim.values, data)): True})
    keys: dict[DataPath, Schema] = {(key,): schema for key, schema in _CLAIM_KEYS.items() if key in claim.values}
    keys |= {("data", key): schema for key, schema in _DATA_KEYS.items() if key in data}
    keys |= {
        (key,): {"x-fills": key}
        for key in kind.parameters.keys() & meaningless.keys() & claim.values.keys()
        if not kind.is_default(key, claim.values[key])
    }
    hint = "Delete it here; at the top level of the file it is that of the claims that use it."
    for path, schema in keys.items():
        fills = schema.get("x-fills")
        # Data files may stand together in one `data`, whichever of them a claim reads, and the cluster is a key of the test items.
        if (
            fills is None
            or claim.at(path)[0] != "claims"
            or (path[0] == "data" and claim.at(("data", "test"))[0] == "claims")
        ):
            continue
        if fills == "direction":
            if not kind.has_direction:
                yield Fault(
                    path, f"{claim.kind!r} has no direction: it says of no behaviour whether it is to rise or fall", hint
                )
        elif fills in meaningless:
            other = kind.only_with.get(fills)
            own = f"Delete it, or give {other!r}." if other is not None else "Delete one of the two."
            yield Fault(path, f"means nothing {meaningless[fills]}", own if fills in kind.parameters else hint)
        elif not kind.takes(fills):
            yield Fault(path, f"{claim.kind!r} makes no use of it", hint)


def _nothing_chosen(claim: Expanded, kind: ClaimKind) -> Iterator[Fault]:
    """Of a claim that is measured on one of several things, when the data for it is not there."""
    because, keys = kind.lacks(claim.values)
    if keys:  # else the schema says that there is no such choice
        example = example_of(keys[0], _DATA_KEYS[keys[0]])
        reason = f"needs {' or '.join(f'data.{key}' for key in keys)}"
        hint = f"Add `data: {{{example}}}`, at the top level of the file or to this claim."
        yield Fault(() if because is None else (because,), reason, hint)


def _axis_faults(schema: Schema, value: Any, path: DataPath) -> Iterator[Fault]:
    if "x-axis" in schema:
        try:
            known_axes()[schema["x-axis"]].checked(value)
        except DataError as error:
            yield Fault(path, str(error), schema["description"])


def _marked(schema: Schema, value: Any, path: DataPath) -> Iterator[tuple[Schema, Any, DataPath]]:
    """The parts of a value that are files or values of axes, by the marks in its schema."""
    schema = resolved(schema)
    if schema.keys() & _MARKS:
        yield schema, value, path
    if isinstance(value, list) and "items" in schema:
        for index, inner in enumerate(value):
            yield from _marked(schema["items"], inner, (*path, index))
    elif isinstance(value, dict):
        for key, inner in value.items():
            below = _schema_below(schema, key)
            if isinstance(below, dict):
                yield from _marked(below, inner, (*path, key))


def _schema_below(schema: Schema, key: str) -> Any:
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    patterns = schema.get("patternProperties", {}).items()
    return next((inner for pattern, inner in patterns if re.search(pattern, key)), schema.get("additionalProperties"))


# --- keys of a vector that do not go together ---


def joint_faults(entry: Json, path: DataPath) -> Iterator[Fault]:
    """Keys of a ``vector`` or ``intervention`` that do not go together, though each is right."""
    method, kind, _ = named_in(entry)
    layer = entry.get("layer")
    if method is not None:
        if layer == "all":
            hint = "Name the layers to extract at, such as `layer: 14`."
            yield Fault((*path, "layer"), "'all' means all layers of a saved vector", hint)
        elif layer is not None and method.layers == "none":
            yield Fault((*path, "layer"), f"the method {method.name} acts at all layers", "Delete `layer`.")
        elif isinstance(layer, list) and len(layer) > 1 and method.layers == "one":
            reason = f"the method {method.name} takes one layer, but these are {len(layer)}"
            yield Fault((*path, "layer"), reason, "Name one of them.")
        if "rows" in entry:
            reason = "'rows' is about a saved stack, and this vector is extracted"
            yield Fault((*path, "rows"), reason, "Delete `rows`.")
        if method.gives_intervention and kind is not None:
            reason = f"the method {method.name} says itself how it is applied"
            yield Fault((*path, "kind"), reason, "Delete `kind`.")
    if entry.get("site", "block") != "block":
        yield from _site_faults(entry, kind, (*path, "site"))


def _site_faults(entry: Json, kind: InterventionKind | None, path: DataPath) -> Iterator[Fault]:
    if "condition" in entry:
        reason = "a condition is read at the output of blocks, and what it gates has to act there"
        yield Fault(path, reason, "Delete `site`, or `condition`.")
    elif kind is None:
        hint = f"Delete `site`, or add a `kind`: {', '.join(registry.names('intervention'))}."
        yield Fault(path, "without a kind the file or the method says the site", hint)
    elif "site" not in kind.filled:
        yield Fault(path, f"kind {kind.name} acts at the output of blocks", "Delete `site`.")


def name_faults(method: Choice, entry: Json) -> Iterator[Fault]:
    """A name of a method of the matrix that stands for nothing, or is nearly that of a registered method.

    ``caa_late`` is a name for a variant of caa, and of no other method.

    Args:
        entry: what the name stands for once the matrix has given its part.
    """
    name, settings, methods = method.label, method.settings, registry.names("method")
    if settings is None or name in (*methods, *registry.names("intervention")):
        return
    if "file" in settings or "method" in settings.get("extract", {}):
        return
    given = entry.get("extract", {}).get("method")
    variant_of = [known for known in methods if name.startswith(known)]
    if variant_of:
        meant = max(variant_of, key=len) if given not in (*variant_of, None) else None
    else:
        meant = nearest(name, methods)
        meant = meant if meant is not None and abs(len(meant) - len(name)) <= 1 else None
    if meant is not None:
        hint = f"Did you mean {meant!r}? If the name is your own, say what it stands for: `extract: {{method: {meant}}}`."
        yield Fault(method.path, f"there is no method {name!r}", hint)
    elif "file" not in entry and given is None:
        reason = f"nothing says what {name!r} is: it is no method, and there is no 'file' and no 'extract.method'"
        hint = f"Add `extract: {{method: caa}}` or `file:`, or give it the name of a method: {', '.join(methods)}."
        yield Fault(method.path, reason, hint)


# --- files that are not there ---


_MOST_LISTED = 8


def missing_file(text: str, folder: Path, path: DataPath, *, or_layers: bool = False) -> Fault | None:
    """The fault of ``path``, whose value is ``text``, unless that is a file as seen from ``folder``.

    Args:
        or_layers: a folder with one ``.pt`` file per layer is good as well.
    """
    file = absolute(text, folder)
    if is_builtin(text, folder):
        try:
            builtin_file(text)
        except DataError as error:
            return Fault(path, str(error), "Name one of them, or a file.")
        return None
    # os.path, because Path.is_file raises for names that are too long
    if os.path.isfile(file):
        return None
    if os.path.isdir(file):
        if not or_layers:
            return Fault(path, f"{shown(text)} is a folder, not a file ({file})", "Name a file inside it.")
        try:
            names = os.listdir(file)
        except OSError as error:
            return Fault(path, f"the folder {str(file)!r} cannot be read: {error}", "Give yourself the right to read it.")
        if any(name.lower().endswith((".pt", ".pth")) for name in names):
            return None
        advice = "Name a file inside it, or a folder with one .pt file per layer."
        return Fault(path, f"{shown(text)} is a folder without .pt files ({file})", advice)
    above = file.parent
    wrong = file.name
    while not os.path.isdir(above) and above != above.parent:
        above, wrong = above.parent, above.name
    reason = f"there is no file {str(file)!r}"
    if above != file.parent:
        reason += f", because there is no folder {str(above / wrong)!r}"
    return Fault(path, reason, " ".join(_advice(text, file, above, wrong, folder)))


def _advice(text: str, file: Path, above: Path, wrong: str, folder: Path) -> Iterator[str]:
    """``above``: the innermost existing folder on the way to ``file``; ``wrong``: what it does not have."""
    if not Path(text).is_absolute():
        yield f"{shown(text)} was looked up from the folder of the claim file, {folder}."
    if text.startswith("~"):
        yield "'~' is not expanded: write the path in full."
        return
    here = Path.cwd() / text
    if not Path(text).is_absolute() and here != file and os.path.isfile(here):
        yield f"There is one seen from {Path.cwd()}: write {_as_written(here, text, folder)!r}."
        return
    try:
        names = sorted(name for name in os.listdir(above) if not name.startswith(".") and name != wrong)
    except (OSError, ValueError):
        return
    deeper = [name for name in names if above == file.parent and os.path.isfile(above / name / wrong)]
    meant = nearest(wrong, names)
    if deeper:
        yield f"Did you mean {_as_written(above / deeper[0] / wrong, text, folder)!r}?"
    elif meant is not None:
        rest = file.relative_to(above / wrong) if file != above / wrong else Path()
        yield f"Did you mean {_as_written(above / meant / rest, text, folder)!r}?"
    elif names:
        more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        yield f"{above} has: {', '.join(names[:_MOST_LISTED])}{more}."
    else:
        yield f"{above} is empty."


def _as_written(file: Path, text: str, folder: Path) -> str:
    """``file`` as the user would write it: relative if ``text`` was."""
    try:
        return str(file) if Path(text).is_absolute() else os.path.relpath(file, folder)
    except ValueError:  # on another drive, or a null character
        return str(file)
