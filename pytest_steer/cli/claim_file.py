"""Claim files of the commands: reading one, and writing a study's choice with the vector and data files that it names."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..claims.kind import starters
from ..core.errors import DataError, SteerError
from ..core.evidence import Json
from ..core.registry import did_you_mean
from ..core.run_context import RunContext
from ..core.sources import shown
from ..data import ContrastItem, Items, TaskItem, TextLike
from ..data.texts import entry_of
from ..files import Suite, read_suite
from ..steering import Intervention, SteeringVector, save_intervention
from .output import say, write_json, write_text

LOOKS_BETTER = (
    "What was chosen on the validation items looks better there than it is: test it on items that the {} did not see."
)
# A YAML scalar that needs no quotes inside of a flow mapping; everything else is written as JSON, which YAML reads.
_BARE = re.compile(r"^(?!(?:null|true|false|yes|no|on|off)$)[A-Za-z_./][\w./-]*(?::[\w./-]+)*$", re.IGNORECASE)


def suite_with(file: Path, claim: str | None) -> Suite:
    """Read a claim file.

    Raises:
        DataError: it has no claim of this name.
    """
    suite = read_suite(shown(file))
    names = [entry.name for entry in suite.entries]
    if claim is not None and claim not in names:
        raise DataError(f"{suite.path.name} has no claim {claim!r}: {did_you_mean(claim, names)}")
    return suite


@dataclass(frozen=True)
class Chosen:
    """A study's choice: what steers, where, how strongly, and the data to judge it on.

    Attributes:
        what: one sentence about the choice and its data, for the comment at the top of the file.
        steering: what steers. at: the keys that say where and how it is applied.
        multiplier / multipliers: the chosen strength, and those of the propensity curve.
        claims: the promises, as {kind: parameters}.
        test / texts: items and neutral texts to judge the choice on.
        asked: how items are asked, as keys of a claim file.
        cluster: the key of the test items that names their cluster.
    """

    what: str
    steering: SteeringVector | Intervention
    at: Json
    multiplier: float
    multipliers: Sequence[float]
    claims: Mapping[str, Json]
    test: Items | Sequence[TaskItem]
    texts: Sequence[TextLike] = ()
    asked: Mapping[str, str] = field(default_factory=dict)
    cluster: str | None = None


@dataclass(frozen=True)
class Files:
    """Paths of a claim file and of the files that it names, in the same folder."""

    claims: Path
    vector: Path
    test: Path
    neutral: Path | None


def files_of(claims: Path, *, has_texts: bool) -> Files:
    """Paths for a claim file: ``c.steer.yaml`` names ``c.safetensors``, ``c.test.json`` and, with texts, ``c.neutral.json``."""
    stem = claims.name.partition(".steer.")[0]
    vector, test, neutral = (claims.with_name(stem + suffix) for suffix in (".safetensors", ".test.json", ".neutral.json"))
    return Files(claims, vector, test, neutral if has_texts else None)


def check_new(files: Files) -> None:
    """Refuse to overwrite a file.

    Raises:
        DataError: one of them exists.
    """
    for path in vars(files).values():
        if path is not None and path.exists():
            raise DataError(f"--write: {path} exists, and is not overwritten. Delete it, or write to another name")


def claims_of(command: str, found: Json) -> dict[str, Json]:
    """The claims that a command writes, {kind: parameters}. A kind whose main promise was not found is left out.

    Args:
        found: what the command found, by the names of parameters.
    """
    return {
        kind: {name: found[name] for name in names if name in found}
        for kind, names in starters(command).items()
        if names[0] in found
    }


def room_for(estimate: float, low: float) -> float:
    """Return a threshold that other items of the same kind and number are likely to meet.

    It is the estimate less twice the distance to its lower bound, rounded down to two digits, and at least 0: once for the
    interval of the validation items and once for that of the test items, each of which is a bound at 0.95.
    """
    room = estimate - 2 * (estimate - low)
    if not room > 0:
        return 0.0
    digit = 10.0 ** (math.floor(math.log10(room)) - 1)
    return float(f"{math.floor(room / digit + 1e-9) * digit:.12g}")


def claim_text(chosen: Chosen, files: Files, run: RunContext, *, model: str) -> str:
    """The text of the claim file.

    Args:
        model: as seen from the current folder.
    """
    key = "vector" if isinstance(chosen.steering, SteeringVector) else "intervention"
    data = {"test": files.test.name} | ({"neutral": files.neutral.name} if files.neutral is not None else {})
    data |= {"cluster": chosen.cluster} if chosen.cluster is not None else {}
    entries = {
        "model": seen_from(files.claims.parent, model),
        **({"allow_unexpected": list(run.allow_unexpected)} if run.allow_unexpected else {}),
        key: {"file": files.vector.name, **chosen.at},
        "multiplier": chosen.multiplier,
        "multipliers": list(chosen.multipliers),
        **chosen.asked,
        "data": data,
    }
    lines = [f"# {chosen.what} The test items {'and the neutral texts ' if chosen.texts else ''}are others."]
    lines += [f"{name}: {flow(value)}" for name, value in entries.items()]
    lines += ["claims:", *(f"  - {kind}: {flow(parameters)}" for kind, parameters in chosen.claims.items()), ""]
    return "\n".join(lines)


def write_files(files: Files, chosen: Chosen, text: str) -> None:
    """Write a claim file of this text with its vector, its test items and its neutral texts.

    Raises:
        SteerError: a file exists already, or cannot be written; none is then left behind.
    """
    check_new(files)
    entries = [
        _caa_entry(one, chosen.cluster) if isinstance(one, ContrastItem) else _pair_entry(one, chosen.cluster)
        for one in chosen.test
    ]
    try:
        if isinstance(chosen.steering, SteeringVector):
            chosen.steering.save(files.vector)
        else:
            save_intervention(chosen.steering, files.vector)
        write_json(files.test, entries)
        if files.neutral is not None:
            write_json(files.neutral, [*map(entry_of, chosen.texts)])
        write_text(files.claims, text)
    except SteerError:
        # None was there before. A part of them would be of no use, and in the way of the next try.
        for path in vars(files).values():
            if path is not None:
                path.unlink(missing_ok=True)
        raise


def show_and_write(chosen: Chosen, claims: Path | None, run: RunContext, *, model: str) -> None:
    """Print the claim file. With ``--write``, write it and the files that it names.

    Raises:
        SteerError: see :func:`write_files`.
    """
    files = files_of(claims or Path("chosen.steer.yaml"), has_texts=bool(chosen.texts))
    text = claim_text(chosen, files, run, model=model)
    say(f"\n{text}")
    if claims is None:
        say(f"To write this claim file and the files that it names, add: --write {files.claims}")
        return
    write_files(files, chosen, text)
    say(f"written: {', '.join(str(path) for path in vars(files).values() if path is not None)}")
    say(f"judge it: pytest {files.claims}")


def _caa_entry(item: ContrastItem, cluster: str | None) -> Json:
    """A contrast item in CAA's JSON format, with the key of its cluster."""

    def plain(answers: tuple[str, ...]) -> str | list[str]:
        return answers[0] if len(answers) == 1 else list(answers)

    return {
        "id": item.id,
        "question": item.question,
        "answer_matching_behavior": plain(item.matching),
        "answer_not_matching_behavior": plain(item.not_matching),
        **({cluster: item.meta[cluster]} if cluster is not None else {}),
    }


def _pair_entry(task: TaskItem, cluster: str | None) -> Json:
    pair = {"input": task.input, "output": task.output}
    return {**pair, cluster: task.meta[cluster]} if cluster is not None else pair


def seen_from(folder: Path, name: str, *, mark: bool = True) -> str:
    """Return a path relative to the folder of a claim file; hub ids and other names stay as they are.

    Args:
        mark: begin paths with ``./``, which tells a model's folder from a hub id.
    """
    path = Path(name).expanduser()
    if path.is_absolute() or not path.exists():
        return name
    seen = Path(os.path.relpath(path, folder)).as_posix()
    return seen if seen.startswith("..") or not mark else f"./{seen}"


def flow(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {flow(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) and _BARE.match(value) else json.dumps(value, ensure_ascii=False)
