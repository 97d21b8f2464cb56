"""What a claim says of single combinations of the matrix: ``per`` (other numbers) and ``xfail`` (why it is known to fail).

Both are mappings by labels. A label is a whole combination, ``caa-sentiment``, or one choice of an axis, ``caa``, which then
stands for all combinations with it; a whole combination wins over single choices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from pytest_steer.files.matrix import Combination
from pytest_steer.files.messages import Fault, faults_under
from pytest_steer.files.schema import full_schema, kinds
from pytest_steer.files.source import DataPath
from pytest_steer.registry import nearest

_MOST_LISTED = 16
_JOINT = ("oneOf", "anyOf")  # conditions on several parameters of a kind


def xfail_of(given: Any, made: Combination) -> str | None:
    """The reason why this combination is known to fail: a text is for all of them, a mapping goes by labels."""
    if isinstance(given, dict):
        return next((given[label] for label in reversed(_labels_of(given, made))), None)
    return given if isinstance(given, str) else None


def params_of(body: dict[str, Any], made: Combination) -> dict[str, Any]:
    """A claim's keys, with those that ``per`` has for this combination in the place of its own."""
    given = body.get("per", {})
    changed = dict(body)
    for label in _labels_of(given, made):
        changed.update(given[label])
    return changed


def xfail_faults(given: Any, made: tuple[Combination, ...], path: DataPath) -> list[Fault]:
    """What is wrong with the labels of an ``xfail``."""
    if not isinstance(given, dict):
        return []
    if not made[0].choice:
        return [Fault(path, "names combinations, and the file has no matrix", "Write the reason as text.")]
    return _label_faults(given, made, path) or list(_xfail_clashes(given, made, path))


def per_faults(kind: str, body: dict[str, Any], made: tuple[Combination, ...], path: DataPath) -> list[Fault]:
    """What is wrong with the ``per`` of a claim, whose shape is right."""
    given = body.get("per")
    if given is None:
        return []
    if not made[0].choice:
        hint = "Write the parameters into the claim itself, or give the file a `matrix`."
        return [Fault(path, "names combinations, and the file has no matrix", hint)]
    found = _label_faults(given, made, path)
    schema = {"type": "object", "properties": kinds()[kind]["properties"], "additionalProperties": False}
    for label, values in given.items():
        found += faults_under({**schema, "$defs": full_schema()["$defs"]}, values, (*path, label))
    return found or [*_per_clashes(given, made, path), *_joint_faults(kind, body, made, path)]


def _labels_of(given: Collection[str], made: Combination) -> list[str]:
    """Those of the labels that are about this combination, single choices first."""
    singles = [label for label in dict.fromkeys(made.choice.values()) if label in given and label != made.label]
    return [*singles, *([made.label] if made.label in given else [])]


# --- faults --------------------------------------------------------------------------------------------------------


def _label_faults(given: Collection[str], made: tuple[Combination, ...], path: DataPath) -> list[Fault]:
    """Labels that nothing has, or more than one thing."""
    whole = list(dict.fromkeys(one.label for one in made))
    axes = tuple(made[0].choice)
    # With one axis its choices are the combinations.
    single = {axis: list(dict.fromkeys(one.choice[axis] for one in made)) for axis in axes} if len(axes) > 1 else {}
    choices = list(dict.fromkeys(label for labels in single.values() for label in labels))
    faults = []
    for label in given:
        here = (*path, label)
        meanings = [f"a choice of {axis!r}" for axis, labels in single.items() if label in labels]
        meanings += ["a whole combination"] if label in whole else []
        if len(meanings) > 1:
            hint = "Name the whole combinations that are meant, or give one of the two another name."
            faults.append(Fault(here, f"{label!r} is {' and '.join(meanings)}", hint))
        elif not meanings:
            meant = nearest(label, [*choices, *whole])
            advice = f"Did you mean {meant!r}? " if meant else ""
            there = f"There are: {_listed(whole)}." + (f" Single choices: {_listed(choices)}." if choices else "")
            faults.append(Fault(here, f"there is no combination {label!r}", f"{advice}{there}"))
    return faults


def _xfail_clashes(given: Collection[str], made: tuple[Combination, ...], path: DataPath) -> Iterator[Fault]:
    seen = set()
    for one in made:
        labels = _labels_of(given, one)
        if len(labels) > 1 and one.label not in labels and (pair := (labels[0], labels[1])) not in seen:
            seen.add(pair)
            hint = f"Give `{one.label}` a reason of its own, or delete one of the two."
            yield Fault((*path, pair[1]), f"{pair[0]!r} and {pair[1]!r} both give a reason for {one.label!r}", hint)


def _per_clashes(given: dict[str, Any], made: tuple[Combination, ...], path: DataPath) -> Iterator[Fault]:
    seen = set()
    for one in made:
        by: dict[str, str] = {}
        for label in _labels_of(given, one):
            for key in given[label]:
                if key in by and label != one.label and key not in given.get(one.label, {}):
                    clash = (by[key], label, key)
                    if clash not in seen:
                        seen.add(clash)
                        hint = f"Give {key!r} under `{one.label}` too, which wins over both, or delete one of the two."
                        reason = f"{by[key]!r} and {label!r} both give {key!r} for {one.label!r}"
                        yield Fault((*path, label, key), reason, hint)
                by.setdefault(key, label)


def _joint_faults(kind: str, body: dict[str, Any], made: tuple[Combination, ...], path: DataPath) -> Iterator[Fault]:
    """Parameters that exclude each other once those of ``per`` are put to the claim's own."""
    schema = {key: kinds()[kind][key] for key in _JOINT if key in kinds()[kind]}
    given = body["per"]
    seen: list[str] = []
    for one in made:
        labels = _labels_of(given, one)
        if labels and labels[-1] not in seen:
            found = faults_under(
                {**schema, "properties": kinds()[kind]["properties"]}, params_of(body, one), (*path, labels[-1])
            )
            seen += [labels[-1]] if found else []
            yield from found


def _listed(labels: list[str]) -> str:
    more = f" and {len(labels) - _MOST_LISTED} more" if len(labels) > _MOST_LISTED else ""
    return f"{', '.join(labels[:_MOST_LISTED])}{more}"
