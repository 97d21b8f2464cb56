"""``pytest-steer sweep``: from the options to what is printed and written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SteerError
from ..run_context import RunContext
from ..screen import visible
from .options import Command, anti_steerable_share, budget, out, run_options, stride, window, write
from .param_types import COUNT, COUNTS, FILE, LAYERS, NUMBERS, SHARE, SPLIT, TEXTS, VECTOR, output
from .terminal import colours, load_extensions, measuring, write_text

if TYPE_CHECKING:
    from ..model import Model
    from ..steering import Positions, SteeringVector
    from ..studies.sweep import Parts

SPLIT_IN_THREE, SPLIT_IN_TWO = (40.0, 20.0, 40.0), (30.0, 70.0)
RENAMED = {
    "--anti-steerable": "--anti-steerable-share SHARE",
    "--ppl-limit": "--budget RISE",
    "--test-out": "--write FILE.steer.yaml, which writes the test part beside the claim file",
    "--vector-out": "--write FILE.steer.yaml, which writes the vector beside the claim file",
}


@click.command(
    "sweep",
    cls=Command,
    renamed=RENAMED,
    example="pytest-steer sweep --data data/approval_test.json \\\n"
    "  --train data/approval_train.json --method mean_difference --top 2",
    short_help="Find a layer and a multiplier for a vector.",
)
@click.option("--data", type=FILE, required=True, metavar="ITEMS", help="Contrast items, which are split.")
@click.option("--train", type=FILE, metavar="FILE", help="Make the vector from this file.")
@click.option("--method", metavar="NAME", show_default="caa", help="How it is made.")
@click.option("--vector", "saved", type=VECTOR, metavar="FILE", help="Or sweep this saved vector.")
@click.option("--cluster", metavar="KEY", help="Key of the items that belong together.")
@click.option("--split", type=SPLIT, metavar="40/20/40", help="Parts of --data; 30/70 with --train, --vector.")
@click.option("--layers", type=LAYERS, metavar="0-5,8", show_default="all", help="Decoder blocks.")
@click.option("--multipliers", type=NUMBERS, default="-1.5,-1,-0.5,0.5,1,1.5", metavar="M,M", help="Strengths.")
@click.option(
    "--positions",
    type=click.Choice(["all", "after_prompt", "last"]),
    default="after_prompt",
    metavar="WHERE",
    help="all, after_prompt or last.",
)
@click.option("--neutral", type=TEXTS, metavar="TEXTS", help="Texts for the cost, or builtin:neutral.")
@window
@stride
@click.option("--leave-out", metavar="REGEX", help="Neutral texts that are left out.")
@click.option("--keep", type=SHARE, metavar="SHARE", show_default="0.5", help="Share of layers.")
@click.option("--top", type=COUNT, metavar="N", help="Or so many layers.")
@click.option(
    "--pairs",
    "sizes",
    type=COUNTS,
    metavar="N,N",
    help="Also vectors from so many training pairs.",
)
@click.option("--draws", type=COUNT, metavar="N", show_default="3", help="Draws for each N.")
@anti_steerable_share
@budget
@run_options
@out
@click.option("--heatmap", type=output(".svg"), metavar="FILE.svg", help="Write the heat map of effects.")
@write
def command(
    *,
    run: RunContext,
    data: Path,
    train: Path | None,
    method: str | None,
    saved: Path | None,
    cluster: str | None,
    split: tuple[float, ...] | None,
    layers: tuple[int, ...] | None,
    multipliers: tuple[float, ...],
    positions: Positions,
    neutral: Path | None,
    window: int | None,
    stride: int | None,
    leave_out: str | None,
    keep: float | None,
    top: int | None,
    sizes: tuple[int, ...] | None,
    draws: int | None,
    anti_steerable_share: float,
    budget: float,
    out: Path | None,
    heatmap: Path | None,
    claims: Path | None,
) -> int:
    """Layers x multipliers for one steering vector. What is chosen becomes a
    claim file about a part of the data that the sweep does not look at.

    Exit code 1: nothing keeps the limits.
    """
    from ..extract import unreliable
    from ..measures.subject import cache_warnings
    from ..model import check_layers
    from ..model.loading import Models
    from ..steering import SteeringVector
    from ..studies.sweep import Limits, check_sizes, data_efficiency, find_method, read_parts, sweep, vector_at
    from .claim_file import check_new, files_of, of_sweep, show_and_write
    from .heat_map import heat_map_svg
    from .sweep_words import efficiency_table, sweep_text

    if keep is not None and top is not None:
        raise SteerError("--keep and --top exclude each other. Delete one of them")
    for option, value in (("--window", window), ("--stride", stride), ("--leave-out", leave_out)):
        if value is not None and neutral is None:
            raise SteerError(
                f"{option} is about neutral texts, and there are none. Write --neutral TEXTS too, or delete {option}"
            )
    if saved is not None and (train is not None or method is not None):
        raise SteerError("--vector is a vector that is made already. Delete --train and --method, or delete --vector")
    if draws is not None and sizes is None:
        raise SteerError("--draws goes with --pairs. Write --pairs 8,16,32 too, or delete --draws")
    if sizes is not None and saved is not None:
        raise SteerError(
            "--pairs makes vectors from parts of the training pairs, and --vector is made already. Delete one of them"
        )
    shares = _shares(split, in_three=train is None and saved is None)
    load_extensions()
    limits = Limits(anti_steerable_share, budget)
    if claims is not None:
        check_new(files_of(claims, has_texts=neutral is not None))
    kind = find_method(method or "caa")
    read = SteeringVector.load(saved).at("all") if saved is not None else None
    seen = read.metadata if read is not None else {}
    parts = read_parts(
        data,
        shares,
        train=train,
        neutral=neutral,
        leave_out=leave_out,
        seen=seen,
        seen_by=str(saved),
        cluster=cluster,
        seed=run.seed,
    )
    if sizes is not None and parts.train is not None:
        check_sizes(sizes, parts.train)
    with measuring() as warn:
        for text in parts.warnings:
            warn(text)
        model = Models(run).load(run.model_name())
        if read is not None:
            vector = _at(model, read, layers)
        else:
            assert parts.train is not None  # without a saved vector there is a part or a file to train on
            vector = vector_at(kind, model, parts.train, check_layers(model, layers or range(model.n_layers)), run.seed)
        # Before the long part, so that weak training data can be a reason to stop.
        weak = unreliable(vector.metadata)
        if weak is not None:
            warn(weak)
        found = sweep(
            model,
            parts.validation,
            vector,
            multipliers=multipliers,
            positions=positions,
            keep=top if top is not None else math.ceil((keep or 0.5) * len(vector.layers)),
            texts=parts.texts or None,
            window=window,
            stride=stride,
            limits=limits,
            cluster=cluster,
        )
        at, fewer = found.choice or found.nearest, []
        if sizes is not None and parts.train is not None:
            fewer = data_efficiency(
                model,
                kind,
                parts.train,
                found.items,
                layer=at.layer,
                multiplier=at.multiplier,
                sizes=sizes,
                draws=draws or 3,
                positions=positions,
                cluster=cluster,
                seed=run.seed,
            )
        for text in cache_warnings(model):
            warn(text)
    name = run.model_name()
    source = str(saved) if saved is not None else _made_from(vector, parts)
    click.echo(sweep_text(found, parts, model=visible(model.id), vector=visible(source)), color=colours())
    if fewer:
        click.echo("\n" + efficiency_table(fewer, at))
    if out is not None:
        content = found.to_dict() | {"model": name, "seed": run.seed, "data": str(data)}
        if fewer:
            place = {"layer": at.layer, "multiplier": at.multiplier}
            content["data_efficiency"] = place | {"sizes": [one.to_dict() for one in fewer]}
        write_text(out, json.dumps(content, indent=1, allow_nan=False) + "\n")
    if heatmap is not None:
        rows, columns = [f"layer {one.layer}" for one in found.measured], [f"{m:g}" for m in found.multipliers]
        title = f"{name}: effect of {vector.metadata.get('method', source)} by layer and multiplier"
        write_text(heatmap, heat_map_svg(title, rows, columns, [one.effects.tolist() for one in found.measured]))
    cut = {name: value for name, value in (("window", window), ("stride", stride)) if value is not None}
    chosen = of_sweep(found, parts.test, parts.test_texts, chosen_on=len(parts.texts), cut=cut, cluster=cluster)
    if chosen is None:
        return 1
    show_and_write(chosen, claims, run, model=name)
    return 0


def _shares(split: tuple[float, ...] | None, *, in_three: bool) -> tuple[float, ...]:
    if split is None:
        return SPLIT_IN_THREE if in_three else SPLIT_IN_TWO
    if len(split) != (3 if in_three else 2):
        wanted = "train/validation/test: --split 40/20/40" if in_three else "validation/test: --split 30/70"
        why = "" if in_three else " The vector is not made from --data."
        raise SteerError(f"--split {'/'.join(f'{share:g}' for share in split)} has {len(split)} parts.{why} Write {wanted}")
    return split


def _at(model: Model, vector: SteeringVector, layers: tuple[int, ...] | None) -> SteeringVector:
    """A saved vector at these of its layers, if they are blocks of the model."""
    from ..model import check_fits
    from ..steering import as_intervention, check_depth

    check_depth(vector.metadata, model.n_layers, model.id)
    check_fits(model, as_intervention(vector), ())
    return vector.at(layers) if layers is not None else vector


def _made_from(vector: SteeringVector, parts: Parts) -> str:
    record: dict[str, Any] = dict(vector.metadata)
    data = parts.train
    noun = "texts" if data is not None and data.texts is not None else "items" if data is None or data.given else "pairs"
    return f"{record['method']} from {record['n']} {noun}"
