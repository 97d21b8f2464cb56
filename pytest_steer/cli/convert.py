"""``pytest-steer convert``: from one format of vectors to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click

from ..core.errors import VectorError
from .extensions import load_extensions
from .main import OK
from .options import LAYERS, VECTOR, Number, Option, load_vector, options_in, subcommand
from .output import measuring, say

_LM_EVAL = "lm-eval"


@dataclass(frozen=True)
class _Options:
    source: Annotated[Path, click.argument("source", type=VECTOR, metavar="IN")]
    target: Annotated[Path, click.argument("target", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT")]
    layers: Annotated[tuple[int, ...] | None, Option(LAYERS, "LAYERS", "Take these; or the layer that IN does not say.")]
    to: Annotated[str | None, Option(click.Choice([_LM_EVAL]), None, "Format of a .pt file: the harness' `steered` model.")]
    multiplier: Annotated[float | None, Option(Number(), "M", "Strength, for lm-eval.", show_default="1")]
    blocks: Annotated[str | None, Option(None, "NAME", "Name of the list of blocks, for lm-eval.", show_default="layers")]


@subcommand(
    example="pytest-steer convert vectors/approval.safetensors approval.pt --to lm-eval",
    short_help="Write a vector in another format.",
)
@options_in(_Options)
def command(options: _Options) -> int:
    """Write the vector of IN to OUT. The suffix of OUT says the format: .safetensors or .gguf; .pt with --to lm-eval.

    IN is any file that claims read. No value is rescaled.
    """
    from ..steering.formats.torch_file import LATE_BINDING, write_steered

    load_extensions()
    target, multiplier, to = options.target, options.multiplier, options.to
    for option, given in (("--multiplier", multiplier), ("--blocks", options.blocks)):
        if given is not None and to is None:
            raise VectorError(
                f"{option}: is for --to lm-eval, the one format that says it. Delete {option}, or add --to lm-eval"
            )
    if target.exists():
        raise VectorError(f"{target} exists, and is not overwritten. Delete it, or write to another name")
    with measuring() as warn:
        vector = load_vector(options.source, options.layers)
        if to is None and target.suffix.lower() in (".pt", ".pth"):
            raise VectorError(f"{target}: add --to lm-eval, the one format of {target.suffix} that is written")
        if to is None:
            vector.save(target)
        else:
            if len(vector.layers) > 1:
                warn(LATE_BINDING)
            write_steered(
                vector.directions,
                target,
                multiplier=1.0 if multiplier is None else multiplier,
                blocks=options.blocks or "layers",
            )
    say(f"{target}: {vector}")
    return OK
