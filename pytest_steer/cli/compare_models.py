"""``pytest-steer compare-models``: one suite on two models, from claim files to what is printed and written."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..columns import in_columns, stream_columns, wrapped
from ..errors import DataError, SteerError
from ..run_context import RunContext
from ..sources import find_model, shown
from .options import Command, out, run_options, tolerance
from .param_types import COUNT, FILE
from .terminal import load_extensions, measuring, say, write_text

if TYPE_CHECKING:
    from ..files import Suite
    from ..studies.compare_models import Behaviour, Facts, Slopes

T = TypeVar("T")
SCHEMA_NAME = "pytest-steer/models/1"


@click.command(
    "compare-models",
    cls=Command,
    example="pytest-steer compare-models builtin:tiny builtin:tiny tiny.steer.yaml \\\n  --max-items 20",
    short_help="Hold one suite on two models against each other.",
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("files", type=FILE, metavar="FILE...", nargs=-1, required=True)
@tolerance
@click.option("--max-items", type=COUNT, metavar="N", help="The first N of each file only.")
@click.option("--no-soundness", is_flag=True, help="Do not check the hooks first.")
@partial(run_options, has_model=False)
@out
def command(*, first: str, second: str, files: tuple[Path, ...], tolerance: float, run: RunContext, out: Path | None) -> int:
    """The claims of FILEs on models A and B, paired by item; one model is in
    memory at a time. Are behaviours ordered alike, and what explains slopes?

    Exit code 0: no claim is worse on B; 1: one is; 3: one cannot be compared.
    """
    from ..against import exit_code, held_against
    from ..files import read_suite
    from ..report import build_report
    from ..studies.compare_models import answers_of, behaviours_of, differences_of, prompts_that_differ
    from .compare_models_words import answers_record, claim_lines, slope_lines

    load_extensions()
    suites = [read_suite(name) for name in dict.fromkeys(shown(file) for file in files)]
    behaviours, why_none = _behaviours(suites, behaviours_of)
    for name in (first, second):  # before anything is measured on the first
        _named(name, find_model, name)
    with measuring() as warned:
        started = time.time()
        sides = [
            _measured(replace(run, model=name), name, label, suites, behaviours)
            for label, name in zip("AB", (first, second), strict=True)
        ]
    records, slopes, failures = ([getattr(one, part) for one in sides] for part in ("claims", "slopes", "failures"))
    reports = [build_report(own, seed=run.seed, profile=run.effort.name, started=started) for own in records]
    against = held_against(reports[0], reports[1], tolerance)
    answers = answers_of(*slopes)
    differences = [*differences_of(*(one.facts for one in sides)), *prompts_that_differ(*slopes)]
    width = stream_columns(sys.stdout)
    say(f"A: {first}\nB: {second}\n")
    for line in differences:
        say(wrapped(line if line.startswith("weights: equal") else f"differs in {line}", width))
    with in_columns(width):
        for line in ["", *claim_lines(against), ""]:
            say(line)
        for line in slope_lines(answers, *slopes) if why_none is None else [wrapped(f"no slopes: {why_none}", width)]:
            say(line)
    for label, failed in zip("AB", failures, strict=True):
        for name, reason in failed.items():
            say(wrapped(f"no slopes on {label}: {name}: {reason}", width))
    if out is not None:
        record: dict[str, Any] = {
            "schema": SCHEMA_NAME,
            "models": [report["provenance"]["model"] for report in reports],
            "seed": run.seed,
            "differences": differences,
            "against": against,
            "claims": records,
            "slopes": answers_record(answers, *slopes),
            "failures": list(failures),
            "no_slopes": why_none,
            "warnings": warned.said,
        }
        write_text(out, json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
        say(f"\nwritten: {out}")
    return exit_code(against)


@dataclass(frozen=True)
class _Side:
    """What was measured of one of the models. It holds nothing of the model, so that one of them is in memory at a time."""

    facts: Facts
    claims: list[dict[str, Any]]
    slopes: dict[str, Slopes]
    failures: dict[str, str]


def _measured(run: RunContext, name: str, label: str, suites: Sequence[Suite], behaviours: Sequence[Behaviour]) -> _Side:
    """Load a model, measure on it, and free it."""
    from ..files.measuring import Measuring
    from ..model.loading import free_memory
    from ..studies.compare_models import facts_of, measure_claims, measure_slopes

    measuring_claims = Measuring(run)
    try:
        facts = facts_of(_named(name, measuring_claims.models.load, name))
        claims = measure_claims(measuring_claims, suites, label)
        slopes, failures = measure_slopes(measuring_claims.models, name, behaviours)
    finally:
        del measuring_claims
        free_memory()
    return _Side(facts, claims, slopes, failures)


def _named(name: str, function: Callable[[str], T], argument: str) -> T:
    """What the function returns; an error of it begins with the model's name."""
    try:
        return function(argument)
    except SteerError as error:
        said = str(error)
        raise type(error)(said if name in said else f"{name}: {said}") from None


def _behaviours(suites: Sequence[Suite], find: Any) -> tuple[Any, str | None]:
    """The behaviours of the files; without any, as where claims have no contrast items, also why: they are compared without slopes."""
    try:
        return find(suites), None
    except DataError as error:
        return [], str(error)
