"""Which settings go with which method of extraction and which kind of intervention: what a schema cannot say in good words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pytest_steer import registry
from pytest_steer.extract import MethodKind, method_kind
from pytest_steer.files.messages import Fault, faults_under
from pytest_steer.files.schema import SCHEMA, Schema, valid_keys
from pytest_steer.files.source import DataPath
from pytest_steer.steering import InterventionKind, intervention_kind
from pytest_steer.validation import example_of

_LAYER = valid_keys(SCHEMA["properties"]["intervention"])["layer"]
At = Callable[..., DataPath]
"""From a key, or the keys down to it, to where it is written."""


def methods() -> list[str]:
    """The names of all methods of extraction."""
    return registry.names("method")


def intervention_kinds() -> list[str]:
    """The names of all kinds of interventions."""
    return registry.names("intervention")


def settings_of(values: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Schema, Any]]:
    """The settings of the method and the kind that an entry names: the way down to each, its schema and its value."""
    extract = values.get("extract", {})
    if "method" in extract:
        for key, schema in method_kind(extract["method"]).settings.items():
            if key in extract:
                yield ("extract", key), schema, extract[key]
    if "kind" in values:
        for key, schema in intervention_kind(values["kind"]).settings.items():
            if key in values:
                yield (key,), schema, values[key]


def method_faults(entry: dict[str, Any], at: At, *, own: dict[str, Any], is_intervention: bool) -> Iterator[Fault]:
    """What is wrong with a ``vector`` or ``intervention`` entry as a whole, whose keys and values are right one by one.

    Args:
        own: the keys that are said of this method alone; others may belong to another method of a matrix, and are left aside.
    """
    method = method_kind(entry["extract"]["method"]) if "extract" in entry else None
    kind = intervention_kind(entry["kind"]) if is_intervention and "kind" in entry else None
    if method is not None:
        yield from _extract_faults(entry, at, own, method)
    if is_intervention:
        yield from _kind_faults(entry, at, own, method, kind)
    for keys, schema, value in settings_of(entry):
        # Where two declare a setting of one name otherwise, the file's schema lets through what either of them takes.
        yield from faults_under(schema, value, at(*keys))


def _extract_faults(entry: dict[str, Any], at: At, own: dict[str, Any], method: MethodKind) -> Iterator[Fault]:
    layer = entry.get("layer")
    if layer is None and method.needs_layer:
        yield _missing(at(), "layer", _LAYER, "'extract'")
    if layer == "all":
        yield Fault(
            at("layer"), "'all' means all layers of a saved vector", "Name the layers to extract at, such as `layer: 14`."
        )
    if "rows" in own:
        yield Fault(at("rows"), "'rows' is about a saved stack, and this vector is extracted", "Delete `rows`.")
    if "layer" in own and method.layers == "none":
        yield Fault(at("layer"), f"the method {method.name} acts at all layers", "Delete `layer`.")
    if isinstance(layer, list) and len(layer) > 1 and method.layers == "one":
        reason = f"the method {method.name} takes one layer, but these are {len(layer)}"
        yield Fault(at("layer"), reason, "Name one of them.")
    for key in method.required:
        if key not in entry["extract"]:
            yield _missing(at("extract"), key, method.settings[key], f"the method {method.name}")
    for key in own.get("extract", {}):
        owners = _owners("method", key)
        if owners and method.name not in owners:
            about = next(iter(owners.values()))["description"]
            hint = f"Delete it, or use a method that has it: {', '.join(owners)}. {about}"
            yield Fault(at("extract", key), f"{key!r} is no setting of the method {method.name}", hint)


def _kind_faults(
    entry: dict[str, Any], at: At, own: dict[str, Any], method: MethodKind | None, kind: InterventionKind | None
) -> Iterator[Fault]:
    if method is not None and method.gives_intervention and kind is not None:
        yield Fault(at("kind"), f"the method {method.name} says itself how it is applied", "Delete `kind`.")
    for key in own:
        owners = _owners("intervention", key)
        if owners and (kind is None or kind.name not in owners):
            but = f", but the kind is {kind.name}" if kind is not None else ""
            name, about = next(iter(owners.items()))
            hint = f"Write `kind: {name}`, or delete it. {about['description']}"
            yield Fault(at(key), f"{key!r} is a setting of kind {' and '.join(owners)}{but}", hint)
    for key in kind.required if kind is not None else ():
        assert kind is not None
        if key not in entry:
            yield _missing(at(), key, kind.settings[key], f"kind {kind.name}")
    if entry.get("site", "block") == "block":
        return
    if "condition" in entry:
        reason = "a condition is read at the output of blocks, and what it gates has to act there"
        yield Fault(at("site"), reason, "Delete `site`, or `condition`.")
    elif kind is None:
        reason = "without a kind the file or the method says the site"
        yield Fault(at("site"), reason, f"Delete `site`, or add a `kind`: {', '.join(intervention_kinds())}.")
    elif "site" not in kind.filled:
        yield Fault(at("site"), f"kind {kind.name} acts at the output of blocks", "Delete `site`.")


def _owners(sort: str, key: str) -> dict[str, Schema]:
    """The methods, or kinds of interventions, that have a setting, and how they declare it."""
    return {name: kind.settings[key] for name, kind in registry.things(sort).items() if key in kind.settings}


def _missing(path: DataPath, key: str, about: Schema, needed_by: str) -> Fault:
    return Fault(
        path, f"{key!r} is missing, and {needed_by} needs it", f"Add `{example_of(key, about)}`. {about['description']}"
    )
