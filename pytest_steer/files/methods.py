"""What a vector or an intervention may say, given the method of extraction and the kind of intervention that it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_steer import registry
from pytest_steer.errors import Fault
from pytest_steer.extract import MethodKind
from pytest_steer.files.matrix import Choice
from pytest_steer.files.schema import SCHEMA, Schema, full_schema, resolved
from pytest_steer.files.source import DataPath
from pytest_steer.registry import nearest
from pytest_steer.steering import InterventionKind


def thing(sort: str, name: Any) -> Any:
    """What is registered under a name that a file gives, or None."""
    return registry.things(sort).get(name) if isinstance(name, str) else None


def settings_of_all(sort: str) -> set[str]:
    """The names of the settings that any method, or any kind of intervention, has."""
    return {key for one in registry.things(sort).values() for key in one.settings}


def settings_of(entry: dict[str, Any]) -> dict[DataPath, tuple[Schema, Any]]:
    """The settings of its method and its kind that an entry has: the way down to each, its schema and its value."""
    extract = entry.get("extract", {})
    method, kind = thing("method", extract.get("method")), thing("intervention", entry.get("kind"))
    declared: dict[DataPath, tuple[Schema, dict[str, Any]]]
    declared = {("extract", key): (schema, extract) for key, schema in (method.settings if method else {}).items()}
    declared |= {(key,): (schema, entry) for key, schema in (kind.settings if kind else {}).items()}
    return {way: (schema, holder[way[-1]]) for way, (schema, holder) in declared.items() if way[-1] in holder}


def schema_of(entry: Any, section: str) -> Schema:
    """The JSON Schema of a whole ``vector`` or ``intervention``: with the settings of what it names, and no others.

    Args:
        section: ``vector`` or ``intervention``.
    """
    whole = resolved(full_schema()["$defs"][f"whole_{section}"])
    if isinstance(entry, dict) and "file" in entry and "extract" in entry:
        return {"oneOf": whole["oneOf"]}
    extract = entry.get("extract") if isinstance(entry, dict) else None
    method = thing("method", extract.get("method")) if isinstance(extract, dict) else None
    kind = thing("intervention", entry.get("kind")) if isinstance(entry, dict) and section == "intervention" else None
    properties = {key: whole["properties"][key] for key in SCHEMA["$defs"][section]["properties"]}
    required = []
    if method is not None:
        properties["extract"] = _extract_schema(resolved(properties["extract"]), method)
        required += ["layer"] if method.needs_layer else []
    if kind is not None:
        properties |= kind.settings
        required += kind.required
    of_kinds = (
        {"x-settings-of": ("intervention", "kind", kind.name if kind is not None else "")}
        if section == "intervention"
        else {}
    )
    return {**whole, "properties": properties, "required": required, **of_kinds}


def _extract_schema(schema: Schema, method: MethodKind) -> Schema:
    keys = SCHEMA["$defs"]["vector"]["properties"]["extract"]["properties"]
    properties = {**{key: schema["properties"][key] for key in keys}, **method.settings}
    required = [*schema["required"], *method.required]
    return {**schema, "properties": properties, "required": required, "x-settings-of": ("method", "method", method.name)}


def joint_faults(entry: dict[str, Any], path: DataPath) -> Iterator[Fault]:
    """Keys of a ``vector`` or ``intervention`` that do not go together, though each is right."""
    method, kind = thing("method", entry.get("extract", {}).get("method")), thing("intervention", entry.get("kind"))
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


def _site_faults(entry: dict[str, Any], kind: InterventionKind | None, path: DataPath) -> Iterator[Fault]:
    if "condition" in entry:
        reason = "a condition is read at the output of blocks, and what it gates has to act there"
        yield Fault(path, reason, "Delete `site`, or `condition`.")
    elif kind is None:
        hint = f"Delete `site`, or add a `kind`: {', '.join(registry.names('intervention'))}."
        yield Fault(path, "without a kind the file or the method says the site", hint)
    elif "site" not in kind.filled:
        yield Fault(path, f"kind {kind.name} acts at the output of blocks", "Delete `site`.")


def name_faults(method: Choice, entry: dict[str, Any]) -> Iterator[Fault]:
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
