"""``pytest-steer compare-models``: one suite on two models; what differs, claims paired by item, and the order of slopes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import click

from ..core.columns import current_columns, in_columns, shortened, stream_columns, table, wrapped
from ..core.errors import DataError, SteerError
from ..core.evidence import Json, plain
from ..core.run_context import RunContext
from ..core.sources import find_model, shown
from . import options as cli
from .extensions import load_extensions
from .output import measuring, say, write_json

if TYPE_CHECKING:
    from ..core.record import Against
    from ..files import Suite
    from ..stats import Decomposition, RankCorrelation, VarianceShare
    from ..studies.compare_models import Answers, Behaviour, Facts, Ranked, Slopes

T = TypeVar("T")
SCHEMA_NAME = "pytest-steer/models/1"


@dataclass(frozen=True)
class _Options:
    first: Annotated[str, click.argument("first", metavar="A")]
    second: Annotated[str, click.argument("second", metavar="B")]
    files: Annotated[tuple[Path, ...], click.argument("files", type=cli.FILE, metavar="FILE...", nargs=-1, required=True)]
    tolerance: cli.Tolerance
    run: Annotated[RunContext, cli.MAX_ITEMS, cli.NO_SOUNDNESS, partial(cli.run_options, has_model=False)]
    out: cli.Out


@cli.subcommand(
    example="pytest-steer compare-models builtin:tiny builtin:tiny tiny.steer.yaml \\\n  --max-items 20",
    short_help="Compare two models on one suite.",
)
@cli.options_in(_Options)
def command(options: _Options) -> int:
    """The claims of FILEs on models A and B, paired by item; one model is in
    memory at a time. Are behaviours ordered alike, and what explains slopes?

    Exit code 0: no claim is worse on B; 1: one is; 3: one cannot be compared.
    """
    from ..against import exit_code, held_against
    from ..core.record import typed
    from ..files import read_suite
    from ..report import build_report
    from ..studies.compare_models import answers_of, behaviours_of, differences_of, prompts_that_differ

    first, second, run, out = options.first, options.second, options.run, options.out
    load_extensions(*options.files)
    suites = [read_suite(name) for name in dict.fromkeys(map(shown, options.files))]
    behaviours: list[Behaviour] = []
    why_none = None
    try:
        behaviours = behaviours_of(suites)
    except DataError as error:  # such files are compared without slopes
        why_none = str(error)
    for name in (first, second):  # before anything is measured on the first
        _named(name, find_model, name)
    with measuring() as warned:
        started = time.time()
        sides = [
            _measured(replace(run, model=name), name, label, suites, behaviours)
            for label, name in zip("AB", (first, second), strict=True)
        ]
    slopes = [one.slopes for one in sides]
    reports = [build_report(one.claims, seed=run.seed, profile=run.effort.name, started=started) for one in sides]
    against = held_against(typed(reports[0]), typed(reports[1]), options.tolerance)
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
    for label, side in zip("AB", sides, strict=True):
        for name, reason in side.failures.items():
            say(wrapped(f"no slopes on {label}: {name}: {reason}", width))
    if out is not None:
        record = {
            "schema": SCHEMA_NAME,
            "models": [report["provenance"]["model"] for report in reports],
            "seed": run.seed,
            "differences": differences,
            "against": plain(against),
            "claims": [one.claims for one in sides],
            "slopes": {**plain(answers), "slopes": [_slopes_record(one) for one in slopes]},
            "failures": [one.failures for one in sides],
            "no_slopes": why_none,
            "warnings": warned.said,
        }
        write_json(out, record)
        say(f"\nwritten: {out}")
    return exit_code(against)


@dataclass(frozen=True)
class _Side:
    """The measurements on one model. They hold no part of the model, so one model is in memory at a time."""

    facts: Facts
    claims: list[Json]
    slopes: dict[str, Slopes]
    failures: dict[str, str]


def _measured(run: RunContext, name: str, label: str, suites: Sequence[Suite], behaviours: Sequence[Behaviour]) -> _Side:
    """Load a model, measure on it, and free it."""
    from ..files.build import Measuring
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
    """Call the function; its errors begin with the model's name."""
    try:
        return function(argument)
    except SteerError as error:
        said = str(error)
        raise type(error)(said if name in said else f"{name}: {said}") from None


_FACTORS = ("letter", "yes_no", "position", "context")
_NAME = 24


