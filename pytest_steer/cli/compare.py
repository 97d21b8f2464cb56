"""``pytest-steer compare``: a report held against an earlier one. Nothing is measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ..core.columns import stream_columns
from ..core.evidence import plain
from .main import OK
from .options import Command, output, tolerance
from .terminal import say, write_text

REPORT = click.Path(path_type=Path)


@click.command(
    "compare",
    cls=Command,
    before="pytest tiny.steer.yaml --steer-report old.json\n  pytest tiny.steer.yaml --steer-report new.json",
    example="pytest-steer compare old.json new.json",
    short_help="Hold a report against an earlier one.",
)
@click.argument("old", type=REPORT, metavar="OLD")
@click.argument("new", type=REPORT, metavar="NEW")
@tolerance
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.option("--out", type=output(".json"), metavar="FILE.json", help="Write the comparison as JSON.")
def command(old: Path, new: Path, tolerance: float, as_json: bool, out: Path | None) -> int:
    """Hold the report NEW against OLD: what holds, what is broken or worse, new or gone, and which items flipped.

    Both are JSON reports of `pytest --steer-report`. Items are paired by their content. The exit code is 0 if nothing is worse, 1 if
    something is (a verdict falls, or a loss is proven), 3 if claims are gone or cannot be compared, or none is in both, 4 if a report cannot be read.
    """
    from ..against import exit_code, held_against, summary_lines
    from ..report import baseline_of, report_of

    before, after = report_of(old), report_of(new)
    against = held_against(before, after, tolerance, baseline=baseline_of(old, before))
    content = json.dumps(plain(against), ensure_ascii=False, indent=1, allow_nan=False)
    if out is not None:
        write_text(out, content + "\n")
    if as_json:
        say(content)
    else:
        for line in summary_lines(against, stream_columns(sys.stdout)):
            say(line)
    return exit_code(against) or OK
