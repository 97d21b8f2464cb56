"""``pytest-steer sweep``: from the options to what is printed and written."""

from __future__ import annotations

import json
import math
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from .. import progress
from ..data import Items, read_contrast_texts, read_items, read_texts
from ..errors import DataError, SteerError, SteerWarning
from ..extract import caa, mean_difference
from ..model import Model, check_layers, load_model
from ..steering import SteeringVector
from ..studies.sweep.data import split_items, write_items
from ..studies.sweep.grid import Limits, Sweep, sweep
from ..studies.sweep.show import Style, heat_map, heat_map_svg, layer_table
from ..studies.sweep.snippet import claim_snippet

DEFAULT_SPLIT, DEFAULT_SPLIT_WITHOUT_TRAIN = [40.0, 20.0, 40.0], [30.0, 70.0]
# What the claim file names if the files were not asked for.
VECTOR_FILE, TEST_FILE = "vector.safetensors", "test.json"


def run(options: Namespace) -> int:
    """Runs a sweep; 0 if it chose a layer and a multiplier, 1 if none keeps the limits.

    Raises:
        SteerError: the options, the data or the model cannot be used.
    """
    limits = Limits(options.anti_steerable, options.ppl_limit)
    train, validation, test = _parts(options)
    texts = read_texts(options.neutral) if options.neutral is not None else None
    multipliers = [m for group in options.multipliers for m in group]
    with progress.listening(progress_line(sys.stderr)), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SteerWarning)
        model = load_model(
            options.model, dtype=options.dtype, device=options.device, allow_unexpected=options.allow_unexpected
        )
        layers = check_layers(model, options.layers if options.layers is not None else range(model.n_layers))
        vector = _vector(options, model, train, layers)
        keep = options.top if options.top is not None else math.ceil(options.keep * len(layers))
        found = sweep(
            model,
            validation,
            vector,
            multipliers=multipliers,
            positions=options.positions,
            keep=keep,
            texts=texts,
            limits=limits,
        )
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    for warning in caught:
        if issubclass(warning.category, SteerWarning):
            print(f"warning: {warning.message}", file=sys.stderr)
    _print(options, model, found, test)
    _write(options, found, test)
    return 0 if found.choice is not None else 1


def _parts(options: Namespace) -> tuple[Items | None, Items, Items]:
    """Train (None if another file holds it), validation and test items."""
    if options.method == "mean_difference" and options.train is None:
        raise SteerError(
            '--method mean_difference takes its texts from --train FILE, {"positive": [...], "negative": [...]}'
        )
    items = Items(read_items(options.data), str(options.data))
    default = DEFAULT_SPLIT if options.train is None else DEFAULT_SPLIT_WITHOUT_TRAIN
    shares = options.split if options.split is not None else default
    if len(shares) != len(default):
        wanted = (
            "train/validation/test, such as 40/20/40"
            if options.train is None
            else "validation/test, such as 30/70, as --train is given"
        )
        raise SteerError(f"--split: {wanted}")
    names = ("train", "validation", "test")[-len(shares) :]
    parts = split_items(items, shares, seed=options.seed, names=names)
    if options.train is None:
        return parts[0], parts[1], parts[2]
    if options.method == "caa":
        try:
            train = Items(read_items(options.train), str(options.train))
        except DataError as error:
            raise DataError(
                f"{error}\n  --method caa makes the vector from contrast items; for texts: --method mean_difference"
            ) from None
        seen = set(train.item_hashes) & set(items.item_hashes)
        if seen:
            raise DataError(
                f"{len(seen)} questions of {options.data} are also in {options.train}: a vector has to be judged on items that it "
                "was not made from; take them out of one of the two"
            )
        return train, parts[0], parts[1]
    return None, parts[0], parts[1]


def _vector(options: Namespace, model: Model, train: Items | None, layers: tuple[int, ...]) -> SteeringVector:
    if train is not None:
        return caa(model, train, layer=layers)
    positive, negative = read_contrast_texts(options.train)
    return mean_difference(model, positive, negative, layer=layers)


