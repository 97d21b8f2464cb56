"""The vector or intervention of a claim under a combination of the matrix, put together from where its parts are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_steer.files.files import absolute, missing_file
from pytest_steer.files.matrix import STRENGTHS, Combination
from pytest_steer.files.messages import Fault
from pytest_steer.files.methods import intervention_kinds, method_faults, methods, settings_of
from pytest_steer.files.schema import SCHEMA, Schema, as_declared, valid_keys, with_defaults
from pytest_steer.files.source import DataPath
from pytest_steer.files.specs import VectorSpec
from pytest_steer.registry import nearest
from pytest_steer.validation import example_of

_FILE_KEYS = valid_keys(SCHEMA)
_BEHAVIOUR_KEYS = SCHEMA["$defs"]["behaviour"]["properties"]


Places = dict[tuple[str, ...], DataPath]
"""The way down to a key within an entry, such as ``("extract", "data")``, to where it is written."""


@dataclass(frozen=True)
class Entry:
    """A ``vector:`` or ``intervention:`` as it counts.

    Attributes:
        values: its keys.
        path: where it is written.
        own: those of its keys that are written there for it alone, so that they have to fit its method.
        places: keys that are written elsewhere.
    """

    values: dict[str, Any]
    path: DataPath
    is_intervention: bool
    own: dict[str, Any]
    places: Places = field(default_factory=dict)

    def at(self, *keys: str) -> DataPath:
        """Where a key is written."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.places:
                return (*self.places[keys[:end]], *keys[end:])
        return (*self.path, *keys)


def entry_of(data: dict[str, Any], body: dict[str, Any], inside: DataPath, made: Combination) -> Entry | None:
    """What a claim uses under a combination, or None if nothing says it.

    That is the vector or intervention of ``matrix.vector``, else the claim's own, else the file's. Over it come the settings of a
    method of the matrix, its layer, and the training data of its behaviour.

    Args:
        body / inside: the claim and where it is written.
    """
    base, path = _base(data, body, inside, made)
    if base is None and made.settings is None and (made.method is None or "train" not in made.files):
        return None
    is_intervention = path[-1] == "intervention" and path[0] != "matrix"  # a vector of the matrix can have that name too
    values = dict(base or {})
    places: Places = {}
    own = values if made.method is None else {}
    if made.settings is not None and made.method is not None:
        own = {key: value for key, value in made.settings.items() if key not in STRENGTHS}
        values, places = _overlaid(values, path, own, made.method)
        path, is_intervention = ("matrix", "method", made.method), True
    elif made.method is not None:
        values["extract"] = {**values.get("extract", {}), "method": made.method}
    if made.layer is not None:
        values["layer"] = made.layer
        places["layer",] = ("matrix", "layer")
    if "train" in made.files and "extract" in values:
        values["extract"] = {**values["extract"], "data": made.files["train"]}
        places["extract", "data"] = ("matrix", "behaviour", str(made.behaviour), "train")
        if made.columns is not None:
            values["extract"]["columns"] = made.columns
    return Entry(values, path, is_intervention, own, places)


def entry_faults(
    data: dict[str, Any], body: dict[str, Any], inside: DataPath, made: Combination, folder: Path
) -> Iterator[Fault]:
    """What stands against the vector of a claim under a combination; see :func:`entry_of`."""
    places: tuple[tuple[dict[str, Any], DataPath], ...] = ((body, inside), (data, ()))
    for level, place in places:
        if "vector" in level and "intervention" in level:
            yield Fault(place, "has both 'vector' and 'intervention', which exclude each other", "Delete one of them.")
            return
    base, _ = _base(data, body, inside, made)
    clashes = [*_clashes(body, base, made), *_settings_faults(base, made)]
    if clashes:
        yield from clashes
        return
    entry = entry_of(data, body, inside, made)
    if entry is None:
        yield Fault(
            inside,
            "there is no vector to steer with",
            f"Add `{example_of('vector', _FILE_KEYS['vector'])}` at the top level of the file, "
            "for all its claims, or to this claim.",
        )
        return
    values = entry.values

    def file_fault(text: str, *keys: str, or_layers: bool = False) -> Iterator[Fault]:
        fault = missing_file(text, folder, entry.at(*keys), or_layers=or_layers)
        if fault is not None:
            yield fault

    if "file" in values:
        # A folder can hold one .pt file per layer.
        yield from file_fault(values["file"], "file", or_layers=True)
    elif "data" not in values["extract"]:
        yield _no_data(entry, made)
    elif entry.at("extract", "data")[:2] != ("matrix", "behaviour"):  # those are looked at with the other data
        yield from file_fault(values["extract"]["data"], "extract", "data")
    yield from method_faults(values, entry.at, own=entry.own, is_intervention=entry.is_intervention)
    for keys, schema, value in settings_of(values):
        if schema.get("x-file") and isinstance(value, str):
            yield from file_fault(value, *keys, or_layers=bool(schema.get("x-vector")))
    if "condition" in values:
        yield from file_fault(values["condition"]["file"], "condition", "file")


