"""From a claim file's vector or intervention to what steers: the same as the call in Python."""

from __future__ import annotations

import warnings
from pathlib import Path

import builders
import pytest
import torch

from pytest_steer import SteeringVector, extract
from pytest_steer.claims import evidence_of
from pytest_steer.core.errors import SteerError
from pytest_steer.data import TaskItem
from pytest_steer.files import ClaimSpec, read_suite
from pytest_steer.files.inputs import make_steering
from pytest_steer.steering import (
    Intervention,
    ablate,
    add,
    affine,
    as_intervention,
    clamp,
    gated_by_condition,
    masked,
    rotate,
    save_intervention,
)

WORDS = ("tea", "ice", "sun", "moon", "bread", "stone")
ITEMS = [
    {
        "question": f"What of the {w}?\n(A) x\n(B) y",
        "answer_matching_behavior": f"({a})",
        "answer_not_matching_behavior": f"({b})",
    }
    for w, a, b in zip(WORDS, "ABABAB", "BABABA", strict=True)
]
TEXTS = {"positive": [f"I like the {w}." for w in WORDS], "negative": [f"I loathe all {w}." for w in WORDS]}
TASKS = [{"input": w, "output": w.upper()} for w in WORDS]
V, TOWARD = builders.random_vector(1), builders.random_vector(1, seed=4)


@pytest.fixture
def place(tmp_path) -> Path:
    for name, content in (("items.json", ITEMS), ("texts.json", TEXTS), ("tasks.json", TASKS)):
        builders.write_json(tmp_path / name, content)
    V.save(tmp_path / "v.safetensors")
    TOWARD.save(tmp_path / "toward.safetensors")
    SteeringVector({0: builders.random_vector(0).directions[0], 1: V.directions[1]}).save(tmp_path / "two.safetensors")
    save_intervention(affine({1: 2 * torch.eye(32)}, V.directions), tmp_path / "map.safetensors")
    return tmp_path


def made(place, entry):
    file = place / "x.steer.yaml"
    file.write_text(f"{entry}\ndata: {{test: items.json}}\nclaims:\n  - not_anti_steered: {{share: 0.5, by: effect}}\n")
    (claim,) = read_suite(file).entries
    assert isinstance(claim, ClaimSpec), claim
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # warnings of extraction go into the evidence
        return make_steering(builders.random_model("llama"), claim.vector, seed=3)


def wanted(method, data, layer, **options):
    model = builders.random_model("llama")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(extract, method)(model, data, layer=layer, **options)


def in_python(name):
    from pytest_steer import read_items

    if name == "texts":
        return tuple(TEXTS["positive"]), tuple(TEXTS["negative"])
    if name == "tasks":
        return tuple(TaskItem(**pair) for pair in TASKS)
    return read_items(name)


@pytest.mark.parametrize(
    ("method", "data", "layer", "options"),
    [
        ("caa", "items", 1, {"readout": "last"}),
        ("pca", "items", [0, 1], {"readout": "last"}),
        ("mimic", "items", [0, 1], {"ridge": 0.01}),
        ("ablation", "items", 1, {"at": [0, 2]}),
        ("learned", "items", 1, {"epochs": 2, "rate": 0.02}),
    ],
)  # fmt: skip
def test_an_extracted_one_is_that_of_the_call(place, method, data, layer, options):
    settings = "".join(f", {key}: {value}" for key, value in options.items())
    found = made(place, f"vector: {{extract: {{method: {method}, data: {data}.json{settings}}}, layer: {layer}}}")
    more = {"seed": 3} if method == "learned" else {}
    want = wanted(method, in_python(str(place / "items.json") if data == "items" else data), layer, **options, **more)
    assert as_intervention(found).hash == as_intervention(want).hash
    assert as_intervention(found).metadata == as_intervention(want).metadata
    if method == "ablation":
        assert found.layers == (0, 2)


GATED = gated_by_condition(add(V), TOWARD, threshold=0.2, fires="below")


