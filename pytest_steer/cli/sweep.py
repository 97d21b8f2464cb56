"""``pytest-steer sweep``: choose a layer and a multiplier for a vector; its options, tables, heat maps and files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from ..core.columns import visible
from ..core.errors import SteerError
from . import options as cli
from .extensions import load_extensions
from .main import FAILED, OK
from .output import colours, measuring, write_json, write_text

if TYPE_CHECKING:
    from ..data import Items, Sample
    from ..model import Model
    from ..steering import SteeringVector
    from ..studies.data_efficiency import PairsResult
    from ..studies.sweep import Candidate, Limits, Parts, Sweep
    from .claim_file import Chosen

SPLIT_IN_THREE, SPLIT_IN_TWO = (40.0, 20.0, 40.0), (30.0, 70.0)


@dataclass(frozen=True)
class _Options:
    data: Annotated[Path, cli.Option(cli.FILE, "ITEMS", "Contrast items, which are split.", required=True)]
    train: Annotated[Path | None, cli.Option(cli.FILE, "FILE", "Make the vector from this file.")]
    method: Annotated[str | None, cli.Option(None, "NAME", "How it is made.", show_default="caa")]
    given: Annotated[
        tuple[tuple[str, Any], ...],
        cli.Option(cli.SETTING, "NAME=VALUE", "A setting of the method.", flag="--set", multiple=True),
    ]
    vector: Annotated[Path | None, cli.Option(cli.VECTOR, "FILE", "Or sweep this saved vector.")]
    cluster: Annotated[str | None, cli.Option(None, "KEY", "Key of the items that belong together.")]
    split: Annotated[
        tuple[float, ...] | None, cli.Option(cli.SPLIT, "40/20/40", "Parts of --data; 30/70 with --train, --vector.")
    ]
    layers: Annotated[tuple[int, ...] | None, cli.Option(cli.LAYERS, "0-5,8", "Decoder blocks.", show_default="all")]
    multipliers: Annotated[tuple[float, ...], cli.Option(cli.NUMBERS, "M,M", "Strengths.", default="-1.5,-1,-0.5,0.5,1,1.5")]
    positions: cli.Where
    neutral: Annotated[Path | None, cli.Option(cli.TEXTS, "TEXTS", "Texts for the cost, or builtin:neutral.")]
    window: cli.Window
    stride: cli.Stride
    leave_out: Annotated[str | None, cli.Option(None, "REGEX", "Neutral texts that are left out.")]
    keep: Annotated[float | None, cli.Option(cli.SHARE, "SHARE", "Share of layers.", show_default="0.5")]
    top: Annotated[int | None, cli.Option(cli.COUNT, "N", "Or the number of layers.")]
    pairs: Annotated[tuple[int, ...] | None, cli.Option(cli.COUNTS, "N,N", "Also vectors from N training pairs.")]
    draws: Annotated[int | None, cli.Option(cli.COUNT, "N", "Draws for each N.", show_default="3")]
    anti_steerable_share: cli.AntiSteerableShare
    budget: cli.Budget
    run: cli.Run
    out: cli.Out
    heatmap: Annotated[Path | None, cli.Option(cli.output(".svg"), "FILE.svg", "Write the heat map of effects.")]
    claims: cli.Write

    def check(self) -> None:
        """Refuse options that exclude or need each other.

        Raises:
            SteerError: with what to delete or to add.
        """
        if self.keep is not None and self.top is not None:
            raise SteerError("--keep and --top exclude each other. Delete one of them")
        for option, value in (("--window", self.window), ("--stride", self.stride), ("--leave-out", self.leave_out)):
            if value is not None and self.neutral is None:
                raise SteerError(
                    f"{option} is about neutral texts, and there are none. Write --neutral TEXTS too, or delete {option}"
                )
        if self.vector is not None and (self.train is not None or self.method is not None or self.given):
            raise SteerError(
                "--vector is a vector that is made already. Delete --train, --method and --set, or delete --vector"
            )
        if self.draws is not None and self.pairs is None:
            raise SteerError("--draws goes with --pairs. Write --pairs 8,16,32 too, or delete --draws")
        if self.pairs is not None and self.vector is not None:
            raise SteerError(
                "--pairs makes vectors from parts of the training pairs, and --vector is made already. Delete one of them"
            )

    @property
    def shares(self) -> tuple[float, ...]:
        """The parts of the data: train, validation and test, or the last two if the vector is not made from it."""
        in_three = self.train is None and self.vector is None
        if self.split is None:
            return SPLIT_IN_THREE if in_three else SPLIT_IN_TWO
        if len(self.split) != (3 if in_three else 2):
            wanted = "train/validation/test: --split 40/20/40" if in_three else "validation/test: --split 30/70"
            why = "" if in_three else " The vector is not made from --data."
            given = "/".join(f"{share:g}" for share in self.split)
            raise SteerError(f"--split {given} has {len(self.split)} parts.{why} Write {wanted}")
        return self.split


@cli.subcommand(
    example="pytest-steer sweep --data data/approval_test.json \\\n"
    "  --train data/approval_train.json --method mean_difference --top 2",
    short_help="Find a layer and a multiplier for a vector.",
)
@cli.options_in(_Options)
def command(options: _Options) -> int:
    """Layers x multipliers for one steering vector. What is chosen becomes a
    claim file about a part of the data that the sweep does not look at.

    Exit code 1: nothing keeps the limits.
    """
    from ..extract import unreliable
    from ..measures.subject import cache_warnings
    from ..model import check_layers
    from ..model.loading import Models
    from ..steering import SteeringVector
    from ..studies.data_efficiency import check_sizes, data_efficiency
    from ..studies.sweep import Limits, Neutral, check_settings, find_method, read_parts, sweep, vector_at
    from .claim_file import check_new, files_of, show_and_write

    options.check()
    shares, run, neutral = options.shares, options.run, options.neutral
    load_extensions()
    limits = Limits(options.anti_steerable_share, options.budget)
    if options.claims is not None:
        check_new(files_of(options.claims, has_texts=neutral is not None))
    kind, settings = find_method(options.method or "caa"), dict(options.given)
    if options.vector is None:
        check_settings(kind, settings)
    read = SteeringVector.load(options.vector).at("all") if options.vector is not None else None
    windows = {name: value for name in ("window", "stride") if (value := getattr(options, name)) is not None}
    parts = read_parts(
        options.data,
        shares,
        train=options.train,
        saved=(str(options.vector), read.metadata) if read is not None else None,
        neutral=Neutral(neutral, options.leave_out, windows) if neutral is not None else None,
        cluster=options.cluster,
        seed=run.seed,
    )
    if options.pairs is not None and parts.train is not None:
        check_sizes(options.pairs, parts.train)
    with measuring() as warn:
        warn(*parts.warnings)
        model = Models(run).load(run.model_name())
        if read is not None:
            vector = _at(model, read, options.layers)
        else:
            assert parts.train is not None  # without a saved vector there is a part or a file to train on
            layers = check_layers(model, options.layers or range(model.n_layers))
            vector = vector_at(kind, model, parts.train, layers, run.seed, settings)
        # Before the long part, so that weak training data can be a reason to stop.
        weak = unreliable(vector.metadata)
        if weak is not None:
            warn(weak)
        found = sweep(
            model,
            parts,
            vector,
            multipliers=options.multipliers,
            positions=options.positions,
            keep=options.top or math.ceil((options.keep or 0.5) * len(vector.layers)),
            limits=limits,
        )
        at, fewer = found.choice or found.nearest, []
        if options.pairs is not None and parts.train is not None:
            fewer = data_efficiency(
                model,
                kind,
                parts.train,
                found,
                at,
                sizes=options.pairs,
                draws=options.draws or 3,
                seed=run.seed,
                settings=settings,
            )
        warn(*cache_warnings(model))
    name = run.model_name()
    source = str(options.vector) if options.vector is not None else _made_from(kind.name, vector, parts)
    click.echo(sweep_text(found, parts, model=visible(model.id), vector=visible(source)), color=colours())
    if fewer:
        click.echo("\n" + efficiency_table(fewer, at))
    if options.out is not None:
        content = found.to_dict() | {"model": name, "seed": run.seed, "data": str(options.data)}
        if settings:
            content["settings"] = settings
        if fewer:
            place = {"layer": at.layer, "multiplier": at.multiplier}
            content["data_efficiency"] = place | {"sizes": [one.to_dict() for one in fewer]}
        write_json(options.out, content)
    if options.heatmap is not None:
        rows, columns = [f"layer {one.layer}" for one in found.measured], [f"{m:g}" for m in found.multipliers]
        title = f"{name}: effect of {vector.metadata.get('method', source)} by layer and multiplier"
        write_text(options.heatmap, heat_map_svg(title, rows, columns, [one.effects.tolist() for one in found.measured]))
    chosen = of_sweep(found, parts)
    if chosen is None:
        return FAILED
    show_and_write(chosen, options.claims, run, model=name)
    return OK


def of_sweep(sweep: Sweep, parts: Parts) -> Chosen | None:
    """The layer and the multiplier that a sweep chose, with the data to judge them on; None if it chose none.

    The promised steerability is what the validation items leave room for. The other promises are the limits of the sweep.
    """
    from .claim_file import Chosen, claims_of, room_for

    choice, limits = sweep.choice, sweep.limits
    if choice is None:
        return None
    found = sweep.at(choice.layer).steerability
    promised = {"steerability": room_for(found.estimate, found.low), "share": limits.anti_steerable_share}
    costs = {"limit": limits.budget, **parts.windows} if parts.test_texts else {}
    texts = f" and {len(parts.texts)} validation texts" if parts.texts else ""
    return Chosen(
        what=f"Layer and multiplier were chosen by a sweep on {len(sweep.items)} validation items{texts}.",
        steering=sweep.vector,
        at={"layer": choice.layer, "positions": sweep.positions},
        multiplier=choice.multiplier,
        multipliers=sweep.multipliers,
        claims=claims_of("sweep", {**promised, **costs}),
        test=parts.test,
        texts=parts.test_texts,
        cluster=parts.cluster,
    )


def _at(model: Model, vector: SteeringVector, layers: tuple[int, ...] | None) -> SteeringVector:
    """A saved vector at these layers. Refuses layers that the model does not have."""
    from ..model import check_fits
    from ..steering import as_intervention, check_depth

    check_depth(vector.metadata, model.n_layers, model.id)
    check_fits(model, as_intervention(vector), ())
    return vector.at(layers) if layers is not None else vector


def _made_from(method: str, vector: SteeringVector, parts: Parts) -> str:
    from ..data import Items
    from ..studies.data_efficiency import pairs_in

    data, record = parts.train, vector.metadata  # a method of others may leave no record
    assert data is not None
    noun = "texts" if isinstance(data.data, tuple) else "items" if isinstance(data.data, Items) else "pairs"
    return f"{record.get('method', method)} from {record.get('n', pairs_in(data))} {noun}"


def sweep_text(sweep: Sweep, parts: Parts, *, model: str, vector: str) -> str:
    """The tables and heat maps of a sweep, and its choice.

    Args:
        model / vector: their names.
    """
    from ..data import sample_of

    measured, columns = sweep.measured, [f"{m:g}" for m in sweep.multipliers]
    rows = [str(result.layer) for result in measured]
    texts = [f"{len(part)} {name} texts" for name, part in (("validation", parts.texts), ("test", parts.test_texts)) if part]
    chosen_on = ", ".join([counted(sweep.sample, "validation"), *texts[:1]])
    kept = " and ".join([counted(sample_of(parts.test, parts.cluster, at_least=0), "test"), *texts[1:]])
    paragraphs = [
        f"{model}: {vector}, positions {sweep.positions}\n{chosen_on}; {kept} are not looked at\n"
        f"first order ranks the layers; the best {len(measured)} of {len(sweep.layers)} are measured at every multiplier",
        layer_table(sweep),
        "effect: mean propensity minus that at multiplier 0 (layer down, multiplier across)\n"
        + heat_map(rows, columns, [result.effects.tolist() for result in measured]),
    ]
    if parts.texts:
        costs = [list(result.perplexity or ()) for result in measured]
        paragraphs.append("change of perplexity on the validation texts\n" + heat_map(rows, columns, costs, percent=True))
        paragraphs += [f"texts: {record.line}" for record in parts.texts.left_out]
    limit = f" that raise perplexity by at most {sweep.limits.budget:.4g}" if parts.texts else ""
    paragraphs.append(
        "rule: of the layers with a steerability above 0 and an anti-steerable share of at most "
        f"{sweep.limits.anti_steerable_share:g}, the one with the largest\nsteerability; of its multipliers{limit}, the one with "
        f"the largest effect\n{_chosen(sweep)}"
    )
    return "\n\n".join(paragraphs)


def counted(sample: Sample[Items], name: str) -> str:
    """The number of items and of their clusters."""
    return f"{len(sample.units)} {name} items" + (f" ({sample.n} clusters)" if sample.clusters is not None else "")


def layer_table(sweep: Sweep) -> str:
    """The table of layers: first-order rank, measured values, and why a layer cannot be chosen."""
    from tabulate import tabulate

    rows = []
    for result in sweep.layers:
        row = [str(result.layer), f"{result.first_order:.3f}"]
        if result.curve is None:
            row += ["", "", ""]
        else:
            found = result.steerability
            row += [f"{found.estimate:.3f}", f"[{found.low:.3f}, {found.high:.3f}]", f"{result.anti_steerable_share:.2f}"]
        chosen = sweep.choice is not None and sweep.choice.layer == result.layer
        rows.append([*row, "chosen" if chosen else result.note])
    headers = ["layer", "first order", "steerability", "interval", "anti-steerable", ""]
    return str(tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True, colalign=["right"] * 5 + ["left"]))


def efficiency_table(found: Sequence[PairsResult], at: Candidate) -> str:
    """The table of effects by the number of training pairs."""
    from tabulate import tabulate

    rows = []
    for one in found:
        effect, by_draw = one.effect, one.by_draw
        among = f"{by_draw.min():+.3f} to {by_draw.max():+.3f}" if len(by_draw) > 1 else ""
        cosine = sum(one.cosines) / len(one.cosines)
        rows.append(
            [
                str(one.pairs), str(len(by_draw)), f"{effect.estimate:+.3f}", f"[{effect.low:+.3f}, {effect.high:+.3f}]",
                among, f"{one.wrong_way:.2f}", f"{cosine:.2f}",
            ]
        )  # fmt: skip
    headers = ["pairs", "draws", "effect", "interval", "among draws", "not above 0", "cosine with all pairs"]
    table = str(tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True, colalign=["right"] * 7))
    return f"effect of vectors from fewer training pairs, at layer {at.layer} and multiplier {at.multiplier:g}, on the validation items\n{table}"


def _chosen(sweep: Sweep) -> str:
    from .claim_file import LOOKS_BETTER

    choice = sweep.choice
    if choice is None:
        return "\n".join(["chosen: none, no measured layer and multiplier keeps these limits", *_why_none(sweep)])
    cost = f", perplexity {choice.perplexity:+.1%}" if choice.perplexity is not None else ""
    return (
        f"chosen: layer {choice.layer}, multiplier {choice.multiplier:g} (effect {choice.effect:+.3f}{cost})\n"
        f"{LOOKS_BETTER.format('sweep')}"
    )


def _why_none(sweep: Sweep) -> Iterator[str]:
    """The nearest candidate, the limits that it exceeds and by how much, and one suggestion."""
    nearest = sweep.nearest
    yield f"nearest: layer {nearest.layer}, multiplier {nearest.multiplier:g}"
    yield from (f"  {line}" for line in _broken(nearest, sweep.limits))
    yield _advice(sweep, nearest)


def _broken(nearest: Candidate, limits: Limits) -> Iterator[str]:
    if not nearest.steerability > 0:
        yield f"steerability {nearest.steerability:.3g}, which has to be above 0"
    elif not nearest.effect > 0:
        yield f"effect {nearest.effect:+.3g}, which has to be above 0"
    if nearest.steerability > 0 and "anti_steerable_share" in nearest.excess:
        allowed = limits.anti_steerable_share
        over = nearest.anti_steerable_share - allowed
        yield f"anti-steerable share {nearest.anti_steerable_share:.2f}, {over:.2f} more than the limit of {allowed:g}"
    if "budget" in nearest.excess and nearest.perplexity is not None:
        allowed = limits.budget
        over = 100 * (nearest.perplexity - allowed)
        yield f"perplexity {nearest.perplexity:+.1%}, {over:.1f} percentage points more than the limit of {allowed:+.1%}"


def _advice(sweep: Sweep, nearest: Candidate) -> str:
    if nearest.steers and set(nearest.excess) == {"budget"}:
        smaller = [f"{nearest.multiplier * share:g}" for share in (0.25, 0.5, 0.75)]
        return f"Try smaller multipliers: --multipliers={','.join(smaller)}"
    if nearest.steerability > 0 and not nearest.effect > 0:
        return f"Try multipliers of the other sign too: --multipliers={-nearest.multiplier:g},{nearest.multiplier:g}"
    if len(sweep.measured) < len(sweep.layers):
        left = len(sweep.layers) - len(sweep.measured)
        return f"Try the {left} {'layer that was' if left == 1 else 'layers that were'} not measured: --keep 1"
    if sweep.at(nearest.layer).steerability.high < 0:
        return "Try the other direction: swap the two answers of the training items, or the two sides of the training texts"
    return "Try training data with more or clearer pairs, or another method: pytest-steer list shows them"


Cells = Sequence[Sequence[float]]

# Palettes from far below 0 over 0 to far above: blue, white, orange. Of the 256 colours of terminals, and of the web.
_TERMINAL = (25, 68, 110, 153, 189, 255, 223, 216, 209, 202, 166)
_WEB = (
    "#2166ac", "#4d8ec4", "#84b4d8", "#b5d1e8", "#dbe7f2", "#f7f7f7", "#fbe3d0", "#f8c49d", "#f0a068", "#df7a35", "#b35806",
)  # fmt: skip
_DARK = (0, 1, 10)  # steps of the palettes on which the text is white


def heat_map(rows: Sequence[str], columns: Sequence[str], cells: Cells, *, percent: bool = False) -> str:
    """A heat map with one number per cell. ``click.echo`` drops the colours where the output is no terminal.

    Args:
        cells: [rows][columns]; the strongest colour is the largest absolute value.
        percent: print 0.05 as +5.0%.
    """
    texts = [[_number(value, percent) for value in line] for line in cells]
    width = max(len(text) for line in [*texts, columns] for text in line) + 2
    head = max(map(len, rows))
    lines = [" " * head + "".join(column.rjust(width) for column in columns)]
    top = _top(cells)
    for name, values, line in zip(rows, cells, texts, strict=True):
        steps = [_step(value, top) for value in values]
        drawn = [
            click.style(text.rjust(width), fg=231 if step in _DARK else 16, bg=_TERMINAL[step])
            for step, text in zip(steps, line, strict=True)
        ]
        lines.append(name.rjust(head) + "".join(drawn))
    return "\n".join(lines)


def heat_map_svg(title: str, rows: Sequence[str], columns: Sequence[str], cells: Cells, *, percent: bool = False) -> str:
    """The heat map as an SVG picture, with a tooltip for each cell."""
    wide, high, left, top = 64, 28, 70, 64
    size = (left + wide * len(columns) + 20, top + high * len(rows) + 20)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>',
        f'<text x="{left}" y="22" font-size="15">{escape(title)}</text>',
    ]
    for number, column in enumerate(columns):
        x = left + wide * number + wide // 2
        parts.append(f'<text x="{x}" y="{top - 8}" text-anchor="middle">{escape(column)}</text>')
    largest = _top(cells)
    for line, (name, values) in enumerate(zip(rows, cells, strict=True)):
        y = top + high * line
        parts.append(f'<text x="{left - 8}" y="{y + 19}" text-anchor="end">{escape(name)}</text>')
        for number, value in enumerate(values):
            step = _step(value, largest)
            x, ink, text = left + wide * number, "#ffffff" if step in _DARK else "#222222", _number(value, percent)
            parts.append(
                f"<g><title>{escape(f'{name}, multiplier {columns[number]}: {text}')}</title>"
                f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" fill="{_WEB[step]}" stroke="#ffffff"/>'
                f'<text x="{x + wide // 2}" y="{y + 19}" text-anchor="middle" fill="{ink}">{escape(text)}</text></g>'
            )
    return "\n".join([*parts, "</svg>", ""])


def _number(value: float, percent: bool) -> str:
    value = round(value, 3) + 0.0  # no "-0.00"
    if percent:
        return f"{value:+.1%}" if abs(value) < 10 else f"{value:+.0%}"
    return f"{value:+.2f}" if round(value, 2) else "0.00"


def _top(cells: Cells) -> float:
    return max((abs(value) for line in cells for value in line), default=0.0)


def _step(value: float, top: float) -> int:
    """Index into a palette."""
    return 5 + round(5 * value / top) if top else 5
