"""``pytest-steer sweep``: from the options to what is printed and written."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SteerError
from .options import Command, Loading, loading, out, seed
from .param_types import COUNT, FILE, LAYERS, NUMBERS, POSITIVE, SHARE, SPLIT, VECTOR, output
from .terminal import Warnings, load_extensions, measuring, style_of, write_text

if TYPE_CHECKING:
    from ..model import Model
    from ..steering import Positions, SteeringVector
    from ..studies.sweep import Parts

SPLIT_IN_THREE, SPLIT_IN_TWO = (40.0, 20.0, 40.0), (30.0, 70.0)
RENAMED = {
    "--anti-steerable": "--anti-steerable-share SHARE",
    "--test-out": "--write FILE.steer.yaml, which writes the test part beside the claim file",
    "--vector-out": "--write FILE.steer.yaml, which writes the vector beside the claim file",
}


@click.command("sweep", cls=Command, renamed=RENAMED, short_help="Find a layer and a multiplier for a vector.")
@click.option("--data", type=FILE, required=True, metavar="ITEMS", help="Contrast items, which are split.")
@click.option("--train", type=FILE, metavar="FILE", help="Make the vector from this file, and split --data in two.")
@click.option("--method", metavar="NAME", help="How the vector is made; `pytest-steer list` names all.  [default: caa]")
@click.option("--vector", "saved", type=VECTOR, metavar="FILE", help="Sweep this saved vector, and split --data in two.")
@click.option("--split", type=SPLIT, metavar="40/20/40", help="Train/validation/test; 30/70 with --train or --vector.")
@click.option("--layers", type=LAYERS, metavar="0-5,8", help="Decoder blocks.  [default: all]")
@click.option(
    "--multipliers",
    type=NUMBERS,
    default="-1.5,-1,-0.5,0.5,1,1.5",
    show_default=True,
    metavar="M,M",
    help="Strengths; 0 is added.",
)
@click.option(
    "--positions",
    type=click.Choice(["all", "after_prompt", "last"]),
    default="after_prompt",
    show_default=True,
    help="Tokens that are steered.",
)
@click.option("--neutral", type=FILE, metavar="TEXTS", help="Neutral texts for the cost in perplexity, which are split.")
@click.option(
    "--keep", type=SHARE, metavar="SHARE", help="Share of layers to measure, ranked by first order.  [default: 0.5]"
)
@click.option("--top", type=COUNT, metavar="N", help="Number of layers to measure, instead of --keep.")
@click.option(
    "--anti-steerable-share",
    type=float,
    default=0.25,
    show_default=True,
    metavar="SHARE",
    help="Largest share of items that move the wrong way.",
)
@click.option(
    "--ppl-limit",
    type=POSITIVE,
    default=0.05,
    show_default=True,
    metavar="RISE",
    help="Largest relative rise of perplexity.",
)
@loading
@seed
@out
@click.option("--heatmap", type=output(".svg"), metavar="FILE.svg", help="Write the heat map of effects as a picture.")
@click.option(
    "--write",
    "claims",
    type=output(".steer.yaml", ".steer.yml"),
    metavar="FILE.steer.yaml",
    help="Write the claim file, with vector and test part.",
)
def command(
    *,
    loading: Loading,
    data: Path,
    train: Path | None,
    method: str | None,
    saved: Path | None,
    split: tuple[float, ...] | None,
    layers: tuple[int, ...] | None,
    multipliers: tuple[float, ...],
    positions: Positions,
    neutral: Path | None,
    keep: float | None,
    top: int | None,
    anti_steerable_share: float,
    ppl_limit: float,
    seed: int,
    out: Path | None,
    heatmap: Path | None,
    claims: Path | None,
) -> int:
    """Layers x multipliers for one steering vector.

    The vector is made from the train part of the data, ranked and measured on the validation part, and what is chosen becomes a
    claim file about the test part, which the sweep does not look at. The exit code is 1 if nothing keeps the limits.
    """
    from ..model import check_layers
    from ..sources import DEFAULT_MODEL
    from ..steering import SteeringVector
    from ..studies.sweep import Limits, find_method, read_parts, sweep, vector_at
    from .claim_file import check_new, claim_text, files_of, write_files
    from .heat_map import heat_map_svg
    from .sweep_words import sweep_text

    if keep is not None and top is not None:
        raise SteerError("--keep and --top exclude each other. Delete one of them")
    if saved is not None and (train is not None or method is not None):
        raise SteerError("--vector is a vector that is made already. Delete --train and --method, or delete --vector")
    shares = _shares(split, in_three=train is None and saved is None)
    load_extensions()
    limits = Limits(anti_steerable_share, ppl_limit)
    files = files_of(claims or Path("chosen.steer.yaml"), has_texts=neutral is not None)
    if claims is not None:
        check_new(files)
    kind = find_method(method or "caa")
    read = SteeringVector.load(saved).at("all") if saved is not None else None
    seen = read.metadata.get("item_hashes", ()) if read is not None else ()
    parts = read_parts(data, shares, train=train, neutral=neutral, seen=seen, seen_by=str(saved), seed=seed)
    with measuring() as warn:
        model = loading.load()
        if read is not None:
            vector = _at(model, read, layers)
        else:
            assert parts.train is not None  # without a saved vector there is a part or a file to train on
            vector = vector_at(kind, model, parts.train, check_layers(model, layers or range(model.n_layers)), seed)
        _warn_of_weak_data(vector, warn)
        found = sweep(
            model,
            parts.validation,
            vector,
            multipliers=multipliers,
            positions=positions,
            keep=top if top is not None else math.ceil((keep or 0.5) * len(vector.layers)),
            texts=parts.texts or None,
            limits=limits,
        )
    name = loading.model or DEFAULT_MODEL
    source = str(saved) if saved is not None else _made_from(vector, parts)
    click.echo(sweep_text(found, parts, model=model.id, vector=source, style=style_of(sys.stdout)))
    if out is not None:
        content = found.to_dict() | {"model": name, "seed": seed, "data": str(data)}
        write_text(out, json.dumps(content, indent=1, allow_nan=False) + "\n")
    if heatmap is not None:
        rows, columns = [f"layer {one.layer}" for one in found.measured], [f"{m:g}" for m in found.multipliers]
        title = f"{name}: effect of {vector.metadata.get('method', source)} by layer and multiplier"
        write_text(heatmap, heat_map_svg(title, rows, columns, [one.effects.tolist() for one in found.measured]))
    if found.choice is None:
        return 1
    text = claim_text(found, files, model=name, allow_unexpected=loading.allow_unexpected)
    click.echo(f"\n{text}")
    if claims is None:
        click.echo(f"To write this claim file and the files that it names, add: --write {files.claims}")
        return 0
    write_files(files, found, text, parts.test, parts.test_texts)
    click.echo(f"written: {', '.join(str(path) for path in vars(files).values() if path is not None)}")
    click.echo(f"judge it: pytest {files.claims}")
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


def _warn_of_weak_data(vector: SteeringVector, warn: Warnings) -> None:
    """Before the long part begins."""
    from ..extract import unreliable

    weak = unreliable(vector.metadata)
    if weak is not None:
        warn(weak)


def _made_from(vector: SteeringVector, parts: Parts) -> str:
    record: dict[str, Any] = dict(vector.metadata)
    data = parts.train
    noun = "texts" if data is not None and data.texts is not None else "items" if data is None or data.given else "pairs"
    return f"{record['method']} from {record['n']} {noun}"
