"""``pytest-steer compare-models``: two checkpoints on one suite, exit codes, and what is said of models that cannot be held together."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import pytest
import torch
from small_suite import BUILTIN, small_suite

from pytest_steer import load_model
from pytest_steer.cli.main import main

FILE = """
model: builtin:tiny
vector: {extract: {method: mean_difference, data: approval_train.json}, layer: 1, positions: all}
multipliers: [-1, 0, 1]
data: {test: approval_test.json, neutral: neutral.txt}
claims:
  - steers: {steerability: 0.9}
  - not_anti_steered: {share: 0.3}
  - ppl_delta_below: {limit: 0.05}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    data = small_suite(tmp_path / "builtin", items=12, texts=12, trained_on=12) / "data"
    for name in ("approval_train.json", "approval_test.json", "neutral.txt"):
        (data / name).rename(tmp_path / name)
    (tmp_path / "c.steer.yaml").write_text(FILE)
    return tmp_path


def saved(folder: Path, name: str, change) -> str:
    """A copy of the built-in model in a folder, with its weights changed."""
    model, draw = load_model("builtin:tiny"), torch.Generator().manual_seed(0)
    hf = type(model.hf)(model.hf.config)
    hf.load_state_dict(model.hf.state_dict())
    with torch.no_grad():
        for weight in hf.parameters():
            weight.copy_(change(weight, draw))
    hf.save_pretrained(folder / name)
    model.tokenizer.save_pretrained(folder / name)
    return f"./{name}"


def noisy(size: float):
    return lambda weight, draw: weight + size * weight.std() * torch.randn(weight.shape, generator=draw)


def test_one_model_against_itself_is_no_change(folder, capsys):
    assert main(["compare-models", "builtin:tiny", "builtin:tiny", "c.steer.yaml", "--out", "o.json"]) == 0
    printed = capsys.readouterr().out
    assert "weights: equal to the last bit: this is one checkpoint" in printed
    assert "steers: held: pass" in printed
    assert "equal on all" in printed
    record = json.loads(Path("o.json").read_text())
    assert record["schema"] == "pytest-steer/models/1"
    assert {entry["outcome"] for entry in record["against"]["claims"]} == {"held"}
    assert all(entry["difference"] == 0 for entry in record["against"]["claims"])
    assert len(record["claims"]) == 2
    assert [one["estimate"] for one in record["claims"][0]] == [one["estimate"] for one in record["claims"][1]]
    (ranked,) = record["slopes"]["items"]
    assert ranked["spearman"]["estimate"] == pytest.approx(1)


