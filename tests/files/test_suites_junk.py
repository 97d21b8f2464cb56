"""Whatever stands in a claim file, the only exception is ClaimFileError, with a message that can be shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_steer.core.errors import ClaimFileError
from pytest_steer.files import BrokenClaim, ClaimSpec, read_suite
from pytest_steer.files.schema import full_schema, kinds

ours = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

GOOD: dict[str, Any] = {
    "vector": {"file": "vectors/refusal.safetensors", "layer": [1, 2]},
    "data": {"test": "data/test.json", "neutral": "data/neutral.txt"},
    "multipliers": [-1, 0, 1],
    "contexts": {"system": ["", "Be brief."]},
    "claims": [
        {"steers": {"steerability": 0.3, "name": "a"}},
        {"not_anti_steered": {"share": 0.25}},
        {"ppl_delta_below": {"limit": 0.05, "multiplier": 2, "data": {"test": "data/test.json"}}},
    ],
}

COMPARED: dict[str, Any] = {
    "vector": {"extract": {"method": "caa", "readout": "last"}, "layer": 1},
    "data": {"neutral": "data/neutral.txt"},
    "matrix": {
        "method": {
            "caa": {},
            "pca": {"layer": [1, 2], "extract": {"readout": "mean"}, "multiplier": 2},
            "held": {"kind": "clamp", "value": 4, "multipliers": [0, 1]},
            "saved": {"file": "vectors/refusal.safetensors"},
        },
        "behaviour": {
            "a": {"train": "data/train.json", "test": "data/test.json"},
            "b": {"train": "data/train.json", "test": "data/test.json", "neutral": "data/neutral.txt"},
        },
    },
    "overrides": [{"match": {"method": "saved"}, "xfail": None, "confidence": 0.9}, {"share": 0.5}],
    "claims": [
        {"steers": {"steerability": 0.3, "overrides": [{"match": {"method": "caa"}, "steerability": 0.1, "multiplier": 2}]}},
        {"not_anti_steered": {"share": 0.25, "overrides": [{"match": {"behaviour": ["a", "b"]}, "xfail": "hard"}]}},
        {"ppl_delta_below": {"limit": 0.05}},
    ],
}

texts = st.text(max_size=8) | st.sampled_from(
    [*kinds(), *full_schema()["properties"], "file", "data/test.json", "a/b", "~", "caa", "b", "match"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def check(folder: Path, content: bytes, suffix: str) -> None:
    path = folder / f"junk.steer.{suffix}"
    path.write_bytes(content)
    try:
        suite = read_suite(path)
    except ClaimFileError as error:
        check_error(error, path, content)
        return
    names = [entry.name for entry in suite.entries]
    assert len(set(names)) == len(names) > 0
    for entry in suite.entries:
        if isinstance(entry, BrokenClaim):
            check_error(entry.error, path, content)
        else:
            assert isinstance(entry, ClaimSpec)
            assert set(kinds()[entry.kind]["required"]) <= set(entry.params) <= set(kinds()[entry.kind]["properties"])
            assert entry.multiplier != 0
            assert len(set(entry.multipliers)) >= 2
            assert (entry.vector.file is None) != (entry.vector.method is None)


def check_error(error: ClaimFileError, path: Path, content: bytes) -> None:
    str(error).encode()  # no lone halves of characters
    assert str(error).startswith(str(path))
    assert error.reason
    assert error.hint
    assert error.line is None or 1 <= error.line <= content.count(b"\n") + content.count(b"\r") + 5


@ours
@given(content=st.binary(max_size=60), suffix=st.sampled_from(["yaml", "json"]))
@example(content=b"\xef\xbb\xbf", suffix="yaml")
@example(content=b"[" * 400, suffix="yaml")
@example(content=b"[" * 100_000, suffix="json")
@example(content=b"9" * 5000, suffix="json")
@example(content=b"a: " + b"9" * 5000, suffix="yaml")
@example(content=b"0x" + b"f" * 5000 + b": 1", suffix="yaml")
@example(content=b"a: &a {<<: *a}", suffix="yaml")
@example(content=b"a: &a [*a]", suffix="yaml")
@example(content=b"&a ? *a\n: 1", suffix="yaml")
@example(content=b"? [1, {a: b}]\n: 1", suffix="yaml")
@example(content=b"a: !!timestamp 2026-99-99", suffix="yaml")
@example(content=b"a: !!set {b, c}\nc: !!binary aGk=", suffix="yaml")
@example(content=b"%YAML 9.9\n---\na: 1", suffix="yaml")
@example(content=b"a: \x00", suffix="yaml")
def test_bytes(folder: Path, content: bytes, suffix: str) -> None:
    check(folder, content, suffix)


@ours
@given(
    content=st.text(st.sampled_from("ab01:-?,[]{}#&*!|>'\"%@`\n\t ~.<e\u0085\u2028"), max_size=30),
    before=st.sampled_from(["", "claims:\n  - ", "vector:\n  ", "claims:\n  - steers: {steerability: 1, "]),
)
@example(content="!0\x85-", before="claims:\n  - ")
def test_almost_yaml(folder: Path, content: str, before: str) -> None:
    check(folder, (before + content).encode(), "yaml")


@ours
@given(value=values, suffix=st.sampled_from(["yaml", "json"]))
def test_any_json(folder: Path, value: Any, suffix: str) -> None:
    check(folder, json.dumps(value).encode(), suffix)


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(spot for key, item in inside for spot in spots(item, (*path, key)))]


@ours
@given(data=st.data(), suffix=st.sampled_from(["yaml", "json"]))
def test_a_good_file_with_one_part_replaced(folder: Path, data: st.DataObject, suffix: str) -> None:
    good = data.draw(st.sampled_from([GOOD, COMPARED]))
    whole = {"": json.loads(json.dumps(good))}
    path = ("", *data.draw(st.sampled_from(spots(good))))
    parent: Any = whole
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = data.draw(values)
    if isinstance(parent, dict) and data.draw(st.booleans()):
        parent[data.draw(texts)] = data.draw(values)
    check(folder, json.dumps(whole[""], indent=1).encode(), suffix)
