"""``pytest-steer compare``: a report compared with an earlier one. Nothing is measured."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click

from ..core.columns import stream_columns
from ..core.evidence import plain
from .options import Option, Tolerance, json_option, options_in, output, subcommand
from .output import say, say_json, write_json

_REPORT = click.Path(path_type=Path)


@dataclass(frozen=True)
class _Options:
    old: Annotated[Path, click.argument("old", type=_REPORT, metavar="OLD")]
    new: Annotated[Path, click.argument("new", type=_REPORT, metavar="NEW")]
    tolerance: Tolerance
    as_json: Annotated[bool, json_option("the comparison")]
    out: Annotated[Path | None, Option(output(".json"), "FILE.json", "Write the comparison as JSON.")]


@subcommand(
    before="pytest tiny.steer.yaml --steer-report old.json\n  pytest tiny.steer.yaml --steer-report new.json",
    example="pytest-steer compare old.json new.json",
    short_help="Compare a report with an earlier one.",
)
@options_in(_Options)
def command(options: _Options) -> int:
    """Compare the report NEW with OLD: what holds, what is broken or worse, new or gone, and which items flipped.

    Both are JSON reports of `pytest --steer-report`. Items are paired by their content. The exit code is 0 if nothing is worse, 1 if
    something is (a verdict falls, or a loss is proven), 3 if claims are gone or cannot be compared, or none is in both, 4 if a report cannot be read.
    """
    from ..against import exit_code, held_against, summary_lines
    from ..report import baseline_of, report_of

    before, after = report_of(options.old), report_of(options.new)
    against = held_against(before, after, options.tolerance, baseline=baseline_of(options.old, before))
    if options.out is not None:
        write_json(options.out, plain(against))
    if options.as_json:
        say_json(plain(against))
    else:
        for line in summary_lines(against, stream_columns(sys.stdout)):
            say(line)
    return exit_code(against)