def vector_spec(
    entry: Entry, folder: Path, line: Callable[[DataPath], int | None], columns: dict[str, str] | None = None
) -> VectorSpec:
    """An entry without faults as plain data.

    Args:
        columns: what the columns of data are called, unless the entry says it of its training data.
        folder: where its paths begin.
        line: the line of a path within the claim file.
    """
    keys = valid_keys(_FILE_KEYS["intervention" if entry.is_intervention else "vector"])
    values = with_defaults(entry.values, keys)
    extract = entry.values.get("extract", {})
    settings = {way: _setting(value, schema, folder) for way, schema, value in settings_of(entry.values)}
    layer = values.get("layer")
    return VectorSpec(
        file=absolute(values["file"], folder) if "file" in values else None,
        method=extract.get("method"),
        data=absolute(extract["data"], folder) if extract else None,
        layers=(layer,) if isinstance(layer, int) else layer,
        positions=values["positions"],
        include_first=values["include_first"],
        allow_mismatch=values["allow_mismatch"],
        line=line(entry.path) or 1,
        options={way[1]: value for way, value in settings.items() if len(way) == 2},
        shape=_shape(values, settings, folder) if entry.is_intervention else None,
        rows=values.get("rows"),
        columns=extract.get("columns", columns or {}) if extract else {},
    )


def _base(
    data: dict[str, Any], body: dict[str, Any], inside: DataPath, made: Combination
) -> tuple[dict[str, Any] | None, DataPath]:
    """The entry that methods, layers and behaviours of the matrix are put into, and where it stands."""
    if made.vector is not None:
        return data["matrix"]["vector"][made.vector], ("matrix", "vector", made.vector)
    places: tuple[tuple[dict[str, Any], DataPath], ...] = ((body, inside), (data, ()))
    for level, place in places:
        for key in ("vector", "intervention"):
            if key in level:
                return level[key], (*place, key)
    return None, ("matrix", "method") if made.method is not None else ("vector",)


def _overlaid(base: dict[str, Any], path: DataPath, own: dict[str, Any], name: str) -> tuple[dict[str, Any], Places]:
    """``base`` under the settings of the method ``name``, key by key, also within ``extract``; and where its own keys stand."""
    dropped = "extract" if "file" in own else "file" if "extract" in own else None
    base = {key: value for key, value in base.items() if key != dropped}
    values = {**base, **own}
    places: Places = {(key,): (*path, key) for key in base if key not in own}
    if "file" in values:
        return values, places
    inherited, given = base.get("extract", {}), own.get("extract", {})
    values["extract"] = {**inherited, **({"method": name} if name in methods() else {}), **given}
    places.pop(("extract",), None)
    for key in inherited.keys() - given.keys() - ({"method"} if name in methods() else set()):
        places["extract", key] = (*path, "extract", key)
    return values, places


# --- faults --------------------------------------------------------------------------------------------------------


def _clashes(body: dict[str, Any], base: dict[str, Any] | None, made: Combination) -> Iterator[Fault]:
    """Two places that say the same thing of one claim."""
    own = next((key for key in ("vector", "intervention") if key in body), None)
    if made.vector is not None and own is not None:
        hint = "Delete one of the two. A claim with a vector of its own belongs into a file without `matrix.vector`."
        yield Fault(("matrix", "vector"), "names vectors, and this claim has its own", hint)
    if made.behaviour is not None and own is not None:
        hint = "Delete one of the two. A claim with a vector of its own belongs into a file without `matrix.behaviour`."
        yield Fault(("matrix", "behaviour"), "says what vectors are made from, and this claim has its own", hint)
    for key in made.strengths.keys() & body.keys():
        path: DataPath = ("matrix", "method", str(made.method), key)
        hint = f"Delete one of the two. A claim with a `{key}` of its own belongs into a file whose methods have none."
        yield Fault(path, f"is the {key} of a method, and this claim has its own", hint)
    if made.method is not None and made.settings is None and base is not None and "file" in base:
        hint = (
            "A saved vector has no method to choose: give the vector as `extract: {data: train.json}`, or delete the axis."
        )
        yield Fault(("matrix", "method"), f"names methods, and the vector is the file {base['file']!r}", hint)


