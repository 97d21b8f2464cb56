"""What a sweep chose, as a claim file and the files beside it that it names."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data import Items
from ..errors import DataError, SteerError
from ..stats import Inference
from ..studies.sweep import Sweep
from .terminal import write_text

# A YAML scalar that needs no quotes inside of a flow mapping; everything else is written as JSON, which YAML reads.
_BARE = re.compile(r"^(?!(?:null|true|false|yes|no|on|off)$)[A-Za-z_./][\w./-]*(?::[\w./-]+)*$", re.IGNORECASE)


@dataclass(frozen=True)
class Files:
    """A claim file, and the files that it names, which stand beside it."""

    claims: Path
    vector: Path
    test: Path
    neutral: Path | None


def files_of(claims: Path, *, has_texts: bool) -> Files:
    """``chosen.steer.yaml`` names ``chosen.safetensors``, ``chosen.test.json`` and, with texts, ``chosen.neutral.json``."""
    stem = claims.name.partition(".steer.")[0]
    vector, test, neutral = (claims.with_name(stem + suffix) for suffix in (".safetensors", ".test.json", ".neutral.json"))
    return Files(claims, vector, test, neutral if has_texts else None)


def check_new(files: Files) -> None:
    """Refuses to overwrite a file.

    Raises:
        DataError: one of them exists.
    """
    for path in vars(files).values():
        if path is not None and path.exists():
            raise DataError(f"--write: {path} exists, and is not overwritten. Delete it, or write to another name")


def write_files(files: Files, sweep: Sweep, text: str, test: Items, texts: Sequence[str]) -> None:
    """Write a claim file of this text with its vector, its test items and its neutral texts.

    Raises:
        SteerError: a file exists already, or cannot be written.
    """
    check_new(files)
    sweep.vector.save(files.vector)
    write_items(files.test, test)
    if files.neutral is not None:
        write_text(files.neutral, json.dumps([*texts], indent=1, ensure_ascii=False) + "\n")
    write_text(files.claims, text)


def write_items(path: Path, items: Items) -> None:
    """Write items as a JSON list in the shape of CAA, which ``read_items`` reads.

    Raises:
        DataError: the file cannot be written.
    """

    def plain(answers: tuple[str, ...]) -> str | list[str]:
        return answers[0] if len(answers) == 1 else list(answers)

    entries = [
        {
            "id": item.id,
            "question": item.question,
            "answer_matching_behavior": plain(item.matching),
            "answer_not_matching_behavior": plain(item.not_matching),
        }
        for item in items
    ]
    write_text(path, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


def claim_text(sweep: Sweep, files: Files, *, model: str, allow_unexpected: Sequence[str] = ()) -> str:
    """A claim file about the chosen layer and multiplier.

    The promised steerability is what the validation items leave room for, see ``steerability_to_promise``; the anti-steerable
    share and the perplexity limit are those that the sweep was given.

    Args:
        files: what it is called and what it names.
        model: as seen from the current folder.
        allow_unexpected: patterns of weights that were left out of the model.

    Raises:
        SteerError: the sweep chose nothing.
    """
    choice = sweep.choice
    if choice is None:
        raise SteerError("the sweep chose no layer, so there is nothing to claim")
    promised = steerability_to_promise(sweep.at(choice.layer).steerability)
    data = f"test: {_scalar(files.test.name)}"
    if files.neutral is not None:
        data += f", neutral: {_scalar(files.neutral.name)}"
    lines = [
        f"# Layer and multiplier were chosen by a sweep on {len(sweep.items)} validation items. The test items are others.",
        f"model: {_scalar(_seen_from(files.claims.parent, model))}",
        *([f"allow_unexpected: {json.dumps([*allow_unexpected], ensure_ascii=False)}"] if allow_unexpected else []),
        f"vector: {{file: {_scalar(files.vector.name)}, layer: {choice.layer}, positions: {sweep.positions}}}",
        f"multiplier: {choice.multiplier:.12g}",
        f"multipliers: [{', '.join(f'{m:.12g}' for m in sweep.multipliers)}]",
        f"data: {{{data}}}",
        "claims:",
        f"  - steers: {{steerability: {promised:.12g}}}",
        f"  - not_anti_steered: {{share: {sweep.limits.anti_steerable_share:.12g}}}",
    ]
    if files.neutral is not None:
        lines.append(f"  - ppl_delta_below: {{limit: {sweep.limits.perplexity:.12g}}}")
    return "\n".join([*lines, ""])


def steerability_to_promise(found: Inference) -> float:
    """A threshold that items of the same kind and number are likely to show: the estimate less twice the distance to its
    lower bound, rounded down to two digits, and at least 0.

    Once for the interval of the validation items and once for that of the test items, each of which is a bound at 0.95.
    """
    room = found.estimate - 2 * (found.estimate - found.low)
    if not room > 0:
        return 0.0
    digit = 10.0 ** (math.floor(math.log10(room)) - 1)
    return float(f"{math.floor(room / digit + 1e-9) * digit:.12g}")


def _seen_from(folder: Path, model: str) -> str:
    """A model's name in a claim file of this folder: a path is seen from there, and other names stay."""
    path = Path(model).expanduser()
    if path.is_absolute() or not path.exists():
        return model
    seen = Path(os.path.relpath(path, folder)).as_posix()
    return seen if seen.startswith("..") else f"./{seen}"


def _scalar(text: str) -> str:
    return text if _BARE.match(text) else json.dumps(text, ensure_ascii=False)
