"""``pytest-steer compare-methods``: all methods of a claim file on its behaviours; tables, advice and files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..core.columns import stream_columns
from ..core.errors import SteerError
from ..core.evidence import Json, plain
from ..core.run_context import RunContext
from ..core.sources import shown
from . import options as cli
from .extensions import load_extensions
from .main import FAILED, OK
from .output import measuring, say, write_json

if TYPE_CHECKING:
    from ..core.record import Row
    from ..files import Suite
    from ..model import Model
    from ..model.loading import Models
    from ..studies.compare_methods import Comparison, Entry, Plan
    from .claim_file import Chosen

SCHEMA_NAME = "pytest-steer/comparison/1"


@dataclass(frozen=True)
class _Measured:
    """The comparison on one model. With ``--write`` or ``--split``, ``judged`` holds the entries on the test part of the data."""

    model: Model
    entries: Sequence[Entry]
    judged: Sequence[Entry]
    found: Comparison
    warnings: Sequence[str]


@dataclass(frozen=True)
class _Options:
    file: cli.ClaimFile
    methods: cli.Methods
    behaviours: cli.Behaviours
    vectors: Annotated[
        tuple[cli.SavedVector, ...],
        cli.Option(cli.SAVED_VECTOR, "FILE[@LAYERS]", "This saved vector too (repeatable).", flag="--vector", multiple=True),
    ]
    budget: cli.Budget
    max_multiplier: Annotated[float, cli.Option(cli.TIMES, "X", "Largest tried.", default=8.0)]
    anti_steerable_share: cli.AntiSteerableShare
    n_shots: Annotated[int, cli.Option(cli.SHOTS, "N", "Demonstrations.", default=5)]
    split: Annotated[
        tuple[float, ...] | None, cli.Option(cli.SPLIT_IN_TWO, "30/70", "Choose on the first part, judge on the rest.")
    ]
    run: Annotated[RunContext, cli.MAX_ITEMS, cli.NO_SOUNDNESS, cli.run_options]
    out: cli.Out
    claims: cli.Write


@cli.subcommand(
    example="pytest-steer compare-methods tiny.steer.yaml --max-items 20", short_help="Compare all methods of a claim file."
)
@cli.options_in(_Options)
def command(options: _Options) -> int:
    """Every method on every behaviour that a claim FILE names (`matrix:`), on
    the same items and texts: steerability, items that move the wrong way and
    perplexity as deployed, the effect at equal cost, accuracy on tasks.

    Exit code 1: something could not be measured, or nothing keeps the limits.
    """
    from ..files import read_suite
    from ..model.loading import Models
    from ..studies.compare_methods import plan_of

    load_extensions(options.file)
    _check_settled(options.vectors)
    suite = read_suite(shown(options.file))
    plans = plan_of(suite, options.run, methods=options.methods, behaviours=options.behaviours, vectors=options.vectors)
    if options.claims is not None:
        _check_writable(options.claims, plans)
    models, compared = Models(options.run), []
    for plan in plans:
        compared.append(_measure(suite, plan, models, options))
        _print(compared[-1], options)
    if options.out is not None:
        content = {"schema": SCHEMA_NAME, "file": shown(options.file), "models": [_record(one, options) for one in compared]}
        write_json(options.out, content)
    code = FAILED if any(one.found.failures for one in compared) else OK
    if options.claims is None:
        return code
    # There is one plan: _check_writable has seen to it.
    return code if _choose(compared[0], plans[0], options) else FAILED


def _measure(suite: Suite, plan: Plan, models: Models, options: _Options) -> _Measured:
    from ..claims.findings import of_items, text_leaks
    from ..data import sample_of
    from ..files.build import load_for
    from ..files.inputs import Inputs
    from ..measures.subject import cache_warnings, model_findings
    from ..studies.compare_methods import compare, entries_of, split_entries

    with measuring() as warn:
        model = load_for(models, suite, plan.model)
        entries, unmade = entries_of(plan, Inputs(model))
        judged: Sequence[Entry] = ()
        if options.split is not None or options.claims is not None:
            entries, judged = split_entries(entries, options.split or (30.0, 70.0), seed=options.run.seed)
        # Before the long part, so that weak training data can be a reason to stop.
        warn(*map(str, model_findings(model)))
        for entry in entries:
            found_in_items = of_items(entry.subject, sample_of(entry.items, entry.cluster, at_least=0))
            in_texts = text_leaks(entry.subject.intervention.metadata, entry.neutral.texts)
            warn(*(f"{entry.method} on {entry.behaviour}: {text}" for text in (*found_in_items, *in_texts)))
        found = compare(
            model, entries, budget=options.budget, max_multiplier=options.max_multiplier, n_shots=options.n_shots
        )
        warn(*cache_warnings(model))
    return _Measured(model, entries, judged, replace(found, failures=(*unmade, *found.failures)), warn.said)


def _check_settled(vectors: Sequence[cli.SavedVector]) -> None:
    """Refuse a saved vector of several layers without a layer to steer at."""
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


def _check_writable(claims: Path, plans: Sequence[Plan]) -> None:
    """Refuse ``--write`` before anything is measured, unless there is one model, one behaviour and neutral texts."""
    from ..studies.compare_methods import behaviour_name
    from .claim_file import check_new, files_of

    check_new(files_of(claims, has_texts=True))
    if len(plans) > 1:
        names = [plan.model for plan in plans]
        raise SteerError(f"--write takes one model, and the file names {', '.join(names)}. Add --model {names[0]}")
    behaviours = list(dict.fromkeys(map(behaviour_name, plans[0].claims)))
    if len(behaviours) > 1:
        raise SteerError(
            f"--write takes one behaviour, and the file compares {', '.join(behaviours)}. Add --behaviours {behaviours[0]}"
        )
    if any(claim.neutral is None for claim in plans[0].claims):
        raise SteerError("--write chooses at equal perplexity cost. Add `neutral: FILE` to the `data` of the claim file")


def _choose(measured: _Measured, plan: Plan, options: _Options) -> bool:
    """Write the claim file of the best method and return True, or print which limit the best method exceeds."""
    from ..studies.compare_methods import best_of, within
    from .claim_file import LOOKS_BETTER, show_and_write

    budget, share = options.budget, options.anti_steerable_share
    best = best_of(measured.found.rows, budget=budget, share=share)
    if best is None or best.at_cost is None:
        return False  # nothing was measured, and each failure is printed
    at = best.at_cost
    numbers = f"(effect {at.effect:+.3g}, perplexity {at.cost:+.1%}, wrong way {at.wrong_way:.2f})"
    if not within(best, budget=budget, share=share):
        say(
            f"chosen: none, no method has an effect above 0 for a perplexity of at most {budget:+.1%} with at most {share:g} of "
            f"the items moving the wrong way\nnearest: {best.method} at multiplier {at.multiplier:.3g} {numbers}\n"
            f"{_what_to_try(best, budget, share)}"
        )
        return False
    number = next(index for index, entry in enumerate(measured.entries) if entry.method == best.method)
    entry, judged = measured.entries[number], measured.judged[number]
    say(f"chosen: {best.method} at multiplier {at.multiplier:.3g} {numbers}\n{LOOKS_BETTER.format('comparison')}")
    chosen = of_comparison(entry, judged, best, budget=budget, share=share)
    show_and_write(chosen, options.claims, options.run, model=plan.model)
    return True


def of_comparison(chosen: Entry, judged: Entry, row: Row, *, budget: float, share: float) -> Chosen:
    """The method that a comparison chose, with the test data to judge it on.

    The promised effect is what the validation items leave room for.

    Args:
        chosen / judged: the method on the validation part of the data, and on the test part.
        row: what was measured on the validation part.
    """
    from ..steering import SteeringVector
    from .claim_file import Chosen, claims_of, room_for

    assert row.at_cost is not None  # by which it was chosen
    effect, low = row.at_cost.effect, row.at_cost.interval[0]
    assert effect is not None
    assert low is not None  # Student's bounds are finite
    subject = chosen.subject
    layers = list(subject.vector.layers) if isinstance(subject.vector, SteeringVector) else []
    at = {
        "layer": layers[0] if len(layers) == 1 else layers,
        "positions": subject.positions,
        "include_first": subject.include_first,
        "allow_mismatch": list(subject.allow_mismatch),
    }
    promised = {"effect": room_for(effect, low), "budget": budget, "share": share, "by": "effect"}
    return Chosen(
        what=f"{chosen.method} was chosen by compare-methods on {len(chosen.items)} validation items and {len(chosen.neutral.texts)} texts.",
        steering=subject.vector,
        at={key: value for key, value in at.items() if value not in ([], False)},
        multiplier=row.at_cost.multiplier,
        multipliers=chosen.multipliers,
        claims=claims_of("compare-methods", promised),
        test=judged.tasks or judged.items,
        texts=judged.neutral.texts,
        asked=chosen.asked,
        cluster=judged.cluster,
    )


def _what_to_try(best: Row, budget: float, share: float) -> str:
    at = best.at_cost
    assert at is not None
    if at.cost is not None and at.cost > budget:
        return f"Try a larger budget: --budget {1.1 * at.cost:.2g}"
    if at.effect is not None and at.effect > 0 and at.wrong_way is not None and at.wrong_way > share:
        return f"Try a smaller budget, at which fewer items turn: --budget {budget / 2:.2g}"
    return "Try training data with more or clearer pairs, or other methods: pytest-steer list shows them"


def _print(measured: _Measured, options: _Options) -> None:
    from ..report.comparison import comparison_tables

    model, entries, found = measured.model, measured.entries, measured.found
    behaviours = list(dict.fromkeys(entry.behaviour for entry in entries))
    methods = list(dict.fromkeys(entry.method for entry in entries))
    noun = "method" if len(methods) == 1 else "methods"
    what = f"{len(methods)} {noun} on {', '.join(behaviours)}" if methods else "nothing could be measured"
    say(f"{model.id}: {what} (seed {options.run.seed}, dtype {model.dtype}, device {model.device})")
    for part in {entry.behaviour: entry for entry in measured.judged}.values():
        say(f"{part.behaviour}: {len(part.items)} test items and {len(part.neutral.texts)} test texts are not looked at")
    for neutral in {entry.neutral.chosen: entry.neutral for entry in entries if entry.neutral.chosen}.values():
        say(f"texts of {neutral.source}: {'; '.join(neutral.chosen)}")
    say(f"\n{comparison_tables(found.rows, found.tasks, cost=options.budget, width=stream_columns(sys.stdout))}")
    for failure in found.failures:
        say(f"\nnot measured: {failure.method} on {failure.behaviour}: {failure.reason}")
    say(
        "\nNothing is judged here, and a strength of equal cost was chosen on the texts it is shown with. Put what you deploy "
        "into claims: steers, steers_at_cost, ppl_delta_below, performs_task"
    )
    for line in _advice(entries, found, options.max_multiplier):
        say(line)
    if any(not entry.neutral.texts for entry in entries):
        say("no cost was measured where data.neutral is missing")


def _advice(entries: Sequence[Entry], found: Comparison, max_multiplier: float) -> Iterator[str]:
    """Suggest a multiplier for each method that misses the perplexity budget at every multiplier tried."""
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


def _record(measured: _Measured, options: _Options) -> Json:
    model, found = measured.model, measured.found
    return {
        "model": {"id": model.id, "fingerprint": model.fingerprint, "dtype": model.dtype, "device": str(model.device)},
        "seed": options.run.seed,
        "budget": options.budget,
        "max_multiplier": options.max_multiplier,
        "vectors": [
            {
                "behaviour": entry.behaviour,
                "method": entry.method,
                "hash": entry.subject.intervention.hash,
                "strength": entry.subject.intervention.strength,
                "layers": list(entry.subject.intervention.changes),
                "positions": entry.subject.positions,
            }
            for entry in measured.entries
        ],
        "texts": {entry.neutral.source: list(entry.neutral.chosen) for entry in measured.entries if entry.neutral.chosen},
        "rows": [plain(row.whole()) for row in found.rows],
        "tasks": [vars(task) for task in found.tasks],
        "failures": [vars(failure) for failure in found.failures],
        "warnings": measured.warnings,
    }
