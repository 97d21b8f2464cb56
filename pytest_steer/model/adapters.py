"""A model with a PEFT adapter on it, beside the model without."""

from __future__ import annotations

import copy
import importlib.util
import json
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..screen import one_screen
from .gguf import quiet_transformers
from .loaded import Model
from .loading import ADAPTER
from .weights import first_few


def with_adapter(model: Model, folder: str | PathLike[str]) -> Model:
    """A copy of a model with the adapter of a folder on it. The model itself stays as it is.

    Raises:
        ModelError: peft is not installed, there is no adapter in the folder, or it does not fit the model.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ModelError(f"adapter {path}: there is no such folder")
    if not (path / ADAPTER).is_file():
        raise ModelError(f"adapter {path}: has no {ADAPTER}, so it is no folder of a PEFT adapter")
    if "peft_type" not in _config(path / ADAPTER):
        raise ModelError(
            f"adapter {path}: its {ADAPTER} names no 'peft_type', so it is not known what kind of adapter it is"
        )
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"adapter {path}: needs peft, which is not installed: pip install 'pytest-steer[adapters]'")
    hf = copy.deepcopy(model.hf)
    try:
        with quiet_transformers():
            added = hf.load_adapter(str(path))
    except Exception as error:  # peft and transformers raise nearly anything
        first = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"adapter {path}: cannot be put on {model.id}: {type(error).__name__}: {one_screen(first, share=0.75)}"
        ) from error
    for what, keys in (
        ("lacks weights", added.missing_keys),
        ("has weights that the model has no place for", added.unexpected_keys),
    ):
        if keys:
            raise ModelError(f"adapter {path}: {what}: {first_few(sorted(keys))}")
    hf.eval()
    return Model(hf, model.tokenizer, f"{model.id} with {path.name}", model.unexpected)


def _config(file: Path) -> dict[str, Any]:
    """What an adapter's configuration holds.

    Raises:
        ModelError: it is no JSON object.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"adapter {file.parent}: its {ADAPTER} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ModelError(f"adapter {file.parent}: its {ADAPTER} is not a JSON object")
    return found
