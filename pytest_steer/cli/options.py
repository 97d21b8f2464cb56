"""Options of the commands: the types of their values, and those that several commands share, each declared once."""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import click

from ..core.errors import DataError
from ..core.record import Positions
from ..core.run_context import DTYPES, Effort, RunContext, running
from ..core.sources import DEFAULT_MODEL
from .output import progress_line

if TYPE_CHECKING:
    from ..steering import SteeringVector

SavedVector = tuple[Path, tuple[int, ...] | None]
"""A vector file and the layers to steer at; None for the layers of the file."""


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic in the latest click only
    """A type of option.

    Args:
        read: parses the text; raises a ValueError for another form.
        wanted: the expected form, with an example, for messages.
    """

    def __init__(self, name: str, read: Callable[[str], Any], wanted: str) -> None:
        self.name, self.read, self.wanted = name, read, wanted

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value  # a default
        try:
            return self.read(value)
        except ValueError:
            self.fail(f"{value!r}. Write {self.wanted}", param, ctx)


class There(click.Path):
    """An existing file, or with ``folders`` an existing file or folder. The message for a missing path suggests a similar name."""

    def __init__(self, *, folders: bool = False) -> None:
        super().__init__(dir_okay=folders, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if not path.exists():
            self.fail(f"{value}: there is no such file{meant(path)}", param, ctx)
        if path.is_dir() and not self.dir_okay:
            self.fail(f"{value}: is a folder. Name a file in it", param, ctx)
        return super().convert(value, param, ctx)


def meant(path: Path) -> str:
    """Suggest a similar name in the same folder, as the end of a message."""
    try:
        names = [one.name for one in path.parent.iterdir()]
    except OSError:
        return f", nor a folder {path.parent}"
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f". Did you mean {path.with_name(close[0])}?" if close else ""


class Texts(There):
    """A file of texts, or the name of a shipped one."""

    def __init__(self) -> None:
        super().__init__()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from ..data.formats.entries import builtin_file, full_name, is_builtin

        if not is_builtin(value):
            return super().convert(value, param, ctx)
        try:
            builtin_file(str(value))
        except DataError as error:
            self.fail(str(error), param, ctx)
        return Path(full_name(str(value)))


class Whole(click.IntRange):
    """A whole number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d+\s*", value):
            self.fail(f"{value!r}. Write a whole number, {self._describe_range()}", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A number in a range, without NaN and infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            try:
                float(value)
            except ValueError:
                self.fail(f"{value!r}. Write a number such as 0.5", param, ctx)
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


def _layers(text: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        start, end = int(first), int(last if dash else first)
        if not 0 <= start <= end:
            raise ValueError
        if end > 10_000:
            raise click.BadParameter(f"no model has {end} decoder blocks")
        found.update(range(start, end + 1))
    return tuple(sorted(found))


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(_finite, text.split(",")))


def _counts(text: str) -> tuple[int, ...]:
    found = tuple(sorted({int(part) for part in text.split(",")}))
    if found[0] < 1:
        raise ValueError
    return found


def _split(*counts: int) -> Callable[[str], tuple[float, ...]]:
    def read(text: str) -> tuple[float, ...]:
        shares = tuple(map(_finite, text.split("/")))
        if len(shares) not in counts or min(shares) <= 0:
            raise ValueError
        return shares

    return read


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise ValueError
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
        return name.strip(), value.strip()  # a text without quotes


def _names(text: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise ValueError
    return found


def _saved_vector(text: str) -> SavedVector:
    if Path(text).exists():
        return Path(text), None
    name, at, layers = text.rpartition("@")
    if not at or not Path(name).exists():
        raise click.BadParameter(f"{name or text}: there is no such file{meant(Path(name or text))}")
    return Path(name), _layers(layers)


def load_vector(file: Path, layers: tuple[int, ...] | None) -> SteeringVector:
    """Load a saved vector at the layers of ``--layers``; without them, at all its layers."""
    from ..steering import SteeringVector

    return SteeringVector.load(file, layer=None if layers is None else layers[0] if len(layers) == 1 else layers)


def output(*suffixes: str) -> Parsed:
    """A file to write, with one of these suffixes, in an existing folder."""

    def read(text: str) -> Path:
        path = Path(text)
        if not path.name.lower().endswith(suffixes):
            raise click.BadParameter(f"{text}: the name has to end in {' or '.join(suffixes)}")
        if path.is_dir():
            raise click.BadParameter(f"{text}: is a folder")
        if not path.parent.is_dir():
            raise click.BadParameter(f"{text}: the folder {path.parent} does not exist")
        return path

    return Parsed("file", read, f"a file name that ends in {' or '.join(suffixes)}")


# A vector can be a folder with one file per layer.
VECTOR: Any = There(folders=True)
FILE: Any = There()
TEXTS: Any = Texts()
FOLDER: Any = click.Path(file_okay=False, path_type=Path)
COUNT = Whole(min=1)
WINDOW = Whole(min=2)
SEED = Whole(min=0)
SHOTS = Whole(min=2)  # labels are shuffled among the demonstrations
POSITIVE = Number(min=0, min_open=True)
TIMES = Number(min=1)
TOLERANCE = Number(min=0)
SHARE = Number(min=0, max=1, min_open=True)
SHARE_BELOW_1 = Number(min=0, max=1, min_open=True, max_open=True)
LAYERS = Parsed("layers", _layers, "numbers and ranges of decoder blocks from 0 on, such as 0-5,8")
COUNTS = Parsed("counts", _counts, "whole numbers from 1 on with commas between them, such as 8,16,32")
NUMBERS = Parsed("numbers", _numbers, "numbers with commas between them, such as -1,0.5,1")
SPLIT_IN_TWO = Parsed("split", _split(2), "two numbers above 0 such as 30/70")
SPLIT = Parsed(
    "split", _split(2, 3), "three numbers above 0 such as 40/20/40, or two with --train or --vector, such as 30/70"
)
NAMES = Parsed("names", _names, "names such as caa,icv, or leave the option out for all")
SETTING = Parsed("setting", _setting, "a setting of the method and its value, such as scale=2.0")
SAVED_VECTOR = Parsed("vector", _saved_vector, "a file and the layers at which it steers, such as v.safetensors@14")


class Command(click.Command):
    """A command that shows its defaults and an example.

    Args:
        example: a command line, as typed in ``example_suites/builtin``. A backslash continues it on the next line.
        before: command lines that create the files of the example, one per line.
    """

    def __init__(self, *arguments: Any, example: str, before: str = "", **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        lines = [*before.splitlines(), *example.splitlines()]
        self.epilog = "\b\nExample, in example_suites/builtin:\n" + "\n".join(f"  {line}" for line in lines)
        self.context_settings["show_default"] = True
        self.example = example


Function = Callable[..., Any]
Options = TypeVar("Options")


def subcommand(*, example: str, short_help: str, before: str = "") -> Callable[[Function], click.Command]:
    """Make a function a :class:`Command` that is named like its module."""

    def decorate(function: Function) -> click.Command:
        name = function.__module__.rpartition(".")[2].replace("_", "-")
        return click.command(name, cls=Command, example=example, before=before, short_help=short_help)(function)

    return decorate


class Option:
    """An option whose name is that of its field, unless ``flag`` gives another one. ``settings`` are click's."""

    def __init__(self, kind: Any, metavar: str | None, help: str, *, flag: str = "", **settings: Any) -> None:
        self.flag = flag
        self.settings = {"type": kind, "metavar": metavar, "help": help, **settings}

    def of(self, field: str) -> Callable[[Function], Function]:
        return click.option(self.flag or f"--{field.replace('_', '-')}", field, **self.settings)


def options_in(fields: type[Options]) -> Callable[[Callable[[Options], int]], Function]:
    """Declare the options and arguments of a command as the fields of a frozen dataclass.

    Each field is annotated with an :class:`Option` or with click's decorators. The command gets an object of the class. ``--help`` has
    the order of the fields.
    """

    def decorate(function: Callable[[Options], int]) -> Function:
        @functools.wraps(function)
        def collected(**given: Any) -> int:
            return function(fields(**given))

        command: Function = collected
        for name, hint in reversed(get_type_hints(fields, include_extras=True).items()):
            for one in reversed(hint.__metadata__):
                command = (one.of(name) if isinstance(one, Option) else one)(command)
        return command

    return decorate


def run_options(function: Function, *, has_model: bool = True) -> Function:
    """Add the options of a run. The function gets them as ``run``, which is the current run while it runs.

    ``--max-items`` and ``--no-soundness`` become part of the run in commands that have them.

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

    command: Function = with_run
    for option in reversed(_OF_THE_RUN if has_model else _OF_THE_RUN[1:]):
        command = option(command)
    return command


MODEL = Option(None, "MODEL", f"Wins over the file's.  [default: {DEFAULT_MODEL}]", show_default=False)
DEVICE = Option(None, "DEVICE", "Where the model runs.", default="auto")
DTYPE = Option(click.Choice(DTYPES), "TYPE", "Precision of the weights.", default="auto")
_OF_THE_RUN = (
    MODEL.of("model"),
    DEVICE.of("device"),
    DTYPE.of("dtype"),
    Option(None, "PATTERN", "Weights that may be left out (repeatable).", multiple=True).of("allow_unexpected"),
    Option(FOLDER, "DIR", "Keep scores here across runs.").of("cache"),
    Option(SEED, "N", "Seeds everything random.", default=0).of("seed"),
)
MAX_ITEMS = Option(COUNT, "N", "The first N of each file only.").of("max_items")
NO_SOUNDNESS = Option(None, None, "Do not check the hooks first.", is_flag=True).of("no_soundness")


def json_option(what: str = "it") -> Option:
    """The option ``--json``.

    Args:
        what: is printed as JSON, for the help.
    """
    return Option(None, None, f"Print {what} as JSON.", flag="--json", is_flag=True)


Run = Annotated[RunContext, run_options]
ClaimFile = Annotated[Path, click.argument("file", type=FILE, metavar="FILE")]
Methods = Annotated[tuple[str, ...], Option(NAMES, "A,B", "These methods only.", default=())]
Behaviours = Annotated[tuple[str, ...], Option(NAMES, "A,B", "These behaviours only.", default=())]
Tolerance = Annotated[float, Option(TOLERANCE, "X", "Loss that is tolerated.", default=0.0)]
Budget = Annotated[float, Option(POSITIVE, "RISE", "Limit of the cost.", default=0.05)]
AntiSteerableShare = Annotated[
    float, Option(SHARE_BELOW_1, "SHARE", "Limit of items that move the wrong way.", default=0.25)
]
Window = Annotated[int | None, Option(WINDOW, "TOKENS", "Score longer texts in windows.")]
Stride = Annotated[int | None, Option(COUNT, "TOKENS", "Step of the windows.", show_default="half")]
Where = Annotated[
    Positions,
    Option(click.Choice(["all", "after_prompt", "last"]), "WHERE", "all, after_prompt or last.", default="after_prompt"),
]
Out = Annotated[Path | None, Option(output(".json"), "FILE.json", "Write all that was measured.")]
Write = Annotated[
    Path | None,
    Option(output(".steer.yaml", ".steer.yml"), "FILE", "Write a claim file of what was chosen.", flag="--write"),
]
