"""Expansion: a claim as it counts for one combination of the matrix, put together from where its parts are written."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_steer.core import registry
from pytest_steer.core.errors import Fault
from pytest_steer.core.evidence import Json
from pytest_steer.core.registry import did_you_mean
from pytest_steer.files.messages import where
from pytest_steer.files.schema import SCHEMA, kinds, named_in, settings_of_all
from pytest_steer.files.source import DataPath
from pytest_steer.files.specs import OWN_AXES, absolute

# --- the matrix ---


@dataclass(frozen=True)
class Choice:
    """What a combination has chosen from one axis.

    Attributes:
        label: the choice as it stands in an item's name.
        value: an entry of a list, or what stands under a name.
        path: where it is written.
    """

    label: str
    value: Any
    path: DataPath

    @property
    def settings(self) -> Json | None:
        """What a method's name stands for; None if the axis is a list of methods."""
        return self.value if isinstance(self.value, dict) else None


Combination = dict[str, Choice]
"""Axis to choice, in the order of the file; empty if the file has no matrix."""


def combinations(data: Json) -> tuple[Combination, ...]:
    """All combinations of a file whose ``matrix`` is right; the last axis runs fastest."""
    axes = [[(axis, choice) for choice in _choices(axis, listed)] for axis, listed in data.get("matrix", {}).items()]
    return tuple(dict(chosen) for chosen in itertools.product(*axes))


def label_of(choice: Any) -> str:
    """A choice as it stands in an item's name: ``14``, ``13+14`` for a list."""
    if isinstance(choice, list):
        return "+".join(map(label_of, choice))
    return str(int(choice) if isinstance(choice, float) else choice)  # to a schema, 14.0 is a whole number too


def labels_of(made: Combination) -> str:
    """A combination as it stands in an item's name: ``icv-14``."""
    return "-".join(choice.label for choice in made.values())


def repeated_labels(made: tuple[Combination, ...]) -> list[Fault]:
    """Two combinations that would give their items the same name."""
    hint = "An item's name joins its choices with '-': give one of the choices another name."
    repeated = (label for label, count in Counter(map(labels_of, made)).items() if count > 1)
    return [Fault(("matrix",), f"two combinations have the name {label!r}", hint) for label in repeated][:1]


def _choices(axis: str, listed: Any) -> list[Choice]:
    if isinstance(listed, dict):
        return [Choice(name, value, ("matrix", axis, name)) for name, value in listed.items()]
    return [Choice(label_of(value), value, ("matrix", axis, index)) for index, value in enumerate(listed)]


# --- a claim under one combination ---


_STRENGTHS = ("multiplier", "multipliers")
"""Keys of a method of the matrix about its own strength, in addition to those of an ``intervention:``."""
_VECTORS = ("vector", "intervention")
_MERGED = (*_VECTORS, "extract", "data", "silence")
"""Sections that are replaced key by key; everything else as a whole."""
_EVERY_CLAIM = SCHEMA["$defs"]["every_claim"]["properties"]
_SHARED = tuple(key for key in SCHEMA["properties"] if key in _EVERY_CLAIM and key not in (*_VECTORS, "overrides"))
"""What the file says for all its claims."""


@dataclass
class Expanded:
    """A claim under one combination.

    Attributes:
        folder: where the paths of its file begin.
        values: all its keys: its own, the file's, those of its combination, and what overrides change.
        places: the way down to a part of ``values``, such as ``("vector", "layer")``, to where that is written.
        clashes: keys that two places give, neither of which wins.
    """

    kind: str
    combination: Combination
    folder: Path
    values: Json = field(default_factory=dict)
    places: dict[DataPath, DataPath] = field(default_factory=dict)
    clashes: list[Fault] = field(default_factory=list)

    @property
    def section(self) -> str:
        """``intervention`` if it has one, else ``vector``."""
        return "intervention" if "intervention" in self.values else "vector"

    @property
    def entry(self) -> Json:
        """What stands under that key; empty if it is no mapping."""
        found = self.values.get(self.section)
        return found if isinstance(found, dict) else {}

    @property
    def own_names(self) -> frozenset[str]:
        """What the combination calls the claim's own behaviour or vector."""
        return frozenset(self.combination[axis].label for axis in OWN_AXES if axis in self.combination)

    def path(self, text: str) -> Path:
        """A path of the file, or the name of data that are shipped."""
        return absolute(text, self.folder)

    def at(self, path: DataPath) -> DataPath:
        """Where a part of ``values`` is written."""
        end = next(end for end in range(len(path), -1, -1) if path[:end] in self.places)
        return (*self.places[path[:end]], *path[end:])

    def named(self, claim: str) -> str:
        """The item's name: ``steers[icv-14]``."""
        return f"{claim}[{labels_of(self.combination)}]" if self.combination else claim

    def put(self, path: DataPath, value: Any, origin: DataPath) -> None:
        """Put a value at ``path``, in the place of what is there."""
        *above, key = path
        holder: Any = self.values
        for step in above:
            holder = holder.setdefault(step, {})
            if not isinstance(holder, dict):
                return  # which is another fault
        if isinstance(value, dict) and key in _MERGED:
            if not isinstance(holder.get(key), dict):
                holder[key], self.places[path] = {}, origin
            for inner, one in value.items():
                self.put((*path, inner), one, (*origin, inner))
        else:
            holder[key], self.places[path] = value, origin
            for inner in value if isinstance(value, dict) else ():
                self.places[*path, inner] = (*origin, inner)

    def give(self, path: DataPath, value: Any, origin: DataPath) -> None:
        """Put what an axis of the matrix gives, unless the claim or the choice of another axis says the same key."""
        if isinstance(value, dict) and path[-1] in _MERGED:
            for inner, one in value.items():
                self.give((*path, inner), one, (*origin, inner))
            return
        before = self.places.get(path)
        if before is not None and (before[0] == "claims" or before[:2] == ("matrix", "method")):
            self._clash(where(path), origin, before)
        else:
            self.put(path, value, origin)

    def _clash(self, key: str, origin: DataPath, before: DataPath) -> None:
        reason = f"gives {key!r}, and so does {where(before)}"
        hint = "Delete one of the two"
        more = f", or move the claim to a file without `{where(origin[:2])}`" if before[0] == "claims" else ""
        self.clashes.append(Fault(origin, reason, f"{hint}{more}."))