def _settings_faults(base: dict[str, Any] | None, made: Combination) -> Iterator[Fault]:
    """What stands against the settings of a method before they are put over an entry."""
    settings, name = made.settings, made.method
    if settings is None or name is None:
        return
    path: DataPath = ("matrix", "method", name)
    extract = settings.get("extract", {})
    if "file" in settings and "extract" in settings:
        yield Fault(path, "has both 'file' and 'extract', which exclude each other", "Delete one of them.")
    if made.layer is not None and "layer" in settings:
        hint = "Delete one of the two. An axis `layer` is for methods that have no layer of their own."
        yield Fault((*path, "layer"), "is a layer of its own, and `matrix.layer` names layers", hint)
    if "train" in made.files and "data" in extract:
        hint = "Delete one of the two: each behaviour gives every method its own training data."
        yield Fault((*path, "extract", "data"), f"is replaced by 'train' of the behaviour {made.behaviour!r}", hint)
    if "file" in settings or "method" in extract:
        return
    from_file = base is not None and "file" in base and "extract" not in settings
    if name in methods():
        if base is not None and from_file:
            hint = f"Write `extract: {{method: {name}}}` or `file:` under it, or give it another name."
            yield Fault(path, f"has the name of a method of extraction, and the vector is the file {base['file']!r}", hint)
        return
    given = None if from_file or base is None else base.get("extract", {}).get("method")
    meant = _misspelt(name, given, from_file=from_file)
    if meant is not None:
        hint = f"Did you mean {meant!r}? If the name is your own, say what it stands for: `extract: {{method: {meant}}}`."
        yield Fault(path, f"there is no method {name!r}", hint)
    elif given is None and not from_file:
        hint = f"Add `extract: {{method: caa}}` or `file:`, or give it the name of a method: {', '.join(methods())}."
        yield Fault(
            path, f"nothing says what {name!r} is: it is no method, and there is no 'file' and no 'extract.method'", hint
        )


def _misspelt(name: str, given: str | None, *, from_file: bool) -> str | None:
    """The method that ``name`` was meant to be, if it is not a name of the user's own for what the file's vector says.

    Args:
        given: the method of the file's vector. ``caa_late`` is a name for a variant of caa, and of no other method.
    """
    if name in intervention_kinds():
        return None
    variant_of = [method for method in methods() if name.startswith(method)]
    if variant_of:
        return None if from_file or given in (*variant_of, None) else max(variant_of, key=len)
    meant = nearest(name, methods())
    return meant if meant is not None and abs(len(meant) - len(name)) <= 1 else None


def _no_data(entry: Entry, made: Combination) -> Fault:
    method = entry.values["extract"]["method"]
    if made.behaviour is not None:
        hint = f"Add `{example_of('train', _BEHAVIOUR_KEYS['train'])}`. {_BEHAVIOUR_KEYS['train']['description']}"
        return Fault(
            ("matrix", "behaviour", made.behaviour), f"'train' is missing, and the method {method} needs training data", hint
        )
    hint = (
        "Add `extract: {data: train.json}` to it or to the file's `vector`; or let each behaviour bring its own, as `train` under "
        "`matrix.behaviour`."
    )
    return Fault(entry.path, f"there are no training data, and the method {method} needs them", hint)


def _setting(value: Any, schema: Schema, folder: Path) -> Any:
    """A setting as its method gets it: numbers as declared, paths absolute."""
    return absolute(value, folder) if schema.get("x-file") else as_declared(value, schema)


def _shape(values: dict[str, Any], settings: dict[tuple[str, ...], Any], folder: Path) -> dict[str, Any]:
    """What an intervention says beyond a vector."""
    shape: dict[str, Any] = {key: values[key] for key in ("kind", "site") if key in values}
    shape |= {way[0]: value for way, value in settings.items() if len(way) == 1}
    if "condition" in values:
        condition = with_defaults(values["condition"], valid_keys(valid_keys(_FILE_KEYS["intervention"])["condition"]))
        shape["condition"] = {**condition, "file": absolute(condition["file"], folder)}
    return shape
