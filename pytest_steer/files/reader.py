"""From a claim file to :class:`Suite`: its text, expanded by its matrix, validated, as claims."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_steer.claims.kind import kind_of
from pytest_steer.core.errors import Fault
from pytest_steer.core.evidence import Json
from pytest_steer.core.promises import read_day
from pytest_steer.core.validation import flow
from pytest_steer.files.checks import context_faults, faults_of
from pytest_steer.files.expand import Expanded, combinations, expanded, override_faults, repeated_labels
from pytest_steer.files.messages import faults_under, to_error, where
from pytest_steer.files.schema import (
    SCHEMA,
    Schema,
    as_declared,
    frame,
    kinds,
    main_of,
    named_in,
    valid_keys,
    validator,
    with_defaults,
)
from pytest_steer.files.source import DataPath, Source, read_source
from pytest_steer.files.specs import BrokenClaim, ClaimSpec, Suite, VectorSpec, absolute
from pytest_steer.prompting import known_axes

_FILE_KEYS = valid_keys(SCHEMA)
_CLAIM_KEYS = valid_keys(SCHEMA["$defs"]["every_claim"])
# How items are asked and read where no context says; a vector is made the way the file says.
_ASKED_FOR_VECTORS = tuple(key for key in _FILE_KEYS if key in known_axes() and key in _CLAIM_KEYS)
_ASKED = ("answers", *_ASKED_FOR_VECTORS)
_FILES = ("test", "neutral", "demonstrations", "prompts")
_FRAME = {key: _FILE_KEYS[key] for key in ("multiplier", "multipliers", "confidence", "min_n", "direction", "silence")}


def read_suite(path: str | os.PathLike[str]) -> Suite:
    """Read and check one claim file.

    A claim with faults of its own becomes a :class:`BrokenClaim` among the entries; the others stay usable.

    Raises:
        ClaimFileError: the file as a whole cannot be used: unreadable, wrong syntax, no claims, or a wrong
            key or value at the top level.
    """
    source = read_source(path)
    faults = faults_under(frame(), source.data, ())
    of_file = [fault for fault in faults if fault.path[:1] != ("claims",) or len(fault.path) < 2]
    of_file = of_file or list(_file_faults(source.data, source.path.parent))
    if of_file:
        raise to_error(of_file, source)
    return _SuiteReader(source, faults).suite()


def _file_faults(data: Json, folder: Path) -> Iterator[Fault]:
    """What a schema cannot see of a file, other than of its claims."""
    for index, pattern in enumerate(data.get("allow_unexpected", ())):
        try:
            re.compile(pattern)
        except re.error as error:
            yield Fault(
                ("allow_unexpected", index),
                f"{pattern!r} is not a regular expression ({error})",
                "It is looked for anywhere in a weight's name, so a part of the name will do: `allow_unexpected: [^mtp.]`.",
            )
    made = combinations(data)
    yield from repeated_labels(made)
    yield from override_faults(data.get("overrides", []), made, ("overrides",))
    asked = ("contexts", "regressions", *_ASKED_FOR_VECTORS)
    yield from context_faults({key: data[key] for key in asked if key in data})


class _SuiteReader:
    """What all claims of one file share while they are read."""

    def __init__(self, source: Source, faults: list[Fault]) -> None:
        self.source = source
        self.folder = source.path.parent
        self.data = source.data
        self.values = with_defaults(source.data, _FILE_KEYS)
        self.faults = faults
        self.combinations = combinations(source.data)
        self.taken: dict[str, int] = {}  # name of a claim to its index
        self.given = {self._best_name(claim) for claim in source.data["claims"]}

    def suite(self) -> Suite:
        entries = tuple(entry for index, claim in enumerate(self.data["claims"]) for entry in self._entries(index, claim))
        return Suite(
            name=self.values.get("suite", self.source.path.stem.removesuffix(".steer")),
            path=self.source.path,
            model=self._model(self.values.get("model")),
            holm=self.values["holm"],
            contexts={axis: tuple(values) for axis, values in self.data.get("contexts", {}).items()},
            entries=entries,
            regressions=tuple(self.data.get("regressions", ())),
            allow_unexpected=self.values["allow_unexpected"],
            needs_template=self.values["template"] == "required",
        )

    def _entries(self, index: int, claim: Any) -> Iterator[ClaimSpec | BrokenClaim]:
        """One for each combination of the matrix; a claim that is wrong in the same way in all of them is one."""
        faults = [fault for fault in self.faults if fault.path[:2] == ("claims", index)]
        made: list[tuple[Expanded, list[Fault]]] = []
        if not faults:
            ((kind, body),) = claim.items()
            inside: DataPath = ("claims", index, kind)
            faults = self._form_faults(kind, body, inside)
            if not faults:
                keys = body if isinstance(body, dict) else {str(main_of(kind)): body}
                faults = list(self._name_faults(index, keys.get("name", kind), inside))
                claims = [expanded(self.data, index, kind, keys, one, self.folder) for one in self.combinations]
                made = [(one, faults_of(one, self.data)) for one in claims]
                if all(found == made[0][1] for _, found in made):
                    faults += made[0][1]
        name = self._best_name(claim) or f"claim-in-line-{self._line(index)}"
        if faults:
            yield self._broken(index, name, faults)
            return
        for one, found in made:
            if found:
                yield BrokenClaim(one.named(name), self._line(index), to_error(found, self.source), one.kind)
            else:
                yield self._spec(index, one)

    def _line(self, index: int) -> int:
        return self.source.line(("claims", index)) or 1

    def _model(self, model: str | None) -> str | None:
        if model is None:
            return None
        is_file = model.endswith(".gguf") and not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", model)
        # What can only be a path is seen from the file, so that an error names its neighbours there.
        is_path = (
            ":" not in model and os.path.isdir(absolute(os.path.dirname(model), self.folder)) and not os.path.isdir(model)
        )
        if model.startswith(("./", "../")) or is_file or is_path or os.path.isdir(absolute(model, self.folder)):
            return str(absolute(model, self.folder))
        return model

    # --- faults ---

    def _form_faults(self, kind: str, body: Any, inside: DataPath) -> list[Fault]:
        """What keeps a claim from being expanded."""
        if isinstance(body, (int, float)) and not isinstance(body, bool):
            if main_of(kind) is not None:
                return []
            example = flow(kinds()[kind]["examples"][0])
            reason = f"{kind!r} has no main promise that a bare number could give"
            return [Fault(inside, reason, f"Write `- {kind}: {example}`. {kinds()[kind]['description']}")]
        if body is None and main_of(kind) in kind_of(kind).promises:
            return []
        if not isinstance(body, dict):
            form = {key: kinds()[kind][key] for key in ("type", "description", "examples")}
            return faults_under({"properties": {kind: form}}, {kind: body}, inside[:-1])
        faults: list[Fault] = []
        if "overrides" in body:
            path = (*inside, "overrides")
            faults += faults_under(_CLAIM_KEYS["overrides"], body["overrides"], path)
            faults = faults or list(override_faults(body["overrides"], self.combinations, path))
        return faults

    def _name_faults(self, index: int, name: Any, inside: DataPath) -> Iterator[Fault]:
        if not _is_name(name):
            return  # which the schema says
        if name not in self.taken:
            self.taken[name] = index
            return
        line = self.source.line(("claims", self.taken[name]))
        yield Fault(
            inside,
            f"the name {name!r} is taken by the claim {f'in line {line}' if line else 'above'}",
            f"Give one of them a `name:`, such as `name: {self._free(name)}`; the default is the kind.",
        )

    def _free(self, name: str) -> str:
        number = 2
        while f"{name}-{number}" in self.taken.keys() | self.given:
            number += 1
        return f"{name}-{number}"

    # --- entries ---

    def _spec(self, index: int, claim: Expanded) -> ClaimSpec:
        values = claim.values
        columns = values.get("data", {}).get("columns", {})
        model = claim.combination.get("model")
        return ClaimSpec(
            kind=claim.kind,
            name=claim.named(values.get("name", claim.kind)),
            params=with_defaults(values, kinds()[claim.kind]["properties"]),
            vector=self._vector(claim, columns),
            line=self._line(index),
            model=self._model(model.value) if model is not None else None,
            choice={axis: choice.label for axis, choice in claim.combination.items()},
            asked={key: values[key] for key in _ASKED if key in values},
            places=self._places(claim),
            **self._data(values.get("data", {})),
            **with_defaults(values, _FRAME) | _known_failure(values.get("xfail")),
        )

    def _data(self, data: Json) -> Json:
        """The files of a claim, and how they are read."""
        neutral = data.get("neutral")
        settings = neutral if isinstance(neutral, dict) else {"file": neutral}
        files = {**data, "neutral": settings["file"]}
        return {
            **{key: absolute(files[key], self.folder) for key in _FILES if files.get(key) is not None},
            "neutral_settings": {key: value for key, value in settings.items() if key != "file"},
            "columns": dict(data.get("columns", {})),
            "cluster": data.get("cluster"),
        }

    def _places(self, claim: Expanded) -> dict[str, tuple[int, str]]:
        model = claim.combination.get("model")
        origins = dict(claim.places)
        if model is not None or "model" in self.data:
            origins["model",] = model.path if model is not None else ("model",)
        if "template" in self.data:
            origins["template",] = ("template",)
        return {where(path): (self.source.line(origin) or 1, where(origin)) for path, origin in origins.items()}

    def _vector(self, claim: Expanded, columns: dict[str, str]) -> VectorSpec:
        entry = claim.values[claim.section]
        properties = valid_keys(_FILE_KEYS[claim.section])
        values = with_defaults(entry, properties)
        extract, layer = entry.get("extract", {}), values.get("layer")
        method, kind, file_format = named_in(entry)
        shape: Json | None = None
        if claim.section == "intervention":
            shape = {key: values[key] for key in ("kind", "site") if key in values}
            shape |= self._settings(entry, kind.settings if kind is not None else {})
            if "condition" in values:
                condition = with_defaults(values["condition"], valid_keys(properties["condition"]))
                shape["condition"] = {**condition, "file": absolute(condition["file"], self.folder)}
        as_said = ("positions", "include_first", "allow_mismatch", "rows")
        return VectorSpec(
            file=absolute(values["file"], self.folder) if "file" in values else None,
            method=extract.get("method"),
            data=absolute(extract["data"], self.folder) if extract else None,
            layers=(layer,) if isinstance(layer, int) else layer,
            line=self.source.line(claim.at((claim.section,))) or 1,
            options=self._settings(extract, method.settings if method is not None else {}),
            shape=shape,
            columns=extract.get("columns", columns) if extract else {},
            reading=self._settings(entry, file_format.settings if file_format is not None else {}),
            asked={key: self.values[key] for key in _ASKED_FOR_VECTORS if key in self.values},
            **{key: values[key] for key in as_said if key in values},
        )

    def _settings(self, given: Json, declared: Mapping[str, Schema]) -> Json:
        """The settings of a method, a kind or a format that an entry gives, with absolute paths."""
        return {
            key: absolute(given[key], self.folder) if schema.get("x-file") else as_declared(given[key], schema)
            for key, schema in declared.items()
            if key in given
        }

    def _broken(self, index: int, name: str, faults: list[Fault]) -> BrokenClaim:
        if self.taken.setdefault(name, index) != index:
            name = self._free(name)
            self.taken[name] = index
        return BrokenClaim(name, self._line(index), to_error(faults, self.source), self._kind(self.data["claims"][index]))

    def _kind(self, claim: Any) -> str:
        """The one known kind that a claim names, or an empty text."""
        known = [key for key in claim if key in kinds()] if isinstance(claim, dict) else []
        return str(known[0]) if len(known) == 1 else ""

    def _best_name(self, claim: Any) -> str | None:
        """The name that the claim has or, failing that, its kind, right or wrong."""
        if not isinstance(claim, dict):
            return None
        kind = self._kind(claim) or next(iter(claim), None)
        body = claim.get(kind)
        name = body.get("name") if isinstance(body, dict) else None
        return next((word for word in (name, kind) if _is_name(word)), None)


def _known_failure(entry: Any) -> Json:
    if not isinstance(entry, dict):
        return {"xfail": entry or None}
    return {"xfail": entry["reason"], "xfail_expires": read_day(entry["expires"]) if "expires" in entry else None}


def _is_name(word: Any) -> bool:
    return bool(validator().evolve(schema=_CLAIM_KEYS["name"]).is_valid(word))
