"""The ``pytest-steer`` command: a thin face. Nothing heavy is imported before there is something to do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..errors import MeasurementError, SteerError

# pytest's: claims or limits not kept, interrupted, wrong usage.
OK, FAILED, INTERRUPTED, USAGE_ERROR = 0, 1, 2, 4

_ALLOW_UNEXPECTED = "weights in the model's files that it has no place for may be left out if their names match (repeatable)"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit code is pytest's (0; 1 nothing could be chosen or measured; 2 interrupted; 4 usage)."""
    parser = _Parser(prog="pytest-steer", description="Steering regression tests: tools beside pytest.")
    parser.add_argument("--version", action="version", version=f"pytest-steer {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    _add_sweep(commands)
    _add_compare(commands)
    _add_show(commands)
    given = parser.parse_args(arguments)
    try:
        if given.command == "sweep":
            from .sweep import run
        elif given.command == "show":
            from .show import run
        else:
            from .compare_methods import run

        return run(given)
    except SteerError as error:
        print(f"pytest-steer {given.command}: error: {error}", file=sys.stderr)
        return FAILED if isinstance(error, MeasurementError) else USAGE_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _add_sweep(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "sweep",
        help="find a layer and a multiplier for a vector",
        description="Layers x multipliers: a vector is made from the train part of the data, ranked and measured on the "
        "validation part, and what is chosen is printed as a claim file about the test part, which the sweep does not look at.",
    )
    add = parser.add_argument
    add("--model", default="builtin:tiny", metavar="MODEL", help="folder, .gguf file, hub id, builtin:NAME or package:NAME")
    add(
        "--data",
        required=True,
        type=_file,
        metavar="ITEMS",
        help="contrast items (.json, .jsonl, .csv, .tsv, .parquet) that are split",
    )
    add("--train", type=_file, metavar="FILE", help="make the vector from this file, and split --data in two parts only")
    add("--method", default="caa", choices=("caa", "mean_difference"), help="how the vector is made (default: caa)")
    add("--split", type=_split, metavar="40/20/40", help="train/validation/test; validation/test (30/70) with --train")
    add("--layers", type=_layers, metavar="0-5,8", help="decoder blocks (default: all)")
    add(
        "--multipliers", type=_numbers, nargs="+", metavar="M", default=[[-1.5, -1.0, -0.5, 0.5, 1.0, 1.5]],
        help="strengths; 0 is added (default: -1.5 -1 -0.5 0.5 1 1.5)",
    )  # fmt: skip
    add("--positions", default="after_prompt", choices=("all", "after_prompt", "last"), help="(default: after_prompt)")
    add("--neutral", type=_file, metavar="TEXTS", help="neutral texts for the cost in perplexity")
    prune = parser.add_mutually_exclusive_group()
    prune.add_argument(
        "--keep",
        type=_share,
        default=0.5,
        metavar="SHARE",
        help="share of layers to measure, ranked by first order (default: 0.5)",
    )
    prune.add_argument("--top", type=_count, metavar="N", help="number of layers to measure, instead of --keep")
    add(
        "--anti-steerable", type=float, default=0.25, metavar="SHARE", help="largest share of reversed items (default: 0.25)"
    )
    add("--ppl-limit", type=float, default=0.05, metavar="RISE", help="largest relative rise of perplexity (default: 0.05)")
    add("--seed", type=_count0, default=0, metavar="N", help="of the split (default: 0)")
    add("--device", default="auto", metavar="DEVICE", help="(default: auto)")
    add("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"), help="(default: auto)")
    add("--allow-unexpected", action="append", default=[], metavar="PATTERN", help=_ALLOW_UNEXPECTED)
    add("--out", type=_output(".json"), metavar="FILE.json", help="write everything that was measured")
    add("--heatmap", type=_output(".svg"), metavar="FILE.svg", help="write the heat map as a picture")
    add("--test-out", type=_output(".json"), metavar="FILE.json", help="write the test part, for the claim file")
    add(
        "--vector-out", type=_output(".safetensors"), metavar="FILE.safetensors", help="write the vector, for the claim file"
    )


