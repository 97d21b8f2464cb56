"""Loading the model under test."""

from __future__ import annotations

import os
from typing import Any

import torch

from .. import progress
from ..errors import ModelError
from ..sources import find_model
from .gguf import converted, quiet_transformers
from .loaded import Model

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(name: str | os.PathLike[str], *, dtype: str = "auto", device: str = "auto") -> Model:
    """Loads a model for steering claims.

    Args:
        name: a local transformers folder, a ``.gguf`` file, a hub id, ``builtin:NAME`` or ``package:NAME``.
        dtype: ``float32``, ``bfloat16``, ``float16``; ``auto`` is float32 on a CPU and the checkpoint's own elsewhere.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ...; ``auto`` is the best one present.

    Raises:
        ModelError: the name means nothing, the model cannot be loaded, or its blocks cannot be found.
    """
    import transformers

    source = find_model(name)
    place = pick_device(device)
    kind = pick_dtype(dtype, place)
    folder: Any = source.path if source.path is not None else source.id
    if source.kind == "gguf" and source.path is not None:
        folder = converted(source.path)
    progress.report(f"loading {source.id}")
    try:
        with quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            hf: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=kind)
        hf.to(place)
    except Exception as error:  # transformers, safetensors and the hub client raise nearly anything
        where = "the hub or its local cache" if source.kind == "hub" else str(folder)
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise ModelError(f"model {source.id!r}: cannot be loaded from {where}: {type(error).__name__}: {first}") from error
    return Model(hf, tokenizer, source.id)


def wrap_model(hf: Any, tokenizer: Any, id: str = "in memory") -> Model:
    """A model that is already in memory. It is put into evaluation mode.

    Raises:
        ModelError: its blocks cannot be found.
    """
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
