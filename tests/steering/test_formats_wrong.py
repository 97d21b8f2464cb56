"""Files of vectors that are refused: the message names the file, says what is wrong and what to do; nothing in them runs."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest
import torch
from vector_files import gguf_bytes, repeng_gguf, rezip, steering_vectors_class, text

from pytest_steer import SteeringVector
from pytest_steer.core.errors import VectorError

ONES = np.ones(6, np.float32).tobytes()
GOOD = ("direction.1", (6,), 0, ONES)


def refused(path, message, **options):
    with pytest.raises(VectorError, match=message) as caught:
        SteeringVector.load(path, **options)
    assert str(path) in str(caught.value)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


# --- nothing runs --------------------------------------------------------------------------------------------------------


@pytest.mark.covering(1)
@pytest.mark.parametrize(
    "name", ["v.pt", "vec_layer_3_m.pt", "v.pth", "v.bin", "v.gguf", "v.svec", "v.safetensors", "folder"]
)
@pytest.mark.parametrize("how", ["torch", "torch, protocol 4", "torch legacy", "pickle", "in a SteeringVector"])
def test_a_pickle_that_would_run_something_is_refused_and_does_not_run(tmp_path, name, how):
    mark = tmp_path / "executed"
    file = tmp_path / name
    if name == "folder":
        file.mkdir()
        file = file / "layer_1.pt"
    content = {1: torch.ones(3), "bomb": Bomb(mark)}
    if how == "pickle":
        file.write_bytes(pickle.dumps(content))
    elif how == "in a SteeringVector":
        with steering_vectors_class() as their_class:
            torch.save(their_class(content), file)
    else:
        torch.save(
            content, file, _use_new_zipfile_serialization=how != "torch legacy", pickle_protocol=4 if "4" in how else 2
        )
    refused(tmp_path / name, "unpickled|is not a readable|is read from")
    refused(tmp_path / name, "unpickled|is not a readable|is read from", layer=1)
    assert not mark.exists()


def test_a_class_that_the_user_allowed_for_torch_is_refused_all_the_same(tmp_path):
    torch.save({1: torch.ones(3), "bomb": Bomb(tmp_path / "executed")}, tmp_path / "v.pt")
    with torch.serialization.safe_globals([open]):
        refused(tmp_path / "v.pt", r"would need .*open to be unpickled")
    assert not (tmp_path / "executed").exists()


def test_the_refusal_names_what_it_would_need_and_how_to_convert(tmp_path):
    torch.save({1: np.ones(3)}, tmp_path / "v.pt")
    refused(
        tmp_path / "v.pt", r"would need .*numpy.*to be unpickled, and nothing is.*torch\.save\(\{layer: tensor\.float\(\)\}"
    )
    with steering_vectors_class("steering_vectors.other") as their_class:
        torch.save(their_class({1: torch.ones(3)}), tmp_path / "v.pt")
    refused(tmp_path / "v.pt", r"would need steering_vectors\.other\.SteeringVector to be unpickled")


# --- what is in a .pt ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.arange(6), "the tensor has dtype torch.int64; a direction is float32.*tensor.float"),
        ({2: torch.ones(6, dtype=torch.complex128)}, "layer 2 has dtype torch.complex128"),
        (torch.tensor(1.0), r"a direction has shape \[width\], not \[\]"),
        ({1: torch.ones(2, 6)}, r"layer 1: a direction has shape \[width\], not \[2, 6\]"),
        (torch.ones(0, 6), r"of shape \[0, 6\] is empty"),
        ({}, "an empty dictionary"),
        (None, "holds a NoneType; expected a tensor"),
        ({1: None}, "layer 1 is a NoneType, not a tensor"),
        ([torch.ones(3), 1.0], "entry 1 is a float"),
        ({-1: torch.ones(6)}, "has the key -1, which is no layer"),
        ({"vector": torch.ones(6), "layer": 3}, "has the key 'vector'.*it has 'vector', 'layer'"),
        ({1: torch.ones(6), "1": torch.ones(6)}, "layer 1 twice"),
        (torch.ones(1).expand(10**12), "claims 1000000000000 values, more than the file stores"),
        (torch.ones(1).expand(10**9, 10**3), r"claims \[1000000000, 1000\] values"),
        ({1: torch.ones(6, device="meta")}, "unpickled|meta"),
    ],
)
def test_contents_of_pt_that_are_no_vector(tmp_path, content, message):
    torch.save(content, tmp_path / "v.pt")
    refused(tmp_path / "v.pt", message, layer=1 if isinstance(content, torch.Tensor) and content.ndim < 2 else None)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            None,
            "does not say for which layer. Give layer: the one decoder block, counted from 0, whose output it is added to$",
        ),
        ([1, 2], "Give layer: the one .*, not 2$"),
        ([], "layer is a decoder block's number or several of them"),
        (-1, "from 0 on; not -1"),
    ],
)
def test_a_layer_that_nobody_says_is_asked_for(tmp_path, layer, message):
    torch.save(torch.ones(6), tmp_path / "v.pt")
    with pytest.raises(VectorError, match=message):
        SteeringVector.load(tmp_path / "v.pt", layer=layer)


def test_a_layer_that_the_file_does_not_have(tmp_path):
    torch.save(torch.ones(6), tmp_path / "vec_layer_13_m.pt")
    refused(tmp_path / "vec_layer_13_m.pt", r"no direction for layer 14; it has \[13\]", layer=14)
    torch.save(torch.ones(3, 6), tmp_path / "vec_layer_13_m.pt")
    refused(tmp_path / "vec_layer_13_m.pt", "holds 3 directions, and its name says layer 13")
    torch.save(torch.ones(6), tmp_path / "vec_layer_007_m.pt")
    refused(tmp_path / "vec_layer_007_m.pt", "its name says layer '007', which is no decoder block's number")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda name, data: data.replace(b"K\x06", b"M\x00\x40") if name.endswith("data.pkl") else data,
            "cannot be read by torch",
        ),
        (lambda name, data: b"" if name.endswith("data.pkl") else data, "is not a readable pt file"),
        (lambda name, data: b"\x80\x02N." if name.endswith("data.pkl") else data, "holds a NoneType"),
    ],
)
def test_an_archive_that_contradicts_itself(tmp_path, change, message):
    torch.save(torch.ones(6), tmp_path / "good.pt")
    refused(rezip(tmp_path / "good.pt", tmp_path / "v.pt", change), message, layer=1)


# --- folders -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.txt"], "is a folder without .pt files"),
        (["vec_layer_1_m.pt", "mean.pt"], "mean.pt does not say its layer"),
        (["vec_layer_1_m.pt", "vec_layer_2_other.pt"], "vectors of several models, 'm' and 'other'"),
        (["layer_1.pt", "vec_layer_1.pt"], "holds layer 1 twice, layer_1.pt and vec_layer_1.pt"),
        (["layer_1.pt", "layer_2.pt", "layer_5.pt"], r"the layers \[1, 2, 5\] and none for \[3, 4\].*layer: \[1, 2, 5\]"),
    ],
)
def test_folders_that_leave_a_question(tmp_path, names, message):
    for name in names:
        torch.save(torch.ones(6), tmp_path / name)
    refused(tmp_path, message)


def test_a_folder_is_asked_for_layers_that_it_has_and_its_files_hold_one(tmp_path):
    torch.save(torch.ones(6), tmp_path / "1.pt")
    torch.save(torch.ones(2, 6), tmp_path / "2.pt")
    refused(tmp_path, r"no direction for layer 3; it has \[1, 2\]", layer=[1, 3])
    refused(tmp_path, "2.pt: holds 2 directions; in a folder of layers each file holds one")


# --- GGUF ----------------------------------------------------------------------------------------------------------------


def pair(name, kind, content):
    return text(name) + struct.pack("<I", kind) + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a readable gguf file, damaged or cut off"),
        (gguf_bytes([GOOD], magic=b"GGML"), "is not a readable gguf file.*magic invalid"),
        (gguf_bytes([GOOD], arch="llama"), "architecture 'llama'; a control vector has controlvector or steeringvector"),
        (
            gguf_bytes([GOOD], arch="llama", values=[pair("tokenizer.ggml.model", 8, text("gpt2"))]),
            "looks like a language model: that goes under `model:`",
        ),
        (gguf_bytes([GOOD], arch=None), "has no general.architecture"),
        (gguf_bytes([]), "holds no tensors"),
        (gguf_bytes([GOOD, GOOD]), "duplicated tensor with name direction.1"),
        (gguf_bytes([("weight", (6,), 0, ONES)]), "unexpected tensor 'weight'; a control vector has direction.N"),
        (gguf_bytes([("direction.1", (6,), 24, ONES)]), "ggml type I8, quantized or of integers"),
        (gguf_bytes([("direction.1", (3, 2), 0, ONES)]), r"has shape \[2, 3\]; a direction has shape \[width\]"),
        (gguf_bytes([("direction.1", (0,), 0, b"")]), "direction.1 is empty"),
        (
            gguf_bytes([GOOD, ("direction.2", (6,), 0, ONES, 0)]),
            "direction.2 starts at byte .* was expected: a damaged file",
        ),
        (gguf_bytes([GOOD], values=[pair("pytest_steer.steering", 8, text("{}"))]), "only one of pytest_steer.steering"),
        (gguf_bytes([("direction.1", (6,), 0, struct.pack("<6f", *[float("nan")] * 6))]), "6 of 6 values are NaN"),
        (gguf_bytes([GOOD, ("direction.2", (3,), 0, ONES[:12])]), "different widths"),
    ],
)
def test_wrong_gguf(tmp_path, content, message):
    (tmp_path / "v.gguf").write_bytes(content)
    refused(tmp_path / "v.gguf", message)


def test_layer_0_is_not_written_where_llama_cpp_would_refuse_the_file(tmp_path):
    vector = SteeringVector({0: torch.ones(4), 3: torch.ones(4)})
    with pytest.raises(VectorError, match=r"llama.cpp refuses .* Leave it out, vector.at\(\[3\]\), or save as .safetensors"):
        vector.save(tmp_path / "v.gguf")
    assert not (tmp_path / "v.gguf").exists()
    vector.at(3).save(tmp_path / "v.gguf")
    # Read it is: repeng would add it to the output of block 0.
    assert SteeringVector.load(repeng_gguf(tmp_path / "w.gguf", {0: np.ones(4, np.float32)})).layers == (0,)


# --- .svec and the rest --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a readable svec file"),
        ("[1, 2]", "a .svec file is a JSON object with directions"),
        ('{"directions": {"1": [1.0], "1": [2.0]}}', "'1' stands twice"),
        ('{"directions": {"a": [1.0]}}', "directions has the key 'a'"),
        ('{"directions": {"1": 2.0}}', "layer 1 has to be a list of numbers"),
        ('{"directions": {"1": [[1.0]]}}', "it has \\[1.0\\]"),
        ('{"directions": {"1": [1' + "0" * 400 + "]}}", "too large for a float"),
    ],
)
def test_wrong_svec(tmp_path, content, message):
    (tmp_path / "v.svec").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(tmp_path / "v.svec", message)


def test_names_and_contents_that_do_not_fit(tmp_path):
    torch.save(torch.ones(3), tmp_path / "v.gguf")
    refused(tmp_path / "v.gguf", "is not a readable gguf file: its content is that of a .pt file. Give it the suffix .pt")
    (tmp_path / "v.npy").write_bytes(b"\x93NUMPY")
    refused(tmp_path / "v.npy", "is not a readable npy file, damaged or cut off")
    (tmp_path / "v.bin").write_bytes(b"\x00\x01\x02\x03")
    refused(tmp_path / "v.bin", r"is read from \.gguf, \.npy, \.npz, \.pt, \.pth, \.safetensors, \.svec, or from a folder")
    with pytest.raises(VectorError, match=r"written as \.gguf or \.safetensors; give it that suffix"):
        SteeringVector({1: torch.ones(3)}).save(tmp_path / "v.pt")
    # Where the suffix says nothing, the content does.
    torch.save(torch.ones(3), tmp_path / "v.bin")
    assert SteeringVector.load(tmp_path / "v.bin", layer=2).layers == (2,)


@pytest.mark.parametrize(
    ("activations", "kind", "message"),
    [
        ({1: torch.ones(3)}, "mlp", "acts on 'mlp'; a vector here is added to the output of decoder blocks"),
        ({1: torch.ones(3)}, None, "is not a whole steering_vectors.SteeringVector"),
        ([torch.ones(3)], "decoder_block", "is not a whole steering_vectors.SteeringVector"),
    ],
)
def test_steering_vectors_objects_that_are_refused(tmp_path, activations, kind, message):
    with steering_vectors_class() as their_class:
        theirs = their_class(activations, kind)
        torch.save(theirs, tmp_path / "v.pt")
    refused(tmp_path / "v.pt", message)
    with pytest.raises(VectorError, match=message):
        SteeringVector.from_steering_vectors(theirs)


@pytest.mark.parametrize(
    ("value", "message"),
    [("text", "a direction is a tensor"), (torch.ones(3, dtype=torch.complex64), "real values, not torch.complex64")],
)
def test_directions_in_memory_that_are_no_numbers(value, message):
    with pytest.raises(VectorError, match=f"layer 1: .*{message}"):
        SteeringVector({1: value})
    with pytest.raises(VectorError, match="from 0 on; not 'a'"):
        SteeringVector({1: torch.ones(3), "a": torch.ones(3)})


def test_metadata_that_json_cannot_hold_is_not_written(tmp_path):
    for value in (object(), float("nan")):
        for name in ("v.safetensors", "v.gguf"):
            with pytest.raises(VectorError, match="metadata cannot be written as JSON"):
                SteeringVector({1: torch.ones(2)}, {"made": value}).save(tmp_path / name)
            assert not (tmp_path / name).exists()
