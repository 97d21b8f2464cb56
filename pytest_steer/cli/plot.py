"""``pytest-steer plot``: effect against cost over the multiplier, from a claim file to a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ..errors import DataError, SteerError
from ..run_context import RunContext
from ..screen import visible
from ..sources import shown
from .options import Command, claim_file, run_options
from .param_types import COUNT, NAMES, NUMBERS, output
from .terminal import load_extensions, measuring, say, write_bytes

if TYPE_CHECKING:
    from ..studies.effect_cost import Drawn

SCHEMA_NAME = "pytest-steer/effect-cost/1"


@click.command(
    "plot",
    cls=Command,
    example="pytest-steer plot tiny.steer.yaml --behaviours approval_test --multipliers=-1,0.5,2,4 --out curve.svg",
    short_help="Draw effect against cost over the multiplier.",
)
@claim_file
@click.option(
    "--out",
    "files",
    type=output(".svg", ".png", ".json"),
    required=True,
    multiple=True,
    metavar="FILE",
    help="The picture as .svg or .png, its numbers as .json (repeatable).",
)
@click.option(
    "--multipliers", type=NUMBERS, metavar="M,M", show_default="the file's", help="Strengths; 0 and the deployed are added."
)
@click.option(
    "--cost",
    type=click.Choice(["perplexity", "kl"]),
    default="perplexity",
    help="What is drawn to the right: perplexity, or KL from the unsteered model.",
)
@click.option("--methods", type=NAMES, default=(), metavar="A,B", help="These methods only, by the names in the picture.")
@click.option("--behaviours", type=NAMES, default=(), metavar="A,B", help="These behaviours only.")
@click.option("--max-items", type=COUNT, metavar="N", help="The first N items and texts of each file only.")
@click.option("--no-soundness", is_flag=True, help="Do not check the hooks of each intervention first.")
@run_options
def command(
    *,
    file: Path,
    files: tuple[Path, ...],
    multipliers: tuple[float, ...] | None,
    cost: Literal["perplexity", "kl"],
    methods: tuple[str, ...],
    behaviours: tuple[str, ...],
    run: RunContext,
) -> int:
    """Effect against cost, one line per vector of a claim FILE and one point per multiplier.

    The effect is measured on the items (data.test), the cost on the neutral texts (data.neutral); the deployed multipliers are
    marked. The file's promises are not judged. Pictures need an extra: pip install "pytest-steer[page]".
    """
    from ..files import read_suite
    from ..files.build import Builder, load_for
    from ..measures.subject import cache_warnings, model_warnings
    from ..model.models import Models
    from ..report.effect_cost import MOST_LINES, check_drawable, effect_cost_picture, effect_cost_table
    from ..studies.compare_methods import entries_of, plan_of
    from ..studies.effect_cost import CONFIDENCE, drawn_of, effect_cost

    load_extensions()
    if any(one.suffix.lower() != ".json" for one in files):
        check_drawable()
    suite = read_suite(shown(file))
    plan, *others = plan_of(suite, run, methods=methods, behaviours=behaviours)
    if others:
        raise SteerError(
            f"a picture is of one model, and the file names {plan.model}, {others[0].model}. Add --model {plan.model}"
        )
    with measuring() as warn:
        model = load_for(Models(run), suite, plan.model)
        for text in model_warnings(model):
            warn(text)
        entries, failures = entries_of(plan, Builder(model))
        if failures:
            raise DataError(f"{failures[0].method} on {failures[0].behaviour}: {failures[0].reason}")
        drawn = drawn_of(entries)
        if len(drawn) > MOST_LINES:
            raise SteerError(f"{len(drawn)} lines cannot be told apart, {MOST_LINES} can. {_fewer(drawn)}")
        lines = [effect_cost(model, one, cost=cost, multipliers=multipliers) for one in drawn]
        for text in cache_warnings(model):
            warn(text)
    title = f"{suite.name}: what steering does to {model.id}, and what it costs"
    say(f"{model.id} (seed {run.seed}, dtype {model.dtype}, device {model.device})\n\n{effect_cost_table(lines, cost)}\n")
    for one in files:
        if one.suffix.lower() == ".json":
            content = {"schema": SCHEMA_NAME, "file": shown(file), "model": model.id, "seed": run.seed, "cost": cost}
            content |= {"confidence": CONFIDENCE, "lines": [line.to_dict() for line in lines]}
            data = (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
        else:
            data = effect_cost_picture(lines, cost, title=visible(title), confidence=CONFIDENCE, suffix=one.suffix.lower())
        write_bytes(one, data)
        say(f"written: {one}")
    return 0


def _fewer(drawn: list[Drawn]) -> str:
    """The line to type for fewer lines."""
    behaviours = list(dict.fromkeys(one.entry.behaviour for one in drawn))
    if len(behaviours) > 1:
        return f"Add --behaviours {behaviours[0]}"
    return f"Add --methods {','.join(one.entry.method for one in drawn[:3])}"
