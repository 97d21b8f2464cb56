"""Data with other names of columns in claim files: every place that names data, and the same numbers as with the known names."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import builders
import pytest

from pytest_steer import read_items, read_tasks
from pytest_steer.claims import evidence_of
from pytest_steer.core.errors import DataError
from pytest_steer.core.run_context import RunContext
from pytest_steer.files import ClaimSpec, read_suite
from pytest_steer.files.build import Builder
from pytest_steer.files.inputs import Inputs, make_steering
from pytest_steer.steering import as_intervention
from pytest_steer.studies.compare_methods import entries_of, plan_of

WORDS = ("tea", "ice", "sun", "moon", "bread", "stone")
ITEMS = [{"question": f"What of the {word}?", "matching": f"Good {word}.", "not_matching": f"Bad {word}."} for word in WORDS]
PAIRS = [{"input": word, "output": word.upper()} for word in WORDS]
NEUTRAL = [{"text": f"The {word} is on the table."} for word in WORDS]
COLUMNS = {"question": "q", "matching": "good", "not_matching": "bad", "input": "word", "output": "loud", "text": "body"}


def table(file: Path, entries: list[dict[str, str]], separator: str = ";") -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, delimiter=separator)
        writer.writerow(["n", *(COLUMNS[key] for key in entries[0])])
        writer.writerows([index, *entry.values()] for index, entry in enumerate(entries))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, entries in (("items", ITEMS), ("pairs", PAIRS), ("neutral", NEUTRAL)):
        table(tmp_path / f"{name}.csv", entries)
        builders.write_json(tmp_path / f"{name}.json", entries)
    (tmp_path / "lines.txt").write_text("One line.\nAnother line.\n")
    builders.random_vector(1).save(tmp_path / "v.safetensors")
    return tmp_path


def claims(place: Path, text: str) -> list[ClaimSpec]:
    (place / "x.steer.yaml").write_text(text)
    entries = read_suite(place / "x.steer.yaml").entries
    assert all(isinstance(entry, ClaimSpec) for entry in entries), entries
    return list(entries)  # type: ignore[arg-type]


def measured(place: Path, claim: ClaimSpec) -> dict:
    model = builders.random_model("llama")
    evidence = evidence_of(Builder(model).build(read_suite(place / "x.steer.yaml"), claim), model).to_dict()
    return {key: evidence[key] for key in ("estimate", "interval", "n", "items", "vector") if key in evidence}


FILE = """
vector: {{extract: {{method: caa, data: items.{suffix}{own}}}, layer: 1}}
data: {{test: items.{suffix}, neutral: neutral.{suffix}, demonstrations: items.{suffix}{columns}}}
contexts: {{few_shot: [0, 1]}}
claims:
  - steers: {{steerability: 0.1}}
  - ppl_delta_below: {{limit: 0.5}}
  - generalizes: {{retention: 0.5, data_sets: {{same: items.{suffix}}}}}
  - steers_at_cost: {{effect: 0.1, budget: 0.05}}
  - performs_task: {{accuracy: 0.5, data: {{test: pairs.{suffix}, demonstrations: pairs.{suffix}{columns}}}}}
  - steers: {{steerability: 0.1, name: of pairs, data: {{test: pairs.{suffix}{columns}}}}}
"""


def test_every_claim_measures_the_same_with_other_names(place):
    columns = f", columns: {json.dumps(COLUMNS)}"
    own = claims(place, FILE.format(suffix="csv", columns=columns, own=""))
    found = [measured(place, claim) for claim in own if claim.kind != "generalizes"]
    known = claims(place, FILE.format(suffix="json", columns="", own=""))
    assert found == [measured(place, claim) for claim in known if claim.kind != "generalizes"]
    assert [one["n"] for one in found] == [6] * 5
    builder, suite = Builder(builders.random_model("llama")), read_suite(place / "x.steer.yaml")
    one, other = (builder.build(suite, next(c for c in side if c.kind == "generalizes")) for side in (own, known))
    assert one.data_sets == other.data_sets
    assert one.items == other.items
    assert [builder.inputs.demonstrations(side[0]) for side in (own, known)] == [one.items, one.items]


def test_one_file_under_two_readings_is_two_data_sets(place):
    text = "vector: {file: v.safetensors}\nclaims:\n"
    for name, matching, other in (("one", "good", "bad"), ("turned", "bad", "good")):
        columns = f"{{question: q, matching: {matching}, not_matching: {other}}}"
        text += f"  - steers: {{steerability: 0.1, name: {name}, data: {{test: items.csv, columns: {columns}}}}}\n"
    builder = Builder(builders.random_model("llama"))
    one, turned = (builder.inputs.test_items(claim)[0] for claim in claims(place, text))
    assert [item.matching for item in one] == [item.not_matching for item in turned]
    assert one != turned


def test_training_data_have_the_datas_names_or_their_own(place):
    model = builders.random_model("llama")
    items = "{question: q, matching: good, not_matching: bad}"
    want = make_steering(model, claims(place, FILE.format(suffix="json", columns="", own=""))[0].vector, 0)
    text = "vector: {{extract: {{method: caa, data: {train}{own}}}, layer: 1}}\ndata: {{test: items.{test}{columns}}}\nclaims: [{{steers: {{steerability: 1}}}}]\n"
    for train, own, test, columns in (
        ("items.csv", "", "csv", f", columns: {items}"),
        ("items.csv", f", columns: {items}", "json", ""),
    ):
        (claim,) = claims(place, text.format(train=train, own=own, test=test, columns=columns))
        assert as_intervention(make_steering(model, claim.vector, 0)).hash == as_intervention(want).hash
        assert claim.columns == ({} if not columns else {"question": "q", "matching": "good", "not_matching": "bad"})
    (claim,) = claims(place, text.format(train="items.json", own="", test="csv", columns=f", columns: {items}"))
    with pytest.raises(DataError, match=r"items\.json: item 0: has no 'q', which `columns` names"):
        make_steering(model, claim.vector, 0)
    same = "{question: question}"
    (claim,) = claims(
        place, text.format(train="items.json", own=f", columns: {same}", test="csv", columns=f", columns: {items}")
    )
    assert as_intervention(make_steering(model, claim.vector, 0)).hash == as_intervention(want).hash


def test_a_behaviour_has_names_of_its_own(place):
    text = """
