"""Round trips for any vector, and files that are damaged at every byte: a VectorError or the right vector, never anything else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import save_file
from vector_files import repeng_gguf, repeng_reads, same, steering_vectors_class

from pytest_steer import SteeringVector
from pytest_steer.core.errors import VectorError

RECORD = {"method": "caa", "n": 2}
DIRECTIONS = {1: torch.tensor([1.0, -2.5, 3e-5]), 4: torch.tensor([0.5, 1e20, -0.0])}

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
records = st.dictionaries(
    st.text().filter(lambda key: key not in ("layer_convention", "norms", "source")), json_values, max_size=3
)


@st.composite
def vectors(draw, lowest=0):
    width = draw(st.integers(1, 9))
    layers = draw(st.sets(st.integers(lowest, 200), min_size=1, max_size=4))
    one = arrays.arrays(np.float32, width, elements=floats).filter(lambda values: values.any())
    return {layer: torch.from_numpy(draw(one).copy()) for layer in layers}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(directions=vectors(), record=records)
def test_any_vector_comes_back_bit_for_bit_from_our_file(tmp_path, directions, record):
    SteeringVector(directions, record).save(tmp_path / "v.safetensors")
    loaded = SteeringVector.load(tmp_path / "v.safetensors")
    same(loaded, directions)
    assert loaded.metadata == record


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(directions=vectors(lowest=1), record=records)
def test_any_vector_comes_back_bit_for_bit_from_gguf_and_goes_to_repeng(tmp_path, directions, record):
    saved = SteeringVector(directions, record)
    saved.save(tmp_path / "v.gguf")
    loaded = SteeringVector.load(tmp_path / "v.gguf")
    same(loaded, directions)
    assert loaded.metadata == record
    same(saved, repeng_reads(tmp_path / "v.gguf")[1])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(directions=vectors())
def test_any_vector_of_another_program_comes_back_bit_for_bit(tmp_path, directions):
    same(SteeringVector.load(repeng_gguf(tmp_path / "r.gguf", {k: d.numpy() for k, d in directions.items()})), directions)
    torch.save(directions, tmp_path / "v.pt")
    same(SteeringVector.load(tmp_path / "v.pt"), directions)
    lists = {str(layer): d.tolist() for layer, d in directions.items()}
    (tmp_path / "v.svec").write_text(json.dumps({"model_type": "m", "directions": lists, "explained_variances": {}}))
    same(SteeringVector.load(tmp_path / "v.svec"), directions)


# --- damage --------------------------------------------------------------------------------------------------------------


def ours(folder, suffix):
    SteeringVector(DIRECTIONS, RECORD).save(folder / f"v{suffix}")
    return folder / f"v{suffix}"


def torch_file(folder, content):
    torch.save(content, folder / "v.pt")
    return folder / "v.pt"


def package_file(folder):
    with steering_vectors_class() as their_class:
        return torch_file(folder, their_class(DIRECTIONS))


def old_file(folder):
    save_file(
        {f"layer.{layer}": d for layer, d in DIRECTIONS.items()},
        str(folder / "v.safetensors"),
        metadata={"format": "pytest-steer/vector/1", "steering": "{}"},
    )
    return folder / "v.safetensors"


def svec(folder):
    lists = {str(layer): d.tolist() for layer, d in DIRECTIONS.items()}
    (folder / "v.svec").write_text(json.dumps({"model_type": "m", "directions": lists, "explained_variances": {"1": 0.5}}))
    return folder / "v.svec"


def numpy_file(folder, name):
    if name == "v.npz":
        np.savez_compressed(folder / name, **{f"layer.{layer}": d.numpy() for layer, d in DIRECTIONS.items()})
    else:
        np.save(folder / name, np.stack([d.numpy() for d in DIRECTIONS.values()]))
    return folder / name


WITH_CHECKSUM = {
    "safetensors": lambda folder: ours(folder, ".safetensors"),
    "gguf": lambda folder: ours(folder, ".gguf"),
    "pt, keys": lambda folder: torch_file(folder, DIRECTIONS),
    "pt, steering-vectors": package_file,
    "npz": lambda folder: numpy_file(folder, "v.npz"),
}
WITHOUT = {
    "safetensors without checksum": old_file,
    "gguf of repeng": lambda folder: repeng_gguf(folder / "v.gguf", {k: d.numpy() for k, d in DIRECTIONS.items()}),
    "svec": svec,
    "npy": lambda folder: numpy_file(folder, "v.npy"),
}


def outcome(file, damaged):
    """The vector, or None if it was refused as it should be."""
    file.write_bytes(damaged)
    try:
        return SteeringVector.load(file)
    except VectorError as error:
        message = str(error)
    assert message.startswith(str(file))
    return None


@pytest.mark.parametrize("kind", [*WITH_CHECKSUM, *WITHOUT])
def test_every_truncation_is_refused(tmp_path, kind):
    file = {**WITH_CHECKSUM, **WITHOUT}[kind](tmp_path)
    good = file.read_bytes()
    whole = SteeringVector.load(file)
    for end in range(len(good)):
        vector = outcome(file, good[:end])
        # Only padding behind the last value may be missing.
        assert vector is None or (kind.startswith("gguf") and end > len(good) - 32 and vector.hash == whole.hash), end


@pytest.mark.covering(1)  # each file with its lowest or its highest bits flipped
@pytest.mark.parametrize("kind", WITH_CHECKSUM)
@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_flipped_byte_is_refused_or_changes_nothing(tmp_path, kind, mask):
    file = WITH_CHECKSUM[kind](tmp_path)
    good = file.read_bytes()
    whole = SteeringVector.load(file)
    refused = 0
    for at in range(len(good)):
        vector = outcome(file, good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :])
        refused += vector is None
        if vector is not None:
            assert vector.hash == whole.hash, at
            assert vector.metadata == whole.metadata, at
    assert refused > len(good) / 4  # .pt is mostly padding


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_flipped_byte_without_checksum_is_refused_or_read(tmp_path, kind):
    file = WITHOUT[kind](tmp_path)
    good = file.read_bytes()
    refused = sum(outcome(file, good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :]) is None for at in range(len(good)))
    assert refused > len(good) / 4


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from([*WITH_CHECKSUM, *WITHOUT]), data=st.data())
def test_random_damage_never_raises_anything_else(tmp_path, kind, data):
    file = {**WITH_CHECKSUM, **WITHOUT}[kind](tmp_path)
    good = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        if not good:
            break
    outcome(file, bytes(good))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".safetensors", ".gguf", ".pt", ".svec"]),
    start=st.sampled_from([b"", b"GGUF\3\0\0\0", b"PK\3\4", b"\x80\2", b"{"]),
    rest=st.binary(max_size=200),
)
def test_random_bytes_are_refused(tmp_path, suffix, start, rest):
    assert outcome(tmp_path / f"v{suffix}", start + rest) is None
