"""``pytest-steer compare-methods``: from a claim file to what is printed and written."""

from __future__ import annotations

import json
import sys
import warnings
from argparse import Namespace
from dataclasses import replace
from typing import Any

from .. import progress
from ..claims.over_items import data_warnings
from ..errors import SteerWarning
from ..files import read_suite
from ..files.build import Builder
from ..measures.subject import model_warnings
from ..model import Model, load_model
from ..report.comparison import comparison_tables
from ..sources import DEFAULT_MODEL, shown
from ..studies.compare_methods.measure import Comparison, Entry, compare
from ..studies.compare_methods.plan import Plan, entries_of, plan_of
from .sweep import progress_line, write_text

SCHEMA_NAME = "pytest-steer/comparison/1"


def run(options: Namespace) -> int:
    """Compares and prints; 0, or 1 if something could not be measured: nothing is promised, so nothing else can fail.

    Raises:
        SteerError: the file, a vector, the data or a model cannot be used.
    """
    suite = read_suite(shown(options.file))
    plans = plan_of(
        suite, model=options.model, default=DEFAULT_MODEL, methods=options.methods, behaviours=options.behaviours
    )
    records = []
    allowed = (*suite.allow_unexpected, *options.allow_unexpected)
    for plan in plans:
        with progress.listening(progress_line(sys.stderr)), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SteerWarning)
            model = load_model(plan.model, dtype=options.dtype, device=options.device, allow_unexpected=allowed)
            entries, found = _compare(options, plan, model)
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        own = [f"{warning.message}" for warning in caught if issubclass(warning.category, SteerWarning)]
        said = [*dict.fromkeys([*own, *model_warnings(model), *_warnings(entries)])]
        for warning in said:
            print(f"warning: {warning}", file=sys.stderr)
        _print(options, model, entries, found)
        records.append(_record(options, model, entries, found, said))
    if options.out is not None:
        content = {"schema": SCHEMA_NAME, "file": shown(options.file), "models": records}
        write_text(options.out, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return 1 if any(record["failures"] for record in records) else 0


def _compare(options: Namespace, plan: Plan, model: Model) -> tuple[list[Entry], Comparison]:
    builder = Builder(model, seed=options.seed, max_items=options.max_items)
    entries, unmade = entries_of(plan, builder)
    found = compare(
        model,
        entries,
        cost=options.cost,
        most=options.most,
        shots=options.shots,
        seed=options.seed,
        soundness=not options.no_soundness,
    )
    return entries, replace(found, failures=(*unmade, *found.failures))


def _warnings(entries: list[Entry]) -> list[str]:
    return [
        f"{entry.method} on {entry.behaviour}: {text}"
        for entry in entries
        for text in data_warnings(entry.subject, entry.items)
    ]


def _print(options: Namespace, model: Model, entries: list[Entry], found: Comparison) -> None:
    behaviours = list(dict.fromkeys(entry.behaviour for entry in entries))
    methods = list(dict.fromkeys(entry.method for entry in entries))
    noun = "method" if len(methods) == 1 else "methods"
    what = f"{len(methods)} {noun} on {', '.join(behaviours)}" if methods else "nothing could be measured"
    print(f"{model.id}: {what} (seed {options.seed}, dtype {model.dtype}, device {model.device})\n")
    print(comparison_tables(found.rows, found.tasks, cost=options.cost))
    for failure in found.failures:
        print(f"\nnot measured: {failure.method} on {failure.behaviour}: {failure.reason}")
    print(
        "\nNothing is judged here, and a strength of equal cost was chosen on the texts it is shown with. What you deploy belongs "
        "into claims: steers, steers_at_cost, ppl_delta_below, performs_task"
    )
    if any(not entry.texts for entry in entries):
        print("no cost was measured where data.neutral is missing")


def _record(options: Namespace, model: Model, entries: list[Entry], found: Comparison, said: list[str]) -> dict[str, Any]:
    return {
        "model": {"id": model.id, "fingerprint": model.fingerprint, "dtype": model.dtype, "device": str(model.device)},
        "seed": options.seed,
        "cost": options.cost,
        "most": options.most,
        "vectors": [
            {
                "behaviour": entry.behaviour,
                "method": entry.method,
                "hash": entry.subject.intervention.hash,
                "strength": entry.subject.intervention.strength,
                "layers": list(entry.subject.intervention.changes),
                "positions": entry.subject.positions,
            }
            for entry in entries
        ],
        "rows": [row.to_dict() for row in found.rows],
        "tasks": [vars(task) for task in found.tasks],
        "failures": [vars(failure) for failure in found.failures],
        "warnings": said,
    }