def _add_compare(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "compare-methods",
        help="one table of all methods of a claim file on all its behaviours",
        description="Every method on every behaviour that a claim file names (`matrix:`), on the same items and texts: steerability, "
        "reversed items and cost at each method's own strength, the effect at equal perplexity cost, and the accuracy on tasks.",
    )
    add = parser.add_argument
    add("file", type=_file, metavar="FILE", help="a claim file (.steer.yaml, .steer.json); its promises are not judged")
    add(
        "--model",
        default=None,
        metavar="MODEL",
        help="folder, .gguf file, hub id, builtin:NAME or package:NAME; wins over the file's",
    )
    add("--methods", type=_names, default=[], metavar="A,B", help="these methods only, by their names in the table")
    add("--behaviours", type=_names, default=[], metavar="A,B", help="these behaviours only")
    add(
        "--cost",
        type=_positive,
        default=0.05,
        metavar="RISE",
        help="the equal cost: relative rise of perplexity (default: 0.05)",
    )
    add(
        "--most",
        type=_positive,
        default=8.0,
        metavar="TIMES",
        help="look for it up to so many times the deployed strength (default: 8)",
    )
    add("--shots", type=_shots, default=5, metavar="N", help="demonstrations of the few-shot prompts of tasks (default: 5)")
    add("--max-items", type=_count, default=None, metavar="N", help="the first N items and texts of each file only")
    add("--seed", type=_count0, default=0, metavar="N", help="of extraction and demonstrations (default: 0)")
    add("--device", default="auto", metavar="DEVICE", help="(default: auto)")
    add("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"), help="(default: auto)")
    add("--allow-unexpected", action="append", default=[], metavar="PATTERN", help=_ALLOW_UNEXPECTED)
    add("--no-soundness", action="store_true", help="do not check the hooks of each intervention first")
    add("--out", type=_output(".json"), metavar="FILE.json", help="write everything that was measured")


def _add_show(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "show",
        help="the first items of a claim file as the model sees them",
        description="Prints the tokens of the first items of each claim, with the first steered and the first scored one marked. "
        "Nothing is measured and no vector is made.",
    )
    add = parser.add_argument
    add("file", type=_file, metavar="FILE", help="a claim file (.steer.yaml, .steer.json)")
    add("claim", nargs="?", default=None, metavar="CLAIM", help="this claim only, by its name (default: all)")
    add("--items", type=_count, default=1, metavar="N", help="how many items of each claim (default: 1)")
    add(
        "--model",
        default=None,
        metavar="MODEL",
        help="folder, .gguf file, hub id, builtin:NAME or package:NAME; wins over the file's",
    )
    add("--device", default="auto", metavar="DEVICE", help="(default: auto)")
    add("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"), help="(default: auto)")


def _names(text: str) -> list[str]:
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError("names, such as caa,icv; leave the option out for all")
    return found


def _shots(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text}: a whole number from 2 on (labels are shuffled among the demonstrations)")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: a number above 0")
    return number


def _file(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text}: is a folder, not a file" if path.is_dir() else f"{text}: no such file")
    return path


def _output(suffix: str) -> Callable[[str], Path]:
    def check(text: str) -> Path:
        path = Path(text).expanduser()
        if path.suffix.lower() != suffix:
            raise argparse.ArgumentTypeError(f"{text}: the name has to end in {suffix}")
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{text}: is a folder")
        if not path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"{text}: the folder {path.parent} does not exist")
        return path

    return check


def _split(text: str) -> list[float]:
    parts = text.split("/")
    try:
        shares = [float(part) for part in parts]
    except ValueError:
        shares = []
    if len(shares) not in (2, 3) or not all(0 < share < float("inf") for share in shares):
        raise argparse.ArgumentTypeError(f"{text}: three numbers above 0 such as 40/20/40, or two with --train")
    return shares


def _layers(text: str) -> list[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (not dash or last.isdecimal())) or (dash and int(last) < int(first)):
            raise argparse.ArgumentTypeError(f"{text}: numbers and ranges of decoder blocks from 0 on, such as 0-5,8")
        if dash and int(last) > 10_000:
            raise argparse.ArgumentTypeError(f"{text}: no model has {last} decoder blocks")
        found.update(range(int(first), int(last if dash else first) + 1))
    return sorted(found)


def _numbers(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [float("nan")]
    if not all(abs(number) < float("inf") for number in found):
        raise argparse.ArgumentTypeError(f"{text}: numbers, such as -1 0.5 1 or -1,0.5,1")
    return found


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = float("nan")
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text}: a share above 0 and at most 1")
    return share


def _count0(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text}: a whole number from 0 on")
    return int(text)


def _count(text: str) -> int:
    if _count0(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: a whole number from 1 on")
    return int(text)