def expanded(data: Json, index: int, kind: str, body: Json, made: Combination, folder: Path) -> Expanded:
    """A claim of a file under a combination of its matrix.

    The file's keys come first, then the claim's, then what the axes give, then the overrides of the file and of the claim.

    Args:
        data: the file, whose parts other than its claims are right.
        index / kind / body: the claim's place in the file, its kind and its keys, which can be wrong.
    """
    here: DataPath = ("claims", index, kind)
    claim = Expanded(kind, made, folder, places={(): here})
    for key in _SHARED:
        if key in data:
            claim.put((key,), data[key], (key,))
    for key, value in body.items():
        if key not in (*_VECTORS, "overrides"):
            claim.put((key,), value, (*here, key))
    _put_base(claim, data, body, here)
    method, behaviour = made.get("method"), made.get("behaviour")
    if method is not None:
        _give_method(claim, method)
    if "layer" in made and claim.section in claim.values:
        claim.give((claim.section, "layer"), made["layer"].value, made["layer"].path)
    if behaviour is not None:
        _give_behaviour(claim, behaviour)
    if method is not None:
        _leave_aside(claim, method.path)
    for key, value, origin in _changes(data.get("overrides", []), made, ("overrides",)):
        if key in _EVERY_CLAIM or key in kinds()[kind]["properties"] or not _is_of_another(data, key):
            claim.put((key,), value, origin)
    for key, value, origin in _changes(body.get("overrides", []), made, (*here, "overrides")):
        claim.put((key,), value, origin)
    return claim


def _put_base(claim: Expanded, data: Json, body: Json, here: DataPath) -> None:
    """The vector that axes change: that of ``matrix.vector``, else the claim's own, else the file's."""
    own = {key: (body[key], (*here, key)) for key in _VECTORS if key in body}
    found = own or {key: (data[key], (key,)) for key in _VECTORS if key in data}
    named = claim.combination.get("vector")
    if named is not None:
        found = {"vector": (named.value, named.path)}
        for key, (_, origin) in own.items():
            claim._clash(key, named.path, origin)
    for key, (value, origin) in found.items():
        claim.put((key,), value, origin)


def _give_method(claim: Expanded, method: Choice) -> None:
    """The method of a combination: its name in ``extract.method``, or the settings that stand under its name."""
    if method.settings is None:
        _give_name(claim, claim.section, method)
        return
    entry = {key: value for key, value in method.settings.items() if key not in _STRENGTHS}
    for key in method.settings.keys() - entry.keys():
        claim.give((key,), method.settings[key], (*method.path, key))
    base = claim.values.pop(claim.section, {})
    # Settings are those of an intervention, whatever they are put over.
    claim.values["intervention"] = base
    for path in [path for path in claim.places if path[:1] == ("vector",)]:
        claim.places["intervention", *path[1:]] = claim.places.pop(path)
    claim.places["intervention",] = method.path
    if isinstance(base, dict):
        base.pop("extract" if "file" in entry else "file" if "extract" in entry else "", None)
    if method.label in registry.names("method") and "file" not in entry and "method" not in entry.get("extract", {}):
        _give_name(claim, "intervention", method)
    claim.give(("intervention",), entry, method.path)


