"""``.pt`` files, as ``torch.save`` writes them: nothing in them is run.

What may stand in such a file is a tensor, {layer: tensor}, a list of tensors, the state dict of a module that holds these, the file
of lm-eval's ``steered`` model, and the ``steering-vectors`` package's SteeringVector. The pickle inside is first looked through opcode by opcode (nothing is called), and a file that names any other function or
class is refused; what is left goes through ``torch.load(weights_only=True)``. The archive's own checksums are compared with its
content before that, because torch does not look at them.

Layers, all 0-based decoder blocks whose output is changed: CAA's ``vec_layer_L_MODEL.pt`` (Panickssery et al. 2023, the code
reads and steers after block L), the ``steering-vectors`` package (its hooks sit on the output of block N), the keys of {layer: tensor}, and
the rows of [layers, width].
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...core.errors import VectorError
from ..directions import check_layers
from .kinds import Stored, by_names, check_has, checked, checked_rows, layer_number, source, stacked, vector_format
from .numpy_file import is_npz

CAA = "the file's name, as the 0-based decoder block whose output is changed (CAA)"
STEERING_VECTORS = "layer N is the output of decoder block N, 0-based (steering-vectors)"
_ZIP = b"PK\x03\x04"
_CLASS = "steering_vectors.steering_vector SteeringVector"
_ALLOWED = re.compile(
    r"torch\._utils _rebuild_(tensor_v2|parameter)|torch \w+Storage|torch\.storage UntypedStorage|collections OrderedDict|"
    + re.escape(_CLASS)
)
# Opcodes that find or make something by name; GLOBAL is the one that torch.save uses.
_BY_NAME = ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX", "PERSID")
_NAME = re.compile(r"(?:vec_)?layer_(\d+)(?:_(.+))?")
_CONVERT = (
    "Convert it where you trust it, in the environment that wrote it: take the tensors out and "
    "torch.save({layer: tensor.float()}, 'vector.pt')"
)


_MODULE, _NAME_OF_CLASS = _CLASS.split()
# Stands in for steering_vectors.SteeringVector while a file is read, and has no code of its own.
_Holder = type(_NAME_OF_CLASS, (), {"__module__": _MODULE})


@vector_format("pt", suffixes=[".pt", ".pth"], recognises=lambda start: start.startswith(_ZIP) and not is_npz(start))
def read(file: Path) -> Stored:
    """Tensors as torch.save writes them; the layer of a single one is taken from the file's name if that says it."""
    content = _load(file)
    name = _NAME.fullmatch(file.stem)
    if isinstance(content, _Holder):
        stored = from_steering_vectors(content)
        return replace(stored, directions={at: checked(d, f"layer {at}") for at, d in stored.directions.items()})
    if is_steered(content):
        return from_steered(content)
    if isinstance(content, dict):
        if len(content) == 1 and isinstance(inner := next(iter(content.values())), dict):
            content = inner  # {"state_dict": {...}}
        if not content:
            raise VectorError("holds an empty dictionary; expected {layer: tensor}")
        return by_names(content, ".pt")
    rows = _rows(content)
    if name is None:
        return stacked(rows, ".pt")
    if len(rows) > 1:
        raise VectorError(
            f"holds {len(rows)} directions, and its name says layer {name[1]}: is it one layer or are the rows layers? Rename the "
            "file if the rows are layers; save only the right row if not"
        )
    layer = layer_number(name[1])
    if layer is None:
        raise VectorError(f"its name says layer {name[1]!r}, which is no decoder block's number")
    return Stored({layer: rows[0]}, source(".pt vec_layer_L", CAA, **_hint(name[2])))


def read_folder(folder: Path, wanted: tuple[int, ...] | None) -> Stored:
    """A folder with one ``.pt`` file per layer: ``vec_layer_L_MODEL.pt``, ``layer_L.pt`` or ``L.pt``.

    Raises:
        VectorError: a name that says no layer, a layer twice, files of several models, or a gap among the layers although
            ``wanted`` does not say which are meant.
    """
    files, model = _files_of(folder)
    gaps = sorted(set(range(min(files), max(files) + 1)) - set(files))
    if gaps and wanted is None:
        raise VectorError(
            f"has files for the layers {sorted(files)} and none for {gaps}. If none is missing, say which layers are meant, "
            f"layer: {sorted(files)}"
        )
    check_has(wanted or (), files)
    directions: dict[int | None, torch.Tensor] = {}
    for layer, file in files.items():
        if wanted is None or layer in wanted:
            rows = _rows(_load(file))
            if len(rows) > 1:
                raise VectorError(f"{file.name}: holds {len(rows)} directions; in a folder of layers each file holds one")
            directions[layer] = rows[0]
    return Stored(directions, source("folder of .pt per layer", CAA, **_hint(model)))


