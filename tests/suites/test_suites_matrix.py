"""``matrix:`` of a claim file: which claims it stands for. What is wrong with one is in ``wrong/matrix-*``."""

from __future__ import annotations

from pathlib import Path

from pytest_steer.suites import ClaimSpec, Suite, read_suite

HEAD = "data: {test: data/test.json, neutral: data/neutral.txt}\n"
EXTRACTED = HEAD + "vector: {extract: {method: caa, data: data/train.json}, layer: 1, positions: last}\n"
CLAIMS = "claims:\n  - steers: {steerability: 0.3}\n  - ppl_delta_below: {name: cost, limit: 0.05}\n"


def read(folder: Path, text: str) -> Suite:
    (folder / "m.steer.yaml").write_text(text, encoding="utf-8")
    return read_suite(folder / "m.steer.yaml")


def specs(folder: Path, text: str) -> dict[str, ClaimSpec]:
    entries = read(folder, text).entries
    assert all(isinstance(entry, ClaimSpec) for entry in entries), entries
    assert len({entry.name for entry in entries}) == len(entries)
    return {entry.name: entry for entry in entries}


def test_without_a_matrix_names_are_as_they_were(folder: Path) -> None:
    assert list(specs(folder, EXTRACTED + CLAIMS)) == ["steers", "cost"]


def test_every_claim_for_every_combination_in_the_order_of_the_file(folder: Path) -> None:
    made = specs(folder, EXTRACTED + "matrix: {method: [caa, mean_difference], layer: [3, [4, 5]]}\n" + CLAIMS)
    labels = ["caa-3", "caa-4+5", "mean_difference-3", "mean_difference-4+5"]
    assert list(made) == [f"{name}[{label}]" for name in ("steers", "cost") for label in labels]
    for name in ("steers", "cost"):
        for label, method, layers in zip(labels, ["caa"] * 2 + ["mean_difference"] * 2, [(3,), (4, 5)] * 2, strict=True):
            spec = made[f"{name}[{label}]"].vector
            assert (spec.method, spec.layers, spec.positions) == (method, layers, "last")
            assert spec.data == folder / "data/train.json"
    turned = specs(folder, EXTRACTED + "matrix: {layer: [3, 4], method: [caa]}\n" + CLAIMS)
    assert list(turned)[:2] == ["steers[3-caa]", "steers[4-caa]"]


def test_named_vectors_and_models(folder: Path) -> None:
    text = (
        HEAD + "matrix:\n  vector:\n    saved: {file: vectors/refusal.safetensors}\n    made: {extract: {method: caa, data: "
        "data/train.json}, layer: 7}\n  model: [builtin:tiny, ./other.gguf]\n" + CLAIMS
    )
    made = specs(folder, text)
    assert list(made)[:4] == [
        "steers[saved-builtin:tiny]", "steers[saved-./other.gguf]", "steers[made-builtin:tiny]", "steers[made-./other.gguf]",
    ]  # fmt: skip
    assert made["steers[saved-builtin:tiny]"].vector.file == folder / "vectors/refusal.safetensors"
    assert made["steers[made-builtin:tiny]"].vector.layers == (7,)
    assert [spec.model for spec in made.values()] == ["builtin:tiny", str(folder / "other.gguf")] * 4


def test_the_matrix_can_be_what_gives_a_method_and_a_layer(folder: Path) -> None:
    text = (
        HEAD + "vector: {extract: {data: data/train.json}}\nmatrix: {method: [mean_difference], layer: [2.0, 6]}\n" + CLAIMS
    )
    made = specs(folder, text)
    assert list(made)[:2] == ["steers[mean_difference-2]", "steers[mean_difference-6]"]
    assert [spec.vector.layers for spec in made.values()] == [(2,), (6,)] * 2
    assert {spec.vector.method for spec in made.values()} == {"mean_difference"}
    assert type(made["steers[mean_difference-2]"].vector.layers[0]) is int


def test_a_claims_own_vector_and_strength_stay_its_own(folder: Path) -> None:
    text = (
        EXTRACTED
        + "matrix: {layer: [2, 6]}\nclaims:\n  - steers: {steerability: 0.3}\n  - steers: {name: own, steerability: 0.1, "
        "multiplier: 2, vector: {file: vectors/refusal.safetensors, positions: all}}\n"
    )
    made = specs(folder, text)
    assert made["own[6]"].vector.file == folder / "vectors/refusal.safetensors"
    assert (made["own[6]"].vector.layers, made["own[6]"].vector.positions, made["own[6]"].multiplier) == ((6,), "all", 2.0)
    assert made["steers[6]"].vector.file is None


def test_a_known_failure_of_all_or_of_one_combination(folder: Path) -> None:
    text = (
        EXTRACTED + 'matrix: {layer: [2, 6]}\nclaims:\n  - steers: {steerability: 0.3, xfail: {"6": too late}}\n'
        "  - steers: {name: none, steerability: 0.3, xfail: never}\n"
    )
    assert {name: spec.xfail for name, spec in specs(folder, text).items()} == {
        "steers[2]": None,
        "steers[6]": "too late",
        "none[2]": "never",
        "none[6]": "never",
    }
