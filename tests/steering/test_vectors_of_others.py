"""Vectors as people save them without a format of their own: named tensors, state dicts, numpy's files, stacks of rows."""

from __future__ import annotations

import io
import struct
import zipfile
from collections import OrderedDict

import builders
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from vector_files import repeng_gguf, same

from pytest_steer import SteeringVector, propensity_curve
from pytest_steer.core.errors import VectorError
from pytest_steer.model import check_fits, steered
from pytest_steer.steering import (
    ablate,
    add,
    add_keeping_norm,
    as_intervention,
    clamp,
    gated_by_condition,
    load_intervention,
    masked,
    rotate,
    save_intervention,
)
from pytest_steer.steering.formats.kinds import by_names


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def written(folder, suffix, tensors):
    """{name: tensor} or one tensor as a file of the suffix."""
    file = folder / f"v{suffix}"
    if suffix == ".pt":
        torch.save(tensors, file)
    elif suffix == ".safetensors":
        named = tensors if isinstance(tensors, dict) else {"vectors": tensors}
        save_file({str(name): tensor.contiguous() for name, tensor in named.items()}, str(file))
    elif suffix == ".npz":
        named = tensors if isinstance(tensors, dict) else {"arr_0": tensors}
        np.savez(file, **{str(name): tensor.numpy() for name, tensor in named.items()})
    else:
        np.save(file, tensors.numpy())
    return file


def refused(file, message, **options):
    with pytest.raises(VectorError, match=message) as caught:
        SteeringVector.load(file, **options)
    assert str(caught.value).startswith(str(file))


NAMED = [".pt", ".safetensors", ".npz"]
ANY = [*NAMED, ".npy"]


# --- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.covering(1)  # what is in a file is one mapping of names, whatever its format
@pytest.mark.parametrize("suffix", NAMED)
@pytest.mark.parametrize(
    "name",
    [
        "{}", "layer.{}", "layer_{}", "layers.{}", "layer{}", "model.layers.{}", "model.layers.{}.weight", "layers.{}.steering_vector",
        "model.language_model.layers.{}.vector", "transformer.h.{}", "blocks.{}.hook_resid_post", "direction.{}", "steering_vectors.{}",
        "vec_layer_{}", "vectors_{}", "{}.weight",
    ],
)  # fmt: skip
def test_a_tensors_name_says_its_layer(tmp_path, suffix, name):
    directions = {14: rand(6), 3: rand(6, seed=1)}
    file = written(tmp_path, suffix, {name.format(layer): direction for layer, direction in directions.items()})
    same(SteeringVector.load(file, layer="all"), directions)
    same(SteeringVector.load(file, layer=14), {14: directions[14]})
    same(SteeringVector.load(file, layer=[3]), {3: directions[3]})
    refused(file, r"has no direction for layer 4; it has \[3, 14\]", layer=4)
    file = written(tmp_path, suffix, {name.format(14): directions[14][None]})
    vector = SteeringVector.load(file)  # one layer, [1, width]
    same(vector, {14: directions[14]})
    assert vector.metadata["source"]["format"] == f"{suffix} {{layer: tensor}}"


@pytest.mark.covering(1)  # what is in a file is one mapping of names, whatever its format
@pytest.mark.parametrize("suffix", NAMED)
@pytest.mark.parametrize("name", ["vector", "steering.weight", "refusal_v2", "arr_0", "params.0", "mean_diff"])
def test_a_single_tensor_whose_name_says_no_layer_is_placed_on_request(tmp_path, suffix, name):
    for shape in ((6,), (1, 6)):
        file = written(tmp_path, suffix, {name: (direction := rand(*shape))})
        same(SteeringVector.load(file, layer=5), {5: direction.reshape(6)})
        refused(file, "holds one direction and does not say for which layer. Give layer:")
        refused(file, "holds one direction and does not say for which layer. Give layer:", layer="all")


@pytest.mark.covering(1)  # what is in a file is one mapping of names, whatever its format
@pytest.mark.parametrize("suffix", NAMED)
@pytest.mark.parametrize(
    "name",
    [
        "model.layers.14.mlp.vector", "model.layers.14.input_layernorm.weight", "blocks.14.hook_resid_pre", "encoder.layers.14",
        "model.layers.14.experts.3", "hidden_states.14", "hidden_state_14", "vision_tower.layers.14", "inputs.14", "layer_007", "layer.-1",
        "layer.14.x", "mlp.14",
    ],
)  # fmt: skip
def test_a_name_that_may_mean_another_place_is_refused(tmp_path, suffix, name):
    file = written(tmp_path, suffix, {name: rand(6), "layer.2": rand(6, seed=1)})
    refused(file, f"has the (key|tensor|array) '{name}', which is no layer. Expected .* it has .*layer.2", layer=14)


