"""The order of the house (ARCHITECTURE.md): each folder imports only what stands before it. Read from the source, nothing is run.

Imports for type checkers count like all others.
"""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "pytest_steer"
ORDER = (
    "core", "stats", "against", "data", "prompting", "steering", "model", "extract", "measures", "soundness", "fuzzing", "claims", "files", "report",
    "studies",
)  # fmt: skip
# Folders that must not know of others although these stand before them.
IGNORANT = {"steering": {"data", "prompting"}, "report": {"files"}}
HEAVY = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "gguf")
WITHOUT_TORCH = ("core", "stats", "against", "data", "prompting", "report")
WITH_HYPOTHESIS = ("prompting", "fuzzing", "soundness")
MODULES = sorted(ROOT.rglob("*.py"))


@dataclass(frozen=True)
class Import:
    name: str  # full dotted name of what is imported
    line: int
    at_start: bool  # when the module itself is imported, rather than in a function
    for_types: bool = False

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


@functools.cache
def imports_of(file: Path) -> list[Import]:
    """Every import of a module."""
    package = ("pytest_steer", *file.relative_to(ROOT).parts[:-1])
    found: list[Import] = []

    def walk(node: ast.AST, at_start: bool, for_types: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for inner in node.body:
                walk(inner, at_start, True)
            for inner in node.orelse:
                walk(inner, at_start, for_types)
            return
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, at_start, for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.extend(Import(f"{module}.{alias.name}", node.lineno, at_start, for_types) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__", "importorskip")):
            found.append(Import(ast.unparse(node), node.lineno, at_start, for_types))
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            walk(child, at_start and not inside, for_types)

    walk(ast.parse(file.read_text(encoding="utf-8")), True, False)
    return found


def place_of(file: Path) -> str:
    """The folder, or the module's name at the top."""
    parts = file.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else file.stem


def ours(imported: Import) -> str | None:
    """The folder or top module of ours that is imported, or None."""
    parts = imported.name.split(".")
    return parts[1] if parts[0] == "pytest_steer" and len(parts) > 1 else None


def named(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


IN_FOLDERS = [file for file in MODULES if place_of(file) in ORDER]
FACES = [file for file in MODULES if place_of(file) not in (*ORDER, "__init__")]


def test_every_folder_has_its_place_in_the_order():
    assert {file.parent.relative_to(ROOT).parts[0] for file in MODULES if file.parent != ROOT} == {
        *ORDER,
        "cli",
        "pytest_plugin",
    }
    assert len(IN_FOLDERS) > 30


@pytest.mark.parametrize("place", ORDER)
def test_a_folder_imports_only_what_stands_before_it(place):
    allowed = {*ORDER[: ORDER.index(place) + 1]} - IGNORANT.get(place, set())
    wrong = [
        (named(file), i.line, i.name)
        for file in IN_FOLDERS
        if place_of(file) == place
        for i in imports_of(file)
        if ours(i) is not None and ours(i) not in allowed
    ]
    assert not wrong, f"{place} may import {sorted(allowed)}"


def test_no_circle_of_files():
    """What two files in a circle know of each other cannot be read one by one."""
    circles = [sorted(circle) for circle in circles_of(graph())]
    assert not circles


def test_folders_that_know_nothing_of_models_do_not_import_torch():
    files = [file for file in IN_FOLDERS if place_of(file) in WITHOUT_TORCH]
    assert not [(named(file), i.line, i.name) for file in files for i in imports_of(file) if i.top in HEAVY]


def test_only_the_faces_know_pytest():
    files = [file for file in MODULES if file not in FACES]
    assert not [(named(file), i.line, i.name) for file in files for i in imports_of(file) if i.top in ("pytest", "_pytest")]


def test_only_the_command_line_knows_click():
    files = [file for file in MODULES if place_of(file) != "cli"]
    assert not [(named(file), i.line) for file in files for i in imports_of(file) if i.top == "click"]


def test_hypothesis_is_known_to_who_draws_with_it():
    files = [file for file in IN_FOLDERS if place_of(file) not in WITH_HYPOTHESIS]
    found = [(named(file), i.line) for file in files for i in imports_of(file) if i.top == "hypothesis" and not i.for_types]
    assert not found


def test_the_package_itself_imports_nothing_at_its_start():
    wanted = {"importlib", "typing", "__future__"}
    assert {i.top for i in imports_of(ROOT / "__init__.py") if i.at_start and not i.for_types} == wanted


def module_name(file: Path) -> str:
    parts = ("pytest_steer", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def graph() -> dict[str, set[str]]:
    """Module to the modules that it names in imports, the package's own front page left out."""
    names = {module_name(file): file for file in MODULES}
    found: dict[str, set[str]] = {}
    for name, file in names.items():
        if name == "pytest_steer":
            continue
        targets = set()
        for i in imports_of(file):
            module = i.name if i.name in names else i.name.rpartition(".")[0]
            if module in names and module not in ("pytest_steer", name):
                targets.add(module)
        found[name] = targets
    return found


def circles_of(edges: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that can all reach each other (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in edges.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            circle = set(stack[at:])
            del stack[at:]
            if len(circle) > 1:
                found.append(circle)

    for node in edges:
        if node not in index:
            visit(node)
    return found


def test_the_rules_can_be_broken():
    """The reader of imports sees what is hidden in functions, in conditions and behind TYPE_CHECKING."""
    file = ROOT / "stats" / "made_up.py"
    source = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nelse:\n    import numpy\n"
        "def f():\n    from ..model import hooks\n    import pytest as p\nfrom . import intervals\nfrom ..core import errors\n"
        "x = importlib.import_module('transformers')\n"
    )

    class Made:
        parts = file.relative_to(ROOT).parts

        def relative_to(self, _):
            return self

        def read_text(self, encoding):
            return source

    found = {(i.name, i.at_start, i.for_types) for i in imports_of(Made())}
    assert ("pytest_steer.model.hooks", False, False) in found
    assert ("pytest", False, False) in found
    assert ("pytest_steer.stats.intervals", True, False) in found
    assert ("pytest_steer.core.errors", True, False) in found
    assert ("numpy", True, False) in found
    assert ("torch", True, True) in found
    assert any("transformers" in name for name, *_ in found)
