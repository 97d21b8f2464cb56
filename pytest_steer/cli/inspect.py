"""``pytest-steer inspect``: what is in a vector file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from ..core.columns import columns_of, current_columns, cut, in_columns, padded, stream_columns, table
from ..core.run_context import RunContext, running
from ..core.sources import shown
from .extensions import load_extensions
from .main import OK
from .options import LAYERS, VECTOR, Option, json_option, load_vector, options_in, subcommand
from .output import measuring, say

if TYPE_CHECKING:
    from ..steering import SteeringVector

_TEXTS = 16


@dataclass(frozen=True)
class _Options:
    file: Annotated[Path, click.argument("file", type=VECTOR, metavar="VECTOR")]
    layers: Annotated[
        tuple[int, ...] | None, Option(LAYERS, "LAYERS", "These alone; or the layer that VECTOR does not say.")
    ]
    others: Annotated[
        tuple[Path, ...], Option(VECTOR, "FILE", "Cosine to this one (repeatable).", flag="--with", multiple=True)
    ]
    model: Annotated[str | None, Option(None, "MODEL", "Dose on this model, relative to its hidden states.")]
    as_json: Annotated[bool, json_option()]


@dataclass(frozen=True)
class _Layer:
    """A vector at one layer: its norm, its dose on a model, and its cosine to the others by their names."""

    layer: int
    norm: float
    relative_dose: float | None
    cosines: dict[str, float | None]


@subcommand(
    example="pytest-steer inspect vectors/approval.safetensors --model builtin:tiny",
    short_help="Print what is in a vector file.",
)
@options_in(_Options)
def command(options: _Options) -> int:
    """Print where a vector comes from and, for each layer, its norm and its cosine to others.

    With --model: the norm as a share of the median norm of the hidden states
    there, over 16 neutral texts at multiplier 1, positions all but the first.
    """
    load_extensions()
    file = options.file
    with measuring():
        vector = load_vector(file, options.layers)
        compared = {shown(path): load_vector(path, options.layers) for path in options.others}
        doses = {} if options.model is None else _doses(vector, options.model)
    rows = [
        _Layer(layer, norm, doses.get(layer), {name: _cosine(vector, other, layer) for name, other in compared.items()})
        for layer, norm in vector.norms.items()
    ]
    if options.as_json:
        record = {"file": shown(file), "width": vector.width, "hash": vector.hash, "metadata": vector.metadata}
        say(
            json.dumps(
                {**record, "model": options.model, "layers": [*map(vars, rows)]}, ensure_ascii=False, indent=1, default=str
            )
        )
        return OK
    with in_columns(stream_columns(sys.stdout)):
        say(shown(file))
        said = [("hash", vector.hash[:16]), ("width", str(vector.width)), ("layers", _ranges(vector.layers))]
        for line in (*record_lines(vector.metadata, said), ""):
            say(line)
        for line in _table(rows, list(compared), vector.metadata.get("reliability"), has_dose=options.model is not None):
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
    """Cosine of the two directions at a layer; None if the other vector has no direction of this width there."""
    if layer not in other.directions or other.width != vector.width:
        return None
    one, two = vector.directions[layer].double(), other.directions[layer].double()
    return float(one @ two / (one.norm() * two.norm()))


def _doses(vector: SteeringVector, name: str) -> dict[int, float | None]:
    """The norm of each layer's direction as a share of the median norm of hidden states.

    Raises:
        SteerError: the model cannot be loaded, or the vector does not fit it.
    """
    from ..data import read_texts
    from ..measures import steering_receipt
    from ..measures.asking import EVERYWHERE, ask_texts
    from ..model import check_fits
    from ..model.loading import Models
    from ..steering.interventions.additive import as_intervention

    run = RunContext(model=name, option_prefix="--")
    with running(run):
        model = Models(run).load(name)
        added = as_intervention(vector.at("all"))
        check_fits(model, added, ("model", "template"))
        texts = list(read_texts("builtin:neutral"))[:_TEXTS]
        probes = [probe for asked in ask_texts(model, texts, EVERYWHERE) for probe in asked.probes]
        receipt = steering_receipt(model, probes, added, 1.0)
    return {dose.layer: dose.relative_dose for dose in receipt.doses}


def _table(rows: list[_Layer], names: list[str], reliability: Any, *, has_dose: bool) -> list[str]:
    """The table of layers.

    Args:
        reliability: agreement and d' on the training data by layer, or None.
    """
    known = reliability if isinstance(reliability, Mapping) else {}
    headers = ["layer", "norm", *(["agreement", "d'"] if known else []), *(["of hidden\nnorm"] if has_dose else [])]
    headers += [f"cosine to\n{name}" for name in names]
    cells = []
    for row in rows:
        own = known.get(str(row.layer)) or {}
        said = [_number(own.get(name), ".2f") for name in ("agreement", "d_prime")] if known else []
        doses = [_number(row.relative_dose, ".1%")] if has_dose else []
        cosines = [_number(value, ".3f") for value in row.cosines.values()]
        cells.append([row.layer, _number(row.norm, ".3g"), *said, *doses, *cosines])
    return table(cells, headers, width=current_columns(), right=True)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


_HASH = 12
# Shown with another key, or for machines alone.
_ELSEWHERE = {
    "model_fingerprint",
    "n",
    "seen",
    "item_form",
    "item_forms",
    "item_words",
    "answer_forms",
    "reliability",
    "together",
}
_LABELS = {
    "method": "method",
    "source": "read as",
    "model": "made on",
    "template_hash": "template",
    "data_hash": "made from",
    "readout": "read at",
    "positions": "positions",
    "context": "context",
    "thinking": "thinking",
    "label_balance": "matching",
    "item_hashes": "traces",
    "like": "control for",
    "heads": "heads",
    "seed": "seed",
}


def record_lines(metadata: Mapping[str, object], above: Sequence[tuple[str, str]] = ()) -> Iterator[str]:
    """A vector's metadata as lines of label and value, known labels first, cut to the columns of the terminal.

    Args:
        above: labels and values for the lines above.
    """
    known = [key for key in _LABELS if key in metadata]
    others = [key for key in metadata if key not in _LABELS and key not in _ELSEWHERE]
    rows = [*above, *(row for key in known for row in _rows(key, metadata))]
    rows += [(key.replace("_", " "), _plain(metadata[key])) for key in others]
    room = max(12, current_columns() // 3)
    width = max((columns_of(cut(label, room)) for label, _ in rows), default=0)
    for label, value in rows:
        head = padded(cut(label, room), width)
        yield cut(f"  {head}  {' '.join(value.split())}".rstrip(), current_columns())


def _rows(key: str, metadata: Mapping[str, object]) -> list[tuple[str, str]]:
    label, value = _LABELS[key], metadata[key]
    if value is None and key != "template_hash":
        return []
    if key == "source" and isinstance(value, Mapping):
        own = {"format": label, "layers": "layers are", "norm": "norm is"}
        return [(own.get(part, part.replace("_", " ")), _plain(said)) for part, said in value.items()]
    return [(label, _value(key, value, metadata))]


def _value(key: str, value: Any, metadata: Mapping[str, object]) -> str:
    seen = str(metadata.get("seen") or "items")
    if key == "model" and metadata.get("model_fingerprint"):
        return f"{value} (weights {str(metadata['model_fingerprint'])[:_HASH]})"
    if key == "template_hash":
        return "none" if value is None else str(value)[:_HASH]
    if key == "data_hash":
        count = metadata.get("n")
        counted = f"{count:,} {seen}, " if isinstance(count, int) else ""
        return f"{counted}hash {str(value)[:_HASH]}"
    if key == "item_hashes" and isinstance(value, (list, tuple)):
        return f"of {len(value):,} {seen}, by which they are found again in test data"
    if key == "label_balance" and isinstance(value, Mapping):
        return ", ".join(f"{label!r} in {count}" for label, count in value.items())
    if key == "heads" and isinstance(value, (list, tuple)) and all(isinstance(one, Mapping) for one in value):
        places = ", ".join(f"{one.get('layer')}.{one.get('head')}" for one in value)
        return f"{len(value)}: {places} (layer.head)"
    return str(value)[:_HASH] if key == "like" else _plain(value)


def _plain(value: Any) -> str:
    """A value as JSON. Text loses its quotation marks, and a long list becomes its length."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and len(value) > 12:
        return f"{len(value):,} values"
    return json.dumps(value, ensure_ascii=False, default=str)