def _print(options: Namespace, model: Model, found: Sweep, test: Items) -> None:
    style = style_of(sys.stdout)
    measured, record = found.measured, found.vector.metadata
    rows, columns = [str(result.layer) for result in measured], [f"{m:g}" for m in found.multipliers]
    print(
        f"{model.id}: {record['method']} from {record['n']} {'items' if record['method'] == 'caa' else 'texts'}, positions "
        f"{found.positions}; {len(found.items)} validation items, {len(test)} test items (not looked at)"
    )
    print(f"first order ranks the {len(found.layers)} layers; the best {len(measured)} are measured at every multiplier\n")
    print(layer_table(found))
    print("\neffect: mean propensity minus that at multiplier 0 (layer down, multiplier across)")
    print(heat_map(rows, columns, [result.effects.tolist() for result in measured], style=style))
    if options.neutral is not None:
        print(f"\nchange of perplexity on {options.neutral}")
        print(heat_map(rows, columns, [list(result.perplexity or ()) for result in measured], style=style, percent=True))
    limits = found.limits
    budget = f" that raises perplexity by at most {limits.perplexity:.4g}" if options.neutral is not None else ""
    print(
        f"\nrule: of the layers with a steerability above 0 and an anti-steerable share of at most {limits.anti_steerable:g}, that of "
        f"the largest\nsteerability; there the multiplier of the largest effect{budget}"
    )
    choice = found.choice
    if choice is None:
        print("chosen: none, no measured layer keeps these limits")
        return
    cost = f", perplexity {choice.perplexity:+.1%}" if choice.perplexity is not None else ""
    print(f"chosen: layer {choice.layer}, multiplier {choice.multiplier:g} (effect {choice.effect:+.3f}{cost})")
    print(
        "What was chosen on the validation items looks better there than it is: test it on items that the sweep did not see.\n"
    )
    missing = [
        f"{option} {name}"
        for option, name, value, needed in [
            ("--vector-out", VECTOR_FILE, options.vector_out, options.train is None),
            ("--test-out", TEST_FILE, options.test_out, True),
        ]
        if value is None and needed
    ]
    print(snippet(options, found), end="")
    if missing:
        print(f"\nThe claim file names files that were not written. To have them, add: {' '.join(missing)}")


def snippet(options: Namespace, found: Sweep) -> str:
    """The claim file, with paths as seen from the current folder."""
    vector = {"file": shown(options.vector_out or Path(VECTOR_FILE))}
    if options.vector_out is None and options.train is not None:
        vector = {"method": options.method, "data": shown(options.train)}
    neutral = shown(options.neutral) if options.neutral is not None else None
    model = options.model
    test = shown(options.test_out or Path(TEST_FILE))
    return claim_snippet(
        found, model=model, vector=vector, test=test, neutral=neutral, allow_unexpected=options.allow_unexpected
    )


def shown(path: Path) -> str:
    """The path as a claim file in the current folder names it."""
    return path.as_posix()


def _write(options: Namespace, found: Sweep, test: Items) -> None:
    if options.test_out is not None:
        write_items(options.test_out, test)
    if options.vector_out is not None:
        found.vector.save(options.vector_out)
    if options.out is not None:
        content = found.to_dict() | {"model": options.model, "seed": options.seed, "data": str(options.data)}
        write_text(options.out, json.dumps(content, indent=1, allow_nan=False) + "\n")
    if options.heatmap is not None:
        measured = found.measured
        rows, columns = [f"layer {result.layer}" for result in measured], [f"{m:g}" for m in found.multipliers]
        title = f"{options.model}: effect of {found.vector.metadata['method']} by layer and multiplier"
        write_text(options.heatmap, heat_map_svg(title, rows, columns, [result.effects.tolist() for result in measured]))


def write_text(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def style_of(stream: TextIO) -> Style:
    """Colour on a terminal, block characters there with NO_COLOR (https://no-color.org), numbers alone elsewhere."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return "plain"
    if not os.environ.get("NO_COLOR"):
        return "colour"
    try:
        "░▒▓█".encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return "plain"
    return "shades"


def progress_line(stream: TextIO) -> Callable[[str], None] | None:
    """Shows progress on one line of a terminal, or not at all."""
    if not stream.isatty():
        return None

    def show(text: str) -> None:
        stream.write(f"\r\x1b[K{text[:100]}")
        stream.flush()

    return show
