"""The plugin's options: what the command line and the ini file say. Imports nothing heavy."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import registry
from .errors import ModelError
from .file_formats import format_of, suffixes_of
from .processor import has_bfloat16
from .registry import did_you_mean
from .sources import DEFAULT_MODEL, find_model

SUFFIXES = (".steer.yaml", ".steer.yml", ".steer.json")  # of claim files


@dataclass(frozen=True)
class Profile:
    """Effort, where a claim does not say.

    Attributes:
        max_items: how many items or texts of a data set a claim looks at, the first ones (None: all).
        max_drawn: how many items a claim may draw in rounds, at random (None: all).
        in_rounds: draw items in rounds where the claim does not say and its bounds can be looked at early.
        max_contexts: how many contexts a search looks at. batch: how many items it looks at them with.
        half_on_cpu: on a CPU with instructions for bfloat16 models run in it, unless a dtype is named: a quick look is not judged to the
            last digit.
    """

    name: str
    max_items: int | None
    max_drawn: int | None
    in_rounds: bool
    max_contexts: int
    batch: int
    half_on_cpu: bool = False


PROFILES = {
    "dev": Profile("dev", 20, 40, True, 12, 8, half_on_cpu=True),
    "ci": Profile("ci", None, None, False, 40, 16),
    "nightly": Profile("nightly", None, None, False, 200, 32),
}


@dataclass(frozen=True)
class Settings:
    """Options as values.

    Attributes:
        model: None if neither the command line nor the ini file names one.
        counterexamples: folder of the contexts that broke claims; None for one in pytest's cache.
        allow_unexpected: patterns of weights that may be left out of every model, beside those of a claim file.
        context: the one context that searches are to look at, as ``Context.to_dict`` gives it, or None.
    """

    model: str | None
    device: str
    dtype: str
    allow_unexpected: tuple[str, ...]
    profile: Profile
    seed: int
    reports: tuple[Path, ...]
    inconclusive: str
    holm: bool
    cache: Path | None
    counterexamples: Path | None
    context: dict[str, Any] | None
    save_counterexamples: bool
    soundness: bool

    @property
    def dtype_on_cpu(self) -> str:
        """The dtype of models on a CPU, as ``load_model`` takes it."""
        return "bfloat16" if self.dtype == "auto" and self.profile.half_on_cpu and has_bfloat16() else self.dtype


def add_options(parser: pytest.Parser) -> None:
    """Declares ``--steer-*`` and their ini twins."""
    group = parser.getgroup("steer", "steering claims (pytest-steer)")

    def both(name: str, help: str, *, default: str | None = None, metavar: str, choices: Any = None) -> None:
        shown = f"{help} (default: {default})" if default is not None else help
        group.addoption(f"--steer-{name}", default=None, metavar=metavar, choices=choices, help=shown)
        parser.addini(f"steer_{name}", f"the same as --steer-{name}", default=default)

    def flag(name: str, help: str) -> None:
        group.addoption(f"--steer-{name}", action="store_true", default=None, help=help)
        parser.addini(f"steer_{name.replace('-', '_')}", f"the same as --steer-{name}", type="bool", default=False)

    both(
        "model",
        "model under test: a transformers folder, a .gguf file, a hub id, builtin:NAME or package:NAME; wins over the "
        f"claim file (default: the claim file's, else {DEFAULT_MODEL})",
        metavar="MODEL",
    )
    both("device", "device of the model", default="auto", metavar="DEVICE")
    both("dtype", "dtype of the model: auto, float32, bfloat16, float16", default="auto", metavar="DTYPE")
    group.addoption(
        "--steer-allow-unexpected",
        action="append",
        default=None,
        metavar="PATTERN",
        help="regular expression: weights in the model's files that it has no place for may be left out if their names match "
        "(repeatable)",
    )
    parser.addini(
        "steer_allow_unexpected", "the same as --steer-allow-unexpected, one per line", type="linelist", default=[]
    )
    both(
        "profile",
        "effort: dev (items drawn in rounds until a claim is decided, at most 40; the first 20 texts; few contexts; bfloat16 on a CPU that has instructions for it), ci, nightly (many contexts)",
        default="ci",
        metavar="NAME",
    )
    both("seed", "everything random follows it", default="0", metavar="N")
    both("inconclusive", "what an inconclusive claim is: fail, skip or xfail", default="fail", metavar="WHAT")
    both("cache", "folder in which scores are kept across runs (default: none)", metavar="DIR")
    both(
        "counterexamples",
        "folder in which contexts that broke claims are kept, to be tried first the next time (default: in pytest's cache)",
        metavar="DIR",
    )
    group.addoption(
        "--steer-context",
        default=None,
        metavar="JSON",
        help='look at this one context in place of a search, such as \'{"option_order": "swapped"}\'',
    )
    flag("save-counterexamples", "add every context that broke a claim to the `regressions` of its claim file")
    group.addoption(
        "--steer-report",
        action="append",
        default=None,
        metavar="PATH",
        help="write a report; the suffix says its format: .json, or that of an extension (repeatable)",
    )
    parser.addini("steer_report", "the same as --steer-report, one path per line", type="linelist", default=[])
    flag("holm", "adjust the verdicts of each claim file for the number of its claims (Holm 1979)")
    flag("no-soundness", "do not check that hooks do what they say before the first claim about each intervention")


def read_settings(config: pytest.Config) -> Settings:
    """The options, checked.

    Raises:
        pytest.UsageError: a value that cannot be used; says which option and what it takes.
    """

    def value(name: str) -> str | None:
        given = config.getoption(f"steer_{name}")
        found: str | None = given if given is not None else config.getini(f"steer_{name}")
        return found

    model = value("model") or None
    if model is not None:
        try:
            find_model(model)
        except ModelError as error:
            option = "--steer-model" if config.getoption("steer_model") else "steer_model in the ini file"
            raise pytest.UsageError(f"{option}: {error}") from None
    dtype = _one_of("dtype", value("dtype"), ("auto", "float32", "bfloat16", "float16"))
    profile = _one_of("profile", value("profile"), tuple(PROFILES))
    inconclusive = _one_of("inconclusive", value("inconclusive"), ("fail", "skip", "xfail"))
    seed = str(value("seed"))
    if not seed.isdigit():
        raise pytest.UsageError(f"--steer-seed: takes a whole number from 0 on, not {seed!r}")
    holm, save = config.getoption("steer_holm"), config.getoption("steer_save_counterexamples")
    unexpected = config.getoption("steer_allow_unexpected") or config.getini("steer_allow_unexpected")
    unchecked = config.getoption("steer_no_soundness")
    return Settings(
        model=model,
        device=str(value("device")),
        dtype=dtype,
        allow_unexpected=tuple(map(_pattern, unexpected)),
        profile=PROFILES[profile],
        seed=int(seed),
        reports=tuple(_report(config, path) for path in config.getoption("steer_report") or config.getini("steer_report")),
        inconclusive=inconclusive,
        cache=_folder(config, "cache", value("cache")),
        counterexamples=_folder(config, "counterexamples", value("counterexamples")),
        context=_context(config.getoption("steer_context")),
        save_counterexamples=bool(config.getini("steer_save_counterexamples") if save is None else save),
        soundness=not (config.getini("steer_no_soundness") if unchecked is None else unchecked),
        holm=bool(config.getini("steer_holm") if holm is None else holm),
    )


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise pytest.UsageError(f"--steer-allow-unexpected: {text!r} is not a regular expression: {error}") from None
    return text


def _context(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise pytest.UsageError(f"--steer-context: {text!r} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise pytest.UsageError(f"--steer-context: takes a mapping of axes to values, not {text}")
    return found


def _folder(config: pytest.Config, name: str, path: str | None) -> Path | None:
    if not path:
        return None
    folder = config.invocation_params.dir / Path(path).expanduser()
    if folder.exists() and not folder.is_dir():
        raise pytest.UsageError(f"--steer-{name}: {path}: is a file, not a folder")
    return folder


def _one_of(name: str, given: str | None, known: tuple[str, ...]) -> str:
    if given not in known:
        raise pytest.UsageError(f"--steer-{name}: must be one of {', '.join(known)}, not {given!r}")
    return given


def _report(config: pytest.Config, path: str) -> Path:
    file = config.invocation_params.dir / Path(path).expanduser()
    if file.suffix.lower() != ".json" and format_of("report format", file) is None:
        from .report import formats  # noqa: F401  # whose suffixes are offered

        known, broken = suffixes_of("report format"), registry.load_extensions()
        raise pytest.UsageError(
            f"--steer-report: {path}: no report format has the suffix {file.suffix!r}: {did_you_mean(file.suffix, known)}"
            + "".join(f"\nThe extension {name} could not be loaded: {reason}" for name, reason in broken.items())
        )
    if not file.parent.is_dir():
        raise pytest.UsageError(f"--steer-report: {path}: the folder {file.parent} does not exist")
    if file.is_dir():
        raise pytest.UsageError(f"--steer-report: {path}: is a folder")
    return file
