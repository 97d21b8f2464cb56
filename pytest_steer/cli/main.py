"""The ``pytest-steer`` command. Subcommands are imported when they run, and heavy libraries when a subcommand measures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from .. import __version__
from ..core.columns import one_screen, stream_columns, visible, wrapped
from ..core.errors import MeasurementError, SteerError
from ..core.registry import did_you_mean
from .output import say

# pytest's exit codes.
OK, FAILED, INTERRUPTED, USAGE_ERROR = 0, 1, 2, 4

# Each is the module of its name, with underscores, and in it the function `command`.
COMMANDS = (
    "sweep",
    "compare",
    "compare-methods",
    "compare-models",
    "plot",
    "show",
    "init",
    "validate",
    "explain",
    "inspect",
    "convert",
    "doctor",
    "verdict",
    "list",
    "schema",
)


class _Commands(click.Group):
    """Imports the module of a subcommand on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        if name not in COMMANDS:
            raise click.UsageError(f"there is no command {name!r}: {did_you_mean(name, COMMANDS)}", ctx)
        found: click.Command = import_module(f".{name.replace('-', '_')}", __package__).command
        return found


@click.group(cls=_Commands, no_args_is_help=False)
@click.version_option(__version__, message="pytest-steer %(version)s")
def _root() -> None:
    """Steering regression tests: tools beside pytest."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0; 1 if nothing could be chosen or measured; 2 if interrupted; 4 for wrong usage or unusable data.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = f"pytest-steer {given[0]}" if given and given[0] in COMMANDS else "pytest-steer"
    try:
        return int(_root.main(given, prog_name="pytest-steer", standalone_mode=False) or OK)
    except click.Abort:
        say("interrupted", err=True)
        return INTERRUPTED
    except click.MissingParameter as error:
        usage = error.ctx.get_usage() if error.ctx is not None else ""
        say(_fitting(f"{name}: error: {error.format_message()}\n{usage}\nAll options: {name} --help"), err=True)
        return USAGE_ERROR
    except click.ClickException as error:
        say(_fitting(f"{name}: error: {error.format_message()}\nAll options: {name} --help"), err=True)
        return USAGE_ERROR
    except SteerError as error:
        say(_fitting(f"{name}: error: {one_screen(str(error))}"), err=True)
        return FAILED if isinstance(error, MeasurementError) else USAGE_ERROR


def _fitting(text: str) -> str:
    """Wrap an error to the columns of the terminal."""
    return wrapped(visible(text), stream_columns(sys.stderr))


if __name__ == "__main__":
    sys.exit(main())