@pytest.mark.parametrize("suffix", NAMED)
def test_a_layer_twice_and_shapes_that_are_no_direction(tmp_path, suffix):
    refused(
        written(tmp_path, suffix, {"layer.2": rand(6), "layers.2.vector": rand(6)}), "has layer 2 twice; the second .*vector"
    )
    refused(written(tmp_path, suffix, {"layer.2": rand(3, 6)}), r"layer 2: a direction has shape \[width\], not \[3, 6\]")
    refused(written(tmp_path, suffix, {"v": rand(2, 3, 6)}), r"a direction has shape \[width\], not \[2, 3, 6\]", layer=1)


def test_the_state_dict_of_a_module(tmp_path):
    class Steerer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleDict({str(layer): torch.nn.Module() for layer in (1, 4)})
            for layer, inner in self.layers.items():
                inner.steering_vector = torch.nn.Parameter(rand(6, seed=int(layer)))

    module = Steerer()
    expected = {layer: rand(6, seed=layer) for layer in (1, 4)}
    for content in (module.state_dict(), {"state_dict": module.state_dict()}, OrderedDict(module.named_parameters())):
        torch.save(content, tmp_path / "v.pt")
        same(SteeringVector.load(tmp_path / "v.pt", layer="all"), expected)
        same(SteeringVector.load(tmp_path / "v.pt", layer=4), {4: expected[4]})
    torch.save(torch.nn.ParameterDict({"14": expected[1]}).state_dict(), tmp_path / "v.pt")
    same(SteeringVector.load(tmp_path / "v.pt"), {14: expected[1]})
    torch.save({"vector": torch.nn.Parameter(expected[1])}, tmp_path / "v.pt")
    same(SteeringVector.load(tmp_path / "v.pt", layer=2), {2: expected[1]})


def test_a_list_of_parameters_is_a_stack_and_no_numbers_of_layers(tmp_path):
    """Names such as ``vectors.0`` and ``vectors.1`` may stand for the layers 10 and 14."""
    for depth, fits in ((3, True), (2, False)):
        rows = rand(depth, 32)
        file = written(tmp_path, ".pt", {f"vectors.{index}": row for index, row in enumerate(rows)})
        vector = SteeringVector.load(file, layer=1)
        assert vector.metadata["source"]["rows"] == depth
        if fits:
            check_fits(builders.random_model("llama"), add(vector))
        else:
            with pytest.raises(VectorError, match=r"a stack of 2 rows, and .* has 3 decoder blocks"):
                check_fits(builders.random_model("llama"), add(vector))


# --- stacks and the model's depth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ANY)
def test_rows_are_blocks_or_hidden_states(tmp_path, suffix):
    rows = rand(4, 6)
    rows[0] = 0
    file = written(tmp_path, suffix, rows)
    same(SteeringVector.load(file, layer=[1, 3], rows="blocks"), {1: rows[1], 3: rows[3]})
    same(SteeringVector.load(file, layer="all", rows="hidden_states"), {0: rows[1], 1: rows[2], 2: rows[3]})
    same(SteeringVector.load(file, layer=2, rows="hidden_states"), {2: rows[3]})
    refused(file, r"has no direction for layer 3; it has \[0, 1, 2\]", layer=3, rows="hidden_states")
    about = SteeringVector.load(file, layer=2, rows="hidden_states").metadata["source"]
    assert (about["rows"], about["rows_are"]) == (4, "hidden_states")
    assert about["layers"].startswith("row k + 1 is the output of decoder block k and row 0 the embedding")
    with pytest.raises(VectorError, match="rows is blocks or hidden_states; not 'embeddings'"):
        SteeringVector.load(file, layer=1, rows="embeddings")


@pytest.mark.parametrize("suffix", ANY)
def test_axes_of_one_entry_do_not_matter(tmp_path, suffix):
    rows = rand(3, 6)
    for shape in ((3, 1, 6), (1, 3, 6)):
        same(SteeringVector.load(written(tmp_path, suffix, rows.reshape(shape)), layer=2), {2: rows[2]})
    same(SteeringVector.load(written(tmp_path, suffix, rows[:1].reshape(1, 1, 6)), layer=2), {2: rows[0]})
    refused(
        written(tmp_path, suffix, rand(2, 3, 6)),
        r"a direction has shape \[width\], not \[2, 3, 6\]. Save the one that you mean, such as tensor\[position, layer\]",
        layer=1,
    )


