"""``pytest-steer compare-methods``: from a claim file to what is printed and written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SteerError
from ..sources import DEFAULT_MODEL, shown
from .options import Command, Loading, claim_file, loading, out, seed
from .param_types import COUNT, NAMES, POSITIVE, SAVED_VECTOR, SHOTS, TIMES, SavedVector
from .terminal import load_extensions, measuring, write_text

if TYPE_CHECKING:
    from ..model import Model
    from ..studies.compare_methods import Comparison, Entry

SCHEMA_NAME = "pytest-steer/comparison/1"
RENAMED = {"--cost": "--budget RISE", "--most": "--max-multiplier TIMES", "--shots": "--n-shots N"}


@click.command("compare-methods", cls=Command, renamed=RENAMED, short_help="Compare all methods of a claim file.")
@claim_file
@click.option("--methods", type=NAMES, default=(), metavar="A,B", help="These methods only, by their names in the table.")
@click.option("--behaviours", type=NAMES, default=(), metavar="A,B", help="These behaviours only.")
@click.option(
    "--vector",
    "vectors",
    type=SAVED_VECTOR,
    multiple=True,
    metavar="FILE[@LAYERS]",
    help="Compare this saved vector too (repeatable).",
)
@click.option(
    "--budget",
    type=POSITIVE,
    default=0.05,
    show_default=True,
    metavar="RISE",
    help="Perplexity that each method may spend, as a relative rise.",
)
@click.option(
    "--max-multiplier",
    type=TIMES,
    default=8.0,
    show_default=True,
    metavar="TIMES",
    help="Largest multiplier tried, in deployed ones.",
)
@click.option(
    "--n-shots", type=SHOTS, default=5, show_default=True, metavar="N", help="Demonstrations in few-shot prompts of tasks."
)
@click.option("--max-items", type=COUNT, metavar="N", help="The first N items and texts of each file only.")
@click.option("--no-soundness", is_flag=True, help="Do not check the hooks of each intervention first.")
@loading
@seed
@out
def command(
    *,
    file: Path,
    methods: tuple[str, ...],
    behaviours: tuple[str, ...],
    vectors: tuple[SavedVector, ...],
    budget: float,
    max_multiplier: float,
    n_shots: int,
    max_items: int | None,
    no_soundness: bool,
    loading: Loading,
    seed: int,
    out: Path | None,
) -> int:
    """Every method on every behaviour that a claim FILE names (`matrix:`).

    All are measured on the same items and texts: steerability, items that move the wrong way and perplexity at each method's own
    strength, the effect at equal perplexity cost, and the accuracy on tasks. The file's promises are not judged. The exit code
    is 1 if something could not be measured.
    """
    from ..claims.over_items import data_warnings
    from ..files import read_suite
    from ..files.build import Builder
    from ..measures.subject import model_warnings
    from ..studies.compare_methods import compare, entries_of, plan_of

    load_extensions()
    _check_settled(vectors)
    suite = read_suite(shown(file))
    plans = plan_of(
        suite, model=loading.model, default=DEFAULT_MODEL, methods=methods, behaviours=behaviours, vectors=vectors
    )
    records: list[dict[str, Any]] = []
    settings = {"seed": seed, "budget": budget, "max_multiplier": max_multiplier}
    for plan in plans:
        with measuring() as warn:
            model = loading.load(plan.model, allow_unexpected=suite.allow_unexpected)
            entries, unmade = entries_of(plan, Builder(model, seed=seed, max_items=max_items))
            # Before the long part, so that weak training data can be a reason to stop.
            for text in model_warnings(model):
                warn(text)
            for entry in entries:
                for text in data_warnings(entry.subject, entry.items):
                    warn(f"{entry.method} on {entry.behaviour}: {text}")
            found = compare(
                model,
                entries,
                budget=budget,
                max_multiplier=max_multiplier,
                n_shots=n_shots,
                seed=seed,
                soundness=not no_soundness,
            )
        found = replace(found, failures=(*unmade, *found.failures))
        _print(model, entries, found, seed=seed, budget=budget, max_multiplier=max_multiplier)
        records.append(_record(model, entries, found, settings, warn.said))
    if out is not None:
        content = {"schema": SCHEMA_NAME, "file": shown(file), "models": records}
        write_text(out, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return 1 if any(record["failures"] for record in records) else 0


def _check_settled(vectors: Sequence[SavedVector]) -> None:
    """Refuses a saved vector of several layers of which nobody says at which to steer."""
    from ..steering import SteeringVector, holds_intervention

    for file, layers in vectors:
        if layers is not None or holds_intervention(file):
            continue
        vector = SteeringVector.load(file)
        if vector.unsettled is not None:
            there = vector.layers
            raise SteerError(
                f"--vector {file}: holds directions for {len(there)} layers, {there[0]} to {there[-1]}, and nothing says at which "
                f"to steer. Write --vector {file}@{there[len(there) // 2]}"
            )


def _print(
    model: Model, entries: Sequence[Entry], found: Comparison, *, seed: int, budget: float, max_multiplier: float
) -> None:
    from ..report.comparison import comparison_tables

    behaviours = list(dict.fromkeys(entry.behaviour for entry in entries))
    methods = list(dict.fromkeys(entry.method for entry in entries))
    noun = "method" if len(methods) == 1 else "methods"
    what = f"{len(methods)} {noun} on {', '.join(behaviours)}" if methods else "nothing could be measured"
    click.echo(f"{model.id}: {what} (seed {seed}, dtype {model.dtype}, device {model.device})\n")
    click.echo(comparison_tables(found.rows, found.tasks, cost=budget))
    for failure in found.failures:
        click.echo(f"\nnot measured: {failure.method} on {failure.behaviour}: {failure.reason}")
    click.echo(
        "\nNothing is judged here, and a strength of equal cost was chosen on the texts it is shown with. Put what you deploy "
        "into claims: steers, steers_at_cost, ppl_delta_below, performs_task"
    )
    for line in _advice(entries, found, max_multiplier):
        click.echo(line)
    if any(not entry.texts for entry in entries):
        click.echo("no cost was measured where data.neutral is missing")


def _advice(entries: Sequence[Entry], found: Comparison, max_multiplier: float) -> Iterator[str]:
    """What to try for methods whose perplexity does not meet the budget at any multiplier tried."""
    linear = {(one.method, one.behaviour) for one in entries if one.subject.intervention.strength == "linear"}
    for row in found.rows:
        at, name = row.at_cost, f"{row.method} on {row.behaviour}"
        if at is None or at.cost is None:
            continue
        where = f"multiplier {at.multiplier:.3g}, the {{}} tried ({at.cost:+.1%})"
        if at.reached == "least":
            said = f"perplexity exceeds the budget even at {where.format('smallest')}"
            yield f"{name}: {said}. Deploy it at a smaller `multiplier`"
        elif at.reached == "most" and (row.method, row.behaviour) in linear:
            said = f"perplexity stays within the budget up to {where.format('largest')}"
            yield f"{name}: {said}. Try --max-multiplier {2 * max_multiplier:g}"


def _record(
    model: Model, entries: Sequence[Entry], found: Comparison, settings: dict[str, Any], said: list[str]
) -> dict[str, Any]:
    return {
        "model": {"id": model.id, "fingerprint": model.fingerprint, "dtype": model.dtype, "device": str(model.device)},
        **settings,
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
