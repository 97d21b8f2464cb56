"""``.pt`` files, as ``torch.save`` writes them: nothing in them is run.

What may stand in such a file is a tensor, {layer: tensor}, a list of tensors, the state dict of a module that holds these, and the
``steering-vectors`` package's SteeringVector. The pickle inside is first looked through opcode by opcode (nothing is called), and a file that names any other function or
class is refused; what is left goes through ``torch.load(weights_only=True)``. The archive's own checksums are held against its
content before that, because torch does not look at them.

Layers, all 0-based decoder blocks whose output is changed: CAA's ``vec_layer_L_MODEL.pt`` (Panickssery et al. 2023, the code
reads and steers after block L), the ``steering-vectors`` package (its hooks sit on the output of block N), the keys of {layer: tensor}, and
the rows of [layers, width].
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from ...errors import VectorError
from .found import Found, check_has, checked, checked_rows, layer_number, source
from .names import by_names, stacked

CAA = "the file's name, as the 0-based decoder block whose output is changed (CAA)"
STEERING_VECTORS = "layer N is the output of decoder block N, 0-based (steering-vectors)"
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


class _Holder:
    """Stands in for steering_vectors.SteeringVector while a file is read: two attributes and no code of its own."""

    layer_activations: Any
    layer_type: Any


_Holder.__module__, _Holder.__qualname__ = _CLASS.split()
_Holder.__name__ = _Holder.__qualname__


def read(file: Path) -> Found:
    """One ``.pt`` file; the layer of a single direction is taken from the file's name if that says it."""
    content = _load(file)
    name = _NAME.fullmatch(file.stem)
    if isinstance(content, _Holder):
        return from_steering_vectors(content, f"{file}: ", lambda value, what: checked(value, file, what))
    if isinstance(content, dict):
        if len(content) == 1 and isinstance(inner := next(iter(content.values())), dict):
            content = inner  # {"state_dict": {...}}
        if not content:
            raise VectorError(f"{file}: holds an empty dictionary; expected {{layer: tensor}}")
        return by_names(content, file, ".pt")
    rows = _rows(content, file)
    if len(rows) > 1:
        if name:
            raise VectorError(
                f"{file}: holds {len(rows)} directions, and its name says layer {name[1]}: is it one layer or are the rows layers? "
                "Rename the file if the rows are layers; save only the right row if not"
            )
        return stacked(rows, ".pt")
    if name is None:
        return stacked(rows, ".pt")
    layer = layer_number(name[1])
    if layer is None:
        raise VectorError(f"{file}: its name says layer {name[1]!r}, which is no decoder block's number")
    return Found({layer: rows[0]}, source(".pt vec_layer_L", CAA, **({"model_hint": name[2]} if name[2] else {})))


def read_folder(folder: Path, wanted: tuple[int, ...] | None) -> Found:
    """A folder with one ``.pt`` file per layer: ``vec_layer_L_MODEL.pt``, ``layer_L.pt`` or ``L.pt``.

    Raises:
        VectorError: a name that says no layer, a layer twice, files of several models, or a gap among the layers although
            ``wanted`` does not say which are meant.
    """
    try:
        files = sorted(
            one for one in folder.iterdir() if one.suffix.lower() in (".pt", ".pth") and not one.name.startswith(".")
        )
    except OSError as error:
        raise VectorError(f"{folder}: cannot be read: {error}") from None
    if not files:
        raise VectorError(f"{folder}: is a folder without .pt files; name a file, or a folder of vec_layer_L_MODEL.pt")
    found: dict[int, Path] = {}
    models: set[str] = set()
    for file in files:
        name = _NAME.fullmatch(file.stem)
        layer = layer_number(name[1] if name else file.stem)
        if layer is None:
            raise VectorError(
                f"{folder}: {file.name} does not say its layer as vec_layer_L_MODEL.pt, layer_L.pt or L.pt do. Name one file, or "
                "take it out of the folder"
            )
        models.add((name[2] or "") if name else "")
        if len(models) > 1:
            raise VectorError(
                f"{folder}: holds vectors of several models, {' and '.join(repr(one) for one in sorted(models))}. Name one file, or "
                "keep a folder per model"
            )
        if layer in found:
            raise VectorError(
                f"{folder}: holds layer {layer} twice, {found[layer].name} and {file.name}. Take one of them out"
            )
        found[layer] = file
    gaps = sorted(set(range(min(found), max(found) + 1)) - set(found))
    if gaps and wanted is None:
        raise VectorError(
            f"{folder}: has files for the layers {sorted(found)} and none for {gaps}. If none is missing, say which layers are "
            f"meant, layer: {sorted(found)}"
        )
    if wanted is not None:
        check_has(wanted, found, folder)
        found = {layer: found[layer] for layer in wanted}
    directions: dict[int | None, torch.Tensor] = {}
    for layer, file in found.items():
        rows = _rows(_load(file), file)
        if len(rows) > 1:
            raise VectorError(f"{file}: holds {len(rows)} directions; in a folder of layers each file holds one")
        directions[layer] = rows[0]
    model = models.pop()
    return Found(directions, source("folder of .pt per layer", CAA, **({"model_hint": model} if model else {})))


