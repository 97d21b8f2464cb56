"""``pytest-steer schema``: the JSON Schema of claim files, or of reports."""

from __future__ import annotations

import json

import click

from .extensions import load_extensions
from .main import FAILED, OK
from .options import subcommand
from .output import say


@subcommand(example="pytest-steer schema --report", short_help="Print the JSON Schema of claim files.")
@click.option("--report", is_flag=True, help="Print that of JSON reports.")
def command(report: bool) -> int:
    """Print the JSON Schema of claim files, with everything that is registered in it.

    An editor that knows it completes keys and marks mistakes. The exit code is 1 if an extension could not be imported.
    """
    from ..files.schema import full_schema
    from ..report import report_schema

    whole = load_extensions()
    say(json.dumps(report_schema() if report else full_schema(), indent=2, ensure_ascii=False))
    return OK if whole else FAILED
