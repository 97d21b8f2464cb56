"""A method, an intervention and a claim of another package: known to claim files once they are imported."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Annotated

import builders
import pytest
import torch

from pytest_steer import extract, read_items
from pytest_steer.core import registry
from pytest_steer.core.errors import ClaimFileError, SteerError
from pytest_steer.extend import AboutItems, Param, claim
from pytest_steer.files import BrokenClaim, read_suite
from pytest_steer.files.build import Builder
from pytest_steer.files.inputs import make_steering
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
from pytest_steer.core.parameters import Param
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
    with pytest.raises(SteerError, match="'how' is something else of every claim: give the parameter another name"):

        @claim("mine", title="Mine", main="how")
        class _(AboutItems):
            how: Annotated[float, Param("How.", example=0.1)]

            def measure(self, ask):
                raise NotImplementedError

    with pytest.raises(SteerError, match="'add' is already registered by"):
        intervention("add", does="added")(lambda vector: vector)


CLAIM = '''
from typing import Annotated, Any

from pytest_steer.data import Items, as_items
from pytest_steer.extend import (
    CONTEXT, FILE, ITEMS, JUDGE, QUESTIONS, AboutItems, DataError, Fault, Form, Param, Promise, claim, named,
)


def read_poem(lines, file):
    if len(lines) < 2:
        raise DataError("a poem has two lines")
    return " / ".join(lines)


@claim("theirs", title="Theirs", main="least")
class Theirs(AboutItems):
    """A claim of another package, with parameters of every form."""

    least: Annotated[Promise, Param("The least.", example=0.1)]
    other: Annotated[Items | None, Param("Items.", example="other.json", reads=as_items, loads=ITEMS)] = None
    log: Annotated[Any, Param("A file.", example="log.txt", loads=FILE)] = None
    quiz: Annotated[Any, Param("Questions.", example="quiz.jsonl", loads=QUESTIONS)] = None
    where: Annotated[Any, Param("A context.", example={"option_order": "swapped"}, loads=CONTEXT)] = None
    who: Annotated[Any, Param("A judge.", loads=JUDGE)] = None
    sets: Annotated[Any, Param("Items by name.", example={"a": "a.json"}, loads=named(ITEMS))] = None
    poem: Annotated[Any, Param("Lines.", example=["a", "b"], loads=Form({"type": "array"}, read_poem))] = None

    @staticmethod
    def faults(written):
        if "quiz" in written.values and "poem" in written.values:
            yield Fault(("poem",), "goes with no quiz", "Delete one of the two.")

    def measure(self, ask):
        raise NotImplementedError
'''
THEIRS = """vector: {file: v.safetensors, layer: 1}
data: {test: items.json}
claims:
  - theirs:
      least: 0.1
      """


@pytest.fixture
def theirs_claim(tmp_path, monkeypatch):
    (tmp_path / "steer_claim.py").write_text(CLAIM)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module("steer_claim").Theirs
    registry.forget("claim", "theirs")
    del sys.modules["steer_claim"]


def suite(place, parameters):
    (place / "x.steer.yaml").write_text(THEIRS + parameters.replace("\n", "\n      "))
    return read_suite(place / "x.steer.yaml")


def test_a_parameter_is_loaded_as_its_form_says(place, theirs_claim, monkeypatch):
    (place / "log.txt").write_text("")
    (place / "quiz.jsonl").write_text(json.dumps({"question": "1 + 1?", "choices": ["2", "3"], "answer": "A"}))
    monkeypatch.chdir("/")
    found = suite(
        place,
        "other: items.json\nlog: log.txt\nquiz: quiz.jsonl\nwhere: {option_order: swapped}\nwho: {contains: [yes]}\n"
        "sets: {one: items.json}",
    )
    claim = Builder(builders.random_model("llama")).build(found, found.entries[0])
    items = read_items(place / "items.json")
    assert isinstance(claim, theirs_claim)
    assert list(claim.other) == list(claim.sets["one"]) == list(claim.items) == items
    assert claim.log == place / "log.txt"
    assert [one.question for one in claim.quiz] == ["1 + 1?"]
    assert claim.where.to_dict() == {"option_order": "swapped"}
    assert claim.who.record()["judge"] == "contains"
    assert claim.poem is None


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ("other: item.json", "6: claims[0].theirs.other: there is no file"),
        ("sets:\n  a: items.json\n  b: b.json", "8: claims[0].theirs.sets.b: there is no file"),
        ("poem: [a]\nquiz: items.json", "6: claims[0].theirs.poem: goes with no quiz\n  Delete one of the two."),
    ],
)
def test_what_is_wrong_with_it_is_at_its_line_before_anything_is_read(place, theirs_claim, parameters, line):
    assert line in str(suite(place, parameters).entries[0].error)


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ("poem: [a]", "6: claims[0].theirs.poem: a poem has two lines"),
        ("sets:\n  a: items.json\n  b: v.safetensors", "8: claims[0].theirs.sets.b: "),
        ("who: {python: nowhere.py}", "6: claims[0].theirs.who: "),
    ],
)
def test_an_error_of_loading_is_at_its_line(place, theirs_claim, parameters, line):
    found = suite(place, parameters)
    with pytest.raises(SteerError) as caught:
        Builder(builders.random_model("llama")).build(found, found.entries[0])
    assert line in found.entries[0].located(caught.value, found.path)
