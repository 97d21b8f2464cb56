"""A method and an intervention of another package: one module each, known to claim files once it is imported."""

from __future__ import annotations

import importlib
import sys

import builders
import pytest
import torch

from pytest_steer import extract, read_items, registry
from pytest_steer.errors import ClaimFileError, SteerError
from pytest_steer.files import BrokenClaim, read_suite
from pytest_steer.files.make import make_steering
from pytest_steer.prompting import AS_GIVEN
from pytest_steer.steering import intervention

MODULE = '''
"""The median of the differences, and a vector that is added with a limit to its length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch

from pytest_steer import Context, Model, SteeringVector
from pytest_steer.extract import Data, method, read_contrast
from pytest_steer.parameters import Param
from pytest_steer.steering import SAVED_VECTOR, Intervention, add, intervention


@method("median", takes="contrast")
def median(
    model: Model,
    data: Data,
    *,
    layer: int | Sequence[int],
    context: Context,
    scale: Annotated[float, Param("What the median is multiplied by.", example=2.0, above=0)],
    epochs: Annotated[Literal["few", "many"], Param("Not a number of epochs at all.", example="few")] = "few",
) -> SteeringVector:
    """The median of the differences."""
    found = read_contrast(model, data, layer=layer, context=context)
    return SteeringVector(
        {at: (scale * (found.positive[at] - found.negative[at]).median(0).values).float() for at in found.layers},
        {"method": "median", "epochs": epochs, **found.record},
    )


@intervention("limited", does="added, no longer than another vector")
def limited(
    vector: SteeringVector,
    *,
    ceiling: Annotated[SteeringVector, Param("The vector that limits it.", example="v.safetensors", schema=SAVED_VECTOR)],
    share: Annotated[float, Param("The share of its length.", example=0.5, at_least=0, at_most=1)] = 1.0,
) -> Intervention:
    """Add a vector that is cut to a share of the length of another."""
    size = {at: share * float(ceiling.directions[at].norm()) for at in vector.layers}
    return add(SteeringVector({at: d * min(1.0, size[at] / float(d.norm())) for at, d in vector.directions.items()}))
'''
ITEMS = [
    {
        "question": f"What of the {word}?\n(A) x\n(B) y",
        "answer_matching_behavior": f"({a})",
        "answer_not_matching_behavior": f"({b})",
    }
    for word, a, b in zip(("tea", "ice", "sun", "moon", "bread"), "ABABA", "BABAB", strict=True)
]
V = builders.random_vector(1)


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    (tmp_path / "steer_theirs.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module("steer_theirs")
    registry.forget("method", "median")
    registry.forget("intervention", "limited")
    del sys.modules["steer_theirs"]


@pytest.fixture
def place(tmp_path):
    builders.write_json(tmp_path / "items.json", ITEMS)
    V.save(tmp_path / "v.safetensors")
    return tmp_path


def read(place, head):
    file = place / "x.steer.yaml"
    file.write_text(f"{head}\ndata: {{test: items.json}}\nclaims:\n  - not_anti_steered: {{share: 0.5, by: effect}}\n")
    return read_suite(file).entries


def said(place, head):
    """All that is said about a file that is wrong."""
    try:
        (entry,) = read(place, head)
    except ClaimFileError as error:
        return str(error)
    assert isinstance(entry, BrokenClaim), entry
    return str(entry.error)


def test_they_work_in_a_claim_file(place, theirs):
    model = builders.random_model("llama")
    (claim,) = read(
        place,
        "intervention:\n  kind: limited\n  ceiling: v.safetensors\n  share: 0.5\n"
        "  extract: {method: median, data: items.json, scale: 1000}\n  layer: 1",
    )
    found = make_steering(model, claim.vector, seed=0)
    vector = theirs.median(model, read_items(place / "items.json"), layer=1, context=AS_GIVEN, scale=1000.0)
    assert found.hash == theirs.limited(vector, ceiling=V, share=0.5).hash
    assert float(found.vector.directions[1].norm()) == pytest.approx(0.5 * V.norms[1], rel=1e-5)
    assert vector.metadata["epochs"] == "few"


def test_they_are_choices_of_a_matrix(place, theirs):
    model = builders.random_model("llama")
    shared = "vector: {extract: {data: items.json}, layer: 1}\n"
    claims = read(
        place,
        shared
        + "matrix:\n  method:\n    caa: {}\n    median: {extract: {scale: 2}}\n    cut: {kind: limited, ceiling: v.safetensors, extract: {method: median, scale: 2}}",
    )
    assert [claim.name for claim in claims] == [f"not_anti_steered[{name}]" for name in ("caa", "median", "cut")]
    caa, median, cut = (make_steering(model, claim.vector, seed=0) for claim in claims)
    torch.testing.assert_close(cut.vector.directions[1] * median.norms[1], median.directions[1] * cut.vector.norms[1])
    assert caa.hash != median.hash
    claims = read(place, shared.replace("data:", "scale: 3, data:") + "matrix: {method: [caa, median]}")
    assert [claim.vector.options for claim in claims] == [{}, {"scale": 3.0}]


@pytest.mark.parametrize(
    ("head", "lines"),
    [
        ("vector:\n  extract: {method: median, scal: 2, data: items.json}\n  layer: 1", ["2: vector.extract.scal: unknown key", "Did you mean 'scale'?"]),
        ("vector:\n  layer: 1\n  extract: {method: median, data: items.json}", ["3: vector.extract: 'scale' is missing", "Add `scale: 2.0`."]),
        ("vector:\n  layer: 1\n  extract: {method: learned, epochs: few, data: items.json}", ["3: vector.extract.epochs: must be a whole number, but is the text 'few'"]),
        ("vector:\n  layer: 1\n  extract: {method: caa, scale: 2, data: items.json}", ["3: vector.extract.scale: 'scale' is a setting of method median, not of caa", "write `method: median`"]),
        ("intervention:\n  kind: limited\n  file: v.safetensors", ["1: intervention: 'ceiling' is missing"]),
        ("intervention:\n  kind: limited\n  file: v.safetensors\n  ceiling: w.safetensors", ["4: intervention.ceiling: there is no file", "Did you mean 'v.safetensors'?"]),
        ("intervention:\n  kind: limited\n  file: v.safetensors\n  ceiling: v.safetensors\n  site: mlp", ["5: intervention.site: kind limited acts at the output of blocks"]),
        ("vector: {extract: {data: items.json}, layer: 1}\nmatrix:\n  method:\n    medain: {extract: {scale: 2}}", ["4: matrix.method.medain: there is no method 'medain'", "Did you mean 'median'?"]),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_lines(place, theirs, head, lines):
    message = said(place, head)
    for line in lines:
        assert line in message, message


def test_what_cannot_be_registered():
    with pytest.raises(SteerError, match=r"nothing says what 'strong' is: declare it as a setting"):

        @intervention("strong", does="added")
        def _(vector, *, strong):
            return vector

    with pytest.raises(SteerError, match="say what the method 'mine' gives: `-> SteeringVector` or `-> Intervention`"):
        extract.method("mine", takes="contrast")(lambda model, data: None)
    with pytest.raises(SteerError, match="takes items, contrast, demonstrations, any; not 'pairs'"):
        extract.method("mine", takes="pairs")(lambda model, data: None)
    with pytest.raises(SteerError, match="'add' is already registered by"):
        intervention("add", does="added")(lambda vector: vector)
