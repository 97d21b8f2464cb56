"""``pytest-steer verdict``: whether every claim of a report holds, as an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import json_option, subcommand
from .output import say, say_json

if TYPE_CHECKING:
    from ..core.evidence import Json
    from ..report.outcome import ReportVerdict


@subcommand(
    before="pytest tiny.steer.yaml --steer-report report.json",
    example="pytest-steer verdict report.json",
    short_help="Say whether all claims of a report hold: 0, 1 or 3.",
)
@click.argument("report", type=click.Path(path_type=Path), metavar="REPORT")
@json_option("the verdict").of("as_json")
def command(report: Path, as_json: bool) -> int:
    """Say whether every claim of a JSON report of --steer-report holds.

    \b
    The exit code:
      0  every claim holds, but for those that are known to fail
      1  a claim is broken, whatever else there is
      3  none is broken, but one could not be measured or is inconclusive,
         claims did not run, or there are none
      4  there is no report that can be read
    """
    from ..report import report_of
    from ..report.outcome import HELD, verdict_of

    found = verdict_of(report_of(report))
    if as_json:
        say_json(_record(found))
        return found.code
    say(found.headline)
    for category, claims in found.claims.items():
        for claim in claims if category is not HELD else ():
            said = str(claim.message or claim.error).partition("\n")[0]
            say(f"  {category.words}: {claim.id}\n    {said}")
    for reason in found.missing:
        say(f"  {reason}")
    return found.code


def _record(found: ReportVerdict) -> Json:
    names = ("broken", "errors", "inconclusive", "unexpected", "known", "holding")
    ids = {name: [claim.id for claim in claims] for name, claims in zip(names, found.claims.values(), strict=True)}
    return {"code": found.code, "verdict": found.headline, **ids, "missing": found.missing}
