"""``pytest-steer explain``: what the claims of a file would cost, before they are measured."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from ..core.columns import stream_columns, visible, wrapped
from ..core.errors import DataError, SteerError
from ..core.evidence import Json, plain
from ..core.run_context import RunContext, running
from ..core.sources import shown
from .extensions import load_extensions
from .main import OK, USAGE_ERROR
from .options import DEVICE, DTYPE, FOLDER, MODEL, Option, json_option, meant, options_in, subcommand
from .output import clear_line, measuring, progress_line, say, say_json

if TYPE_CHECKING:
    from ..studies.explain import Counted, Explained

Ends = tuple[int, int]
"""The least and the most."""


@dataclass(frozen=True)
class _Options:
    claims: Annotated[str, click.argument("claims", metavar="FILE[::CLAIM]")]
    model: Annotated[str | None, MODEL]
    device: Annotated[str, DEVICE]
    dtype: Annotated[str, DTYPE]
    profile: Annotated[str, Option(click.Choice(["dev", "ci", "nightly"]), None, "Effort of the run.", default="ci")]
    cache: Annotated[Path | None, Option(FOLDER, "DIR", "Folder of scores that the run would have.")]
    no_soundness: Annotated[bool, Option(None, None, "Without the check of the hooks.", is_flag=True)]
    as_json: Annotated[bool, json_option()]


@subcommand(
    example="pytest-steer explain tiny.steer.yaml::approval-rises",
    short_help="Say what claims would cost, and how the engine plans them.",
)
@options_in(_Options)
def command(options: _Options) -> int:
    """Print the scores, forwards, tokens and seconds that claims would take.

    No score is computed. Vectors are made and hooks are checked, and a few
    forwards are timed. Two numbers: the scores decide how many are asked for;
    with a search, its limits give the least and the most.
    The options are those of pytest, without `steer-`.
    """
    from ..pytest_plugin.options import at_profile
    from ..studies.explain import Explaining
    from .claim_file import suite_with

    file, _, name = options.claims.partition("::")
    if not Path(file).is_file():
        fault = "is a folder" if Path(file).is_dir() else f"there is no such file{meant(Path(file))}"
        raise DataError(f"{file}: {fault}. Write FILE.steer.yaml or FILE.steer.yaml::CLAIM")
    load_extensions(Path(file))
    run = RunContext(
        model=options.model,
        device=options.device,
        dtype=options.dtype,
        **at_profile(options.profile, options.dtype),
        cache=options.cache,
        soundness=not options.no_soundness,
        progress=progress_line(sys.stderr),
        option_prefix="--",
    )
    suite = suite_with(Path(file), name or None)
    columns = stream_columns(sys.stdout)
    records: list[Json] = []
    known: list[_Costs] = []
    with measuring(), running(run):
        for entry, found in Explaining(run).all(suite, [one for one in suite.entries if name in ("", one.name)]):
            if isinstance(found, SteerError):
                error = entry.located(found, suite.path)
                records.append({"claim": entry.name, "error": error})
                lines = [f"{entry.name}: error: {error}", ""]
            else:
                known.append(_costs(found))
                records.append({"claim": entry.name, **plain(known[-1])})
                lines = _lines(entry.name, known[-1])
            clear_line(sys.stderr)
            if not options.as_json:
                say("\n".join(wrapped(visible(line), columns) for line in lines))
    if options.as_json:
        say_json({"file": shown(Path(file)), "claims": records})
    elif len(records) > 1:
        least, most = (sum(costs.seconds[end] for costs in known) for end in (0, 1))
        say(f"together about {_seconds(least, most)} (an estimate), without loading the model")
    return USAGE_ERROR if len(known) < len(records) else OK


@dataclass(frozen=True)
class _Layers:
    """The blocks whose output is changed, or None, and the number of all."""

    changed: tuple[int, ...] | None
    of: int


@dataclass(frozen=True)
class _Scores:
    """Scores that are asked for, and of these the ones that are known already, in the cache, and computed."""

    asked: Ends
    known: Ends
    cached: Ends
    computed: Ends


@dataclass(frozen=True)
class _Search:
    """The least and the most that searches try, and of what."""

    least: int
    most: int
    of: str


@dataclass(frozen=True)
class _Costs:
    """What a claim would cost, as JSON has it. Bounds come from the search limits, or from the rehearsals.

    Attributes:
        ways: way to the number of scores that are computed in it.
        checks: forwards that check ways and noise.
        plain_tokens: tokens if each score had its own forward.
        depends_on_scores: the scores decide how many are asked for.
        stopped: why a rehearsal ended early.
    """

    check: str
    model: str
    layers: _Layers
    scores: _Scores
    ways: dict[str, Ends]
    forwards: Ends
    checks: Ends
    tokens: Ends
    plain_tokens: Ends
    reply_tokens: Ends
    judged_replies: Ends
    depends_on_scores: bool
    search: _Search | None
    seconds: tuple[float, float]
    seconds_prepared: float
    seconds_checked: float
    stopped: str | None


def _costs(found: Explained) -> _Costs:
    def ends(value: Callable[[Counted], float]) -> Ends:
        least, most = found.between(value)
        return math.floor(least), math.ceil(most)

    ways = {
        way: ends(lambda part, way=way: part.ways.get(way, 0))  # type: ignore[misc]
        for way in dict.fromkeys(way for course in found.courses for way in course.ways)
    }
    least, most = found.seconds
    return _Costs(
        check=found.claim.kind,
        model=found.model.id,
        layers=_Layers(found.layers, found.model.n_layers),
        scores=_Scores(
            asked=ends(lambda part: part.asked),
            known=ends(lambda part: part.known),
            cached=ends(lambda part: part.cached),
            computed=ends(lambda part: part.computed),
        ),
        ways=ways,
        forwards=ends(lambda part: len(part.passes)),
        checks=ends(lambda part: sum(one.what == "check" for one in part.passes)),
        tokens=ends(found.tokens),
        plain_tokens=ends(found.plain_tokens),
        reply_tokens=ends(lambda part: part.written),
        judged_replies=ends(lambda part: part.judged),
        depends_on_scores=found.depends,
        search=None if found.looks is None else _Search(*found.looks),
        seconds=(round(least, 3), round(most, 3)),
        seconds_prepared=round(found.prepared, 3),
        seconds_checked=round(found.checked, 3),
        stopped=next((course.stopped for course in found.courses if course.stopped), None),
    )


def _lines(name: str, costs: _Costs) -> list[str]:
    layers, scores, search = costs.layers, costs.scores, costs.search
    changed = "no layer changed" if layers.changed is None else f"layer {', '.join(map(str, layers.changed))} changed"
    lines = [
        f"{name} ({costs.check}) on {costs.model}: {changed}, of {layers.of}",
        *([f"  search    {_count((search.least, search.most))} {search.of}, by its limits"] if search else []),
        f"  scores    {_count(scores.asked)} asked: {_count(scores.computed)} computed, {_count(scores.known)} known already, "
        f"{_count(scores.cached)} in the cache",
        *(f"  way       {way}: {_count(rows)} scores" for way, rows in costs.ways.items()),
        f"  forwards  {_count(costs.forwards)}, {_count(costs.checks)} of them to check ways and noise",
        f"  tokens    {_count(costs.tokens)} through all layers (a forward for each score: {_count(costs.plain_tokens)})",
        *(
            [
                f"  replies   {_count(costs.reply_tokens)} tokens at most are written, {_count(costs.judged_replies)} replies are judged; "
                "their time is not in the estimate"
            ]
            if any(costs.reply_tokens)
            else []
        ),
        f"  time      about {_seconds(*costs.seconds)} (an estimate; {costs.seconds_prepared:.1f} s for data and vector, "
        f"{costs.seconds_checked:.1f} s for hooks, doses and statistics)",
    ]
    if search and search.least < search.most:
        lines.append(
            f"  note      least: the {search.of} that are tried whatever the scores are; most: as many as the limits allow, each "
            "counted like the costliest one that was rehearsed"
        )
    elif costs.depends_on_scores:
        lines.append(
            "  note      the scores decide how many are asked for: two examples, no bounds, of a vector without effect and one with much"
        )
    if costs.stopped is not None:
        lines.append(f"  note      counted up to: {costs.stopped.splitlines()[0]}")
    return [*lines, ""]


def _count(ends: Ends) -> str:
    least, most = ends
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _seconds(least: float, most: float) -> str:
    one, other = _duration(least), _duration(most)
    return one if one == other else f"{one} to {other}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
