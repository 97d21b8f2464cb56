"""The options of a pytest run: declared, read and checked; and the terminal that they are about. Imports nothing heavy."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ..core import registry
from ..core.columns import stream_columns, visible, wrapped
from ..core.errors import ModelError, SteerWarning
from ..core.evidence import Json
from ..core.file_formats import format_of, suffixes_of
from ..core.registry import did_you_mean
from ..core.run_context import DTYPES, Effort, RunContext, has_bfloat16
from ..core.sources import DEFAULT_MODEL, find_model, shown

SUFFIXES = (".steer.yaml", ".steer.yml", ".steer.json")  # of claim files
INCONCLUSIVE = ("fail", "skip", "xfail")
TEXTS = ("all", "short", "none")
# Suffixes of our own formats of reports, known here so that nothing heavy is imported, and the libraries that each needs.
OWN_REPORTS: dict[str, tuple[str, ...]] = {".json": (), ".html": ("altair", "vl_convert"), ".md": ()}
# A quick look is not judged to the last digit, so "dev" also runs in bfloat16 on a CPU that has instructions for it.
PROFILES = {
    "dev": Effort("dev", max_items=20, max_drawn=40, in_rounds=True, max_contexts=12, batch=8),
    "ci": Effort("ci"),
    "nightly": Effort("nightly", max_contexts=200, batch=32),
}


def at_profile(name: str, dtype: str) -> Json:
    """What a profile decides, as arguments of ``RunContext``."""
    return {"effort": PROFILES[name], "half_on_cpu": name == "dev" and dtype == "auto" and has_bfloat16()}


@dataclass(frozen=True)
class Settings:
    """The options of a pytest run.

    Attributes:
        run: what measuring needs.
        reports: files to write.
        report_texts: which texts of the data they contain, one of ``TEXTS``.
        inconclusive: the outcome of an inconclusive claim, one of ``INCONCLUSIVE``.
        holm: adjust the verdicts of each claim file for the number of its claims.
        save_counterexamples: add contexts that broke a claim to its file.
        strict_known: fail an `xfail` whose claim holds, whatever its own setting.
        options: the options that decide what is measured and how it is judged, by name, as in a report.
        github: write the summary and annotations of GitHub Actions.
        baseline: an earlier report that the run is compared with. update_baseline: replace it with this run's report.
        tolerance: losses up to this, in a claim's unit, are not shown as worse.
    """

    run: RunContext
    reports: tuple[Path, ...]
    report_texts: str
    inconclusive: str
    holm: bool
    save_counterexamples: bool
    strict_known: bool
    options: Json
    github: bool
    baseline: Path | None = None
    update_baseline: bool = False
    tolerance: float = 0.0


@dataclass(frozen=True)
class _Option:
    """``--steer-NAME`` and ``steer_NAME`` of the ini file.

    Attributes:
        read: parses the given text. Raises ValueError or ModelError with the fault.
        default: the text if none is given; without one the value is None.
        several: repeatable, one per line in the ini file.
    """

    name: str
    metavar: str
    help: str
    read: Callable[[str], Any] = str
    default: str | None = None
    several: bool = False

    @property
    def key(self) -> str:
        return f"steer_{self.name.replace('-', '_')}"


def _model(text: str) -> str:
    find_model(text)
    return text


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"must be one of {', '.join(known)}, not {text!r}")
        return text

    return read


def _seed(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"takes a whole number from 0 on, not {text!r}")
    return int(text)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    return text


def _folder(text: str) -> Path:
    folder = Path(text).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{text}: is a file, not a folder")
    return folder


def _file_to_write(text: str) -> Path:
    file = Path(text).expanduser().absolute()
    if file.is_dir():
        raise ValueError(f"{text}: is a folder")
    if not file.parent.is_dir():
        raise ValueError(f"{text}: the folder {file.parent} does not exist")
    return file


def _report(text: str) -> Path:
    file = Path(text)
    suffix = file.suffix.lower()
    missing = next((library for library in OWN_REPORTS.get(suffix, ()) if find_spec(library) is None), None)
    if missing is not None:
        raise ValueError(
            f"{text}: the page's figures are drawn by Altair and vl-convert, and {missing} is not installed. Install them: "
            "pip install 'pytest-steer[page]'"
        )
    if suffix not in OWN_REPORTS and format_of("report format", file) is None:
        from ..report import formats  # noqa: F401  # whose suffixes are offered

        known, broken = suffixes_of("report format"), registry.load_extensions()
        raise ValueError(
            f"{text}: no report format has the suffix {file.suffix!r}; {did_you_mean(file.suffix, known)}"
            + "".join(f"\nThe extension {name} could not be loaded: {reason}" for name, reason in broken.items())
        )
    file = _file_to_write(text)
    if file.name.endswith(".partial.json"):
        raise ValueError(f"{text}: is the name of a report that is not finished; take {file.name.replace('.partial', '')}")
    if (file.is_file() or not file.exists()) and not os.access(file.parent, os.W_OK):
        raise ValueError(f"{text}: nothing can be written in the folder {file.parent}")
    return file


def _baseline(text: str) -> Path:
    file = _file_to_write(text)
    if file.suffix.lower() != ".json":
        raise ValueError(f"{text}: a baseline is a JSON report, whose name ends in .json")
    return file


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"takes a number from 0 on, not {text!r}")
    return value


def _check_apart(baseline: Path, reports: Iterable[Path]) -> None:
    """Refuse a report that would replace the baseline, itself or by its partial file."""
    for report in reports:
        taken = [report, report.with_suffix(".partial.json")] if report.suffix.lower() == ".json" else [report]
        if baseline.resolve() in [path.resolve() for path in taken]:
            raise usage_error(
                f"--steer-report {shown(report)}: would replace the baseline {shown(baseline)}. Give the report another name, such as "
                "--steer-report new.json; --steer-update-baseline replaces the baseline"
            )


def _context(text: str) -> Json:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"takes a mapping of axes to values, not {text}")
    return found


OPTIONS = (
    _Option(
        "model",
        "MODEL",
        "model under test: a transformers folder, a .gguf file, a hub id, builtin:NAME or package:NAME; wins over the "
        f"claim file (default: the claim file's, else {DEFAULT_MODEL})",
        _model,
    ),
    _Option("device", "DEVICE", "device of the model", default="auto"),
    _Option("dtype", "DTYPE", f"dtype of the model: {', '.join(DTYPES)}", _one_of(*DTYPES), "auto"),
    _Option(
        "allow-unexpected",
        "PATTERN",
        "regular expression: weights in the model's files that it has no place for may be left out if their names match "
        "(repeatable)",
        _pattern,
        several=True,
    ),
    _Option(
        "profile",
        "NAME",
        "effort: dev (items drawn in rounds until a claim is decided, at most 40; the first 20 texts; few contexts; "
        "bfloat16 on a CPU that has instructions for it), ci, nightly (many contexts)",
        _one_of(*PROFILES),
        "ci",
    ),
    _Option("seed", "N", "everything random follows it", _seed, "0"),
    _Option("inconclusive", "WHAT", "what an inconclusive claim is: fail, skip or xfail", _one_of(*INCONCLUSIVE), "fail"),
    _Option("cache", "DIR", "folder in which scores are kept across runs (default: none)", _folder),
    _Option(
        "counterexamples",
        "DIR",
        "folder in which contexts that broke claims are kept, to be tried first the next time (default: in pytest's cache)",
        _folder,
    ),
    _Option(
        "report",
        "PATH",
        "write a report; the suffix says its format: .json, .html (a page), .md (for GitHub), or that of an extension (repeatable)",
        _report,
        several=True,
    ),
    _Option(
        "baseline",
        "PATH",
        "an earlier JSON report: what the run changes is shown, and no_regression claims are judged (default: none)",
        _baseline,
    ),
    _Option(
        "tolerance",
        "LOSS",
        "with --steer-baseline: a proven loss up to this, in each claim's unit, is not shown as worse",
        _tolerance,
        "0",
    ),
    _Option(
        "report-texts",
        "WHAT",
        "what of the texts of items, prompts and contexts a report holds: all, short (80 characters each) or none",
        _one_of(*TEXTS),
        "all",
    ),
)
FLAGS = {
    "save-counterexamples": "add every context that broke a claim to the `regressions` of its claim file",
    "github": "in GitHub Actions: append the Markdown report to the step's summary, and show claims that do not hold at their lines",
    "holm": "adjust the verdicts of each claim file for the number of its claims (Holm 1979)",
    "strict-known": "fail an `xfail` that no longer applies: its claim holds, or the day when it expires is over",
    "update-baseline": "write this run's report in the place of the file that --steer-baseline names, and show what it replaces",
    "no-soundness": "do not check that hooks do what they say before the first claim about each intervention",
}


def add_options(parser: pytest.Parser) -> None:
    """Declare ``--steer-*`` and their ini twins."""
    group = parser.getgroup("steer", "steering claims (pytest-steer)")
    for option in OPTIONS:
        shown = option.help if option.default is None else f"{option.help} (default: {option.default})"
        action = "append" if option.several else "store"
        group.addoption(f"--steer-{option.name}", action=action, metavar=option.metavar, help=shown)
        twin = f"the same as --steer-{option.name}"
        if option.several:
            parser.addini(option.key, f"{twin}, one per line", type="linelist", default=[])
        else:
            parser.addini(option.key, twin, default=option.default)
    for name, text in FLAGS.items():
        group.addoption(f"--steer-{name}", action="store_true", default=None, help=text)
        parser.addini(f"steer_{name.replace('-', '_')}", f"the same as --steer-{name}", type="bool", default=False)
    group.addoption(
        "--steer-context",
        metavar="JSON",
        help='look at this one context in place of a search, such as \'{"option_order": "swapped"}\'',
    )


def read_settings(config: pytest.Config) -> Settings:
    """Read and check the options.

    Raises:
        pytest.UsageError: an unusable value; the message names the option and what it takes.
    """
    value = {option.name: _value(config, option) for option in OPTIONS}
    flag = {name: bool(_given(config, f"steer_{name.replace('-', '_')}")[0]) for name in FLAGS}
    context = config.getoption("steer_context")
    cache: pytest.Cache | None = getattr(config, "cache", None)

    def counterexamples() -> Path | None:
        # pytest's cache makes its folder at once, so it is asked only when there is something to look up.
        folder: Path | None = value["counterexamples"]
        if folder is not None or cache is None:
            return folder
        try:
            return cache.mkdir("steer-counterexamples")
        except OSError as error:
            said = f"contexts that break a claim are not kept: pytest's cache folder cannot be written ({error.strerror})"
            warnings.warn(SteerWarning(said), stacklevel=2)
            return None

    run = RunContext(
        seed=value["seed"],
        soundness=not flag["no-soundness"],
        model=value["model"],
        device=value["device"],
        dtype=value["dtype"],
        **at_profile(value["profile"], value["dtype"]),
        allow_unexpected=value["allow-unexpected"],
        cache=value["cache"],
        counterexamples=counterexamples,
        context=_read("--steer-context", _context, context) if context is not None else None,
    )
    if flag["update-baseline"] and value["baseline"] is None:
        raise pytest.UsageError("--steer-update-baseline: say which file: --steer-baseline PATH")
    if value["baseline"] is not None:
        _check_apart(value["baseline"], value["report"])
    recorded = {name: one for name, one in (value | flag | {"context": run.context}).items() if name not in _NOT_RECORDED}
    return Settings(
        run=run,
        reports=value["report"],
        report_texts=value["report-texts"],
        inconclusive=value["inconclusive"],
        options={name: list(one) if isinstance(one, tuple) else one for name, one in recorded.items()},
        baseline=value["baseline"],
        tolerance=value["tolerance"],
        **{name.replace("-", "_"): flag[name] for name in FLAGS if name != "no-soundness"},
    )


# Where something is kept or written decides no number.
_NOT_RECORDED = {
    *("baseline", "update-baseline", "tolerance", "cache", "counterexamples", "github", "report", "report-texts"),
    "save-counterexamples",
}


def _value(config: pytest.Config, option: _Option) -> Any:
    given, where = _given(config, option.key)
    if option.several:
        return tuple(_read(where, option.read, text) for text in given)
    return _read(where, option.read, given) if given or option.default is not None else None


def _given(config: pytest.Config, key: str) -> tuple[Any, str]:
    """The value on the command line, else in the ini file, and its place for messages."""
    given = config.getoption(key)
    if given is not None:
        return given, f"--{key.replace('_', '-')}"
    return config.getini(key), f"{key} in the ini file"


def _read(where: str, read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except (ValueError, ModelError) as error:
        raise usage_error(f"{where}: {error}") from None


_COLUMNS = "steer_columns"
_COLOURS: dict[str, dict[str, bool]] = {
    "pass": {"green": True},
    "fail": {"red": True, "bold": True},
    "error": {"red": True, "bold": True},
    "xpass": {"red": True, "bold": True},
    "heading": {"bold": True},
}
_UNDECIDED = {"yellow": True}


def columns(config: pytest.Config) -> int:
    """The columns of the terminal, as pytest finds them or ``COLUMNS`` says; 100 where there is no terminal.

    An xdist worker gets them from the process that prints.
    """
    given: int | None = getattr(config, "workerinput", {}).get(_COLUMNS)
    if given is not None:
        return given
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.isatty:
        return int(config.get_terminal_writer().fullwidth)
    return stream_columns(None)


def usage_error(*messages: str) -> pytest.UsageError:
    """The error that ends a run before it begins, wrapped to the columns of stderr."""
    width = stream_columns(sys.stderr) - len("ERROR: ")
    return pytest.UsageError(*(wrapped(visible(message), width) for message in messages))


def tell_worker(config: pytest.Config, workerinput: dict[str, object]) -> None:
    """Tell an xdist worker the columns of this process, for the messages that are made there."""
    workerinput[_COLUMNS] = columns(config)


def painter(reporter: pytest.TerminalReporter) -> Callable[[str, str], str]:
    """A function that colours a text by its verdict in words; without colours the text is unchanged."""
    writer = reporter.config.get_terminal_writer()
    return lambda text, kind: writer.markup(text, **_COLOURS.get(kind, _UNDECIDED))


def check_options(run: RunContext) -> None:
    """Check before the first claim that the device, and a hub id given as the model, are available.

    Raises:
        pytest.UsageError: one is not.
    """
    if run.device != "auto":
        from ..model.loading import pick_device

        try:
            pick_device(run.device)
        except ModelError as error:
            raise usage_error(f"--steer-device: {error}; 'cpu' always can") from None
    source = find_model(run.model) if run.model is not None else None
    if source is None or source.kind != "hub":
        return
    from transformers.utils.hub import cached_file

    try:
        cached_file(str(source.place), "config.json")
    except Exception as error:  # the hub client raises nearly anything
        first = str(error).strip().splitlines()[0]
        raise usage_error(
            f"--steer-model: {run.model!r} is neither a folder, a .gguf file, builtin:NAME nor package:NAME, and as "
            f"a hub id it cannot be had: {first}"
        ) from None


_PATHS = ("--steer-model", "--steer-cache", "--steer-counterexamples", "--steer-baseline", "--steer-report")


def moved_rootdir(config: pytest.Config) -> str | None:
    """A warning for the header if the path after one of our options moved rootdir, else None.

    pytest looks for rootdir before it knows our options, so it takes such a path for one of its arguments. Node ids then begin
    elsewhere, and an ini file in the current folder may not be read.
    """
    if config.getoption("rootdir") or config.getoption("inifilename"):
        return None
    for option, value in pairwise(map(str, config.invocation_params.args)):
        if option not in _PATHS:
            continue
        place = Path(config.invocation_params.dir, value)
        folder = place if place.is_dir() else place.parent
        if place.exists() and _is_moved(config, folder):
            text = (
                f"steer: warning: rootdir was looked for in {visible(str(folder))} too, which is no place of tests: ids begin at rootdir, "
                f"and an ini file here may not be read. Write {option}={visible(value)}"
            )
            return wrapped(text, columns(config))
    return None


def _is_moved(config: pytest.Config, folder: Path) -> bool:
    """Whether rootdir differs from the one that the tests and the current folder would give."""
    here, root = config.invocation_params.dir.resolve(), config.rootpath.resolve()
    places = [here]
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        files = [Path(here, argument.partition("::")[0]) for argument in config.args]
        places += [(file if file.is_dir() else file.parent).resolve() for file in files if file.exists()]
    try:
        common = Path(os.path.commonpath(places))
    except ValueError:  # on other drives
        return False
    if root == common or (common.is_relative_to(root) and (config.inipath is not None or (root / "setup.py").exists())):
        return False
    return root.is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(root)
