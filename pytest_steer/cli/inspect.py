"""``pytest-steer inspect``: what is in a vector file."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..columns import current_columns, in_columns, stream_columns, table
from ..run_context import RunContext, running
from ..sources import shown
from .main import OK
from .options import Command
from .param_types import LAYERS, VECTOR
from .terminal import load_extensions, measuring, say
from .vector_record import record_lines

if TYPE_CHECKING:
    from ..steering import SteeringVector

_TEXTS = 16


@click.command(
    "inspect",
    cls=Command,
    example="pytest-steer inspect vectors/approval.safetensors --model builtin:tiny",
    short_help="Print what is in a vector file.",
)
@click.argument("file", type=VECTOR, metavar="VECTOR")
@click.option("--layers", type=LAYERS, metavar="LAYERS", help="These alone; or the layer that VECTOR does not say.")
@click.option("--with", "others", type=VECTOR, multiple=True, metavar="FILE", help="Cosine to this one (repeatable).")
@click.option("--model", metavar="MODEL", help="Dose on this model, relative to its hidden states.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(file: Path, layers: tuple[int, ...] | None, others: tuple[Path, ...], model: str | None, as_json: bool) -> int:
    """Print where a vector comes from and, for each layer, its norm and its cosine to others.

    With --model: the norm as a share of the median norm of the hidden states
    there, over 16 neutral texts at multiplier 1, positions all but the first.
    """
    from ..steering import SteeringVector

    load_extensions()

    def load(path: Path) -> SteeringVector:
        return SteeringVector.load(path, layer=None if layers is None else layers[0] if len(layers) == 1 else layers)

    with measuring():
        vector = load(file)
        compared = {shown(path): load(path) for path in others}
        doses = {} if model is None else _doses(vector, model)
    rows = [
        {
            "layer": layer,
            "norm": norm,
            "relative_dose": doses.get(layer),
            "cosines": {name: _cosine(vector, other, layer) for name, other in compared.items()},
        }
        for layer, norm in vector.norms.items()
    ]
    if as_json:
        record = {"file": shown(file), "width": vector.width, "hash": vector.hash, "metadata": vector.metadata}
        say(json.dumps({**record, "model": model, "layers": rows}, ensure_ascii=False, indent=1, default=str))
        return OK
    with in_columns(stream_columns(sys.stdout)):
        say(shown(file))
        said = [("hash", vector.hash[:16]), ("width", str(vector.width)), ("layers", _ranges(vector.layers))]
        for line in (*record_lines(vector.metadata, said), ""):
            say(line)
        for line in _table(rows, list(compared), vector.metadata.get("reliability"), has_dose=model is not None):
            say(line)
    return OK


def _ranges(layers: Sequence[int]) -> str:
    """Layers in words, such as ``0-5, 8``."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _cosine(vector: SteeringVector, other: SteeringVector, layer: int) -> float | None:
    """None where the other has no direction of this width at this layer."""
    if layer not in other.directions or other.width != vector.width:
        return None
    one, two = vector.directions[layer].double(), other.directions[layer].double()
    return float(one @ two / (one.norm() * two.norm()))


def _doses(vector: SteeringVector, name: str) -> dict[int, float | None]:
    """Layer to the norm over the median norm of hidden states.

    Raises:
        SteerError: the model cannot be loaded, or the vector does not fit it.
    """
    from ..data import read_texts
    from ..measures import steering_receipt
    from ..measures.asking_texts import ask_texts
    from ..model import check_fits
    from ..model.loading import Models
    from ..steering.interventions.additive import as_intervention

    run = RunContext(model=name, option_prefix="--")
    with running(run):
        model = Models(run).load(name)
        added = as_intervention(vector.at("all"))
        check_fits(model, added, ("model", "template"))
        texts = list(read_texts("builtin:neutral"))[:_TEXTS]
        probes = [probe for asked in ask_texts(model, texts, "all", False) for probe in asked.probes]
        receipt = steering_receipt(model, probes, added, 1.0)
    return {dose.layer: dose.relative_dose for dose in receipt.doses}


def _table(rows: list[dict[str, Any]], names: list[str], reliability: Any, *, has_dose: bool) -> list[str]:
    """The layers.

    Args:
        reliability: agreement and d' on the data that the vector is made from, by layer; None where it has no such record.
    """
    known = reliability if isinstance(reliability, Mapping) else {}
    headers = ["layer", "norm", *(["agreement", "d'"] if known else []), *(["of hidden\nnorm"] if has_dose else [])]
    headers += [f"cosine to\n{name}" for name in names]
    cells = []
    for row in rows:
        own = known.get(str(row["layer"])) or {}
        said = [_number(own.get(name), ".2f") for name in ("agreement", "d_prime")] if known else []
        doses = [_number(row["relative_dose"], ".1%")] if has_dose else []
        cosines = [_number(value, ".3f") for value in row["cosines"].values()]
        cells.append([row["layer"], _number(row["norm"], ".3g"), *said, *doses, *cosines])
    return table(cells, headers, width=current_columns(), right=True)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
