"""The JSON Schema as editors use it: each key is explained and has an example that an ordinary validator accepts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator

from pytest_steer.claims.kind import EVERY
from pytest_steer.core import registry
from pytest_steer.extend import AboutItems, Ask, Measurement, Param, claim
from pytest_steer.files.schema import full_schema, resolved

# Below these stand no schemas of keys: conditions, and values.
NO_KEYS = {"if", "not", "const", "enum", "examples", "default", "required"}


def keys(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key that a claim file may have, wherever the schema declares it, with its schema."""
    if isinstance(node, list):
        for index, inner in enumerate(node):
            yield from keys(inner, f"{path}/{index}")
    if not isinstance(node, dict):
        return
    for group in ("properties", "patternProperties"):
        for name, inner in node.get(group, {}).items():
            yield f"{path}/{name}", resolved(inner)
    for name, inner in node.items():
        if name not in NO_KEYS:
            yield from keys(inner, f"{path}/{name}")


def lacking(schema: dict[str, Any]) -> list[str]:
    """The keys without a description or without an example that is valid."""
    found = []
    for path, key in keys(schema):
        validator = Draft202012Validator({"$defs": schema["$defs"], **key})
        if not key.get("description", "").strip() or not key.get("examples"):
            found.append(path)
        elif not all(validator.is_valid(example) for example in key["examples"]):
            found.append(f"{path}: {key['examples']} is not valid")
    return found


def test_every_key_has_a_description_and_a_valid_example() -> None:
    assert len(list(keys(full_schema()))) > 250
    assert lacking(full_schema()) == []


@pytest.fixture
def extension() -> Iterator[None]:
    """A claim of somebody else, whose parameters say no example."""

    @claim("calm", title="Steering is calm", main="share")
    class Calm(AboutItems):
        """At least the share `share` of items stay calm."""

        share: Annotated[float, Param("The least share of items.", above=0, below=1)]
        least: Annotated[int | None, Param("The least number of them.", at_least=3)] = None
        by: Annotated[Literal["slope", "effect"] | None, Param("What moves.")] = None
        strictly: Annotated[bool | None, Param("All of them.")] = None
        under: Annotated[float | None, Param("The most that one moves.", below=-2)] = None

        def measure(self, ask: Ask) -> Measurement:
            raise NotImplementedError

    yield
    registry.forget("claim", "calm")


def test_keys_of_extensions_have_examples_too(extension: None) -> None:
    found = full_schema()["$defs"]["kinds"]["calm"]["properties"]
    assert {name: found[name]["examples"][0] for name in ("share", "least", "by", "strictly", "under")} == {
        "share": 0.5,
        "least": 4,
        "by": "slope",
        "strictly": True,
        "under": -3,
    }
    assert lacking(full_schema()) == []


@pytest.mark.parametrize("name", ["confidence", "multiplier", "min_n"])
def test_what_every_claim_takes_has_the_same_bounds_in_python(name: str) -> None:
    in_a_file = full_schema()["$defs"][name]
    assert all(in_a_file[key] == value for key, value in EVERY[name].items() if key not in ("title", "description"))
