"""What a claim file refuses, its assertion refuses too, in the same words: made from what each claim declares of its parameters."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import builders
import pytest

import pytest_steer
from pytest_steer import Context, ContrastItem, SteerError, TaskItem
from pytest_steer.claims import kind_of
from pytest_steer.claims.kind import EVERY
from pytest_steer.core.registry import names
from pytest_steer.files import BrokenClaim, read_suite

HEAD = """
vector: {file: v.safetensors}
contexts: {option_order: [swapped]}
data: {test: t.json, neutral: n.txt, demonstrations: t.json}
claims:
"""
INFINITE = {".inf": math.inf, "-.inf": -math.inf, ".nan": math.nan, "1e400": math.inf}
ITEMS = [ContrastItem(f"Is {n} even?", "Yes", "No") for n in range(4)]
DATA = {
    "items": ITEMS,
    "texts": ["One text.", "Two texts."],
    "tasks": [TaskItem("a", "b"), TaskItem("c", "d")],
    "contexts": {"option_order": ["swapped"]},
    "prompts": ["One."],
    "data": ["One text.", "Two texts."],
    "baseline": "random",
}


def outside(schema: dict[str, Any]) -> dict[str, float]:
    """Numbers as YAML and as Python have them that a schema forbids by its bounds."""
    found = {schema[key] - 1 for key in ("minimum", "exclusiveMinimum") if key in schema}
    found |= {schema[key] + 1 for key in ("maximum", "exclusiveMaximum") if key in schema}
    found |= {schema[key] for key in ("exclusiveMinimum", "exclusiveMaximum") if key in schema}
    found |= {schema["not"]["const"]} if "not" in schema else set()
    return {str(value): value for value in found}


def cases() -> list[Any]:
    """Each numeric parameter of each claim, and the values that it cannot have."""
    found = []
    for kind in names("claim"):
        if "others" in kind_of(kind).fields:  # about other claims of its file, so it has no assertion
            continue
        every = {name: schema for name, schema in EVERY.items() if name != "seed" and _takes(kind, name)}
        for name, schema in (kind_of(kind).parameters | every).items():
            if schema.get("type") in ("number", "integer"):
                values = INFINITE | outside(schema)
            elif schema.get("items") == {"type": "number"}:
                values = {f"[0, {text}]": [0, value] for text, value in INFINITE.items()}
            else:
                continue
            found.append(pytest.param(kind, name, values, id=f"{kind}-{name}"))
    return found


def _takes(kind: str, name: str) -> bool:
    return name in kind_of(kind).fields if name != "multiplier" else True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("suite")
    for name in ("v.safetensors", "t.json", "n.txt"):
        (root / name).touch()
    return root


@pytest.fixture(scope="module")
def model() -> pytest_steer.Model:
    return builders.random_model("llama")


@pytest.mark.parametrize(("kind", "name", "values"), cases())
def test_values_are_refused_by_both_faces_in_the_same_words(
    folder: Path, model: pytest_steer.Model, kind: str, name: str, values: dict[str, Any]
) -> None:
    declared = kind_of(kind)
    others = {key: example for key, example in declared.schema["examples"][0].items() if key not in (name, *declared.one_of)}
    if declared.one_of and name not in declared.one_of:
        others[declared.one_of[0]] = declared.parameters[declared.one_of[0]]["examples"][0]
    in_file = others | ({"contexts": "{swapped: {option_order: swapped}}"} if kind == "generalizes" else {})
    in_python = others | ({"contexts": {"swapped": Context(option_order="swapped")}} if kind == "generalizes" else {})
    lines = "".join(f", {key}: {_flow(other)}" for key, other in in_file.items())
    call = getattr(pytest_steer, f"assert_{kind}")
    vector = builders.random_vector(1)
    data = {key: value for key, value in DATA.items() if key in inspect.signature(call).parameters}
    file = folder / "c.steer.yaml"
    for text, value in values.items():
        file.write_text(f"{HEAD}  - {kind}: {{{name}: {text}{lines}}}\n")
        (broken,) = read_suite(file).entries
        assert isinstance(broken, BrokenClaim), text
        assert "must" in broken.error.reason
        with pytest.raises(SteerError) as refused:
            call(model, vector, **{**data, **in_python, name: value})
        assert broken.error.reason in str(refused.value), text


def _flow(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_cases_are_many() -> None:
    assert len(cases()) > 30


def test_json_has_no_infinity(folder: Path) -> None:
    text = '{"vector": {"file": "v.safetensors"}, "data": {"test": "t.json"}, "claims": [{"steers": %s}]}'
    file = folder / "c.steer.json"
    file.write_text(text % "1e400")
    (broken,) = read_suite(file).entries
    assert "must be a finite number, but is .inf" in str(broken.error)
    file.write_text(text % "NaN")
    with pytest.raises(SteerError, match="NaN is not a JSON value"):
        read_suite(file)