def test_a_broken_checkpoint_is_worse_and_a_little_noise_is_not(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    near, far = saved(folder, "near", noisy(1e-4)), saved(folder, "far", noisy(1.0))
    assert main(["compare-models", "builtin:tiny", far, "c.steer.yaml"]) == 1
    printed = capsys.readouterr().out
    assert "steers: broken: pass -> " in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert main(["compare-models", "builtin:tiny", near, "c.steer.yaml", "--tolerance", "0.05"]) == 0
    printed = capsys.readouterr().out
    assert "differs in weights: " in printed
    assert "steers: held: pass" in printed or "steers: better: pass" in printed


def test_one_model_is_in_memory_at_a_time(folder, capsys, monkeypatch):
    """When the second one is loaded nothing refers to the first any more."""
    from pytest_steer.model import loading

    load, loaded = loading.load_model, []

    def watched(*arguments, **options):
        assert [one() for one in loaded] == [None] * len(loaded)
        model = load(*arguments, **options)
        loaded.append(weakref.ref(model.hf))
        return model

    monkeypatch.setattr(loading, "load_model", watched)
    assert (
        main(["compare-models", "builtin:tiny", saved(folder, "near", noisy(1e-4)), "c.steer.yaml", "--tolerance", "1"]) == 0
    )
    assert len(loaded) == 2
    assert [one() for one in loaded] == [None, None]


def test_verdicts_are_adjusted_where_the_file_says_so(folder, capsys):
    """At a threshold that the bound of a claim by itself just keeps, and beside one that is never proven: Holm takes its p-value twice."""
    arguments = ["compare-models", "builtin:tiny", "builtin:tiny", "c.steer.yaml", "--out", "o.json", "--no-soundness"]
    main(arguments)
    alone = json.loads(Path("o.json").read_text())["claims"][0]
    low = alone[0]["interval"][0]
    text = FILE.replace("steerability: 0.9", f"steerability: {low - 1e-5}").replace("share: 0.3", "share: 0.02")
    for holm, verdict in ((False, "pass"), (True, "inconclusive")):
        Path("c.steer.yaml").write_text(f"{text}holm: {str(holm).lower()}\n")
        main(arguments)
        for side in json.loads(Path("o.json").read_text())["claims"]:
            assert side[0]["verdict"] == verdict
            assert (side[0]["holm"] is not None) == holm


@pytest.fixture
def quantised(folder, monkeypatch):
    """The built-in model with its matrices in 8 bits, as a GGUF file."""
    import gguf
    from gguf_model import write_builtin

    monkeypatch.setenv("PYTEST_STEER_CACHE", str(folder / "cache"))
    write_builtin(folder / "q8.gguf", gguf.GGMLQuantizationType.Q8_0)
    return "./q8.gguf"


def test_a_quantised_copy_is_compared_and_named_as_such(folder, quantised, capsys):
    """B's numbers are those of the same model with each matrix rounded to 8 bits by hand."""
    import gguf
    import plain

    from pytest_steer import read_items
    from pytest_steer.files import read_suite
    from pytest_steer.files.inputs import Inputs

    arguments = ["compare-models", "builtin:tiny", quantised, "c.steer.yaml", "--tolerance", "0.05", "--out", "o.json"]
    assert main([*arguments, "--no-soundness"]) == 0
    printed = capsys.readouterr().out
    assert "differs in quantisation: none and Q8_0" in printed
    assert "differs in weights: " in printed
    assert "3 held" in printed
    record = json.loads(Path("o.json").read_text())
    assert record["claims"][0][0]["estimate"] != record["claims"][1][0]["estimate"]

    model, kind = load_model("builtin:tiny"), gguf.GGMLQuantizationType.Q8_0
    with torch.no_grad():
        for weight in model.hf.parameters():
            if weight.ndim == 2:
                rounded = gguf.quants.dequantize(gguf.quants.quantize(weight.numpy(), kind), kind)
                weight.copy_(torch.from_numpy(rounded))
    vector = Inputs(model).steering(read_suite("c.steer.yaml").entries[0].vector)
    items = list(read_items("approval_test.json"))
    values = plain.curve(model.hf, model.tokenizer, items, vector.directions, (-1.0, 0.0, 1.0), "all")
    slopes = plain.slopes(values, (-1, 0, 1))
    assert record["claims"][1][0]["estimate"] == pytest.approx(slopes.mean(), abs=1e-4)
    assert abs(record["claims"][0][0]["estimate"] - slopes.mean()) > 3e-4


def test_precision_alone_is_named_as_such(folder, capsys):
    finer = saved(folder, "finer", lambda weight, _: weight * (1 + 2**-14))  # which rounds to the same bfloat16
    main(["compare-models", "builtin:tiny", finer, "c.steer.yaml", "--tolerance", "0.05", "--no-soundness"])
    assert "they differ in precision alone" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("at", [0, 1])
def test_a_model_that_cannot_be_loaded_is_named(folder, capsys, at):
    names = ["builtin:tiny", "builtin:tiny"]
    names[at] = "./nowhere"
    assert main(["compare-models", *names, "c.steer.yaml"]) == 4
    assert "./nowhere" in capsys.readouterr().err


def wider(folder: Path) -> str:
    """A model like the built-in one, twice as wide and with random weights."""
    model = load_model("builtin:tiny")
    config = type(model.hf.config).from_dict(model.hf.config.to_dict())
    for name in ("hidden_size", "n_embd"):
        if name in config.to_dict():
            setattr(config, name, 2 * getattr(config, name))
    torch.manual_seed(0)
    type(model.hf)(config).save_pretrained(folder / "wide")
    model.tokenizer.save_pretrained(folder / "wide")
    return "./wide"


def test_a_saved_vector_that_does_not_fit_the_second_model_is_said(folder, capsys):
    vectors = BUILTIN / "vectors"
    (folder / "approval.safetensors").write_bytes((vectors / "approval.safetensors").read_bytes())
    text = FILE.replace(FILE[FILE.index("vector:") : FILE.index("multipliers")], "vector: {file: approval.safetensors}\n")
    (folder / "v.steer.yaml").write_text(text)
    assert main(["compare-models", "builtin:tiny", wider(folder), "v.steer.yaml"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "differs in width: " in printed
    said = "it cannot be measured now: v.steer.yaml:3: vector.file: the vector has width 96, but ./wide has width 192"
    assert f"steers: broken: pass -> error ({said})" in printed
    assert "no slopes on B: approval_test: " in printed


def test_a_claim_that_cannot_be_read_is_no_success(folder, capsys):
    (folder / "b.steer.yaml").write_text(f"{FILE}  - steers: {{steerabilty: 0.9, name: wrong}}\n")
    assert main(["compare-models", "builtin:tiny", "builtin:tiny", "b.steer.yaml"]) == 3
    assert "wrong: not comparable: error (it cannot be measured now, nor could it before: " in " ".join(
        capsys.readouterr().out.split()
    )


def test_files_of_one_name_and_one_file_twice(folder, capsys):
    (folder / "sub").mkdir()
    for name in ("approval_train.json", "approval_test.json", "neutral.txt", "c.steer.yaml"):
        (folder / "sub" / name).write_text((folder / name).read_text())
    arguments = ["c.steer.yaml", "sub/c.steer.yaml", "c.steer.yaml", "--out", "o.json", "--no-soundness"]
    assert main(["compare-models", "builtin:tiny", "builtin:tiny", *arguments]) == 0
    ids = [entry["id"] for entry in json.loads(Path("o.json").read_text())["against"]["claims"]]
    assert len(ids) == len({*ids}) == 6
    assert {one.partition("::")[0] for one in ids} == {"c.steer.yaml", "sub/c.steer.yaml"}


def test_nothing_of_a_name_is_obeyed_by_the_terminal(folder, capsys):
    (folder / "h.steer.yaml").write_text(FILE.replace("steers: {steer", 'steers: {name: "a\\e[2Jb", steer'))
    assert main(["compare-models", "builtin:tiny", "builtin:tiny", "h.steer.yaml", "--no-soundness"]) == 3
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err


def test_a_tolerance_is_a_number_from_0_on(folder, capsys):
    for wrong in ("-1", "nan", "much"):
        assert main(["compare-models", "builtin:tiny", "builtin:tiny", "c.steer.yaml", "--tolerance", wrong]) == 4
