"""Options that several commands share, each declared once, and the names that options had before."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from ..run_context import DTYPES, Effort, RunContext, running
from ..sources import DEFAULT_MODEL
from .param_types import COUNT, FILE, FOLDER, POSITIVE, SEED, SHARE_BELOW_1, TOLERANCE, WINDOW, output
from .terminal import progress_line

Function = Callable[..., Any]


class Command(click.Command):
    """A command that shows its defaults and an example, and knows how its options were called before.

    Args:
        example: a command line, as typed in ``example_suites/builtin``. A long one goes on in the next line after a backslash.
        before: command lines that make what the example needs, one per line.
        renamed: {old option: what to write now}.
    """

    def __init__(
        self, *arguments: Any, example: str, before: str = "", renamed: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        super().__init__(*arguments, **settings)
        lines = [*before.splitlines(), *example.splitlines()]
        self.epilog = "\b\nExample, in example_suites/builtin:\n" + "\n".join(f"  {line}" for line in lines)
        self.context_settings["show_default"] = True
        self.example, self.renamed = example, renamed or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name not in self.renamed:
                raise
            new = self.renamed[error.option_name]
            raise click.UsageError(f"{error.option_name} is now {new.split()[0]}. Write {new}", ctx) from None


_OF_THE_RUN = (
    click.option("--model", metavar="MODEL", show_default=False, help=f"Wins over the file's.  [default: {DEFAULT_MODEL}]"),
    click.option("--device", default="auto", metavar="DEVICE", help="Where the model runs."),
    click.option("--dtype", type=click.Choice(DTYPES), default="auto", metavar="TYPE", help="Precision of the weights."),
    click.option("--allow-unexpected", multiple=True, metavar="PATTERN", help="Weights that may be left out (repeatable)."),
    click.option("--cache", type=FOLDER, metavar="DIR", help="Keep scores here across runs."),
    click.option("--seed", type=SEED, default=0, metavar="N", help="Seeds everything random."),
)


def run_options(function: Function, *, has_model: bool = True) -> Function:
    """The options of the run, with ``--max-items`` and ``--no-soundness`` of commands that have them. The function takes them as
    ``run``, which is current while it runs.

    Args:
        has_model: whether ``--model`` is among them.
    """

    @functools.wraps(function)
    def with_run(**given: Any) -> Any:
        own = {name: given.pop(name, None) for name in ("model", "device", "dtype", "allow_unexpected", "cache", "seed")}
        run = RunContext(
            **own,
            effort=Effort(max_items=given.pop("max_items", None)),
            soundness=not given.pop("no_soundness", False),
            progress=progress_line(sys.stderr),
            option_prefix="--",
        )
        with running(run):
            return function(run=run, **given)

    for option in reversed(_OF_THE_RUN if has_model else _OF_THE_RUN[1:]):
        with_run = option(with_run)
    return with_run


claim_file = click.argument("file", type=FILE, metavar="FILE")
budget = click.option("--budget", type=POSITIVE, default=0.05, metavar="RISE", help="Limit of the cost.")
anti_steerable_share = click.option(
    "--anti-steerable-share",
    type=SHARE_BELOW_1,
    default=0.25,
    metavar="SHARE",
    help="Limit of items that move the wrong way.",
)
tolerance = click.option(
    "--tolerance",
    type=TOLERANCE,
    default=0.0,
    metavar="X",
    help="Loss that is let pass.",
)
window = click.option("--window", type=WINDOW, metavar="TOKENS", help="Score longer texts in windows.")
stride = click.option("--stride", type=COUNT, metavar="TOKENS", show_default="half", help="Step of the windows.")
out = click.option("--out", type=output(".json"), metavar="FILE.json", help="Write all that was measured.")
write = click.option(
    "--write",
    "claims",
    type=output(".steer.yaml", ".steer.yml"),
    metavar="FILE",
    help="Write a claim file of what was chosen.",
)