def _give_name(claim: Expanded, section: str, method: Choice) -> None:
    base = claim.values.get(section)
    if isinstance(base, dict) and "file" in base:
        reason = f"{method.label!r} is a method of extraction, and the vector is the file {base['file']!r}"
        hint = "Give the vector as `extract: {data: train.json}`, or name what is done with the file: `{held: {kind: clamp, value: 4}}`."
        claim.clashes.append(Fault(method.path, reason, hint))
    else:
        claim.give((section, "extract", "method"), method.label, method.path)


def _leave_aside(claim: Expanded, path: DataPath) -> None:
    """Drop what was meant for other methods of the matrix: keys that the method, or the kind, of this one does not have.

    Args:
        path: the method's place in the matrix. What is written there is meant for it alone, and stays.
    """
    entry = claim.values.get(claim.section)
    if not isinstance(entry, dict):
        return
    method, kind, _ = named_in(entry)
    unfit = settings_of_all("intervention") - (kind.settings.keys() if kind is not None else set())
    if method is not None:
        unfit |= {"rows", *(["layer"] if method.layers == "none" else [])}
        of_others = settings_of_all("method") - method.settings.keys()
        _drop(claim, entry["extract"], of_others, (claim.section, "extract"), path)
    _drop(claim, entry, unfit, (claim.section,), path)


def _drop(claim: Expanded, holder: Json, keys: set[str], way: DataPath, kept: DataPath) -> None:
    for key in holder.keys() & keys:
        if claim.at((*way, key))[: len(kept)] != kept:
            del holder[key]


def _give_behaviour(claim: Expanded, behaviour: Choice) -> None:
    entry = claim.values.get(claim.section)
    for key, value in behaviour.value.items():
        origin = (*behaviour.path, key)
        if key in ("train", "columns") and isinstance(entry, dict) and "extract" in entry:
            claim.give((claim.section, "extract", "data" if key == "train" else key), value, origin)
        if key != "train":
            claim.give(("data", key), value, origin)


def _is_of_another(data: Json, key: str) -> bool:
    """Whether a claim of another kind in the file has this parameter."""
    present = {kind for claim in data["claims"] if isinstance(claim, dict) for kind in claim if kind in kinds()}
    return any(key in kinds()[kind]["properties"] for kind in present)


# --- overrides ---


_FIXED = {
    "name": "All combinations of a claim share its name.",
    "overrides": "Write it as the next entry of the list.",
    "vector": "Make it a choice of `matrix.vector`, or of `matrix.method` with settings.",
    "intervention": "Make it a choice of `matrix.method` with settings.",
}
"""Keys of a claim that no override can change, and what to do instead."""


def _changes(overrides: list[Json], made: Combination, path: DataPath) -> Iterator[tuple[str, Any, DataPath]]:
    """What the entries that match a combination change, in order: key, value and where it is written."""
    for index, entry in enumerate(overrides):
        if _matches(entry.get("match", {}), made):
            yield from ((key, value, (*path, index, key)) for key, value in entry.items() if key != "match")


def override_faults(overrides: list[Json], made: tuple[Combination, ...], path: DataPath) -> Iterator[Fault]:
    """What is wrong with the entries of a list whose form is right."""
    axes: dict[str, list[str]] = {
        axis: list(dict.fromkeys(one[axis].label for one in made)) for axis in (made[0] if made else ())
    }
    for index, entry in enumerate(overrides):
        here: DataPath = (*path, index)
        for key in entry.keys() & _FIXED.keys():
            yield Fault((*here, key), f"{key!r} cannot differ between combinations", _FIXED[key])
        match = entry.get("match", {})
        wrong = list(_match_faults(match, axes, (*here, "match")))
        yield from wrong
        if not wrong and not any(_matches(match, one) for one in made):
            yield Fault((*here, "match"), "matches no combination", f"Combinations: {', '.join(map(labels_of, made))}.")


def _matches(match: Json, made: Combination) -> bool:
    return all(axis in made and made[axis].label in _labels(wanted) for axis, wanted in match.items())


def _labels(wanted: Any) -> list[str]:
    """The choices that a value of ``match`` names: a list names several, a list within it is one of several layers."""
    return [label_of(one) for one in wanted] if isinstance(wanted, list) else [label_of(wanted)]


def _match_faults(match: Json, axes: dict[str, list[str]], path: DataPath) -> Iterator[Fault]:
    for axis, wanted in match.items():
        if not axes:
            yield Fault((*path, axis), "names an axis, and the file has no matrix", "Delete `match`, or add a `matrix`.")
            return
        if axis not in axes:
            yield Fault((*path, axis), f"the matrix has no axis {axis!r}", _sentence(did_you_mean(axis, axes)))
            continue
        for label in _labels(wanted):
            if label not in axes[axis]:
                reason = f"the axis {axis!r} has no choice {label!r}"
                yield Fault((*path, axis), reason, _sentence(did_you_mean(label, axes[axis])))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