def from_steering_vectors(
    vector: Any, where: str = "", check: Callable[[Any, str], torch.Tensor] = lambda value, what: value
) -> Found:
    """A steering_vectors.SteeringVector, in memory or what a file holds of one.

    Raises:
        VectorError: it acts elsewhere than at the output of decoder blocks, or is not complete.
    """
    activations, kind = getattr(vector, "layer_activations", None), getattr(vector, "layer_type", None)
    if not isinstance(activations, dict) or not isinstance(kind, str):
        raise VectorError(
            f"{where}is not a whole steering_vectors.SteeringVector: layer_activations and layer_type are missing"
        )
    if kind != "decoder_block":
        raise VectorError(
            f"{where}the SteeringVector acts on {kind!r}; a vector here is added to the output of decoder blocks, layer_type "
            "'decoder_block'. Train it again with that"
        )
    directions: dict[int | None, torch.Tensor] = {}
    for layer, direction in activations.items():
        if isinstance(layer, bool) or not isinstance(layer, int) or layer < 0:
            raise VectorError(f"{where}a layer is a decoder block's number, from 0 on; not {layer!r}")
        directions[layer] = check(direction, f"layer {layer}")
    return Found(directions, source("steering-vectors SteeringVector", STEERING_VECTORS))


def _rows(content: Any, file: Path) -> list[torch.Tensor]:
    """One direction, or one per row or entry."""
    if isinstance(content, (list, tuple)):
        if not content:
            raise VectorError(f"{file}: holds an empty list; expected one tensor per layer")
        return [checked(value, file, f"entry {index}") for index, value in enumerate(content)]
    if not isinstance(content, torch.Tensor):
        raise VectorError(
            f"{file}: holds a {type(content).__name__}; expected a tensor of shape [width] or [layers, width], {{layer: tensor}}, a "
            "list of tensors, or a steering_vectors.SteeringVector"
        )
    return checked_rows(content, file)


def _load(file: Path) -> Any:
    names = _inspect(file)
    # Only while such a file is read: the name is not allowed in anybody else's torch.load.
    allowed = torch.serialization.safe_globals([_Holder]) if _CLASS in names else nullcontext()
    try:
        with allowed:
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything for a file that contradicts itself
        raise VectorError(
            f"{file}: cannot be read by torch.load(weights_only=True): {_first_line(error)}. {_CONVERT}"
        ) from None


def _inspect(file: Path) -> set[str]:
    """Holds the archive against its checksums, and its pickle against the names that are allowed: returns these. Runs nothing.

    Raises:
        VectorError: not an archive of torch.save, damaged, or it names anything but tensors.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
        if start != b"PK\x03\x04":
            raise VectorError(
                f"{file}: is not an archive as torch.save writes it since version 1.6 (a plain pickle, an older file, another format, or "
                f"damaged). Nothing is unpickled here. An older file of tensors becomes a new one by torch.save(torch.load(old, "
                f"weights_only=True), new). {_CONVERT}"
            )
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise VectorError(f"{file}: its entries are compressed, which torch.save never does. {_CONVERT}")
            if len({entry.filename for entry in entries}) != len(entries):
                raise VectorError(f"{file}: has an entry twice: a damaged file")
            damaged = archive.testzip()
            if damaged is not None:
                raise VectorError(f"{file}: is damaged: {damaged} does not match its checksum. Take a good copy")
            pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
            if len(pickles) != 1:
                raise VectorError(f"{file}: has {len(pickles)} data.pkl where torch.save writes one")
            names = set(_names(archive.read(pickles[0])))
    except VectorError:
        raise
    except Exception as error:  # zipfile and pickletools raise nearly anything for damaged bytes
        raise VectorError(
            f"{file}: is not a readable .pt file, damaged or cut off: {_first_line(error)}. Take a good copy"
        ) from None
    foreign = sorted(name for name in names if not _ALLOWED.fullmatch(name))
    if foreign:
        raise VectorError(
            f"{file}: would need {', '.join(one.replace(' ', '.') for one in foreign)[:200]} to be unpickled, and nothing is: a pickle can "
            f"run any program. {_CONVERT}"
        )
    return names


def _names(pickled: bytes) -> Iterator[str]:
    """Every ``module name`` that the pickle refers to."""
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            yield str(argument)
        elif opcode.name in _BY_NAME:
            yield f"{opcode.name} {argument or ''}".strip()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