def _files_of(folder: Path) -> tuple[dict[int, Path], str]:
    """{layer: file} of a folder, and the model that the files' names say ("" for none)."""
    found: dict[int, Path] = {}
    models: set[str] = set()
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in (".pt", ".pth") or file.name.startswith("."):
            continue
        name = _NAME.fullmatch(file.stem)
        layer = layer_number(name[1] if name else file.stem)
        if layer is None:
            raise VectorError(
                f"{file.name} does not say its layer as vec_layer_L_MODEL.pt, layer_L.pt or L.pt do. Name one file, or take it out "
                "of the folder"
            )
        if layer in found:
            raise VectorError(f"holds layer {layer} twice, {found[layer].name} and {file.name}. Take one of them out")
        found[layer] = file
        models.add((name[2] or "") if name else "")
    if not found:
        raise VectorError("is a folder without .pt files; name a file, or a folder of vec_layer_L_MODEL.pt")
    if len(models) > 1:
        names = " and ".join(map(repr, sorted(models)))
        raise VectorError(f"holds vectors of several models, {names}. Name one file, or keep a folder per model")
    return found, models.pop()


def _hint(model: str | None) -> dict[str, str]:
    return {"model_hint": model} if model else {}


def from_steering_vectors(vector: Any) -> Stored:
    """A steering_vectors.SteeringVector, in memory or what a file holds of one.

    Raises:
        VectorError: it acts elsewhere than at the output of decoder blocks, or is not complete.
    """
    activations, kind = getattr(vector, "layer_activations", None), getattr(vector, "layer_type", None)
    if not isinstance(activations, dict) or not isinstance(kind, str):
        raise VectorError("is not a whole steering_vectors.SteeringVector: layer_activations and layer_type are missing")
    if kind != "decoder_block":
        raise VectorError(
            f"the SteeringVector acts on {kind!r}; a vector here is added to the output of decoder blocks, layer_type "
            "'decoder_block'. Train it again with that"
        )
    check_layers(activations)
    return Stored(activations, source("steering-vectors SteeringVector", STEERING_VECTORS))


def _rows(content: Any) -> list[torch.Tensor]:
    """One direction, or one per row or entry."""
    if isinstance(content, (list, tuple)):
        if not content:
            raise VectorError("holds an empty list; expected one tensor per layer")
        return [checked(value, f"entry {index}") for index, value in enumerate(content)]
    if not isinstance(content, torch.Tensor):
        raise VectorError(
            f"holds a {type(content).__name__}; expected a tensor of shape [width] or [layers, width], {{layer: tensor}}, a list of "
            "tensors, or a steering_vectors.SteeringVector"
        )
    return checked_rows(content)


def _load(file: Path) -> Any:
    names = _inspect(file)
    # Only while such a file is read: the name is not allowed in anybody else's torch.load.
    allowed = torch.serialization.safe_globals([_Holder]) if _CLASS in names else nullcontext()
    try:
        with allowed:
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything for a file that contradicts itself
        what = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise VectorError(f"cannot be read by torch.load(weights_only=True): {what}. {_CONVERT}") from None


def _inspect(file: Path) -> set[str]:
    """Hold the archive against its checksums, and its pickle against the names that are allowed; return these. Runs nothing.

    Raises:
        VectorError: not an archive of torch.save, damaged, or it names anything but tensors.
    """
    with file.open("rb") as opened:
        if opened.read(4) != _ZIP:
            raise VectorError(
                "is not an archive as torch.save writes it since version 1.6 (a plain pickle, an older file, another format, or "
                "damaged). Nothing is unpickled here. An older file of tensors becomes a new one by torch.save(torch.load(old, "
                f"weights_only=True), new). {_CONVERT}"
            )
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise VectorError(f"its entries are compressed, which torch.save never does. {_CONVERT}")
        if len({entry.filename for entry in entries}) != len(entries):
            raise VectorError("has an entry twice: a damaged file")
        damaged = archive.testzip()
        if damaged is not None:
            raise VectorError(f"is damaged: {damaged} does not match its checksum. Take a good copy")
        pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        if len(pickles) != 1:
            raise VectorError(f"has {len(pickles)} data.pkl where torch.save writes one")
        names = set(_names(archive.read(pickles[0])))
    foreign = sorted(name for name in names if not _ALLOWED.fullmatch(name))
    if foreign:
        raise VectorError(
            f"would need {', '.join(one.replace(' ', '.') for one in foreign)[:200]} to be unpickled, and nothing is: a pickle can run "
            f"any program. {_CONVERT}"
        )
    return names


