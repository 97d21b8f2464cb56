"""The Python that the documentation shows: what it imports is there, and functions have the keywords that it gives them."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from forked import run_module

import pytest_steer
from pytest_steer.files import read_suite

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> Iterator[ast.Module]:
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield ast.parse(textwrap.dedent(found[1]))


def keywords_of(function: typing.Any) -> set[str] | None:
    """The names that a function takes by keyword; None if it takes any."""
    found = set()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            hint = typing.get_type_hints(function).get(parameter.name)
            if typing.get_origin(hint) is not typing.Unpack:
                return None
            found |= typing.get_type_hints(typing.get_args(hint)[0]).keys()
        else:
            found.add(parameter.name)
    return found


def wrong_in(tree: ast.Module) -> list[str]:
    """Imports of ours that do not exist, and keywords that a public function does not take."""
    wrong, known = [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pytest_steer":
            for alias in node.names:
                try:
                    known[alias.asname or alias.name] = getattr(import_module(node.module), alias.name)
                except (ImportError, AttributeError) as error:
                    wrong.append(str(error))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        function = known.get(name) or (
            getattr(pytest_steer.extract, name[8:], None) if name.startswith("extract.") else None
        )
        function = function or (getattr(pytest_steer, name, None) if name.startswith("assert_") else None)
        if inspect.isfunction(function) and (takes := keywords_of(function)) is not None:
            wrong += [
                f"{name} has no {word.arg!r}" for word in node.keywords if word.arg is not None and word.arg not in takes
            ]
    return wrong


LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!\w+:)(?P<file>[^)#\s]*)(?:#(?P<heading>[^)\s]+))?\)")
FENCED = re.compile(r"^\s*```.*?^\s*```", re.MULTILINE | re.DOTALL)


def headings_of(page: Path) -> set[str]:
    """The names by which GitHub, and the site, link to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(page: Path) -> list[str]:
    dead = []
    for link in LINK.finditer(FENCED.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / link["file"]) if link["file"] else page
        if not target.exists() or (link["heading"] and link["heading"] not in headings_of(target)):
            dead.append(link[0])
    return dead


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "ARCHITECTURE.md"], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """On GitHub. On the site, Sphinx checks them."""
    assert dead_links(page) == []


def test_every_page_is_on_the_site() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = [
        line for tree in re.findall(r"^```{toctree}\n(.*?)^```", index, re.MULTILINE | re.DOTALL) for line in tree.split()
    ]
    missing = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"} - set(listed)
    assert missing == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_imports_and_keywords_exist(page: Path) -> None:
    assert [wrong for tree in blocks(page) for wrong in wrong_in(tree)] == []


def test_how_a_claim_runs(tmp_path: Path) -> None:
    """The page's session, as it stands there."""
    text = re.sub("^```.*$", "", (ROOT / "docs" / "how-a-claim-runs.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (tmp_path / "session.txt").write_text(text, encoding="utf-8")
    done = run_module("doctest", "-v", str(tmp_path / "session.txt"), cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("\nTrying:") >= 20


def test_the_message_in_claims_md_is_what_is_printed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "loud_test.json").touch()
    file = tmp_path / "refusal.steer.yaml"
    file.write_text(
        "model: builtin:tiny\nvector: {extract: {method: caa, data: data/loud_test.json}, layer: 1}\ndata: {test: data/loud_test.json}\n\n"
        "claims:\n  - steers: {steerabilty: 0.3}\n  - not_anti_steered: {share: 0.2, data: {test: data/loud_tset.json}}\n"
    )
    said = [str(entry.error).replace(str(tmp_path), "/home/me/suite") for entry in read_suite(file).entries]
    page = (ROOT / "docs" / "claims.md").read_text()
    assert said[0].replace("/home/me/suite/", "") in page
    assert said[1].replace("/home/me/suite/refusal", "refusal") in page


def test_the_reference_page_is_what_the_command_prints() -> None:
    done = run_module("pytest_steer", "list", "--markdown", cwd=ROOT)
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == done.stdout
