"""Steering vectors and their file."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from pytest_steer import SteeringVector
from pytest_steer.core.errors import VectorError
from pytest_steer.steering.formats.safetensors_file import FORMAT

RECORD = {"method": "caa", "model": "m", "model_fingerprint": "f" * 64, "template_hash": None, "n": 12, "note": "größer"}


def vector(*layers, width=4):
    return SteeringVector({layer: torch.arange(1.0, width + 1) * (layer + 1) for layer in layers}, RECORD)


# --- construction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        ({}, "needs a direction for at least one layer"),
        ({-1: torch.ones(3)}, "from 0 on; not -1"),
        ({1: torch.ones(2, 3)}, r"layer 1: a direction has shape \[width\], not \[2, 3\]"),
        ({2: torch.tensor([1.0, float("nan"), float("inf")])}, "layer 2: 2 of 3 values are NaN or infinite"),
        ({3: torch.zeros(3)}, "layer 3: every value is 0"),
        ({0: torch.ones(3), 1: torch.ones(4)}, "different widths: {0: 3, 1: 4}"),
    ],
)
def test_unusable_directions_are_refused(directions, message):
    with pytest.raises(VectorError, match=message):
        SteeringVector(directions)


def test_directions_are_float32_copies_in_ascending_layers():
    given = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    made = SteeringVector({5: given, 2: [3.0, 4.0]})
    given.zero_()
    assert (made.layers, made.width) == ((2, 5), 2)
    assert made.directions[5].dtype is torch.float32
    assert made.directions[5].tolist() == [1.0, 2.0]
    assert made.norms == {2: 5.0, 5: pytest.approx(5**0.5)}
    assert "width 2" in repr(made)


def test_the_hash_is_of_layers_and_values_only():
    base = vector(1, 2)
    assert SteeringVector(base.directions, {"method": "other"}).hash == base.hash
    changed = {layer: direction.clone() for layer, direction in base.directions.items()}
    changed[2][3] += 1e-6
    others = [vector(1), vector(2), vector(1, 3), SteeringVector(changed), SteeringVector({1: -base.directions[1]})]
    assert len({v.hash for v in [base, *others]}) == 6
    same = torch.ones(3)
    assert SteeringVector({1: same}).hash != SteeringVector({2: same}).hash


def test_at_takes_some_layers():
    assert vector(1, 2, 5).at(2).layers == (2,)
    assert vector(1, 2, 5).at([5, 1]).layers == (1, 5)
    assert vector(1, 2).at(1).metadata == RECORD
    with pytest.raises(VectorError, match=r"no direction for layer 3; it has \[1, 2\]"):
        vector(1, 2).at([1, 3])


# --- the file ------------------------------------------------------------------------------------------------------------


def test_where_nothing_can_be_written_and_nothing_is_there(tmp_path):
    with pytest.raises(VectorError, match="cannot be written"):
        vector(1).save(tmp_path / "none" / "v.safetensors")
    with pytest.raises(VectorError, match="no such file"):
        SteeringVector.load(tmp_path / "none.safetensors")


def write(path, tensors, format=FORMAT, record=None):
    metadata = {} if format is None else {"format": format}
    if record is not None:
        metadata["steering"] = record if isinstance(record, str) else json.dumps(record)
    save_file(tensors, str(path), metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("tensors", "more", "message"),
    [
        ({"bias": torch.ones(2), "layer.1": torch.ones(2)}, {"format": None}, "has the tensor 'bias', which is no layer"),
        ({"layer.1": torch.ones(2)}, {"format": "pytest-steer/vector/9"}, "format 'pytest-steer/vector/9'"),
        ({"weight": torch.ones(2)}, {}, "unexpected tensor 'weight'; expected layer.N"),
        ({"layer.-1": torch.ones(2)}, {}, "unexpected tensor 'layer.-1'"),
        ({"layer.1.x": torch.ones(2)}, {}, "unexpected tensor 'layer.1.x'"),
        ({"layer.\u00b2": torch.ones(2)}, {}, "unexpected tensor"),
        ({"layer.1": torch.ones(2), "layer.01": torch.zeros(2) + 2}, {}, "layer"),
        ({"layer.1": torch.ones(2)}, {"record": "{"}, "its record is not valid JSON"),
        (
            {"layer.1": torch.ones(2)},
            {"record": {"layer_convention": "hidden_states index"}},
            "counts layers as 'hidden_states ind",
        ),
        ({}, {}, "at least one layer"),
    ],
)
def test_a_wrong_file_is_a_vector_error_with_its_name(tmp_path, tensors, more, message):
    file = write(tmp_path / "v.safetensors", tensors, **more)
    with pytest.raises(VectorError, match=message) as caught:
        SteeringVector.load(file)
    assert str(caught.value).startswith(str(file))
