"""``pytest-steer show``: the first items of a claim file's claims as the model sees them. Nothing is measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import DataError
from ..sources import DEFAULT_MODEL, shown
from .options import Command, Loading, claim_file, loading
from .param_types import COUNT
from .terminal import load_extensions, measuring

if TYPE_CHECKING:
    from ..model import Model


@click.command("show", cls=Command, short_help="Print the first items of a claim file as the model sees them.")
@claim_file
@click.argument("claim", required=False)
@click.option("--items", type=COUNT, default=1, show_default=True, metavar="N", help="How many items of each claim.")
@loading
def command(file: Path, claim: str | None, items: int, loading: Loading) -> int:
    """Print the tokens of the first items of each claim of FILE, or of one CLAIM by its name.

    The first steered and the first scored token are marked. Nothing is measured and no vector is made.
    """
    from ..files import BrokenClaim, read_suite
    from .shown_claims import shown_claim

    load_extensions()
    suite = read_suite(shown(file))
    names = [entry.name for entry in suite.entries]
    if claim is not None and claim not in names:
        raise DataError(f"{suite.path.name} has no claim {claim!r}; it has {', '.join(names)}")
    models: dict[str, Model] = {}
    seen: set[str] = set()
    for entry in suite.entries:
        if claim not in (None, entry.name):
            continue
        if isinstance(entry, BrokenClaim):
            raise entry.error
        name = loading.model or entry.model or suite.model or DEFAULT_MODEL
        if name not in models:
            with measuring():
                models[name] = loading.load(name, allow_unexpected=suite.allow_unexpected)
        text = "\n".join(shown_claim(models[name], entry, items))
        # Claims of one file mostly ask the same items in the same way.
        click.echo(f"{entry.name} ({entry.kind}) on {models[name].id}")
        click.echo("  as above\n" if text in seen else f"{text}\n")
        seen.add(text)
    return 0
