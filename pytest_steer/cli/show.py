"""``pytest-steer show``: the first items of a claim file's claims as the model sees them. Nothing is measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..columns import in_columns, stream_columns, wrapped
from ..errors import DataError, SteerError, exceptions_named
from ..registry import did_you_mean
from ..run_context import RunContext
from ..screen import visible
from ..sources import shown
from .main import OK, USAGE_ERROR
from .options import Command, claim_file, run_options
from .param_types import COUNT
from .terminal import load_extensions, measuring, say

if TYPE_CHECKING:
    from ..files import BrokenClaim, ClaimSpec, Suite
    from ..model.loading import Models


@click.command(
    "show",
    cls=Command,
    example="pytest-steer show tiny.steer.yaml --items 2",
    short_help="Print the first items as the model sees them.",
)
@claim_file
@click.argument("claim", required=False)
@click.option("--items", "max_items", type=COUNT, default=1, metavar="N", help="So many of each claim.")
@run_options
def command(file: Path, claim: str | None, run: RunContext) -> int:
    """Print the tokens of the first items of each claim of FILE, or of one CLAIM by its name.

    The first steered and the first scored token are marked. Nothing is measured and no vector is made. A claim that cannot be shown
    is an error on stderr, and the others follow; the exit code is then 4.
    """
    from ..files import BrokenClaim, read_suite
    from ..model.loading import Models

    load_extensions()
    suite = read_suite(shown(file))
    names = [entry.name for entry in suite.entries]
    if claim is not None and claim not in names:
        raise DataError(f"{suite.path.name} has no claim {claim!r}: {did_you_mean(claim, names)}")
    models = Models(run)
    first: dict[str, str] = {}  # a text to the claim that it was printed for
    faulty, columns = False, stream_columns(sys.stdout)
    for entry in suite.entries:
        if claim not in (None, entry.name):
            continue
        try:
            with exceptions_named():
                head, text = _shown(models, run, suite, entry, columns)
        except SteerError as error:
            said = str(error) if isinstance(entry, BrokenClaim) else entry.located(error, suite.path)
            say(wrapped(f"{entry.name}: error: {said}\n", stream_columns(sys.stderr)), err=True)
            faulty = True
            continue
        # Claims of one file mostly ask the same items in the same way.
        same = first.setdefault(text, entry.name)
        say(wrapped(head, columns))
        say(f"{text if same == entry.name else wrapped(f'  the same as for {same}', columns)}\n")
    return USAGE_ERROR if faulty else OK


def _shown(models: Models, run: RunContext, suite: Suite, entry: ClaimSpec | BrokenClaim, columns: int) -> tuple[str, str]:
    """The headline of a claim and the text below it, in so many columns."""
    from ..files import BrokenClaim
    from ..files.build import load_for
    from .shown_claims import promise_lines, shown_claim

    if isinstance(entry, BrokenClaim):
        raise entry.error
    with measuring():
        model = load_for(models, suite, run.model_name(entry.model, suite.model))
    head = [f"{entry.name} ({entry.kind}) on {model.id}", *promise_lines(entry)]
    with in_columns(columns):
        lines = shown_claim(model, entry, suite.path.parent)
    return "\n".join(head), "\n".join(wrapped(visible(line), columns) for line in lines)
