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
from ..core.run_context import RunContext, running
from ..core.sources import shown
from .extensions import load_extensions
from .main import OK, USAGE_ERROR
from .options import DEVICE, DTYPE, FOLDER, MODEL, Option, json_option, meant, options_in, subcommand
from .output import clear_line, measuring, progress_line, say, say_json

if TYPE_CHECKING:
    from ..core.evidence import Json
    from ..studies.explain import Counted, Explained


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
    records, faulty, columns = [], False, stream_columns(sys.stdout)
    with measuring(), running(run):
        for entry, found in Explaining(run).all(suite, [one for one in suite.entries if name in ("", one.name)]):
            said = {"error": entry.located(found, suite.path)} if isinstance(found, SteerError) else _record(found)
            record = {"claim": entry.name, **said}
            records.append(record)
            faulty = faulty or "error" in record
            clear_line(sys.stderr)
            if not options.as_json:
                say("\n".join(wrapped(visible(line), columns) for line in _lines(record)))
    if options.as_json:
        say_json({"file": shown(Path(file)), "claims": records})
    elif len(records) > 1:
        least, most = (sum(one.get("seconds", (0, 0))[end] for one in records) for end in (0, 1))
        say(f"together about {_seconds(least, most)} (an estimate), without loading the model")
    return USAGE_ERROR if faulty else OK


def _record(found: Explained) -> Json:
    """The counts as JSON values, each as [least, most]: bounds from the search limits, or from the rehearsals."""

    def ends(value: Callable[[Counted], float]) -> list[int]:
        least, most = found.between(value)
        return [math.floor(least), math.ceil(most)]

    ways = {
        way: ends(lambda part, way=way: part.ways.get(way, 0))  # type: ignore[misc]
        for way in dict.fromkeys(way for course in found.courses for way in course.ways)
    }
    stopped = [course.stopped for course in found.courses if course.stopped]
    looks = found.looks
    return {
        "check": found.claim.kind,
        "model": found.model.id,
        "layers": {"changed": None if found.layers is None else list(found.layers), "of": found.model.n_layers},
        "scores": {
            "asked": ends(lambda part: part.asked),
            "known": ends(lambda part: part.known),
            "cached": ends(lambda part: part.cached),
            "computed": ends(lambda part: part.computed),
        },
        "ways": ways,
        "forwards": ends(lambda part: len(part.passes)),
        "checks": ends(lambda part: sum(one.what == "check" for one in part.passes)),
        "tokens": ends(found.tokens),
        "plain_tokens": ends(found.plain_tokens),
        "reply_tokens": ends(lambda part: part.written),
        "judged_replies": ends(lambda part: part.judged),
        "depends_on_scores": found.depends,
        "search": None if looks is None else {"least": looks[0], "most": looks[1], "of": looks[2]},
        "seconds": [round(seconds, 3) for seconds in found.seconds],
        "seconds_prepared": round(found.prepared, 3),
        "seconds_checked": round(found.checked, 3),
        "stopped": stopped[0] if stopped else None,
    }


def _lines(record: Json) -> list[str]:
    if "error" in record:
        return [f"{record['claim']}: error: {record['error']}", ""]
    layers, scores = record["layers"], record["scores"]
    changed = "no layer changed" if layers["changed"] is None else f"layer {', '.join(map(str, layers['changed']))} changed"
    head = f"{record['claim']} ({record['check']}) on {record['model']}: {changed}, of {layers['of']}"
    search = record["search"]
    lines = [
        head,
        *([f"  search    {_count([search['least'], search['most']])} {search['of']}, by its limits"] if search else []),
        f"  scores    {_count(scores['asked'])} asked: {_count(scores['computed'])} computed, {_count(scores['known'])} known already, "
        f"{_count(scores['cached'])} in the cache",
        *(f"  way       {way}: {_count(rows)} scores" for way, rows in record["ways"].items()),
        f"  forwards  {_count(record['forwards'])}, {_count(record['checks'])} of them to check ways and noise",
        f"  tokens    {_count(record['tokens'])} through all layers (a forward for each score: {_count(record['plain_tokens'])})",
        *(
            [
                f"  replies   {_count(record['reply_tokens'])} tokens at most are written, {_count(record['judged_replies'])} replies are judged; their time is not in the estimate"
            ]
            if any(record["reply_tokens"])
            else []
        ),
        f"  time      about {_seconds(*record['seconds'])} (an estimate; {record['seconds_prepared']:.1f} s for data and vector, "
        f"{record['seconds_checked']:.1f} s for hooks, doses and statistics)",
    ]
    if search and search["least"] < search["most"]:
        lines.append(
            f"  note      least: the {search['of']} that are tried whatever the scores are; most: as many as the limits allow, each "
            "counted like the costliest one that was rehearsed"
        )
    elif record["depends_on_scores"]:
        lines.append(
            "  note      the scores decide how many are asked for: two examples, no bounds, of a vector without effect and one with much"
        )
    if record["stopped"] is not None:
        lines.append(f"  note      counted up to: {record['stopped'].splitlines()[0]}")
    return [*lines, ""]


def _count(ends: list[int]) -> str:
    least, most = ends
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _seconds(least: float, most: float) -> str:
    one, other = _duration(least), _duration(most)
    return one if one == other else f"{one} to {other}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
