"""The name of a model's chat template, read off its files before the model is loaded."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

from ..errors import ModelError
from ..sources import find_model
from .formats import PromptFormat

_FILE = "chat_template.jinja"
_GGUF_KEY = b"tokenizer.chat_template"


def template_name(name: str) -> str | None:
    """What ``PromptFormat.name`` will say of a model; None if that cannot be told without loading it (a hub id)."""
    try:
        source = find_model(name)
        if source.path is None:
            return None
        if source.kind == "gguf":
            return None if _holds(source.path, _GGUF_KEY) else PromptFormat().name
        return PromptFormat(template=_template_in(source.path)).name
    except (ModelError, OSError, ValueError):
        return None  # which is an error once it is loaded


def _template_in(folder: Path) -> str | None:
    if (folder / _FILE).is_file():
        return (folder / _FILE).read_text(encoding="utf-8")
    settings = folder / "tokenizer_config.json"
    found = json.loads(settings.read_text(encoding="utf-8")).get("chat_template") if settings.is_file() else None
    if isinstance(found, list):  # several named ones, as in PromptFormat: transformers' own choice
        named = {entry["name"]: entry["template"] for entry in found}
        found = named.get("default") or next(iter(named.values()), None)
    return found or None


def _holds(path: Path, key: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(key) >= 0
