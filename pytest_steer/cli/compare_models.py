"""``pytest-steer compare-models``: one suite on two models, from claim files to what is printed and written."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..columns import in_columns, stream_columns, wrapped
from ..errors import DataError, SteerError
from ..run_context import RunContext
from ..sources import shown
from .options import Command, out, run_options, tolerance
from .param_types import COUNT, FILE
from .terminal import load_extensions, measuring, say, write_text

if TYPE_CHECKING:
    from ..files import Suite

SCHEMA_NAME = "pytest-steer/models/1"


@click.command(
    "compare-models",
    cls=Command,
    example="pytest-steer compare-models builtin:tiny builtin:tiny tiny.steer.yaml --max-items 20",
    short_help="Hold one suite on two models against each other.",
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("files", type=FILE, metavar="FILE...", nargs=-1, required=True)
@tolerance
@click.option("--max-items", type=COUNT, metavar="N", help="The first N items and texts of each file only.")
@click.option("--no-soundness", is_flag=True, help="Do not check the hooks of each intervention first.")
@partial(run_options, has_model=False)
@out
def command(*, first: str, second: str, files: tuple[Path, ...], tolerance: float, run: RunContext, out: Path | None) -> int:
    """The claims of FILEs on models A and B, such as a checkpoint before and after fine-tuning, paired by item.

    Then: do A and B order behaviours alike, and what explains the slopes? Exit code 0: no claim is worse on B; 1: one is; 3: one
    cannot be compared.
    """
    from ..against import exit_code, held_against
    from ..files import read_suite
    from ..files.measuring import Measuring
    from ..report import build_report
    from ..studies.compare_models import (
        answers_of,
        behaviours_of,
        differences_of,
        measure_claims,
        measure_slopes,
        prompts_that_differ,
    )
    from .compare_models_words import answers_record, claim_lines, slope_lines

    load_extensions()
    suites = [read_suite(name) for name in dict.fromkeys(shown(file) for file in files)]
    with measuring() as warned:
        runs = [Measuring(replace(run, model=name)) for name in (first, second)]
        models = [_loaded(one, name) for one, name in zip(runs, (first, second), strict=True)]
        started = time.time()
        records = [measure_claims(one, suites, name) for one, name in zip(runs, "AB", strict=True)]
        reports = [build_report(own, seed=run.seed, profile=run.effort.name, started=started) for own in records]
        against = held_against(reports[0], reports[1], tolerance)
        behaviours, why_none = _behaviours(suites, behaviours_of)
        slopes, failures = zip(
            *(measure_slopes(one.models, name, behaviours) for one, name in zip(runs, (first, second), strict=True)),
            strict=True,
        )
    answers = answers_of(*slopes)
    differences = [*differences_of(*models), *prompts_that_differ(*slopes)]
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


def _loaded(measuring: Any, name: str) -> Any:
    try:
        return measuring.models.load(name)
    except SteerError as error:
        raise type(error)(f"{name}: {error}") from None


def _behaviours(suites: Sequence[Suite], find: Any) -> tuple[Any, str | None]:
    """The behaviours of the files; without any, as where claims have no contrast items, also why: they are compared without slopes."""
    try:
        return find(suites), None
    except DataError as error:
        return [], str(error)