def test_a_whole_model_is_refused_by_its_names_before_any_tensor_is_read(tmp_path):
    """It may be larger than the memory."""

    class Unread(dict):
        def __getitem__(self, name):
            raise AssertionError(f"{name} was read")

    names = ["layer.1", *(f"model.layers.{layer}.mlp.up_proj.weight" for layer in range(2))]
    with pytest.raises(VectorError, match=r"has the tensor 'model\.layers\.0\.mlp\.up_proj\.weight', which is no layer"):
        by_names(Unread(dict.fromkeys(names)), ".safetensors", "tensor")
    save_file({name: torch.ones(4, 4) for name in names}, str(tmp_path / "model.safetensors"))
    refused(tmp_path / "model.safetensors", "mlp.up_proj.weight', which is no layer", layer=1)


FIT = {  # rows of the file, what is said of them: layer of row 2, or why not
    (3, None): 2,
    (3, "blocks"): 2,
    (3, "hidden_states"): "needs one row more, the embedding. Delete it, or write `rows: blocks`",
    (4, None): r"with one row more, row 0 looks like the embedding.*write `rows: hidden_states` beside `file` \(in Python",
    (4, "blocks"): "needs as many rows as blocks.*write `rows: hidden_states`",
    (4, "hidden_states"): 1,
    (5, None): "with neither 3 nor 4 rows nothing says which block a row is of. Save the directions",
    (5, "blocks"): "with neither 3 nor 4 rows",
    (5, "hidden_states"): "with neither 3 nor 4 rows",
    (2, None): "with neither 3 nor 4 rows",
}


@pytest.mark.covering(1)
@pytest.mark.parametrize(("count", "rows"), FIT)
@pytest.mark.parametrize("suffix", ANY)
def test_the_models_depth_says_what_a_stack_is(tmp_path, suffix, count, rows):
    """Nothing is one off in silence: through every way of using a vector, and through a file of ours."""
    model, stack = builders.random_model("llama"), rand(count, 32)  # three blocks
    want = FIT[count, rows]
    at = want if isinstance(want, int) else 1
    file = written(tmp_path, suffix, stack)
    vector = SteeringVector.load(file, layer=at, rows=rows)
    vector.save(tmp_path / "ours.safetensors")
    for one in (
        vector,
        SteeringVector.load(tmp_path / "ours.safetensors"),
        SteeringVector.load(file, layer="all", rows=rows).at(at),
    ):
        if isinstance(want, int):
            same(one, {want: stack[2]})
            check_fits(model, as_intervention(one))
            continue
        for change in (add(one), ablate(one), clamp(one, value=1.0), add_keeping_norm(one), masked(one, keep=3)):
            with pytest.raises(VectorError, match=f"a stack of {count} rows, and .* has 3 decoder blocks.*{want}"):
                check_fits(model, change, ("model", "template"))
    if not isinstance(want, int):
        with pytest.raises(VectorError, match=want):
            propensity_curve(model, builders.LETTERED, vector)
        with pytest.raises(VectorError, match=want), steered(model, vector):
            pass


def test_a_stack_that_was_saved_again_before_anybody_said_what_it_is(tmp_path):
    model, stack = builders.random_model("llama"), rand(4, 32)
    SteeringVector.load(written(tmp_path, ".npy", stack)).save(tmp_path / "ours.safetensors")
    with pytest.raises(VectorError, match="row 0 looks like the embedding"):
        check_fits(model, add(SteeringVector.load(tmp_path / "ours.safetensors", layer=1)))
    vector = SteeringVector.load(tmp_path / "ours.safetensors", layer=1, rows="hidden_states")
    same(vector, {1: stack[2]})
    check_fits(model, add(vector))


