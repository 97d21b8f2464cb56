"""``pytest-steer plot``: effect against cost over the multiplier from a claim file, or the curves of a report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import click
from click.core import ParameterSource

from ..core.columns import in_columns, stream_columns, visible, wrapped
from ..core.errors import DataError, SteerError
from ..core.evidence import Json, plain
from ..core.registry import did_you_mean
from ..core.run_context import RunContext
from ..core.sources import shown
from . import options as cli
from .extensions import load_extensions
from .main import OK
from .output import measuring, say, write_bytes, write_json

if TYPE_CHECKING:
    from ..studies.effect_cost import Drawn

_PICTURE = cli.output(".svg", ".png", ".json")
SUFFIXES = (".steer.json",)  # of claim files that are JSON, which reports are too
SCHEMA_NAME, CURVES_SCHEMA_NAME = "pytest-steer/effect-cost/1", "pytest-steer/curves/1"


@dataclass(frozen=True)
class _Options:
    file: cli.ClaimFile
    files: Annotated[
        tuple[Path, ...],
        cli.Option(_PICTURE, "FILE", ".svg, .png, or .json (repeatable).", flag="--out", required=True, multiple=True),
    ]
    multipliers: Annotated[tuple[float, ...] | None, cli.Option(cli.NUMBERS, "M,M", "Strengths.", show_default="the file's")]
    cost: Annotated[
        Literal["perplexity", "kl"],
        cli.Option(click.Choice(["perplexity", "kl"]), "WHAT", "perplexity or kl.", default="perplexity"),
    ]
    methods: cli.Methods
    behaviours: cli.Behaviours
    claims: Annotated[tuple[str, ...], cli.Option(cli.NAMES, "A,B", "Of a report: these claims only.", default=())]
    window: cli.Window
    stride: cli.Stride
    run: Annotated[RunContext, cli.MAX_ITEMS, cli.NO_SOUNDNESS, cli.run_options]


@cli.subcommand(
    example="pytest-steer plot tiny.steer.yaml --behaviours approval_test \\\n  --multipliers=-1,0.5,2,4 --out curve.svg",
    short_help="Draw effect against cost over the multiplier.",
)
@cli.options_in(_Options)
def command(options: _Options) -> int:
    """Effect against cost, one line per vector of a claim FILE, one point per
    multiplier: effects on data.test, costs on data.neutral.

    Of a JSON report of --steer-report: its propensity curves, without measuring.
    Pictures need an extra: pip install "pytest-steer[page]".
    """
    file, cost, run = options.file, options.cost, options.run
    if file.suffix.lower() == ".json" and not file.name.endswith(SUFFIXES):
        _check_nothing_measured(file)
        return _plot_report(file, options.files, options.claims)
    if options.claims:
        raise SteerError("--claims: is for a report. Choose lines of a claim file with --methods or --behaviours")
    if (options.window is not None or options.stride is not None) and cost == "kl":
        raise SteerError("--window: is for perplexity. Delete --window and --stride, or --cost kl")
    from ..files import read_suite
    from ..files.build import load_for
    from ..files.inputs import Inputs
    from ..measures.subject import cache_warnings, model_findings
    from ..model.loading import Models
    from ..report.effect_cost import MOST_LINES, check_drawable, effect_cost_picture, effect_cost_table
    from ..studies.compare_methods import entries_of, plan_of
    from ..studies.effect_cost import CONFIDENCE, drawn_of, effect_cost

    load_extensions(file)
    if any(one.suffix.lower() != ".json" for one in options.files):
        check_drawable()
    suite = read_suite(shown(file))
    plan, *others = plan_of(suite, run, methods=options.methods, behaviours=options.behaviours)
    if others:
        raise SteerError(
            f"a picture is of one model, and the file names {plan.model}, {others[0].model}. Add --model {plan.model}"
        )
    with measuring() as warn:
        model = load_for(Models(run), suite, plan.model)
        warn(*map(str, model_findings(model)))
        entries, failures = entries_of(plan, Inputs(model))
        if failures:
            raise DataError(f"{failures[0].method} on {failures[0].behaviour}: {failures[0].reason}")
        drawn = drawn_of(entries)
        if len(drawn) > MOST_LINES:
            raise SteerError(f"{len(drawn)} lines cannot be told apart, {MOST_LINES} can. {_fewer(drawn)}")
        windows = {"window": options.window, "stride": options.stride}
        lines = [effect_cost(model, one, cost=cost, multipliers=options.multipliers, **windows) for one in drawn]
        warn(*cache_warnings(model))
    title = f"{suite.name}: what steering does to {model.id}, and what it costs"
    columns = stream_columns(sys.stdout)
    with in_columns(columns):
        say(wrapped(f"{model.id} (seed {run.seed}, dtype {model.dtype}, device {model.device})", columns))
        say(f"\n{effect_cost_table(lines, cost)}\n")
    content = {"schema": SCHEMA_NAME, "file": shown(file), "model": model.id, "seed": run.seed, "cost": cost}
    content |= {"confidence": CONFIDENCE, "lines": plain(lines)}
    return _write(
        options.files, content, partial(effect_cost_picture, lines, cost, title=visible(title), confidence=CONFIDENCE)
    )


def _check_nothing_measured(report: Path) -> None:
    """Refuse options that have no meaning for a report.

    Raises:
        SteerError: one was given.
    """
    context = click.get_current_context()
    for option in context.command.params:
        is_given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if is_given and option.name not in ("file", "files", "claims"):
            raise SteerError(
                f"{option.opts[0]}: means nothing for {shown(report)}, a report of which nothing is measured. Delete it"
            )


def _plot_report(file: Path, files: tuple[Path, ...], names: tuple[str, ...]) -> int:
    """Draw the propensity curves of a report.

    Raises:
        SteerError: it cannot be read, or has no such curves.
    """
    from ..report import report_of
    from ..report.effect_cost import MOST_LINES, check_drawable
    from ..report.propensity_curves import curves_in, curves_picture, curves_table

    pictures = [one for one in files if one.suffix.lower() != ".json"]
    if pictures:
        check_drawable()
    claims = report_of(file).claims
    known = [claim.name for claim in claims]
    for name in names:
        if name not in known:
            raise DataError(f"{shown(file)}: has no claim {name!r}: {did_you_mean(name, known)}")
    curves = curves_in([claim for claim in claims if not names or claim.name in names])
    if not curves:
        raise DataError(
            f"{shown(file)}: no claim {'of these ' if names else ''}has a curve over multipliers, as those about contrast items have"
        )
    if pictures and len(curves) > MOST_LINES:
        first = ",".join(curve.claims[0] for curve in curves[:3])
        raise SteerError(f"{len(curves)} curves cannot be told apart, {MOST_LINES} can. Add --claims {first}")
    with in_columns(stream_columns(sys.stdout)):
        say(f"{curves_table(curves)}\n")
    models = sorted({claim.model.id for claim in claims if claim.model is not None})
    title = visible(f"{shown(file)}: propensity on {', '.join(models)}")
    content = {"schema": CURVES_SCHEMA_NAME, "file": shown(file), "models": models}
    return _write(files, content | {"curves": plain(curves)}, partial(curves_picture, curves, title=title))


def _write(files: Sequence[Path], content: Json, picture: Callable[..., bytes]) -> int:
    for one in files:
        suffix = one.suffix.lower()
        if suffix == ".json":
            write_json(one, content)
        else:
            write_bytes(one, picture(suffix=suffix))
        say(f"written: {one}")
    return OK


def _fewer(drawn: list[Drawn]) -> str:
    """The option to type for fewer lines."""
    behaviours = list(dict.fromkeys(one.entry.behaviour for one in drawn))
    if len(behaviours) > 1:
        return f"Add --behaviours {behaviours[0]}"
    return f"Add --methods {','.join(one.entry.method for one in drawn[:3])}"
