"""The order of the house (DESIGN.md): each folder imports only what stands above it. Read from the source, nothing is run."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "pytest_steer"
ORDER = (
    "stats",
    "prompting",
    "steering",
    "model",
    "extract",
    "metrics",
    "checks",
    "suites",
    "report",
    "sweeping",
    "comparing",
    "assertions",
)
GROUND = ("errors", "sources", "progress", "recording")
# Folders that must not know of others although these stand above them.
IGNORANT = {"steering": {"prompting"}}
HEAVY = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "gguf")
MODULES = sorted(ROOT.rglob("*.py"))


@dataclass(frozen=True)
class Import:
    name: str  # full dotted name of what is imported
    line: int
    at_start: bool  # when the module itself is imported, rather than in a function

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


def imports_of(file: Path) -> list[Import]:
    """Every import of a module but those for type checkers only."""
    package = ("pytest_steer", *file.relative_to(ROOT).parts[:-1])
    found: list[Import] = []

    def walk(node: ast.AST, at_start: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for inner in node.orelse:
                walk(inner, at_start)
            return
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, at_start) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.extend(Import(f"{module}.{alias.name}", node.lineno, at_start) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__", "importorskip")):
            found.append(Import(ast.unparse(node), node.lineno, at_start))
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            walk(child, at_start and not inside)

    walk(ast.parse(file.read_text(encoding="utf-8")), True)
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
FACES = [file for file in MODULES if file.parent == ROOT and file.stem not in (*GROUND, "__init__")]


def test_every_folder_has_its_place_in_the_order():
    assert {file.parent.relative_to(ROOT).parts[0] for file in MODULES if file.parent != ROOT} == set(ORDER)
    assert len(IN_FOLDERS) > 30


@pytest.mark.parametrize("file", IN_FOLDERS, ids=named)
def test_a_folder_imports_only_what_stands_above_it(file):
    place = place_of(file)
    allowed = {*ORDER[: ORDER.index(place) + 1], *GROUND} - IGNORANT.get(place, set())
    wrong = [(i.line, i.name) for i in imports_of(file) if ours(i) is not None and ours(i) not in allowed]
    assert not wrong, f"{named(file)} may import {sorted(allowed)}"


@pytest.mark.parametrize("name", GROUND)
def test_ground_modules_import_nothing_of_ours_but_errors(name):
    found = {ours(i) for i in imports_of(ROOT / f"{name}.py")} - {None}
    assert found <= ({"errors"} if name != "errors" else set())


@pytest.mark.parametrize(
    "file", [f for f in IN_FOLDERS if place_of(f) in ("stats", "prompting", "suites", "report")], ids=named
)
def test_folders_that_know_nothing_of_models_do_not_import_torch(file):
    if named(file) != "suites/build.py":
        assert not [(i.line, i.name) for i in imports_of(file) if i.top in HEAVY]


@pytest.mark.parametrize("file", [f for f in MODULES if f not in FACES], ids=named)
def test_only_the_faces_know_pytest(file):
    assert not [(i.line, i.name) for i in imports_of(file) if i.top in ("pytest", "_pytest")]


@pytest.mark.parametrize("file", [f for f in IN_FOLDERS if place_of(f) != "prompting"], ids=named)
def test_hypothesis_is_a_matter_of_prompting_alone(file):
    assert not [(i.line, i.name) for i in imports_of(file) if i.top == "hypothesis"]


def test_the_package_itself_imports_nothing_at_its_start():
    wanted = {"importlib", "typing", "__future__"}
    assert {i.top for i in imports_of(ROOT / "__init__.py") if i.at_start} == wanted


def test_the_rules_can_be_broken(tmp_path):
    """The reader of imports sees what is hidden in functions and conditions, and not what is for type checkers only."""
    file = ROOT / "stats" / "made_up.py"
    source = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nelse:\n    import numpy\n"
        "def f():\n    from ..model import hooks\n    import pytest as p\nfrom . import intervals\nfrom .. import errors\n"
        "x = importlib.import_module('transformers')\n"
    )

    class Made:
        parts = file.relative_to(ROOT).parts

        def relative_to(self, _):
            return self

        def read_text(self, encoding):
            return source

    found = {(i.name, i.at_start) for i in imports_of(Made())}
    assert ("pytest_steer.model.hooks", False) in found
    assert ("pytest", False) in found
    assert ("pytest_steer.stats.intervals", True) in found
    assert ("pytest_steer.errors", True) in found
    assert ("numpy", True) in found
    assert not any(name == "torch" for name, _ in found)
    assert any("transformers" in name for name, _ in found)