@pytest.mark.parametrize("suffix", NAMED)
def test_keys_that_are_those_of_hidden_states(tmp_path, suffix):
    """{0: embedding, 1: block 0, ...}: the largest key is no block of the model."""
    model, rows = builders.random_model("llama"), rand(4, 32)
    file = written(tmp_path, suffix, {f"layer.{index}": row for index, row in enumerate(rows)})
    with pytest.raises(
        VectorError, match=r"numbers its directions up to 3, and .* has 3 decoder blocks, 0 to 2: these look like"
    ):
        check_fits(model, add(SteeringVector.load(file, layer=1)))
    vector = SteeringVector.load(file, layer=1, rows="hidden_states")
    same(vector, {1: rows[2]})
    check_fits(model, add(vector))
    for rows_are in ("blocks", None):
        file = written(tmp_path, suffix, {f"layer.{layer}": rand(32) for layer in (1, 7)})
        with pytest.raises(VectorError, match=r"up to 7, and .*: the numbers are not those of this model's blocks"):
            check_fits(model, add(SteeringVector.load(file, layer=1, rows=rows_are)))
    file = written(tmp_path, suffix, {f"layer.{layer}": rows[layer] for layer in (0, 2)})
    check_fits(model, add(SteeringVector.load(file, layer=2)))


def test_rows_of_a_file_without_rows(tmp_path):
    refused(
        written(tmp_path, ".npy", rand(6)), "this file holds one direction. Delete `rows`", layer=1, rows="hidden_states"
    )
    repeng_gguf(tmp_path / "v.gguf", {1: rand(6).numpy(), 2: rand(6).numpy()})
    refused(tmp_path / "v.gguf", "holds directions whose layers the format defines. Delete", layer=1, rows="hidden_states")


# --- several layers and nobody said which --------------------------------------------------------------------------------

MANY = {
    ".safetensors of others": lambda folder, d: written(
        folder, ".safetensors", {f"layer.{layer}": t for layer, t in d.items()}
    ),
    ".npz": lambda folder, d: written(folder, ".npz", {f"layer.{layer}": t for layer, t in d.items()}),
    ".pt": lambda folder, d: written(folder, ".pt", d),
    ".gguf": lambda folder, d: repeng_gguf(folder / "v.gguf", {layer: t.numpy() for layer, t in d.items()}),
    "ours": lambda folder, d: (
        SteeringVector(d, {"method": "caa"}).save(folder / "o.safetensors") or folder / "o.safetensors"
    ),
}


@pytest.mark.parametrize("kind", MANY)
def test_steering_with_a_file_of_several_layers_asks_which(tmp_path, kind):
    model, directions = builders.random_model("llama"), {1: rand(32), 2: rand(32, seed=1)}
    file = MANY[kind](tmp_path, directions)
    vector = SteeringVector.load(file)
    same(vector, directions)  # to look at, and to take layers from
    message = (
        r"v?o?\.\w+: holds directions for 2 layers \(1, 2\), and nothing says at which of them to steer. Write `layer: 2` for one "
        r"of them, a list for some, or `layer: all` .*SteeringVector\.load\(path, layer=2\), or vector\.at\(2\)"
    )
    for use in (add, add_keeping_norm, ablate, as_intervention, lambda v: clamp(v, value=1.0), lambda v: masked(v, keep=2)):
        with pytest.raises(VectorError, match=message):
            use(vector)
    with pytest.raises(VectorError, match=message):
        gated_by_condition(add(vector.at(1)), vector, threshold=0.1)
    with pytest.raises(VectorError, match=message):
        propensity_curve(model, builders.LETTERED, vector)
    with pytest.raises(VectorError, match=message), steered(model, vector):
        pass
    for settled in (SteeringVector.load(file, layer="all"), vector.at("all"), SteeringVector.load(file, layer=[1, 2])):
        same(settled, directions)
        assert as_intervention(settled).hash == SteeringVector(directions).hash
    assert add(vector.at(2)).hash == add(SteeringVector.load(file, layer=2)).hash == SteeringVector({2: directions[2]}).hash


def test_a_record_that_says_all_layers_act_together_asks_nothing(tmp_path):
    directions = {1: rand(32), 2: rand(32, seed=1)}
    for name in ("v.safetensors", "v.gguf"):
        SteeringVector(directions, {"together": True}).save(tmp_path / name)
        assert add(SteeringVector.load(tmp_path / name)).hash == SteeringVector(directions).hash
    save_intervention(ablate(SteeringVector(directions)), tmp_path / "a.safetensors")
    assert load_intervention(tmp_path / "a.safetensors").layers == (1, 2)
    refused(tmp_path / "a.safetensors", r"holds an intervention.*name it under `intervention:`.*load_intervention\(path\)")
    assert rotate({1: (directions[1], directions[2])}).layers == (1,)


