"""From a claim file to :class:`Suite`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_steer.files.axes import context_faults, contexts_faults, drawing, value_faults
from pytest_steer.files.entries import entry_faults, entry_of, vector_spec
from pytest_steer.files.files import absolute, missing_file
from pytest_steer.files.matrix import Combination, behaviour_faults, combinations, completed, matrix_faults
from pytest_steer.files.messages import Fault, find_faults, to_error
from pytest_steer.files.promises import params_of, per_faults, xfail_faults, xfail_of
from pytest_steer.files.schema import SCHEMA, kinds, resolved, valid_keys, validator, with_defaults
from pytest_steer.files.source import DataPath, Source, read_source
from pytest_steer.files.specs import BrokenClaim, ClaimSpec, Suite
from pytest_steer.prompting import known_axes
from pytest_steer.validation import example_of

_FILE_KEYS = valid_keys(SCHEMA)
_DATA_KEYS = {key: schema for key, schema in valid_keys(_FILE_KEYS["data"]).items() if key != "columns"}
"""Those of ``data`` that name files."""
_CLAIM_KEYS = valid_keys(SCHEMA["$defs"]["every_claim"])
# How items are asked and read where no context says; a vector is made the way the file says.
_ASKED_FOR_VECTORS = tuple(key for key in _FILE_KEYS if key in known_axes())
_ASKED = ("answers", *_ASKED_FOR_VECTORS)


def read_suite(path: str | os.PathLike[str]) -> Suite:
    """Reads and checks one claim file.

    A claim with faults of its own becomes a :class:`BrokenClaim` among the entries; the others stay usable.

    Raises:
        ClaimFileError: the file as a whole cannot be used: unreadable, wrong syntax, no claims, or a wrong
            key or value at the top level.
    """
    source = read_source(path)
    faults = find_faults(completed(source.data))
    of_file = [fault for fault in faults if fault.path[:1] != ("claims",) or len(fault.path) < 2]
    of_file = of_file or list(_pattern_faults(source.data.get("allow_unexpected", ())))
    of_file = of_file or matrix_faults(combinations(source.data))
    of_file = of_file or list(_asked_faults(source.data, ()))
    of_file = of_file or list(contexts_faults(source.data.get("contexts", {})))
    if not of_file:
        for index, context in enumerate(source.data.get("regressions", ())):
            of_file += context_faults(context, ("regressions", index))
    if of_file:
        raise to_error(of_file, source)
    return _SuiteReader(source, faults).suite()


def _pattern_faults(patterns: Iterable[str]) -> Iterator[Fault]:
    for index, pattern in enumerate(patterns):
        try:
            re.compile(pattern)
        except re.error as error:
            yield Fault(
                ("allow_unexpected", index),
                f"{pattern!r} is not a regular expression ({error})",
                "It is looked for anywhere in a weight's name, so a part of the name will do: `allow_unexpected: [^mtp.]`.",
            )


class _SuiteReader:
    """Holds what all claims of one file share while they are read."""

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
        claims, contexts = self.data["claims"], self.data.get("contexts", {})
        faults = [self._faults_of(index, claim) for index, claim in enumerate(claims)]
        entries = tuple(entry for index, claim in enumerate(claims) for entry in self._entries(index, claim, faults[index]))
        return Suite(
            name=self.values.get("suite", _stem(self.source.path)),
            path=self.source.path,
            model=self._model(self.values.get("model")),
            holm=self.values["holm"],
            contexts={axis: tuple(values) for axis, values in contexts.items()},
            entries=entries,
            regressions=tuple(self.data.get("regressions", ())),
            allow_unexpected=self.values["allow_unexpected"],
        )

    def _entries(self, index: int, claim: Any, faults: list[Fault]) -> Iterator[ClaimSpec | BrokenClaim]:
        """One for each combination of the matrix; a claim with faults is one, whatever the matrix."""
        if faults:
            yield self._broken(index, claim, faults)
        else:
            yield from (self._spec(index, claim, made) for made in self.combinations)

    def _model(self, model: str | None) -> str | None:
        if model is None:
            return None
        is_file = model.endswith(".gguf") and not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", model)
        if model.startswith(("./", "../")) or is_file or os.path.isdir(absolute(model, self.folder)):
            return str(absolute(model, self.folder))
        return model

    # --- faults that a schema cannot see ---

    def _faults_of(self, index: int, claim: Any) -> list[Fault]:
        here: DataPath = ("claims", index)
        faults = [fault for fault in self.faults if fault.path[:2] == here]
        kind = _kind(claim)
        if kind is None or len(claim) > 1 or not isinstance(claim[kind], dict):
            return faults
        body, inside = claim[kind], (*here, kind)
        # Keys that are wrong, or missing because they are misspelt, are not looked at again.
        wrong = {fault.path[3] for fault in faults if len(fault.path) > 3}
        wrong |= {fault.meant for fault in faults if len(fault.path) == 4 and fault.meant}
        faults.extend(_asked_faults({key: value for key, value in body.items() if key not in wrong}, inside))
        if "name" not in wrong:
            faults.extend(self._name_fault(index, body.get("name", kind), inside))
        if not wrong & {"vector", "intervention"}:
            for made in self.combinations:
                found = entry_faults(self.data, body, inside, made, self.folder)
                faults.extend(fault for fault in found if fault not in faults)
        if "xfail" not in wrong:
            faults.extend(xfail_faults(body.get("xfail"), self.combinations, (*inside, "xfail")))
        if "per" not in wrong:
            faults.extend(per_faults(kind, body, self.combinations, (*inside, "per")))
        if "data" not in wrong:
            for made in self.combinations:
                faults.extend(fault for fault in self._data_faults(kind, body, inside, made) if fault not in faults)
        if not wrong & {"contexts", "data_sets", "base", "per"}:
            faults.extend(self._setting_faults(body, inside))
            for label, values in body.get("per", {}).items():
                own = {**values, "data": body.get("data", {})}
                faults.extend(self._setting_faults(own, (*inside, "per", label)))
        for key, schema in kinds()[kind]["properties"].items():
            if key in body and key not in wrong and resolved(schema).get("x-file"):
                faults.extend(self._file_fault(body[key], (*inside, key)))
        if kinds()[kind].get("x-searches-contexts") and not self.data.get("contexts"):
            about = _FILE_KEYS["contexts"]
            faults.append(
                Fault(
                    inside,
                    f"there are no contexts, and {kind!r} searches them",
                    f"Add `contexts:` at the top level of the file. {about['description']}",
                )
            )
        return faults

    def _name_fault(self, index: int, name: str, inside: DataPath) -> Iterator[Fault]:
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

    def _data_faults(self, kind: str, body: dict[str, Any], inside: DataPath, made: Combination) -> Iterator[Fault]:
        yield from behaviour_faults(body, made, self.folder)
        for key in _DATA_KEYS:
            if key in made.files:
                continue
            own = key in body.get("data", {})
            needed = key in kinds()[kind].get("x-needs", ())
            used = own or needed or key in kinds()[kind].get("x-uses", ())
            value = body["data"][key] if own else self.data.get("data", {}).get(key)
            if value is not None and used:
                yield from self._file_fault(value, (*inside, "data", key) if own else ("data", key))
            elif needed:
                yield Fault(
                    inside,
                    f"'data.{key}' is missing, and {kind!r} is measured on it",
                    f"Add `data: {{{example_of(key, _DATA_KEYS[key])}}}` at the top level of the file "
                    f"or to this claim. {_DATA_KEYS[key]['description']}",
                )

    def _setting_faults(self, body: dict[str, Any], inside: DataPath) -> Iterator[Fault]:
        """Of a claim that names contexts and data sets of its own."""
        named = {(*inside, "contexts", name): values for name, values in body.get("contexts", {}).items()}
        if "base" in body:
            named[*inside, "base"] = body["base"]
        for path, values in named.items():
            found = list(context_faults(values, path))
            yield from found
            axis = None if found else drawing(values)
            if axis is not None:
                yield from self._example_faults(body, (*path, axis))
        if ("contexts" in body or "data_sets" in body) and not (body.get("contexts") or body.get("data_sets")):
            yield Fault(
                inside, "names no context and no data set", "Name one: `contexts: {swapped: {option_order: swapped}}`."
            )
        taken = body.get("contexts", {}).keys() & body.get("data_sets", {}).keys()
        for name, file in body.get("data_sets", {}).items():
            path = (*inside, "data_sets", name)
            yield from self._file_fault(file, path)
            if name in taken:
                yield Fault(path, f"the name {name!r} is that of a context too", "Give one of them another name.")

    def _example_faults(self, body: dict[str, Any], path: DataPath) -> Iterator[Fault]:
        """Of the number of few-shot examples in a context."""
        if "examples" in body.get("data", {}) or all("examples" in made.files for made in self.combinations):
            return  # looked at with the claim's data
        if "examples" in self.data.get("data", {}):
            yield from self._file_fault(self.data["data"]["examples"], ("data", "examples"))
            return
        example = example_of("examples", _DATA_KEYS["examples"])
        hint = f"Add `data: {{{example}}}` at the top level of the file or to this claim."
        yield Fault(path, "there is nothing to draw examples from", hint)

    def _file_fault(self, text: str, path: DataPath, *, or_layers: bool = False) -> Iterator[Fault]:
        fault = missing_file(text, self.folder, path, or_layers=or_layers)
        if fault is not None:
            yield fault

    # --- entries ---

    def _spec(self, index: int, claim: dict[str, Any], made: Combination) -> ClaimSpec:
        kind, body = next(iter(claim.items()))
        own = with_defaults(body, {key: _CLAIM_KEYS[key] for key in body if key in _CLAIM_KEYS})
        values = {**self.values, **own}
        values |= with_defaults(made.strengths, {key: _FILE_KEYS[key] for key in made.strengths})
        data = {**self.data.get("data", {}), **body.get("data", {}), **made.files}
        columns = made.columns if made.columns is not None else data.get("columns", {})
        entry = entry_of(self.data, body, ("claims", index, kind), made)
        assert entry is not None  # entry_faults has seen to it
        asked = {key: values[key] for key in _ASKED if key in body or key in self.data}
        of_file = {key: self.values[key] for key in _ASKED_FOR_VECTORS if key in self.values}
        return ClaimSpec(
            kind=kind,
            name=made.named(body.get("name", kind)),
            params=with_defaults(params_of(body, made), kinds()[kind]["properties"]),
            vector=replace(vector_spec(entry, self.folder, self.source.line, columns), asked=of_file),
            multiplier=values["multiplier"],
            multipliers=values["multipliers"],
            test=absolute(data["test"], self.folder) if "test" in data else None,
            neutral=absolute(data["neutral"], self.folder) if "neutral" in data else None,
            examples=absolute(data["examples"], self.folder) if "examples" in data else None,
            confidence=values["confidence"],
            xfail=xfail_of(body.get("xfail"), made),
            line=self.source.line(("claims", index)) or 1,
            model=self._model(made.model),
            choice=dict(made.choice),
            asked=asked,
            columns=dict(columns),
        )

    def _broken(self, index: int, claim: Any, faults: list[Fault]) -> BrokenClaim:
        line = self.source.line(("claims", index)) or 1
        name = self._best_name(claim) or f"claim-in-line-{line}"
        if self.taken.setdefault(name, index) != index:
            name = self._free(name)
            self.taken[name] = index
        return BrokenClaim(name, line, to_error(faults, self.source))

    def _best_name(self, claim: Any) -> str | None:
        """The name that the claim has or, failing that, its kind, right or wrong."""
        if not isinstance(claim, dict):
            return None
        kind = _kind(claim) or next(iter(claim), None)
        body = claim.get(kind)
        name = body.get("name") if isinstance(body, dict) else None
        return next((word for word in (name, kind) if _is_name(word)), None)


def _kind(claim: Any) -> str | None:
    """The only known kind among the keys of a claim."""
    known = [key for key in claim if key in kinds()] if isinstance(claim, dict) else []
    return known[0] if len(known) == 1 else None


def _asked_faults(values: dict[str, Any], path: DataPath) -> Iterator[Fault]:
    """Of values of axes outside of contexts, such as the date 2025-02-30."""
    for name in _ASKED_FOR_VECTORS:
        if name in values:
            yield from value_faults(name, values[name], (*path, name))


def _is_name(word: Any) -> bool:
    return bool(validator().evolve(schema=_CLAIM_KEYS["name"]).is_valid(word))


def _stem(path: Path) -> str:
    return path.stem.removesuffix(".steer")