def claim_lines(against: Against) -> Iterator[str]:
    """The outcome of each claim, worst first, and the number of claims per outcome."""
    from ..against.held_against import OUTCOMES, counts_line

    yield _wrapped("Claims on A and on B, paired by item")
    for note in against.notes:
        yield _wrapped(f"  {note}")
    for entry in sorted(against.claims, key=lambda entry: OUTCOMES.index(entry.outcome)):
        yield _wrapped(f"  {entry.message}")
    yield _wrapped(f"  {counts_line(against)}")


def slope_lines(answers: Answers, first: Mapping[str, Slopes], second: Mapping[str, Slopes]) -> Iterator[str]:
    """The answers to Tan et al.'s questions, each under its question."""
    for name, reason in answers.refused.items():
        yield _wrapped(f"not compared: {name}: {reason}")
    yield _wrapped("Do A and B order behaviours alike? (Spearman, of steerabilities)")
    yield _ranked_line(answers.behaviours)
    rows = [[_cut(one.name), *_numbers(one.spearman)] for one in answers.items if one.spearman is not None]
    if rows:
        yield _wrapped("\nDo A and B order a behaviour's items alike? (Spearman, of slopes)")
        yield _table(rows, ["behaviour", "n", "rho", "interval"])
    of_a, of_b = ({one.name: one for one in side} for side in answers.contexts)
    yield _wrapped("\nDoes the order of behaviours carry over to other contexts? (Spearman)")
    names = list(dict.fromkeys([*of_a, *of_b]))
    if names:
        rows = [[_cut(name), *_of_context(of_a.get(name)), *_of_context(of_b.get(name))] for name in names]
        yield _table(rows, ["context", "A: n", "rho", "interval", "B: n", "rho", "interval"])
    else:
        yield _wrapped('  the claim files name no other contexts: add `contexts: {system: ["You are helpful."]}`')
    yield _wrapped("\nWhat explains the variance of the slopes? (alone; A above B)")
    yield from _shares(answers)
    for label, side in (("A", first), ("B", second)):
        for own in side.values():
            for setting, reason in own.left_out.items():
                yield _wrapped(f"left out on {label}: {own.behaviour}, {setting}: {reason}")


def _shares(answers: Answers) -> Iterator[str]:
    rows, together = [], []
    for name in dict.fromkeys([*answers.variance[0], *answers.variance[1]]):
        for label, side in zip("AB", answers.variance, strict=True):
            found = side.get(name)
            if found is not None:
                rows.append([_cut(name) if label == "A" or name not in answers.variance[0] else "", label, *_parts(found)])
                together += [
                    f"{name}: {' and '.join(pair)} go together in its items, and cannot be told apart"
                    for pair in found.inseparable
                ]
    if not rows:
        yield "  nothing can: labels and contexts do not vary, or there are under 8 items"
        return
    yield _table(rows, ["behaviour", "", "letter", "Yes/No", "position", "context", "all"], keys=2)
    yield _wrapped(
        "Shares by themselves, with bounds at 95 % each. What two factors share is in both, so they need not add up to `all`."
    )
    yield from map(_wrapped, dict.fromkeys(together))


def _parts(found: Decomposition) -> list[str]:
    return [*(_share(found.alone.get(name)) for name in _FACTORS), _share(found.together)]


def _share(share: VarianceShare | None) -> str:
    return "-" if share is None else f"{share.estimate:.2f} {share.low:.2f}-{share.high:.2f}"


def _ranked_line(ranked: Ranked) -> str:
    if ranked.spearman is None:
        return _wrapped(f"  not known: {ranked.reason}")
    n, rho, interval = _numbers(ranked.spearman)
    return f"  rho {rho} {interval} over {n} behaviours"


def _of_context(ranked: Ranked | None) -> list[str]:
    if ranked is None or ranked.spearman is None:
        return [str(len(ranked.of)) if ranked is not None else "-", "-", "-"]
    return _numbers(ranked.spearman)


def _numbers(found: RankCorrelation) -> list[str]:
    interval = "-" if found.low is None else f"[{found.low:.2f}, {found.high:.2f}]"
    return [str(found.n), f"{found.estimate:.2f}", interval]


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str], keys: int = 1) -> str:
    return "\n".join(f"  {line}" for line in table(rows, headers, width=current_columns() - 2, keys=keys, rule=False))


def _wrapped(text: str) -> str:
    return wrapped(text, current_columns())


def _cut(name: str) -> str:
    return shortened(name, _NAME)


def _slopes_record(measured: Mapping[str, Slopes]) -> Json:
    return {
        name: {
            "items": list(own.ids),
            "settings": {one.name: one.slopes.tolist() for one in own.settings},
            "left_out": own.left_out,
        }
        for name, own in measured.items()
    }
