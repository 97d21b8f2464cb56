"""``pytest-steer init``: a first claim file that runs, from a few answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from ..core.errors import DataError, SteerError
from ..core.evidence import Json
from ..core.run_context import DTYPES, Effort, RunContext, running
from ..core.sources import DEFAULT_MODEL, shown
from .extensions import load_extensions
from .main import OK
from .options import FILE, LAYERS, TEXTS, VECTOR, Option, Where, options_in, output, subcommand
from .terminal import clear_line, measuring, progress_line, say, write_text

if TYPE_CHECKING:
    from ..core.evidence import Evidence
    from ..model import Model

SCHEMA = "claim.schema.json"
MOST_ITEMS = 40
_OUT = output(".steer.yaml", ".steer.yml")


@dataclass
class _Asking:
    """Takes an answer from an option, else from a prompt, else the default."""

    asks: bool

    def __call__(self, given: Any, option: str, question: str, kind: Any, default: Any = None) -> Any:
        if given is not None:
            return given
        if self.asks:
            return click.prompt(question, type=kind, default=default, err=True)
        if default is None:
            raise SteerError(f"{option} is missing, and --yes takes defaults alone. Write {option} too")
        return kind.convert(default, None, None) if isinstance(kind, click.ParamType) else default


@dataclass(frozen=True)
class _Options:
    model: Annotated[str | None, Option(None, "MODEL", "As for pytest.  [default: builtin:tiny]", show_default=False)]
    vector: Annotated[Path | None, Option(VECTOR, "FILE", "A saved vector.")]
    train: Annotated[Path | None, Option(FILE, "FILE", "Or the data that it is made from.")]
    method: Annotated[str | None, Option(None, "NAME", "How it is made.  [default: as fits the data]", show_default=False)]
    layer: Annotated[
        tuple[int, ...] | None, Option(LAYERS, "N", "Decoder block.  [default: the middle]", show_default=False)
    ]
    positions: Where
    test: Annotated[Path | None, Option(FILE, "FILE", "Contrast items that it is tested on.")]
    neutral: Annotated[Path | None, Option(TEXTS, "TEXTS", "Neutral texts.  [default: builtin:neutral]", show_default=False)]
    out: Annotated[Path | None, Option(_OUT, "FILE", "[default: first.steer.yaml]", show_default=False)]
    device: Annotated[str, Option(None, "DEVICE", "Not kept in the file.", default="auto")]
    dtype: Annotated[str, Option(click.Choice(DTYPES), "TYPE", "Of the weights; not kept in the file.", default="auto")]
    yes: Annotated[bool, Option(None, None, "Ask nothing: take the defaults.", is_flag=True)]


@subcommand(
    example="pytest-steer init --train data/loud_train.json \\\n  --test data/loud_test.json --yes",
    short_help="Write a first claim file.",
)
@options_in(_Options)
def command(options: _Options) -> int:
    """Write a first claim file that runs, and the schema that editors read.
    What no option says is asked for. At most 40 items are measured. Thresholds
    stay empty, with what was seen beside them. Nothing is overwritten.
    """
    from ..model.loading import Models
    from .claim_file import seen_from

    if options.vector is not None and (options.train is not None or options.method is not None):
        raise SteerError("--vector is a vector that is made already. Delete --train and --method, or delete --vector")
    load_extensions()
    ask = _Asking(not options.yes)
    out = ask(options.out, "--out", "Claim file to write", _OUT, "first.steer.yaml")
    if out.exists():
        raise DataError(f"{out} exists, and is not overwritten. Delete it, or write another one with --out")
    name = ask(options.model, "--model", "Model (folder, .gguf file, hub id, builtin:NAME)", str, DEFAULT_MODEL)
    run = RunContext(
        model=name,
        device=options.device,
        dtype=options.dtype,
        effort=Effort(max_items=MOST_ITEMS),
        progress=progress_line(sys.stderr),
        option_prefix="--",
    )
    with measuring() as warn, running(run):
        vector = _vector(ask, Models(run).load(name), options)
        test = ask(options.test, "--test", "Contrast items to test it on (file)", FILE)
        neutral = ask(options.neutral, "--neutral", "Neutral texts (file or builtin:neutral)", TEXTS, "builtin:neutral")
        folder = out.parent
        entries = {
            "model": seen_from(folder, name),
            "vector": {**_paths_from(folder, vector), "positions": options.positions},
            "multiplier": 1,
            "data": _paths_from(folder, {"test": test, "neutral": neutral}),
        }
        write_text(out, _text(entries, []))
        try:
            seen = _measured(run, out)
            warn(*(text for evidence in seen for text in evidence.warnings))
            write_text(out, _text(entries, seen))
        except BaseException:
            out.unlink(missing_ok=True)
            raise
    say(f"written: {out}")
    say(_write_schema(folder / SCHEMA))
    for evidence in seen:
        say(f"  {evidence.name}: {_seen(evidence)}")
    say(
        f"Measure it on all items: pytest {out}\nThen write the thresholds into it, and judge them on items that were not looked at."
    )
    return OK


def _vector(ask: _Asking, model: Model, options: _Options) -> Json:
    """The entry ``vector`` of the claim file, without its positions. Paths stay as given.

    Raises:
        SteerError: there is no vector, or it does not fit the model.
    """
    from ..model import check_layers

    saved, layer = options.vector, options.layer
    if saved is None and options.train is None:
        given = ask(
            None, "--vector or --train", "Saved vector (file; empty: make one from data)", str, "" if ask.asks else None
        )
        saved = Path(given) if given else None
    if saved is not None:
        layers = _layers_of(saved, layer)
        check_layers(model, layers)
        return {"file": saved, "layer": layers[0] if len(layers) == 1 else layers}
    train = ask(options.train, "--train", "Data to make the vector from (file)", FILE)
    method = ask(options.method, "--method", "Method (`pytest-steer list` names all)", str, _method_for(train))
    layers = [*ask(layer, "--layer", f"Layer (0 to {model.n_layers - 1})", LAYERS, str(model.n_layers // 2))]
    check_layers(model, layers)
    return {"extract": {"method": method, "data": train}, "layer": layers[0] if len(layers) == 1 else layers}


def _layers_of(saved: Path, layer: tuple[int, ...] | None) -> list[int]:
    from ..steering import SteeringVector

    if not saved.exists():
        raise DataError(f"{saved}: there is no such file")
    return [*SteeringVector.load(saved, layer=None if layer is None else [*layer]).layers]


def _method_for(train: Path) -> str:
    """The usual method for the data of a file."""
    from ..extract.training import contrast_data, holds_tasks

    if holds_tasks(train):
        return "fv"
    return "mean_difference" if isinstance(contrast_data(train), tuple) else "caa"


def _measured(run: RunContext, file: Path) -> list[Evidence]:
    """Measure the claims of the file on a few items.

    Raises:
        SteerError: a claim cannot be measured.
    """
    from ..files import read_suite
    from ..files.build import Measuring

    suite, measuring_claims = read_suite(shown(file)), Measuring(run)
    found = []
    for number, entry in enumerate(suite.entries, 1):
        say(f"measuring {number} of {len(suite.entries)}: {entry.name}, on at most {MOST_ITEMS} items", err=True)
        evidence = measuring_claims.evidence_of(suite, entry)
        clear_line(sys.stderr)
        if evidence.error is not None:
            raise DataError(f"no claim file is written: {entry.name}: {evidence.message or evidence.error}")
        found.append(evidence)
    return found


def _text(entries: Json, seen: Sequence[Evidence]) -> str:
    from ..claims.kind import starters
    from .claim_file import flow

    lines = [
        f"# yaml-language-server: $schema=./{SCHEMA}",
        "# Each claim is measured and inconclusive as long as its threshold is empty. Write what you need, not what was seen.",
        *(f"{key}: {flow(value)}" for key, value in entries.items()),
        "claims:",
    ]
    beside = {evidence.check: f"  # {_seen(evidence)}" for evidence in seen}
    lines += [f"  - {kind}: {{{promise}: }}{beside.get(kind, '')}" for kind, (promise, *_) in starters("init").items()]
    return "\n".join([*lines, ""])


def _seen(evidence: Evidence) -> str:
    from ..core.numbers import estimated

    return f"seen: {estimated(evidence.estimate, evidence.interval, evidence.percent)} on {evidence.n} {evidence.unit}"


def _paths_from(folder: Path, value: Any) -> Any:
    from .claim_file import seen_from

    if isinstance(value, dict):
        return {key: _paths_from(folder, one) for key, one in value.items()}
    return seen_from(folder, str(value), mark=False) if isinstance(value, Path) else value


def _write_schema(path: Path) -> str:
    from ..files.schema import full_schema

    content = json.dumps(full_schema(), indent=2, ensure_ascii=False) + "\n"
    if path.exists():
        same = path.read_text(encoding="utf-8", errors="replace") == content
        return f"kept: {path}" + ("" if same else f", which differs: pytest-steer schema > {path}")
    write_text(path, content)
    return f"written: {path}"
