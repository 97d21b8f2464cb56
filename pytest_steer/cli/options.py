"""Options that several commands share, each declared once, and the names that options had before."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..sources import DEFAULT_MODEL
from .param_types import FILE, FOLDER, SEED, output

if TYPE_CHECKING:
    from ..model import Model

Function = Callable[..., Any]


class Command(click.Command):
    """A command that knows how its options were called before.

    Args:
        renamed: {old option: what to write now}.
    """

    def __init__(self, *arguments: Any, renamed: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.renamed = dict(renamed or {})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name not in self.renamed:
                raise
            new = self.renamed[error.option_name]
            raise click.UsageError(f"{error.option_name} is now {new.split()[0]}. Write {new}", ctx) from None


@dataclass(frozen=True)
class Loading:
    """Which model is loaded, and how: the options ``--model``, ``--device``, ``--dtype``, ``--allow-unexpected``, ``--cache``."""

    model: str | None
    device: str
    dtype: str
    allow_unexpected: tuple[str, ...]
    cache: Path | None

    def load(self, name: str | None = None, *, allow_unexpected: Iterable[str] = ()) -> Model:
        """The model, with the score cache.

        Args:
            name: the model where ``--model`` names none.
            allow_unexpected: patterns beside those of the option.

        Raises:
            SteerError: the cache's folder or the model cannot be used.
        """
        from ..model import engine_of, load_model
        from ..model.memo import DiskMemo

        disk = DiskMemo(self.cache) if self.cache is not None else None
        allowed = (*self.allow_unexpected, *allow_unexpected)
        model = load_model(
            self.model or name or DEFAULT_MODEL, dtype=self.dtype, device=self.device, allow_unexpected=allowed
        )
        engine_of(model).disk = disk
        return model


def loading(function: Function) -> Function:
    """The options of :class:`Loading`, which the function takes as ``loading``."""
    names = tuple(Loading.__dataclass_fields__)

    @functools.wraps(function)
    def with_loading(**given: Any) -> Any:
        return function(loading=Loading(*(given.pop(name) for name in names)), **given)

    options = (
        click.option(
            "--model",
            metavar="MODEL",
            help=f"Folder, .gguf file, hub id, builtin:NAME or package:NAME; wins over a file's.  [default: {DEFAULT_MODEL}]",
        ),
        click.option("--device", default="auto", metavar="DEVICE", show_default=True, help="Where the model runs."),
        click.option(
            "--dtype",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            default="auto",
            show_default=True,
            help="Precision of the weights.",
        ),
        click.option(
            "--allow-unexpected",
            multiple=True,
            metavar="PATTERN",
            help="Leave out weights of these names that the model has no place for (repeatable).",
        ),
        click.option("--cache", type=FOLDER, metavar="DIR", help="Keep scores in this folder across runs."),
    )
    return _all(options, with_loading)


def _all(options: Iterable[Function], function: Function) -> Function:
    for option in reversed(list(options)):
        function = option(function)
    return function


seed = click.option("--seed", type=SEED, default=0, show_default=True, metavar="N", help="Everything random follows it.")
out = click.option("--out", type=output(".json"), metavar="FILE.json", help="Write everything that was measured.")
claim_file = click.argument("file", type=FILE, metavar="FILE")