def _names(pickled: bytes) -> Iterator[str]:
    """Every ``module name`` that the pickle refers to."""
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            yield str(argument)
        elif opcode.name in _BY_NAME:
            yield f"{opcode.name} {argument or ''}".strip()


# --- the file of lm-eval's ``steered`` model: {hookpoint: {steering_vector, steering_coefficient, action, bias}} ---
#
# Source, as read: lm_eval/models/hf_steered.py of EleutherAI's lm-evaluation-harness. A hookpoint is the name of a module of
# ``model.base_model`` (``layers.14``, ``h.14``), and its hook changes that module's output at every position, the first one included.

LAYERS = "hookpoint N is the output of decoder block N, 0-based (lm-eval)"
LATE_BINDING = (
    "lm-eval adds the last vector of such a file at every one of its layers (its hooks share one variable, as of the code that was "
    "read): convert one layer, --layers 14"
)
_KEYS = {"steering_vector", "steering_coefficient", "action", "bias"}


def write_steered(directions: Mapping[int, torch.Tensor], file: Path, *, multiplier: float, blocks: str) -> None:
    """Write vectors that are added.

    Args:
        blocks: the name of the list of decoder blocks below ``model.base_model``: ``layers``, of GPT-2 ``h``.

    Raises:
        VectorError: another suffix, or the file cannot be written.
    """
    if file.suffix.lower() not in (".pt", ".pth"):
        raise VectorError(f"{file}: lm-eval takes .pt or .pth: give it that suffix")
    shared = {"steering_coefficient": float(multiplier), "action": "add", "bias": None}
    content = {
        f"{blocks}.{layer}": {"steering_vector": direction.clone(), **shared} for layer, direction in directions.items()
    }
    try:
        torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise VectorError(f"{file}: cannot be written: {error}") from None


def is_steered(content: Any) -> bool:
    """Whether what a ``.pt`` file holds is such a file."""
    entries = [*content.values()] if isinstance(content, dict) else []
    return bool(entries) and all(isinstance(entry, dict) and "steering_vector" in entry for entry in entries)


def from_steered(content: Mapping[str, Mapping[str, object]]) -> Stored:
    """The vectors times their coefficients, as lm-eval adds them at multiplier 1.

    Raises:
        VectorError: an entry does something else than add, or its hookpoint is no decoder block.
    """
    vectors = {}
    for hookpoint, entry in content.items():
        action = entry.get("action", "add")
        if action != "add":
            raise VectorError(f"the hookpoint {hookpoint!r} has the action {action!r}; a vector here is added")
        unknown = entry.keys() - _KEYS
        if unknown or isinstance(entry.get("head_index"), int):
            raise VectorError(f"the hookpoint {hookpoint!r} has {', '.join(sorted(map(repr, unknown)))}, which is not known")
        coefficient = entry.get("steering_coefficient", 1.0)
        if isinstance(coefficient, bool) or not isinstance(coefficient, (int, float)):
            raise VectorError(f"the steering_coefficient of {hookpoint!r} is {coefficient!r}, no number")
        if not isinstance(entry["steering_vector"], torch.Tensor):
            raise VectorError(f"the steering_vector of {hookpoint!r} is no tensor")
        vectors[str(hookpoint)] = entry["steering_vector"] * float(coefficient)
    found = by_names(vectors, "lm-eval", "hookpoint")
    if None in found.directions:
        raise VectorError(f"the hookpoint {next(iter(vectors))!r} names no decoder block, such as layers.14")
    return Stored(found.directions, source("lm-eval steered", LAYERS, norm="times its steering_coefficient"))