def test_layer_is_a_number_a_list_or_all(tmp_path):
    SteeringVector({1: rand(4), 2: rand(4)}).save(tmp_path / "v.safetensors")
    with pytest.raises(VectorError, match="a list of them, or 'all'; not 'every'"):
        SteeringVector.load(tmp_path / "v.safetensors", layer="every")
    with pytest.raises(VectorError, match="or 'all'; not 'every'"):
        SteeringVector.load(tmp_path / "v.safetensors").at("every")


# --- numpy ---------------------------------------------------------------------------------------------------------------


@pytest.mark.covering(1)
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_of_numpy_in_every_layout(tmp_path, dtype, order):
    rows = np.asarray(rand(3, 6).numpy().astype(dtype), order=order)
    expected = {index: torch.from_numpy(row.astype("<f4")) for index, row in enumerate(rows)}
    np.save(tmp_path / "v.npy", rows)
    same(SteeringVector.load(tmp_path / "v.npy", layer="all"), expected)
    np.savez_compressed(tmp_path / "v.npz", rows)
    same(SteeringVector.load(tmp_path / "v.npz", layer="all"), expected)
    np.savez(tmp_path / "v.npz", *rows)  # arr_0, arr_1, arr_2: places in a list
    vector = SteeringVector.load(tmp_path / "v.npz", layer="all")
    same(vector, expected)
    assert vector.metadata["source"]["rows"] == 3


def test_objects_of_numpy_are_not_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    np.save(tmp_path / "v.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "v.npz", allow_pickle=True, x=np.array([Bomb()], dtype=object))
    for name in ("v.npy", "v.npz"):
        refused(tmp_path / name, "holds Python objects, which would need to be unpickled, and nothing is", layer=1)
    assert not (tmp_path / "executed").exists()


def header(shape, dtype="<f4"):
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header((6,)) + b"\0" * 20, "claims 24 bytes of values, and 20 are there"),
        (header((2**62, 4)), "claims 73786976294838206464 bytes"),
        (header((-1, 6)), "damaged or cut off|claims -24 bytes"),
        (header((0, 6)), r"of shape \[0, 6\] is empty"),
        (header((6,), "<i8") + b"\0" * 48, "has dtype int64; a direction is float32"),
        (header((6,), "|V2") + b"\0" * 12, r"dtype \|V2 \(bfloat16 is saved by numpy as raw bytes\).*astype"),
        (b"\x93NUMPY\x01\x00", "is not a readable np[yz] file, damaged or cut off"),
    ],
)
def test_npy_files_that_are_refused(tmp_path, content, message):
    (tmp_path / "v.npy").write_bytes(content)
    refused(tmp_path / "v.npy", message, layer=1)
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
        archive.writestr("x.npy", content)
    refused(tmp_path / "v.npz", message, layer=1)


def zipped(path, entries, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def array_bytes(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_npz_files_that_are_refused(tmp_path):
    file, good = tmp_path / "v.npz", array_bytes(np.ones(6, np.float32))
    refused(zipped(file, []), "holds no arrays", layer=1)
    refused(
        zipped(file, [("x.npy", good), ("readme.txt", b"hello")]), "has the entry 'readme.txt', which is no array", layer=1
    )
    refused(
        zipped(file, [("x.npy", good)], compression=zipfile.ZIP_BZIP2), "compressed in another way than numpy does", layer=1
    )
    with pytest.warns(UserWarning, match="Duplicate name"):
        zipped(file, [("x.npy", good), ("x.npy", good)])
    refused(file, "has the array 'x' twice", layer=1)
    torch.save({1: torch.ones(6)}, file)
    refused(file, "its content is that of a .pt file. Give it the suffix .pt", layer=1)
    file.write_bytes(b"not a zip archive")
    refused(file, "is not a readable npz file, damaged or cut off", layer=1)
    np.save(tmp_path / "x.npy", np.ones(6, np.float32))
    (tmp_path / "x.npy").rename(file)
    refused(file, "its content is that of a .npy file. Give it the suffix .npy", layer=1)


def test_an_entry_that_claims_to_unpack_to_more_than_a_stack_of_vectors(tmp_path):
    file = zipped(tmp_path / "v.npz", [("x.npy", array_bytes(np.ones(6, np.float32)))], compression=zipfile.ZIP_DEFLATED)
    content = bytearray(file.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 2**31)  # the uncompressed size
    file.write_bytes(bytes(content))
    refused(file, "claims 2147483648 bytes, more than any stack of directions has", layer=1)
