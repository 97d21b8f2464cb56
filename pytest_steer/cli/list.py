"""``pytest-steer list``: everything that is registered, and the reference page made from its declarations."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from io import StringIO
from typing import Any

import click

from ..core import registry
from ..core.columns import beside, stream_columns
from ..core.finding import CODES
from ..core.parameters import Schema
from .extensions import load_extensions
from .main import FAILED, OK
from .options import subcommand
from .output import say


@subcommand(example="pytest-steer list", short_help="Print all claims, methods, interventions, axes and formats.")
@click.option("--markdown", is_flag=True, help="Print the reference page: every parameter of everything, as Markdown.")
def command(markdown: bool) -> int:
    """Print everything that is registered, ours and that of other packages: its name, what it is, and its module.

    The exit code is 1 if an extension could not be imported.
    """
    # What each of them has registers itself when it is imported.
    from .. import claims, data, extract, prompting, report, steering  # noqa: F401
    from ..measures import judges  # noqa: F401

    whole = load_extensions()
    if markdown:
        say(page(), nl=False)
        return OK if whole else FAILED
    columns = stream_columns(sys.stdout)
    for kind in registry.KINDS:
        things = registry.things(kind)
        if not things:
            continue
        say({"axis": "axes"}.get(kind, f"{kind}s"))
        rows = {name: f"{sentence_of(thing)} ({registry.home_of(kind, name)})" for name, thing in things.items()}
        for line in beside(rows, columns):
            say(line)
        say()
    return OK if whole else FAILED


_TAKES = {
    "items": "contrast items",
    "contrast": "contrast items, or positive and negative texts",
    "demonstrations": "pairs of input and output",
    "any": "whatever the file holds: contrast items, texts or pairs",
}


def page() -> str:
    """The reference page as Markdown."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, ""), trim_blocks=True, autoescape=False, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template("reference.md.jinja").render(
        claims=registry.things("claim"),
        methods=registry.things("method"),
        interventions=registry.things("intervention"),
        judges=registry.things("judge"),
        axes=registry.things("axis"),
        codes=sorted(CODES.values(), key=lambda one: (one.weight, one.name)),
        formats={f"{kind.capitalize()}s": kind for kind in registry.KINDS if kind.endswith("format")},
        things=registry.things,
        takes=_TAKES,
        layers=_layers,
        paragraph=_paragraph,
        sentence_of=sentence_of,
        table=_table,
        flow=_flow,
        code=_code,
        cell=_cell,
    )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.splitlines())).strip() + "\n"


def _table(parameters: Mapping[str, Schema], required: list[str]) -> str:
    if not parameters:
        return ""
    rows = ["| Key | Value | Default | |", "|---|---|---|---|"]
    for name, schema in parameters.items():
        default = "needed" if name in required else _code(schema["default"]) if "default" in schema else ""
        rows.append(f"| `{name}` | {_cell(_value_of(schema))} | {default} | {_cell(schema.get('description', ''))} |")
    return "\n".join(rows)


def _value_of(schema: Schema) -> str:
    """The values that a claim file may have for a key: ``number > 0 and < 1, in logits``."""
    if "enum" in schema:
        return ", ".join(map(_code, schema["enum"]))
    if "$ref" in schema and "x-words" in schema:
        return str(schema["x-words"])
    kind = "number" if schema.get("x-promise") else schema.get("type", "anything")
    words = " or ".join([kind] if isinstance(kind, str) else kind)
    bounds = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    limits = " and ".join(f"{sign} {schema[key]}" for key, sign in bounds.items() if key in schema)
    return f"{words} {limits}".strip() + (f", in {schema['x-unit']}" if "x-unit" in schema else "")


def _layers(kind: Any) -> str:
    if kind.layers == "none":
        return "It names its layers itself."
    return (
        f"`layer`: one{' or several' if kind.layers == 'several' else ''}{'' if kind.needs_layer else ', all by default'}."
    )


def _paragraph(function: Any) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


def _flow(value: Any) -> str:
    """A value on one line of YAML."""
    from ruamel.yaml import YAML

    yaml, text = YAML(), StringIO()
    yaml.default_flow_style, yaml.width = True, 10_000
    yaml.dump(value, text)
    return text.getvalue().strip().removesuffix("...").strip()


def _code(value: Any) -> str:
    return f"`{_flow(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def sentence_of(thing: Any) -> str:
    """The first sentence of a registered thing's ``about`` or docstring."""
    text = getattr(thing, "about", None) or inspect.getdoc(getattr(thing, "function", thing)) or ""
    paragraph = " ".join(str(text).strip().split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s+(?=[A-Z])", paragraph)[0]
