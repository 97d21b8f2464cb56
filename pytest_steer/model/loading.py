"""Load the model under test."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from .. import progress
from ..errors import ModelError
from ..screen import one_screen
from ..sources import ModelSource, find_model
from .gguf import converted, left_out_of, quiet_transformers
from .loaded import Model
from .weights import check_complete, check_patterns, check_unexpected, first_few, unexpected_weights

ADAPTER = "adapter_config.json"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(
    name: str | os.PathLike[str], *, dtype: str = "auto", device: str = "auto", allow_unexpected: Iterable[str] = ()
) -> Model:
    """Load a model for steering claims.

    Args:
        name: a local transformers folder, a ``.gguf`` file, a hub id, ``builtin:NAME`` or ``package:NAME``.
        dtype: ``float32``, ``bfloat16``, ``float16``; ``auto`` is float32 on a CPU and the checkpoint's own elsewhere.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ...; ``auto`` is the best one present.
        allow_unexpected: regular expressions for names of weights in the files that the model has no place for. Those that match
            may be left out, as with ``["^mtp."]``. All others are an error, except those that transformers itself ignores.

    Raises:
        ModelError: the name means nothing, the model cannot be loaded, weights are missing from its files or left out, or its
            blocks cannot be found.
    """
    import transformers

    allowed = check_patterns(allow_unexpected)
    source = find_model(name)
    place = pick_device(device)
    kind = pick_dtype(dtype, place)
    folder: Any = source.place
    left_out: tuple[str, ...] = ()
    if source.kind == "gguf" and source.path is not None:
        folder = converted(source.path)
        left_out = left_out_of(folder)
    progress.report(f"loading {source.id}")
    adapter = _adapter_in(source)
    try:
        with quiet_transformers(), _without_adapter(folder) if adapter else nullcontext(folder) as base:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            hf: Any
            info: Any
            hf, info = transformers.AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]
                base, dtype=kind, output_loading_info=True, ignore_mismatched_sizes=True
            )
            if adapter:
                # Not by from_pretrained, which then says nothing of the base model's weights.
                added = hf.load_adapter(str(folder))
    except Exception as error:  # transformers, safetensors and the hub client raise nearly anything
        where = "the hub or its local cache" if source.kind == "hub" else str(folder)
        first = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"model {source.id!r}: cannot be loaded from {where}: {type(error).__name__}: {one_screen(first, share=0.75)}"
        ) from error
    check_complete(source.id, hf, info)
    if adapter and added.missing_keys:
        raise ModelError(
            f"model {source.id!r}: the files of its PEFT adapter lack weights: {first_few(sorted(added.missing_keys))}"
        )
    unexpected = (*left_out, *unexpected_weights(hf, info))
    check_unexpected(source.id, hf, unexpected, allowed)
    try:
        hf.to(place)
    except RuntimeError as error:  # no memory left on the device, for one
        first = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"model {source.id!r}: cannot be put on {place}: {type(error).__name__}: {one_screen(first, share=0.75)}"
        ) from error
    return Model(hf, tokenizer, source.id, unexpected)


def _adapter_in(source: ModelSource) -> bool:
    """Whether the model's folder holds a PEFT adapter beside its weights.

    Raises:
        ModelError: it does, and peft is not installed: transformers would leave the adapter out in silence.
    """
    if source.path is None or not source.path.is_dir():
        return False
    if not (source.path / ADAPTER).is_file():
        alone = next(source.path.glob("adapter_model*"), None)
        if alone is not None:
            raise ModelError(
                f"model {source.id!r}: its folder holds the weights of a PEFT adapter ({alone.name}) without {ADAPTER}, so they would be left "
                f"out in silence: add the file, or move {alone.name} away to measure the base model"
            )
        return False
    if importlib.util.find_spec("peft") is None:
        raise ModelError(
            f"model {source.id!r}: its folder holds a PEFT adapter ({ADAPTER}), and peft is not installed, so another model would be measured. "
            "Install it (pip install peft), or move the adapter's files away to measure the base model"
        )
    return True


@contextmanager
def _without_adapter(folder: Path) -> Iterator[str]:
    """The folder without its adapter: links to all other files."""
    with tempfile.TemporaryDirectory() as made:
        for entry in folder.iterdir():
            if not entry.name.startswith("adapter_"):
                (Path(made) / entry.name).symlink_to(entry.resolve())
        yield made


def wrap_model(hf: Any, tokenizer: Any, id: str = "in memory") -> Model:
    """Wrap a model that is already in memory, and put it into evaluation mode.

    Raises:
        ModelError: its blocks cannot be found, or there is no tokenizer.
    """
    if not hasattr(tokenizer, "get_added_vocab"):
        raise ModelError(
            f"wrap_model needs the model's tokenizer, not {type(tokenizer).__name__}: wrap_model(hf, AutoTokenizer.from_pretrained(path))"
        )
    return Model(hf, tokenizer, id)


def pick_device(device: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        ModelError: unknown, or not present on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from None
    return place


def pick_dtype(dtype: str, device: torch.device) -> Any:
    """The torch dtype of that name; ``auto`` is float32 on a CPU, else the checkpoint's own.

    Raises:
        ModelError: unknown.
    """
    if dtype == "auto":
        # On a CPU the shape of a batch moves bfloat16 scores by 1e-2.
        return torch.float32 if device.type == "cpu" else "auto"
    if dtype not in _DTYPES:
        raise ModelError(f"dtype {dtype!r} is not one of auto, {', '.join(_DTYPES)}")
    return _DTYPES[dtype]
