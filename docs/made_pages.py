"""Reference pages made from the installed package: keys of claim files and reports, options, commands, the Python API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

import pytest_steer
from pytest_steer.cli.main import COMMANDS, _root
from pytest_steer.files.schema import full_schema, resolved
from pytest_steer.pytest_plugin.options import FLAGS, OPTIONS
from pytest_steer.report import report_schema

Schema = Mapping[str, Any]

_PLACES = {
    "Of the file": (),
    "`vector`": ("vector",),
    "`vector.extract`": ("vector", "extract"),
    "`intervention`": ("intervention",),
    "`data`": ("data",),
    "`contexts`": ("contexts",),
    "`matrix`": ("matrix",),
    "An entry of `overrides`": ("overrides",),
}


def write(folder: Path) -> None:
    """Write all pages. A page that has not changed is left alone, so that Sphinx does not read it again."""
    folder.mkdir(exist_ok=True)
    pages = (claim_file_keys, options, commands, python_api, report_keys)
    for page in pages:
        file, text = folder / f"{page.__name__.replace('_', '-')}.md", page()
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def claim_file_keys() -> str:
    """Every key of a claim file that is not a parameter of one kind of claim, made from the schema."""
    made = [
        "# Keys of claim files",
        "Made from the JSON Schema that `pytest-steer schema` prints. The keys of each kind of claim, the settings of each method and "
        "intervention, and the values of each axis are in the [reference](../reference.md). [Claim files](../claims.md) explains them "
        "with examples.",
    ]
    for title, path in _PLACES.items():
        place: Schema = full_schema()
        for key in path:
            place = resolved(place["properties"][key])
        place = resolved(place["items"]) if path == ("overrides",) else place
        made += [f"## {title}", _keys(place)]
    made += ["## Of every claim", _keys(full_schema()["$defs"]["every_claim"])]
    return _page(made)


def _keys(place: Schema) -> str:
    keys = {name: resolved(schema) for name, schema in place["properties"].items()}
    rows = (
        (f"`{name}`", schema.get("description", ""), *(map(_value, schema.get("examples", [])[:1]) or ("",)))
        for name, schema in keys.items()
    )
    return _table(("Key", "What it says", "Example"), rows)


def options() -> str:
    """pytest's options and their names in the ini file."""
    rows = [
        (
            f"`--steer-{option.name} {option.metavar}`",
            option.help,
            f"`{option.default}`" if option.default else "",
            f"`{option.key}`",
        )
        for option in OPTIONS
    ]
    rows += [(f"`--steer-{name}`", text, "off", f"`steer_{name.replace('-', '_')}`") for name, text in FLAGS.items()]
    intro = "Made from the plugin's declarations. `pytest --help` prints them too. Each has a twin in the ini file; the command line wins."
    return _page(["# Options of pytest", intro, _table(("Option", "What it does", "Default", "In the ini file"), rows)])


def commands() -> str:
    """The help of each command of `pytest-steer`."""
    made = ["# Commands", "Made from the commands themselves: what `pytest-steer COMMAND --help` prints."]
    with click.Context(_root, info_name="pytest-steer") as above:
        for name in COMMANDS:
            command = _root.get_command(above, name)
            assert command is not None
            context = click.Context(command, info_name=name, parent=above, terminal_width=100, **command.context_settings)
            made += [f"## `pytest-steer {name}`", f"```text\n{command.get_help(context)}\n```"]
    return _page(made)


_GROUPS: dict[str, Callable[[str, Any], bool]] = {
    "Assertions": lambda name, thing: name.startswith("assert_"),
    "Functions": lambda name, thing: callable(thing) and not isinstance(thing, type),
    "Errors and warnings": lambda name, thing: isinstance(thing, type) and issubclass(thing, BaseException),
    "Classes": lambda name, thing: isinstance(thing, type),
}


def python_api() -> str:
    """`pytest_steer.__all__`, the methods of extraction and the fixtures, from their docstrings."""
    made = ["# Python API", "Made from the docstrings. [Claims in Python tests](../python.md) shows how they are used."]
    groups: dict[str, list[str]] = {title: [] for title in _GROUPS}
    for name in pytest_steer.__all__:
        thing = getattr(pytest_steer, name)
        group = next((title for title, belongs in _GROUPS.items() if belongs(name, thing)), None)
        if group is not None:
            groups[group].append(name)
    for title, names in groups.items():
        made += [f"## {title}", *(_documented("pytest_steer", name) for name in names)]
    made += ["## Methods of extraction", "`from pytest_steer import extract`, then `extract.caa(model, items, layer=14)`."]
    made += [_documented("pytest_steer.extract", name) for name in sorted(pytest_steer.extract.__all__) if name.islower()]
    made += ["## Fixtures", *(_documented("pytest_steer.pytest_plugin.fixtures", name) for name in _fixtures())]
    return _page(made)


def _documented(module: str, name: str) -> str:
    thing = getattr(__import__(module, fromlist=[name]), name)
    if isinstance(thing, type):
        return f"```{{eval-rst}}\n.. autoclass:: {module}.{name}\n   :members:\n```"
    return f"```{{eval-rst}}\n.. autofunction:: {module}.{name}\n```"


def _fixtures() -> list[str]:
    from pytest_steer.pytest_plugin import fixtures

    return [name for name in vars(fixtures) if name.startswith("steer")]


def report_keys() -> str:
    """Every key of a JSON report, with its type and what it holds."""
    intro = (
        "Made from the JSON Schema that `pytest-steer schema --report` prints. `[]` stands for an entry of a list, `{}` for a value of a "
        "mapping. [The JSON report](../report.md) explains what is in it."
    )
    rows = [
        (f"`{path}`", _type(schema), schema.get("description", ""))
        for path, schema in _walk(report_schema(), report_schema())
    ]
    return _page(["# Keys of the JSON report", intro, _table(("Key", "Type", "What it holds"), rows)])


def _walk(schema: Schema, whole: Schema, path: str = "", within: tuple[str, ...] = ()) -> Iterator[tuple[str, Schema]]:
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    if reference in within:  # a record that holds another of its kind is shown once
        return
    within = within if reference is None else (*within, reference)
    schema = _followed(schema, whole)
    for name, inner in schema.get("properties", {}).items():
        found = _followed(inner, whole)
        at = f"{path}.{name}".lstrip(".")
        yield at, {**found, **inner}
        yield from _walk(found, whole, at, within)
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _walk(branch, whole, path, within)
    if isinstance(schema.get("items"), Mapping):
        yield from _walk(schema["items"], whole, f"{path}[]", within)
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _walk(schema["additionalProperties"], whole, f"{path}.{{}}", within)


def _followed(schema: Any, whole: Schema) -> Schema:
    if not isinstance(schema, Mapping):
        return {}
    if "$ref" not in schema:
        return schema
    target: Any = whole
    for step in schema["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return {**_followed(target, whole), **schema}


def _type(schema: Schema) -> str:
    if "const" in schema:
        return _value(schema["const"])
    if "enum" in schema:
        return ", ".join(map(_value, schema["enum"]))
    branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    kinds = schema.get("type") or [one.get("type", "mapping") for one in branches] or "any"
    flat = (
        [kinds] if isinstance(kinds, str) else [kind for one in kinds for kind in ([one] if isinstance(one, str) else one)]
    )
    return " or ".join(dict.fromkeys(flat))


def _value(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def _page(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"