vector: {extract: {method: caa}, layer: 1}
matrix:
  behaviour:
    named: {train: items.csv, test: items.csv, neutral: neutral.csv, columns: COLUMNS}
    known: {train: items.json, test: items.json, neutral: neutral.json}
claims:
  - steers: {steerability: 0.1}
  - ppl_delta_below: {limit: 0.5}
""".replace("COLUMNS", json.dumps(COLUMNS))
    named, known, named_ppl, known_ppl = claims(place, text)
    assert named.columns == COLUMNS
    assert known.columns == {}
    assert measured(place, named) == measured(place, known)
    assert measured(place, named_ppl) == measured(place, known_ppl)
    model = builders.random_model("llama")
    (plan,) = plan_of(read_suite(place / "x.steer.yaml"), RunContext(model="m"))
    entries, unmade = entries_of(plan, Inputs(model))
    assert not unmade
    own, other = entries  # what `pytest-steer compare-methods` measures
    assert own.items == other.items
    assert own.neutral.texts == other.neutral.texts == tuple(entry["text"] for entry in NEUTRAL)


def test_text_files_have_no_columns_and_other_tables_ask(place):
    text = "vector: {file: v.safetensors}\ndata: {neutral: %s}\nclaims:\n  - ppl_delta_below: {limit: 0.5}\n"
    model = builders.random_model("llama")
    (claim,) = claims(place, text % "lines.txt, columns: {text: body}")
    assert Inputs(model).texts(claim) == ["One line.", "Another line."]
    (claim,) = claims(place, text % "neutral.csv, columns: {text: body}")
    assert Inputs(model).texts(claim) == [entry["text"] for entry in NEUTRAL]
    (claim,) = claims(place, text % "neutral.csv")
    with pytest.raises(DataError, match=r"neutral\.csv: line 2: has the columns 'n', 'body': which of them holds the texts"):
        Builder(model).build(read_suite(place / "x.steer.yaml"), claim)


def test_preferences_triples_and_wrapped_lists_are_data_of_every_claim(place):
    text = "vector: {file: v.safetensors}\ndata: {test: %s}\nclaims:\n  - steers: {steerability: 0.1}\n"
    builders.write_json(
        place / "dpo.json",
        [{"prompt": i["question"], "chosen": i["matching"], "rejected": i["not_matching"]} for i in ITEMS],
    )
    builders.write_json(place / "three.json", [list(entry.values()) for entry in ITEMS])
    builders.write_json(place / "wrapped.json", {"items": ITEMS})
    want = measured(place, claims(place, text % "items.json")[0])
    for name in ("dpo.json", "three.json", "wrapped.json"):
        assert measured(place, claims(place, text % name)[0]) == want
    builders.write_json(place / "wrapped-pairs.json", {"items": PAIRS})
    assert measured(place, claims(place, text % "wrapped-pairs.json")[0]) == measured(
        place, claims(place, text % "pairs.json")[0]
    )


def test_the_expression_of_the_items_reads_them_again(place):
    text = "vector: {file: v.safetensors}\ndata: {test: items.csv, columns: {question: q, matching: good, not_matching: bad}}\nclaims:\n  - steers: {steerability: 0.1}\n"
    (claim,) = claims(place, text)
    items, _ = Inputs(builders.random_model("llama")).test_items(claim)
    assert eval(items.expression, {"read_items": read_items, "read_tasks": read_tasks}) == items
