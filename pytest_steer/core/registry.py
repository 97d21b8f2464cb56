"""The one registry: everything that others may add to, ours and theirs, by kind and name.

Ours stand in it the way a stranger's do: by a decorator in the file that defines them. Strangers' files are found through the entry-point
group ``pytest_steer``, each entry a module name, or by an import in a ``conftest.py``.
"""

from __future__ import annotations

import difflib
import pkgutil
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from .columns import message_of
from .errors import SteerError

GROUP = "pytest_steer"
KINDS = ("claim", "method", "intervention", "recipe", "axis", "vector format", "data format", "report format", "judge")

_things: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
_homes: dict[tuple[str, str], str] = {}
_specs: dict[tuple[str, str], Any] = {}
_broken: dict[str, str] = {}
_loaded = False
_version = 0


def version() -> int:
    """A number that changes whenever something is registered, for whoever keeps what was made of all things."""
    return _version


def register(kind: str, name: str, thing: Any, *, home: str) -> None:
    """Enter a thing under its name.

    Args:
        kind: one of ``KINDS``.
        home: the module that defines it. The same module may enter it again when it is loaded again; another one may not, nor may a
            module of the same name from another file, as every ``conftest.py`` is.

    Raises:
        SteerError: the name is taken, or is no name; there is no such kind.
    """
    if kind not in KINDS:
        raise SteerError(f"{home}: there is no kind of thing {kind!r}: {did_you_mean(kind, KINDS)}")
    if not name or name != name.strip() or any(mark in name for mark in "[]:\n"):
        raise SteerError(f"{home}: {name!r} cannot be the name of a {kind}: use letters, digits and underscores")
    # A module that is loaded again gets a new specification; a notebook has none.
    key, spec = (kind, name), getattr(sys.modules.get(home), "__spec__", None)
    before = _specs.get(key)
    if _homes.get(key) == home and spec is not None and spec is before:
        raise SteerError(f"{home}: registers the {kind} {name!r} twice: give one of them another name")
    mine, taken = (home, _homes.get(key)) if _homes.get(key) != home else (_origin(spec), _origin(before))
    if key in _homes and mine != taken:
        raise SteerError(f"{mine}: the {kind} {name!r} is already registered by {taken}: give yours another name")
    global _version
    _version += 1
    _things[kind][name] = thing
    _homes[key], _specs[key] = home, spec


def _origin(spec: Any) -> str | None:
    """The file of a module."""
    return getattr(spec, "origin", None)


def forget(kind: str, name: str) -> None:
    """Take a thing out again, for tests that register one."""
    global _version
    _version += 1
    del _things[kind][name], _homes[kind, name], _specs[kind, name]


def find(kind: str, name: str) -> Any:
    """The thing of that name. Extensions are loaded if none of the known things has it.

    Raises:
        SteerError: there is none; says which was probably meant, and which there are.
    """
    if name not in _things[kind]:
        load_extensions()
    try:
        return _things[kind][name]
    except KeyError:
        raise SteerError(f"there is no {kind} {name!r}: {did_you_mean(name, names(kind))}") from None


def names(kind: str) -> list[str]:
    """The names of one kind, in alphabetical order."""
    return sorted(_things[kind])


def things(kind: str) -> dict[str, Any]:
    """Name to thing, in alphabetical order."""
    return {name: _things[kind][name] for name in names(kind)}


def home_of(kind: str, name: str) -> str:
    """The module that registered a thing."""
    return _homes[kind, name]


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option that ``word`` probably means; None if no option is similar."""

    def plain(text: str) -> str:
        return text.lower().replace("-", "_").replace(" ", "_")

    by_plain = {plain(option): option for option in options}
    close = difflib.get_close_matches(plain(word), by_plain, n=1, cutoff=0.6)
    return by_plain[close[0]] if close else None


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """``did you mean 'caa'? There are caa, pca``, or ``there are caa, pca``: how a sentence ends."""
    known = list(options)
    meant = nearest(word, known)
    return (f"did you mean {meant!r}? There are " if meant else "there are ") + (", ".join(known) or "none")


def discover(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that what they register is there."""
    for module in sorted(found.name for found in pkgutil.iter_modules(path)):
        import_module(f"{package}.{module}")


def load_extensions() -> dict[str, str]:
    """Import the modules that installed packages name in the entry-point group ``pytest_steer``, once.

    Returns:
        Entry points that could not be imported, "name (module)" to what is wrong. The others are there all the same.
    """
    global _loaded
    if not _loaded:
        _loaded = True
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            try:
                entry.load()
            except (Exception, SystemExit) as error:  # a stranger's module raises what it likes, and the rest has to run
                _broken[f"{entry.name} ({entry.value})"] = message_of(error)
    return dict(_broken)
