"""Every format that a steering vector is read from or written to: what comes out, and what was assumed."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from vector_files import gguf_bytes, repeng_gguf, repeng_reads, same, steering_vectors_class, text

from pytest_steer import SteeringVector, load_model
from pytest_steer.model import steered
from pytest_steer.steering import as_intervention

RECORD = {"method": "caa", "model": "m", "n": 12, "note": "größer", "item_hashes": ["a", "b"]}


def numbers(*layers, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {layer: torch.randn(width, generator=generator) for layer in layers}


# --- ours ----------------------------------------------------------------------------------------------------------------


def test_the_same_vector_is_the_same_file_in_another_process_too(tmp_path):
    SteeringVector(numbers(3, 1), RECORD).save(tmp_path / "v.safetensors")
    SteeringVector(numbers(3, 1), RECORD).save(tmp_path / "v.gguf")
    code = (
        "import sys; from pytest_steer import SteeringVector; from test_formats import numbers, RECORD\n"
        "for name in sys.argv[1:]: SteeringVector(numbers(3, 1), RECORD).save(name)"
    )
    again = [str(tmp_path / "again.safetensors"), str(tmp_path / "again.gguf")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1] / "support"), *sys.path]),
    }
    subprocess.run([sys.executable, "-c", code, *again], check=True, env=environment)
    for suffix in ("safetensors", "gguf"):
        first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("v", "again"))
        assert first == second
        assert hashlib.sha256(first).hexdigest() == hashlib.sha256(second).hexdigest()


def test_our_file_is_a_safetensors_file_for_everybody(tmp_path):
    directions = numbers(0, 12)
    SteeringVector(directions, RECORD).save(tmp_path / "v.safetensors")
    read = load_file(str(tmp_path / "v.safetensors"))
    assert set(read) == {"layer.0", "layer.12"}
    assert all(torch.equal(read[f"layer.{layer}"], direction) for layer, direction in directions.items())


def test_a_file_without_checksum_of_an_older_version_is_read(tmp_path):
    from safetensors.torch import save_file

    directions = numbers(2)
    save_file(
        {"layer.2": directions[2]},
        str(tmp_path / "v.safetensors"),
        metadata={"format": "pytest-steer/vector/1", "steering": json.dumps({"method": "caa", "norms": {"2": 1.0}})},
    )
    vector = SteeringVector.load(tmp_path / "v.safetensors")
    same(vector, directions)
    assert vector.metadata == {"method": "caa"}


# --- GGUF ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["controlvector", "steeringvector"])
def test_a_control_vector_of_repeng_is_read_bit_exactly(tmp_path, arch):
    directions = {layer: direction.numpy() for layer, direction in numbers(5, 1, 2, width=37).items()}
    vector = SteeringVector.load(repeng_gguf(tmp_path / "v.gguf", directions, arch))
    same(vector, directions)
    assert vector.metadata == {
        "source": {
            "format": f"GGUF control vector ({arch})",
            "layers": "direction.N is added to the output of decoder block N, 0-based (repeng, llama.cpp)",
            "norm": "as stored, not rescaled",
            "model_hint": "llama",
            "highest": max(directions),
        }
    }
    assert "direction.N is added to the output of decoder block N" in repr(vector)
    assert "as stored" in repr(vector)


def test_a_control_vector_as_llama_cpp_writes_it(tmp_path):
    # Its generator writes the count as int32 and has no further keys.
    count = text("controlvector.layer_count") + struct.pack("<Ii", 5, 2)
    directions = numbers(1, 2)
    tensors = [(f"direction.{layer}", (6,), 0, d.numpy().tobytes()) for layer, d in directions.items()]
    (tmp_path / "v.gguf").write_bytes(gguf_bytes(tensors, values=[count]))
    same(SteeringVector.load(tmp_path / "v.gguf"), directions)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (0, torch.tensor([1.5, -3.0, 65504.0, 1e-7, 0.0])),
        (1, torch.tensor([1.5, -3.0, 65504.0, 1e-7, 0.0], dtype=torch.float16)),
        (28, torch.tensor([1.5, -3.0, 0.1, 1e-7, 0.0], dtype=torch.float64)),
        (30, torch.tensor([1.5, -3.0, 1e38, 1e-7, 0.0], dtype=torch.bfloat16)),
    ],
)
def test_float_types_of_gguf(tmp_path, kind, stored):
    content = stored.view(torch.int16).numpy().tobytes() if kind == 30 else stored.numpy().tobytes()
    (tmp_path / "v.gguf").write_bytes(gguf_bytes([("direction.4", (5, 1), kind, content)], version=3 if kind else 2))
    same(SteeringVector.load(tmp_path / "v.gguf"), {4: stored})


def test_arrays_and_alignment_of_gguf_are_understood(tmp_path):
    def pair(name, kind, content):
        return text(name) + struct.pack("<I", kind) + content

    two_texts = struct.pack("<IQ", 8, 2) + text("ab") + text("cd")
    values = [
        pair("general.alignment", 4, struct.pack("<I", 64)),
        pair("a", 9, struct.pack("<IQ", 6, 3) + b"\0" * 12),
        pair("b", 9, two_texts),
        pair("c", 9, struct.pack("<IQ", 9, 1) + two_texts),
        pair("d", 7, b"\1"),
    ]
    directions = numbers(1, 3)
    tensors = [(f"direction.{layer}", (6,), 0, d.numpy().tobytes()) for layer, d in directions.items()]
    (tmp_path / "v.gguf").write_bytes(gguf_bytes(tensors, values=values, alignment=64))
    same(SteeringVector.load(tmp_path / "v.gguf"), directions)


def test_a_written_control_vector_is_read_by_repeng_and_comes_back_whole(tmp_path):
    saved = SteeringVector(numbers(4, 9, width=11), RECORD)
    saved.save(tmp_path / "v.gguf")
    hint, arrays = repeng_reads(tmp_path / "v.gguf")
    assert hint == "m"
    same(saved, arrays)
    assert all(array.dtype == np.float32 and array.shape == (11,) for array in arrays.values())
    loaded = SteeringVector.load(tmp_path / "v.gguf")
    same(loaded, saved.directions)
    assert loaded.metadata == RECORD
    assert loaded.hash == saved.hash


def test_what_was_read_from_repeng_keeps_its_source_through_our_files(tmp_path):
    read = SteeringVector.load(repeng_gguf(tmp_path / "v.gguf", {3: np.ones(4, np.float32)}, hint="qwen3"))
    for name in ("w.safetensors", "w.gguf"):
        read.save(tmp_path / name)
        assert SteeringVector.load(tmp_path / name).metadata == read.metadata
    assert repeng_reads(tmp_path / "w.gguf")[0] == "qwen3"


def test_the_layer_of_a_control_vector_is_the_block_whose_output_repeng_changes(tmp_path):
    model = load_model("builtin:tiny")
    direction = torch.randn(model.width, generator=torch.Generator().manual_seed(1))
    vector = SteeringVector.load(repeng_gguf(tmp_path / "v.gguf", {2: direction.numpy()}))
    inputs = model.tokenizer("Tell me about the trip.", return_tensors="pt")
    # As repeng's ControlModule: block 2 of the model's list, counted from 0, and its output.
    handle = model.hf.model.layers[2].register_forward_hook(
        lambda _, __, out: (out[0] + direction, *out[1:]) if isinstance(out, tuple) else out + direction
    )
    with torch.no_grad():
        expected = model.hf(**inputs).logits
        handle.remove()
        plain = model.hf(**inputs).logits
        with steered(model, vector, positions="all", include_first=True):
            found = model.hf(**inputs).logits
    assert (expected - plain).abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


# --- .pt -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layer", "hint"),
    [
        ("vec_layer_13_Llama-2-7b-chat-hf.pt", 13, "Llama-2-7b-chat-hf"),
        ("vec_layer_0.pt", 0, None),
        ("layer_7.pth", 7, None),
    ],
)
def test_a_caa_file_says_its_layer_by_its_name(tmp_path, name, layer, hint):
    torch.save(direction := torch.randn(8), tmp_path / name)
    vector = SteeringVector.load(tmp_path / name)
    same(vector, {layer: direction})
    assert vector.metadata["source"].get("model_hint") == hint
    assert "0-based" in vector.metadata["source"]["layers"]
    assert SteeringVector.load(tmp_path / name, layer=layer).layers == (layer,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keys_rows_and_lists(tmp_path, dtype):
    rows = torch.randn(4, 8).to(dtype)
    for content in (rows, rows.T.contiguous().T, list(rows), tuple(rows), torch.nn.Parameter(rows)):
        torch.save(content, tmp_path / "all.pt")
        vector = SteeringVector.load(tmp_path / "all.pt")
        same(vector, dict(enumerate(rows)))
        assert "row i is the output of decoder block i, 0-based" in repr(vector)
        same(SteeringVector.load(tmp_path / "all.pt", layer=[3, 1]), {3: rows[3], 1: rows[1]})
    for keys in ((2, 9), ("2", "9"), ("layer_2", "layers.9"), (2, "layer.9")):
        torch.save(dict(zip(keys, rows, strict=False)), tmp_path / "keys.pt")
        same(SteeringVector.load(tmp_path / "keys.pt"), {2: rows[0], 9: rows[1]})
        same(SteeringVector.load(tmp_path / "keys.pt", layer=9), {9: rows[1]})


@pytest.mark.parametrize("names", ["vec_layer_{}_m.pt", "layer_{}.pt", "{}.pt"])
def test_a_folder_of_layers(tmp_path, names):
    directions = numbers(8, 9, 10)
    for layer, direction in directions.items():
        torch.save(direction, tmp_path / names.format(layer))
    (tmp_path / "README.md").write_text("not a vector")
    same(SteeringVector.load(tmp_path), directions)
    same(SteeringVector.load(tmp_path, layer=[9, 8]), {8: directions[8], 9: directions[9]})
    (tmp_path / names.format(9)).unlink()
    same(SteeringVector.load(tmp_path, layer=[8, 10]), {8: directions[8], 10: directions[10]})


# --- other packages ------------------------------------------------------------------------------------------------------


def test_a_saved_steering_vectors_object_is_read_without_the_package(tmp_path):
    directions = numbers(3, 5)
    with steering_vectors_class() as their_class:
        torch.save(their_class(directions), tmp_path / "v.pt")
    assert "steering_vectors" not in sys.modules
    vector = SteeringVector.load(tmp_path / "v.pt")
    same(vector, directions)
    assert vector.metadata["source"]["format"] == "steering-vectors SteeringVector"
    # The stand-in is allowed only while such a file is read.
    with pytest.raises(Exception, match=r"steering_vectors\.steering_vector\.SteeringVector"):
        torch.load(tmp_path / "v.pt", weights_only=True)


def test_a_steering_vectors_object_in_memory(tmp_path):
    directions = numbers(3, 5)
    with steering_vectors_class() as their_class:
        theirs = their_class({layer: direction.half() for layer, direction in directions.items()})
    vector = SteeringVector.from_steering_vectors(theirs)
    same(vector, {layer: direction.half() for layer, direction in directions.items()})
    assert as_intervention(theirs).hash == as_intervention(vector).hash == vector.hash


def test_the_package_itself_if_it_is_there(tmp_path):
    theirs = pytest.importorskip("steering_vectors").SteeringVector(
        layer_activations=numbers(1, 4), layer_type="decoder_block"
    )
    torch.save(theirs, tmp_path / "v.pt")
    same(SteeringVector.load(tmp_path / "v.pt"), theirs.layer_activations)
    same(SteeringVector.from_steering_vectors(theirs), theirs.layer_activations)


def test_an_svec_file(tmp_path):
    directions = numbers(0, 14)
    content = {
        "model_type": "llama",
        "directions": {str(layer): direction.numpy().tolist() for layer, direction in directions.items()},
        "explained_variances": {"0": 0.5, "14": 0.25},
    }
    (tmp_path / "v.svec").write_text(json.dumps(content))
    vector = SteeringVector.load(tmp_path / "v.svec")
    same(vector, directions)
    assert vector.metadata["source"]["model_hint"] == "llama"
    assert "adds it to the input of block N" in repr(vector)
    same(SteeringVector.load(tmp_path / "v.svec", layer=14), {14: directions[14]})
