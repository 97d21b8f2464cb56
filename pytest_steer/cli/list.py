"""``pytest-steer list``: everything that is registered."""

from __future__ import annotations

import sys

import click

from .. import registry
from ..columns import beside, stream_columns
from .options import Command
from .terminal import load_extensions, say


@click.command(
    "list",
    cls=Command,
    example="pytest-steer list",
    short_help="Print all claims, methods, interventions, axes and formats.",
)
@click.option("--markdown", is_flag=True, help="Print the reference page: every parameter of everything, as Markdown.")
def command(markdown: bool) -> int:
    """Print everything that is registered, ours and that of other packages: its name, what it is, and its module.

    The exit code is 1 if an extension could not be imported.
    """
    # What each of them has registers itself when it is imported.
    from .. import claims, data, extract, prompting, report, steering  # noqa: F401
    from ..measures import judges  # noqa: F401
    from .reference import page, sentence_of  # which makes text by a library

    whole = load_extensions()
    if markdown:
        say(page(), nl=False)
        return 0 if whole else 1
    columns = stream_columns(sys.stdout)
    for kind in registry.KINDS:
        things = registry.things(kind)
        if not things:
            continue
        say({"axis": "axes"}.get(kind, f"{kind}s"))
        rows = {name: f"{sentence_of(thing)} ({registry.home_of(kind, name)})" for name, thing in things.items()}
        for line in beside(rows, columns):
            say(line)
        say()
    return 0 if whole else 1
