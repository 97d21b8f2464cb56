"""A path after an option, with a space, that pytest takes for a place of tests: it looks for rootdir from there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from ..core.columns import wrapped
from ..core.screen import visible
from .columns import columns

_PATHS = ("--steer-model", "--steer-cache", "--steer-counterexamples", "--steer-baseline", "--steer-report")


def moved_rootdir(config: pytest.Config) -> str | None:
    """A warning for the header if the path after one of our options moved rootdir; None if it did not.

    pytest looks for rootdir before it knows our options, so it takes such a path for one of its arguments. Node ids then begin
    elsewhere, and an ini file in the current folder may not be read.
    """
    given = list(config.invocation_params.args)
    if config.getoption("rootdir") or config.getoption("inifilename"):
        return None
    for option, value in _beside(given):
        place = Path(config.invocation_params.dir, value)
        folder = place if place.is_dir() else place.parent
        if place.exists() and _is_moved(config, folder):
            text = (
                f"steer: warning: rootdir was looked for in {visible(str(folder))} too, which is no place of tests: ids begin at rootdir, "
                f"and an ini file here may not be read. Write {option}={visible(value)}"
            )
            return wrapped(text, columns(config))
    return None


def _beside(given: Sequence[object]) -> Iterator[tuple[str, str]]:
    """Our options whose value is an argument of its own."""
    for option, value in pairwise(given):
        if option in _PATHS:
            yield str(option), str(value)


def _is_moved(config: pytest.Config, folder: Path) -> bool:
    """Whether rootdir is another one than tests and the current folder would give."""
    here, root = config.invocation_params.dir.resolve(), config.rootpath.resolve()
    places = [here]
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        files = [Path(here, argument.partition("::")[0]) for argument in config.args]
        places += [(file if file.is_dir() else file.parent).resolve() for file in files if file.exists()]
    try:
        common = Path(os.path.commonpath(places))
    except ValueError:  # on other drives
        return False
    if root == common or (common.is_relative_to(root) and (config.inipath is not None or (root / "setup.py").exists())):
        return False
    return root.is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(root)
