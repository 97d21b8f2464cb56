"""``pytest-steer convert``: from one format of vectors to another."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.errors import VectorError
from .extensions import load_extensions
from .main import OK
from .options import LAYERS, VECTOR, Command, Number, load_vector
from .terminal import measuring, say

_LM_EVAL = "lm-eval"


@click.command(
    "convert",
    cls=Command,
    example="pytest-steer convert vectors/approval.safetensors approval.pt --to lm-eval",
    short_help="Write a vector in another format.",
)
@click.argument("source", type=VECTOR, metavar="IN")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT")
@click.option("--layers", type=LAYERS, metavar="LAYERS", help="Take these; or the layer that IN does not say.")
@click.option("--to", type=click.Choice([_LM_EVAL]), help="Format of a .pt file: the harness' `steered` model.")
@click.option("--multiplier", type=Number(), metavar="M", show_default="1", help="Strength, for lm-eval.")
@click.option("--blocks", metavar="NAME", show_default="layers", help="Name of the list of blocks, for lm-eval.")
def command(
    source: Path,
    target: Path,
    layers: tuple[int, ...] | None,
    to: str | None,
    multiplier: float | None,
    blocks: str | None,
) -> int:
    """Write the vector of IN to OUT. The suffix of OUT says the format: .safetensors or .gguf; .pt with --to lm-eval.

    IN is any file that claims read. No value is rescaled.
    """
    from ..steering.formats.torch_file import LATE_BINDING, write_steered

    load_extensions()
    for option, given in (("--multiplier", multiplier), ("--blocks", blocks)):
        if given is not None and to is None:
            raise VectorError(
                f"{option}: is for --to lm-eval, the one format that says it. Delete {option}, or add --to lm-eval"
            )
    if target.exists():
        raise VectorError(f"{target} exists, and is not overwritten. Delete it, or write to another name")
    with measuring() as warn:
        vector = load_vector(source, layers)
        if to is None and target.suffix.lower() in (".pt", ".pth"):
            raise VectorError(f"{target}: add --to lm-eval, the one format of {target.suffix} that is written")
        if to is None:
            vector.save(target)
        else:
            if len(vector.layers) > 1:
                warn(LATE_BINDING)
            write_steered(
                vector.directions, target, multiplier=1.0 if multiplier is None else multiplier, blocks=blocks or "layers"
            )
    say(f"{target}: {vector}")
    return OK
