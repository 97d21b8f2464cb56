"""``pytest-steer show``: the first items of a claim file's claims as the model sees them. Nothing is measured."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import DataError
from ..run_context import RunContext
from ..sources import shown
from .options import Command, claim_file, run_options
from .param_types import COUNT
from .terminal import load_extensions, measuring, say


@click.command(
    "show",
    cls=Command,
    example="pytest-steer show tiny.steer.yaml --items 2",
    short_help="Print the first items of a claim file as the model sees them.",
)
@claim_file
@click.argument("claim", required=False)
@click.option("--items", "max_items", type=COUNT, default=1, metavar="N", help="How many items of each claim.")
@run_options
def command(file: Path, claim: str | None, run: RunContext) -> int:
    """Print the tokens of the first items of each claim of FILE, or of one CLAIM by its name.

    The first steered and the first scored token are marked. Nothing is measured and no vector is made.
    """
    from ..files import BrokenClaim, read_suite
    from ..files.build import load_for
    from ..model.models import Models
    from .shown_claims import shown_claim

    load_extensions()
    suite = read_suite(shown(file))
    names = [entry.name for entry in suite.entries]
    if claim is not None and claim not in names:
        raise DataError(f"{suite.path.name} has no claim {claim!r}; it has {', '.join(names)}")
    models = Models(run)
    seen: set[str] = set()
    for entry in suite.entries:
        if claim not in (None, entry.name):
            continue
        if isinstance(entry, BrokenClaim):
            raise entry.error
        with measuring():
            model = load_for(models, suite, run.model_name(entry.model, suite.model))
        text = "\n".join(shown_claim(model, entry))
        # Claims of one file mostly ask the same items in the same way.
        say(f"{entry.name} ({entry.kind}) on {model.id}")
        say("  as above\n" if text in seen else f"{text}\n")
        seen.add(text)
    return 0
