"""``validate``, ``inspect``, ``convert`` and ``doctor``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from pytest_steer import SteeringVector, load_model, read_texts, steered
from pytest_steer.cli.main import main
from pytest_steer.core.errors import VectorError

BUILTIN = Path(__file__).resolve().parents[2] / "example_suites" / "builtin"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shutil.copytree(BUILTIN, tmp_path / "builtin"))
    return Path()


WRONG = """\
model: gone/away/model
vector: {extract: {method: caa, data: data/approval_train.json}, layer: 1}
data: {test: data/approval_test.json}
claims:
  - steers: {steerabilty: 0.3}
  - steers: {name: other, steerability: 0.3, data: {test: data/gone.json}}
  - steers: {name: good, steerability: 0.3}
"""


def test_validate_says_all_faults_with_their_lines(folder: Path, capsys) -> None:
    assert main(["validate", "tiny.steer.yaml"]) == 0
    assert capsys.readouterr().out == "tiny.steer.yaml: 6 claims, no errors\n"
    Path("wrong.steer.yaml").write_text(WRONG)
    Path("torn.steer.yaml").write_text("claims: [\n")
    assert main(["validate", "wrong.steer.yaml", "tiny.steer.yaml", "torn.steer.yaml"]) == 4
    printed = capsys.readouterr().out
    assert re.search(r"^wrong\.steer\.yaml:5: claims\[0\]\.steers\.steerabilty: unknown key", printed, re.M)
    assert re.search(
        r"^wrong\.steer\.yaml:6: claims\[1\]\.steers\.data\.test: there is no file '[^']*data/gone\.json'", printed, re.M
    )
    assert re.search(r"^wrong\.steer\.yaml:1: model: ", printed, re.M)
    assert re.search(r"^torn\.steer\.yaml:\d+", printed, re.M)
    assert "wrong.steer.yaml: 3 claims, 3 errors\n" in printed
    assert "tiny.steer.yaml: 6 claims, no errors\n" in printed


def test_validate_says_a_fault_of_several_claims_once(folder: Path, capsys) -> None:
    Path("c.steer.yaml").write_text(
        WRONG.replace("data/approval_train.json", "data/gone.json").replace("gone/away/model", "builtin:tiny")
    )
    assert main(["validate", "c.steer.yaml"]) == 4
    printed = capsys.readouterr().out
    assert len(re.findall(r"^c\.steer\.yaml:2: vector\.extract\.data: there is no file", printed, re.M)) == 1
    assert "c.steer.yaml: 3 claims, 3 errors\n" in printed


def test_validate_says_a_fault_that_names_no_line(folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: str) -> None:
        raise RuntimeError("an extension is broken")

    monkeypatch.setattr("pytest_steer.files.read_suite", broken)
    assert main(["validate", "tiny.steer.yaml"]) == 4
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("RuntimeError: an extension is broken")
    assert said[-1] == "tiny.steer.yaml: 0 claims, 1 error"


def test_validate_for_machines(folder: Path, capsys) -> None:
    Path("wrong.steer.yaml").write_text(WRONG)
    assert main(["validate", "wrong.steer.yaml", "tiny.steer.yaml", "--json"]) == 4
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == ["wrong.steer.yaml", "tiny.steer.yaml"]
    assert [(one["file"], one["line"]) for one in said["faults"]] == [("wrong.steer.yaml", line) for line in (1, 5, 6)]
    assert [one["claims"] for one in said["faults"]] == [[], ["steers"], ["other"]]
    assert main(["validate", "gone.steer.yaml"]) == 4


def test_inspect_is_norms_cosines_and_the_dose(folder: Path, capsys) -> None:
    """The cosine by its definition; the dose from the hidden states of a plain forward."""
    given = SteeringVector.load("vectors/approval.safetensors")
    ((layer, direction),) = given.directions.items()
    torch.manual_seed(0)
    other = SteeringVector({layer: torch.randn(given.width), layer + 1: torch.randn(given.width)})
    other.save("other.safetensors")
    wanted = ["vectors/approval.safetensors", "--with", "other.safetensors", "--model", "builtin:tiny"]
    assert main(["inspect", *wanted, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (row,) = said["layers"]
    assert (row["layer"], said["hash"]) == (layer, given.hash)
    assert row["norm"] == pytest.approx(float(direction.norm()), rel=1e-6)
    cosine = torch.nn.functional.cosine_similarity(direction, other.directions[layer], dim=0)
    assert row["cosines"] == {"other.safetensors": pytest.approx(float(cosine), abs=1e-6)}

    model = load_model("builtin:tiny")
    norms = []
    for text in list(read_texts("builtin:neutral"))[:16]:
        ids = model.tokenizer(str(text), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            hidden = model.hf(input_ids=ids, output_hidden_states=True).hidden_states[layer + 1][0]
        norms.append(hidden[1:].norm(dim=-1))
    assert row["relative_dose"] == pytest.approx(float(direction.norm() / torch.cat(norms).median()), rel=1e-4)

    assert main(["inspect", *wanted]) == 0
    printed = capsys.readouterr().out
    reliability = given.metadata["reliability"][str(layer)]
    assert reliability["agreement"] is None  # of texts, which are no pairs
    said = ["-", f"{reliability['d_prime']:.2f}", f"{row['relative_dose']:.1%}", f"{float(cosine):.3f}"]
    assert printed.splitlines()[-1].split() == [str(layer), f"{row['norm']:.3g}", *said]
    assert re.search(rf"^  hash +{given.hash[:16]}$", printed, re.M)
    assert re.search(r"^  made on +builtin:tiny \(weights [0-9a-f]{12}\)$", printed, re.M)
    assert re.search(rf"^  made from +{given.metadata['n']} texts, hash {given.metadata['data_hash'][:12]}$", printed, re.M)
    assert given.metadata["item_words"][:20] not in printed
    assert main(["inspect", "other.safetensors", "--with", "vectors/approval.safetensors"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[-1] == "-"  # no direction at that layer


def test_inspect_fits_the_terminal_and_its_json_is_whole(folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    about = {
        "method": "caa",
        "data_hash": "ab" * 32,
        "n": 1200,
        "label_balance": {"A": 600, "B": 600},
        "reliability": {"1": {"agreement": 0.25, "d_prime": 1.5}},
        "my_note": "a long word " * 30,
        "numbers": [0.5] * 300,
        "hostile\x1b[2J": {"deep": [1, 2]},
    }
    SteeringVector({layer: torch.ones(4) for layer in (1, 2, 3, 7)}, about).save("many.safetensors")
    others = [option for name in "abcde" for option in ("--with", f"{name * 20}.safetensors")]
    for name in "abcde":
        SteeringVector({1: torch.ones(4)}).save(f"{name * 20}.safetensors")
    assert main(["inspect", "many.safetensors", *others]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "\x1b" not in printed
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "layers 1-3, 7" in lines
    assert "made from 1,200 items, hash abababababab" in lines
    assert "matching 'A' in 600, 'B' in 600" in lines
    assert "numbers 300 values" in lines
    assert any(line.startswith("my note a long word") and line.endswith("…") for line in lines)
    assert "1 2 0.25 1.50" in " ".join(lines)
    assert main(["inspect", "many.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"] == about


def test_inspect_says_how_a_file_of_another_program_was_read(folder: Path, capsys) -> None:
    torch.save({3: torch.ones(4)}, "theirs.pt")
    assert main(["inspect", "theirs.pt"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    about = SteeringVector.load("theirs.pt").metadata["source"]
    for label, key in (("read as", "format"), ("layers are", "layers"), ("norm is", "norm")):
        assert f"{label} {about[key]}" in lines


def test_a_file_for_lm_eval_does_there_what_the_vector_does_here(folder: Path, capsys) -> None:
    """Its ``steered`` model, as its source has it: a hook on the named module adds coefficient times vector everywhere."""
    assert main(["convert", "vectors/approval.safetensors", "v.pt", "--to", "lm-eval", "--multiplier", "1.5"]) == 0
    config = torch.load("v.pt", weights_only=True)
    given = SteeringVector.load("vectors/approval.safetensors")
    model = load_model("builtin:tiny")
    ids = model.tokenizer("Mary made the hat.", return_tensors="pt")["input_ids"]

    def hook_of(entry):
        def hook(module, arguments, output):
            hidden = output[0] if isinstance(output, tuple) else output
            changed = hidden + entry["steering_coefficient"] * entry["steering_vector"]
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return hook

    modules = dict(model.hf.base_model.named_modules())
    handles = [modules[name].register_forward_hook(hook_of(entry)) for name, entry in config.items()]
    try:
        theirs = model.hf(input_ids=ids).logits
    finally:
        for handle in handles:
            handle.remove()
    with steered(model, given, multiplier=1.5, positions="all", include_first=True):
        ours = model.hf(input_ids=ids).logits
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert not torch.allclose(theirs, model.hf(input_ids=ids).logits, atol=1e-2)

    back = SteeringVector.load("v.pt")  # at multiplier 1 it is what lm-eval adds
    assert back.layers == given.layers
    for layer, direction in given.directions.items():
        assert torch.equal(back.directions[layer], 1.5 * direction)
    assert "lm-eval" in repr(back)


def test_convert_between_our_formats_and_what_it_refuses(folder: Path, capsys) -> None:
    assert main(["convert", "vectors/approval.safetensors", "v.gguf"]) == 0
    assert SteeringVector.load("v.gguf").hash == SteeringVector.load("vectors/approval.safetensors").hash
    assert main(["convert", "v.gguf", "v.pt"]) == 4
    assert "v.pt: add --to lm-eval" in capsys.readouterr().err
    assert main(["convert", "v.gguf", "v.safetensors", "--to", "lm-eval"]) == 4
    assert "lm-eval takes .pt or .pth" in capsys.readouterr().err
    for option in (["--multiplier", "2"], ["--blocks", "h"]):
        assert main(["convert", "v.gguf", "w.gguf", *option]) == 4
        assert f"{option[0]}: is for --to lm-eval" in capsys.readouterr().err
        assert not Path("w.gguf").exists()
    before = Path("v.gguf").read_bytes()
    assert main(["convert", "v.gguf", "v.gguf"]) == 4
    assert "v.gguf exists, and is not overwritten" in capsys.readouterr().err
    assert Path("v.gguf").read_bytes() == before
    SteeringVector({1: torch.ones(4), 2: torch.ones(4)}).save("two.safetensors")
    assert main(["convert", "two.safetensors", "two.pt", "--to", "lm-eval", "--blocks", "h"]) == 0
    assert "warning: lm-eval adds the last vector of such a file at every one of its layers" in capsys.readouterr().err
    assert sorted(torch.load("two.pt", weights_only=True)) == ["h.1", "h.2"]
    assert main(["convert", "two.safetensors", "one.pt", "--to", "lm-eval", "--layers", "2"]) == 0
    assert list(torch.load("one.pt", weights_only=True)) == ["layers.2"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"action": "clamp"}, "has the action 'clamp'"),
        ({"steering_coefficient": "2"}, "is '2', no number"),
        ({"steering_vector": [1.0]}, "is no tensor"),
    ],
)
def test_a_file_of_lm_eval_that_does_something_else_is_refused(tmp_path: Path, change, words) -> None:
    entry = {"steering_vector": torch.ones(4), "steering_coefficient": 1.0, "action": "add", "bias": None}
    torch.save({"layers.1": entry | change}, tmp_path / "v.pt")
    with pytest.raises(VectorError, match=re.escape(words)):
        SteeringVector.load(tmp_path / "v.pt")
    torch.save({"layers.1.mlp": entry}, tmp_path / "v.pt")
    with pytest.raises(VectorError, match=r"layers\.1\.mlp"):
        SteeringVector.load(tmp_path / "v.pt")


def test_doctor_says_what_a_bug_report_needs_and_no_path(capsys) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert f"  torch: {torch.__version__}" in printed
    assert "  builtin:tiny: found" in printed
    assert re.search(r"^  sound: yes$", printed, re.M)
    assert str(Path.home()) not in printed
    assert str(Path(torch.__file__).parents[1]) not in printed
    assert main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"versions", "system", "devices", "settings", "models", "hooks"}


def test_doctor_finds_what_is_broken(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A layer norm in training mode would do as well: whatever the check before each claim refuses."""
    from pytest_steer.steering.interventions import additive

    kind = type(additive.as_intervention(SteeringVector({1: torch.ones(3)})))
    plain = kind.apply
    monkeypatch.setattr(kind, "apply", lambda self, hidden, *more: 2 * plain(self, hidden, *more))
    assert main(["doctor"]) == 1
    assert re.search(r"^  sound: no$", capsys.readouterr().out, re.M)