@pytest.mark.parametrize(
    ("entry", "want"),
    [
        ("kind: add, file: v.safetensors, site: mlp", add(V, site="mlp")),
        ("kind: ablate, file: v.safetensors, layer: [0, 2]", ablate(V, layers=[0, 2])),
        ("kind: ablate, file: two.safetensors, layer: 1", ablate(V)),
        ("kind: clamp, file: v.safetensors, value: 3, site: heads", clamp(V, value=3.0, site="heads")),
        ("kind: masked, file: v.safetensors, keep: 7", masked(V, keep=7)),
        ("kind: rotate, file: v.safetensors, toward: toward.safetensors", rotate({1: (V.directions[1], TOWARD.directions[1])})),
        ("file: map.safetensors", affine({1: 2 * torch.eye(32)}, V.directions)),
        ("kind: add, file: v.safetensors, condition: {file: toward.safetensors, threshold: 0.2, fires: below}", GATED),
        ("file: v.safetensors, condition: {file: toward.safetensors, layer: 1, threshold: 0.2, fires: below}", GATED),
    ],
)  # fmt: skip
def test_an_intervention_is_that_of_the_call(place, entry, want):
    found = as_intervention(made(place, f"intervention: {{{entry}}}"))
    assert isinstance(found, Intervention)
    assert (found.hash, found.layers, found.site, found.strength) == (want.hash, want.layers, want.site, want.strength)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("kind: add, file: map.safetensors", "holds the intervention 'affine', which says itself how it is applied: delete `kind`"),
        ("file: map.safetensors, layer: 0", r"acts at \[1\] and cannot be moved: delete `layer`"),
        ("kind: rotate, file: two.safetensors, layer: all, toward: toward.safetensors", "toward.safetensors: has no direction for layer 0"),
        ("file: two.safetensors", r"two\.safetensors: holds directions for 2 layers \(0, 1\), and nothing says at which .* `layer: 1`"),
        ("file: v.safetensors, rows: blocks", "`rows` says what the rows of a stack are, and this file holds one direction. Delete"),
        ("kind: clamp, file: v.safetensors, value: 1, layer: 0", "no direction for layer 0"),
        ("file: items.json", "a steering vector is read from .gguf, .npy, .npz, .pt, .pth, .safetensors, .svec, or from a folder"),
    ],
)  # fmt: skip
def test_pieces_that_do_not_fit(place, entry, message):
    with pytest.raises(SteerError, match=message):
        made(place, f"intervention: {{{entry}}}")


def test_a_claim_about_an_ablation_runs_and_says_what_its_numbers_are(place):
    from pytest_steer.files.build import Builder

    file = place / "x.steer.yaml"
    file.write_text(
        "intervention: {extract: {method: ablation, data: items.json}, layer: 1, positions: all}\ndata: {test: items.json}\n"
        "claims:\n  - not_anti_steered: {share: 0.5, by: effect}\n  - steers: {steerability: 0.1}\n"
    )
    model = builders.random_model("llama")
    suite = read_suite(file)
    one, other = (Builder(model).build(suite, claim) for claim in suite.entries)
    evidence = evidence_of(one, model)
    assert evidence.vector.method == "ablate(ablation)"
    assert (evidence.vector.strength, evidence.vector.site, evidence.multipliers) == ("ignored", "block", [0.0, 1.0])
    assert evidence.to_dict()["n"] == 6
    assert any("ask a question that the vector was extracted from" in warning for warning in evidence.warnings)
    with pytest.raises(SteerError, match=r"strength of 'ablate\(ablation\)' is ignored, so a slope"):
        evidence_of(other, model)


def test_a_method_used_elsewhere_than_in_its_paper_is_a_warning(place):
    from pytest_steer.files.build import Builder

    file = place / "x.steer.yaml"
    file.write_text(
        "vector: {extract: {method: icv, data: texts.json}}\ndata: {test: items.json}\nclaims:\n  - steers: {steerability: 0.1}\n"
    )
    model = builders.random_model("llama")
    suite = read_suite(file)
    words = evidence_of(Builder(model).build(suite, suite.entries[0]), model).warnings
    assert any(
        "the method icv is applied at positions 'all' where it comes from; this claim steers 'after_prompt'" in w
        for w in words
    )
