"""Extensions that commands know: those of installed packages, and those of the ``conftest.py`` files that pytest would load."""

from __future__ import annotations

import configparser
import os
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from ..core import registry
from ..core.columns import message_of
from ..core.evidence import Json
from ..core.sources import shown
from .output import say

_SECTIONS = {
    "pytest.ini": "pytest",
    ".pytest.ini": "pytest",
    "pyproject.toml": "",
    "tox.ini": "pytest",
    "setup.cfg": "tool:pytest",
}
_loaded: dict[Path, str] = {}


def load_extensions(*files: Path) -> bool:
    """Import the extensions of installed packages and of ``conftest.py`` files. Prints those that fail on stderr.

    Args:
        files: claim files. The ``conftest.py`` files are those of their folders and of the folders above up to rootdir, as pytest takes them;
            without files those of the current folder.

    Returns:
        Whether all succeeded.
    """
    broken = registry.load_extensions()
    for file in _conftests([file.absolute().parent for file in files] or [Path.cwd()]):
        if file not in _loaded:
            _loaded[file] = _fault_of(file)
        if _loaded[file]:
            broken[shown(file)] = _loaded[file]
    for name, reason in broken.items():
        say(f"broken extension: {name}: {reason}", err=True)
    return not broken


def _conftests(folders: Sequence[Path]) -> Iterator[Path]:
    """The ``conftest.py`` files of folders and of those above, from rootdir down, each once."""
    root = _root(folders)
    found: dict[Path, None] = {}
    for folder in folders:
        above = [one for one in (folder, *folder.parents) if one == root or root in one.parents]
        found |= dict.fromkeys(one / "conftest.py" for one in reversed(above))
    return (file for file in found if file.is_file())


def _root(folders: Sequence[Path]) -> Path:
    """Pytest's rootdir: the first folder upward with settings of pytest, else what the folders and the current one have in common."""
    common = _common(folders)
    for folder in (common, *common.parents):
        settings = _settings(folder)
        if settings is not None:
            given = settings.get("pythonpath", ())
            for path in reversed(given.split() if isinstance(given, str) else given):
                _put_first(folder / path)
            return folder
    return next(
        (folder for folder in (common, *common.parents) if (folder / "setup.py").is_file()), _common([Path.cwd(), common])
    )


def _common(folders: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # on other drives
        return folders[-1]


def _settings(folder: Path) -> Json | None:
    """The settings of pytest in a folder; None if there are none."""
    for name, section in _SECTIONS.items():
        file = folder / name
        try:
            text = file.read_text(encoding="utf-8") if file.is_file() else None
            if text is None:
                continue
            if not section:
                found = tomllib.loads(text).get("tool", {}).get("pytest", {}).get("ini_options")
            else:
                parser = configparser.ConfigParser(interpolation=None)
                parser.read_string(text)
                found = dict(parser[section]) if section in parser else {} if name.endswith("pytest.ini") else None
        except (OSError, ValueError, configparser.Error):  # which pytest says
            continue
        if found is not None:
            return dict(found)
    return None


def _fault_of(file: Path) -> str:
    """Import a ``conftest.py``, and return what is wrong with it; empty if nothing is."""
    package = [file.stem]
    top = file.parent
    while (top / "__init__.py").is_file():
        package.insert(0, top.name)
        top = top.parent
    _put_first(top)
    name = ".".join(package)
    spec = spec_from_file_location(name, file)
    assert spec is not None  # of a file that ends in .py
    assert spec.loader is not None
    module, before = module_from_spec(spec), sys.modules.get(name)
    sys.modules[name] = module
    try:
        with redirect_stdout(sys.stderr):  # what a command prints may be JSON
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # what skips a test is no Exception
        return message_of(error)
    finally:
        if before is not None:
            sys.modules[name] = before
        else:
            sys.modules.pop(name, None)
    return ""


def _put_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
